"""Extraction of the final answer from a model's text; each rule tries its patterns in order.

    number    `#### 18`, `\\boxed{18}`, `the answer is 18`, the last number; see `numbers`
    choice    `the answer is (B)`, `\\boxed{B}`, the last `(B)` or `[B]`, `option B`, a lone
              `B.`, an option's own words
    yes_no    `the answer is yes`, a yes or no at the start, the last one
    boolean   `the answer is True`, the last True or False
    text      the whole answer
    {pattern: REGEX}   the group `found` (or the first that took part) of the last match

An equation after "the answer is" gives its last side that is a single number (`2 * 3 = 6`). What
is denied ("not 5 but 6", "cannot say yes", "not (A)", "(A) is wrong") and what is only asked ("Is
it 5? No", "The answer is 5? No") is skipped; the options repeated from a question ("(A) cat (B)
dog") choose none; yes and no answer a question that names an answer (`boolean`: "Is it true? No"
is false). What is only supposed ("if the answer is 6"), references ("as shown in (2)") and the
question of a dialogue ("Q: which? A: B") are left out, see `asides`. "No" before a noun ("no
doubt") is no answer. Several answers together are none: "5 or 6", "between 3 and 5", "1,2,3", "2+3"
without its result, "A, B", "yes and no". A box holds a number and its unit, or none (2x, 5i). See
`number_groups`.

All return a string, or None if nothing was found (counted as `not found`). Only `text` always finds
something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from .asides import HEDGE, of_dialogue, said_once, supposed, without_references
from .number_groups import spoken_statement, statements
from .numbers import DENIED, NEAR, NUMBER_WORDS, normal_text

__all__ = ["EXTRACTIONS", "RULES", "check_extraction", "extract", "number"]

RULES = 2
"""The version of the rules by which answers are read and measured. A row that was read by an older
version is read and measured again from its text; `tests/eval/test_eval_rules.py` fails when what is
read changes and this does not."""

BEHIND = 500
"""Maximal distance in characters between the words "the answer is" and the answer."""
_SAID = (
    r"(?:\b{}[\"']?(?:\s+(?:is|was|would be|will be|must be|should be|has to be|equals)\b\s*:?"
    r"(?:\s*(?:clearly|obviously|definitely|certainly|probably|(?:most )?likely|therefore|thus)\b)?"
    r"|\s*[:=])\s*"
    r"|\b(?:[Aa]ntwort|[Rr]éponse|[Rr]espuesta|[Rr]isposta|[Rr]esposta|[Оо]твет)"
    r"(?:\s+(?:ist|est|es|è|é)\b\s*:?|\s*:)\s*|(?:答案|回答|答え|정답)\s*[是为為は은]?\s*:?\s*"
    r"|<(?:final_)?answer>\s*)"
)
_LEAD = _SAID.format("answer")
_WRONG = re.compile(
    r"[)\]\"'}]*\s+(?:(?:is|are|was|were|would be|seems|looks|must be)\s+"
    r"(?:(?:also|both|all|clearly|obviously|simply|just|definitely|certainly|a|the)\s+)*"
    r"(?:wrong|incorrect|false|ruled out|not|untrue|impossible|trap|distractor)\b"
    r"|(?:is|are|was|were|ca|does|could|would)n't\b|cannot be\b|can not be\b)",
    re.I,
)
"""What follows an answer that is denied."""

_RESULT = re.compile(
    r"(?:\s?[A-Za-z]+)?[\s,;)]*(?:(?:which|that|this|it|so)\s+)?(?:[=≈]|\b(?:is|are|equals?|makes?|gives?)\b)\s*[-+$€£¥₹]*",
    re.I,
)
_QUOTED = re.compile(r"\\(?:text(?:bf|rm|it)?|math(?:rm|bf|it)|mbox|operatorname)\s*\{([^{}]*)\}")
_UNIT_LETTERS = set("mgshdLlAVWNJKCF")
_QUIET = {
    "circ",
    "degree",
    "degrees",
    "deg",
    "displaystyle",
    "rm",
    "bf",
    "percent",
    "euro",
    "pounds",
}
_QUESTION = re.compile(
    r"(?:(?<=[.!?\n])|^)\W{0,9}(?:(?:so|but|and|then|now|ok|well|hmm)\b,?\s*)?"
    r"\b(?:is|are|was|were|what|which|how|who|why|when|where|can|could|does|do|did|should|would|will"
    r"|has|have|had|isn't|aren't|doesn't|don't|yes or no|true or false)\b"
    r"(?:[^?.!\n]|[.!](?!\s))*\?(?!\w)",
    re.I,
)
_ALSO = r"\s*(?:/|\||&|\+|,?\s*\b(?:and/or|or|and|nor|as well as)\b)\s*"
"""What joins two answers, neither of which is meant alone (see `_one_of` and `_several`)."""
_YES_NO = {"yes": "yes", "no": "no", "yeah": "yes", "nope": "no"}
_TRUE_FALSE = {"true": "true", "false": "false"}
_OPPOSITE = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
_NO_ALONE = (
    "it|he|she|they|we|you|i|this|that|these|those|there|the|a|an|because|since|as|but|and|or|nor|so"
    "|if|not|is|was|would|in|on|for|to|of|way|chance|never|sorry|sir|madam|thanks|thank|definitely"
    "|absolutely|my|yes"
)
"""Words after "no" that leave it an answer; any other ("no doubt") takes it as its own."""
_CLAUSE = re.compile(
    r"[.,;:!?\n=]|\b(?:but|so|because|therefore|hence|thus|then|and|since"
    r"|yes|no|yeah|nope|true|false)\b"
)
_NEGATED = re.compile(
    r"\b(?:not|cannot|never|neither|nor|hardly|unable|refuse[sd]?|rather than|instead of"
    r"|(?:wrong|incorrect|mistaken?) to)\b|n't\b"
)


def extract(how: str | Mapping[str, str], answer: str, choices: Sequence[str] = ()) -> str | None:
    """The final answer in the text `answer`, by the rule `how`; None if there is none."""
    if not isinstance(how, str):
        found = list(re.finditer(how["pattern"], answer, flags=re.S | re.I))
        groups = [found[-1].groupdict().get("found"), *found[-1].groups()] if found else []
        return next((one.strip() for one in groups if one is not None), None)
    if how != "text":
        label = "Answer: " if how == "choice" else ""
        answer = of_dialogue(answer, label, asked=how in ("yes_no", "boolean"))
    return EXTRACTIONS[how](answer, choices)


def check_extraction(how: str | Mapping[str, str]) -> None:
    """Raise `ValueError` for an unknown rule."""
    if isinstance(how, str):
        if how not in EXTRACTIONS:
            raise ValueError(
                f"extract is one of {', '.join(EXTRACTIONS)}, or {{pattern: REGEX}}; got {how!r}"
            )
    elif set(how) != {"pattern"} or re.compile(how["pattern"]).groups < 1:
        raise ValueError(f"extract: a pattern has a group, `{{pattern: 'is (.+)'}}`; got {how!r}")


def number(answer: str, choices: Sequence[str] = ()) -> str | None:
    """The final number of an answer, as plain text (`1234.5`, `3/4`)."""
    for content in reversed(boxed(answer)):
        if found := in_box(content):
            return found[0]
    text = said_once(without_references(normal_text(asserted(answer))))
    for lead in (r"####\s*", _LEAD):
        for match in reversed(list(re.finditer(lead, text, flags=re.I))):
            line = text[match.end() : match.end() + BEHIND].split("\n")[0]
            said = line if lead != _LEAD else _clause(line)
            if re.fullmatch(r"[\s\W]*[\d.,]+[\s\W]*\?.*", line, re.S):
                continue  # the answer is 5? No
            if supposed(text, match.start()):
                continue
            if found := _stated(said):
                return found[0]
    every = [one for one in statements(text) if not one.denied and not _WRONG.match(text, one.end)]
    meant = [
        one
        for one in every
        if (one.text is not None or one.undecided)
        and not (
            re.search(_LEAD + r"\W*$", text[max(0, one.start - NEAR) : one.start])
            and supposed(text, one.start)
        )
    ]
    if not meant:
        return None
    last = meant[-1]
    if last.expression and len(meant) > 1:  # 5 = 2 + 3
        between = text[meant[-2].end : last.start]
        return meant[-2].text if re.fullmatch(r"\s*[=≈]\s*[-+]?", between) else None
    return last.text


def in_box(content: str) -> tuple[str | None] | None:
    """A tuple of the number in a box; None if there is none, and `(None,)` if more than the number,
    an unknown before it and its unit is there (2x, 5i, \\pi/2)."""
    if re.search(
        r"\d\s*!|\\\{.*,.*\\\}|(?:[,;]|\b(?:or|and)\b).*=", content
    ):  # a factorial, a set, two unknowns
        return (None,)
    found = _stated(normal_text(re.sub(r"^\s*[-−]\s+", "-", content.replace("~", " "))))
    if found is None or found[0] is None:
        return (None,) if re.search(r"\d", content) else found  # x^2
    content = re.sub(r"^\s*-\s+", "-", content.replace("~", " "))
    bare = _QUOTED.sub(lambda m: m[1] if re.search(r"\d", m[1]) else " ", content)
    side = re.split(r"[=≈]|\\approx", bare)[-1]
    text = normal_text(re.sub(r"(?<=\d)\s+(?=[A-Za-z](?![A-Za-z]))", "", side))
    every = statements(text)
    if not every:
        return found  # in words
    alone = len(every) == 1 and every[0].text is not None
    return found if alone and _is_unit(text[: every[0].start], text[every[0].end :]) else (None,)


def _is_unit(before: str, behind: str) -> bool:
    """Whether the text around a number in a box is words, a sign, a currency or a unit only."""
    for text in (before, behind):
        last = ""
        for token in re.findall(r"\\[A-Za-z]+|[A-Za-z]+|\d+|\S", text):
            of_unit = text is behind and last[-1:].isalpha()
            if token[0] == "\\":
                known = token[1:] in _QUIET
            elif token.isalpha() and token.isascii():
                known = (len(token) > 1 and not set(token) <= set("abcijxyz")) or (
                    text is behind and token in _UNIT_LETTERS
                )
            elif token == "^":
                known = of_unit or "\\circ" in text
            elif token in "/·×":
                known = of_unit
            elif token.isdigit():
                known = last == "^"
            else:
                known = token in "{}()[]%°$€£¥₹.:'\"" or (text is before and token in "+-")
            if not known:
                return False
            last = token if token not in "{}" else last
    return True


def asserted(text: str, *, or_all: bool = True) -> str:
    """A text without its questions ("Is it 5? No"), which state nothing.

    Unless `or_all` is false, the whole text if nothing else is said, or if a yes agrees to it.
    """
    rest = _QUESTION.sub(" ", text)
    whole = or_all and (
        re.search(r"\w", rest) is None or re.match(r"\W*(?:yes|yeah)\b", rest, re.I)
    )
    return text if whole else rest


def boxed(text: str) -> list[str]:
    """The contents of every `\\boxed{...}` (`\\fbox`, `\\boxed 5`), with balanced braces."""
    found: list[tuple[int, str]] = []
    opened: list[int | None] = []  # the start of a box; None for any other brace
    for match in re.finditer(r"\\f?boxed?\s*(?:(\{)|([^\s{}]+))|([{}])", text):
        if match[2]:
            found.append((match.start(), match[2].rstrip("$")))
        elif match[1] or match[3] == "{":
            opened.append(match.end() if match[1] else None)
        elif opened and (begin := opened.pop()) is not None:
            found.append((begin, text[begin : match.start()]))
    return [content for _, content in sorted(found)]


_SENTENCE_END = re.compile(
    r"(?:(?<!\bft)(?<!\b(?:hr|lb|yd|no|nr|ca|rs))(?<!\b(?:hrs|lbs|min|yrs|abt|est))(?<!\bapprox)\."
    r"|\.(?!\s+[-+€£¥₹~]?\d)|[!?])(?=\s|$)",
    re.I,
)
"""The end of a sentence, not of an abbreviation before a number (approx. 5, 6 ft. 2 in)."""


def _clause(line: str) -> str:
    """A line up to the end of its sentence."""
    return _SENTENCE_END.split(line, maxsplit=1)[0]


def _stated(text: str) -> tuple[str | None] | None:
    """A tuple of the number that a text states; `(None,)` if it is ambiguous; None without one."""
    equation = re.match(r"\s*(?:[A-Za-z]\s*)?[\d\s.,^*/+×÷·()√%{}-]*[=≈]", text)
    if equation:
        for side in reversed(re.split("[=≈]", text)):
            own = statements(side)
            first = next(iter(own), None)
            rest = re.sub(r"\s", "", side[first.end :] if first else side)
            if first is None or re.search(r"[\d+*/×÷√(^]", side[: first.start]):
                continue
            if first.text is not None and not re.match(r"[-+*/×÷·^(\d]", rest):
                return (first.text,)
    if (spoken := re.match(r"\W*(?:exactly |about |a total of )?", text)) and re.match(
        rf"(?:{NUMBER_WORDS})\b(?! of\b)", text[spoken.end() :], flags=re.I
    ):
        stated = spoken_statement(text)
        return None if stated is None else (stated.text,)
    own = [one for one in statements(text) if not one.denied and not _WRONG.match(text, one.end)]
    if not own:
        return None
    between = text[own[0].end : own[1].start] if len(own) > 1 else None
    if between is not None and own[0].expression and _RESULT.fullmatch(between):
        return (own[1].text,)
    if between is not None and re.fullmatch(r"\s*(?:,|;|and|or|to|through|&)?\s*", between):
        return (None,)
    return (own[0].text,)


def choice(answer: str, choices: Sequence[str] = ()) -> str | None:
    """The chosen letter `A` to `Z`, or the chosen one of `choices` if these are words."""
    text = without_references(normal_text(asserted(answer))).strip()
    letters = not choices or all(re.fullmatch(r"\(?[A-Z]\)?", one) for one in choices)
    if not letters:
        return _mentioned(text, choices)
    if re.fullmatch(r"\W*[A-Z](?:\W+[A-Z])+\W*", text) and len(set(re.findall("[A-Z]", text))) > 1:
        return None  # A, B
    lead = _SAID.format(
        "(?:[Aa]nswer|ANSWER|(?:[Cc]orrect |[Rr]ight )?(?:[Cc]hoice|[Oo]ption|[Ll]etter))"
    )
    patterns = (
        lead
        + r"(?:[\"'{]|\\\()*(?:[Oo]ption\s+)?[\"']?"
        + rf"(?:[(\[]([A-Za-z])[)\]]|{_CAPITAL}|([a-z])(?=[.)\"']*\s*$))",
        r"\\boxed\{\s*[({\[]*([A-Za-z])(?:[)}\]]*\s*\}|[.):]\s|[)}\]]+\s)",
        r"[(\[]([A-Z])[)\]]",
        r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s+(?:([A-Z])\b|[(\[]?([a-z])(?=[.)\]]*\s*$))",
        r"(?<![\w'])([A-Z])(?=\s+(?:is|would be)\s+(?:(?:the|my)\s+)?(?:\w+\s+)?"
        r"(?:correct|right|true|answer|choice)\b)",
        r"\b(?:choose|pick|select|chose|say|go with)\s+([B-HJ-Z]|[AI](?=[.!,;]*\s*$))\b(?!['-])",
        r"\b(?:[Ss]o|[Tt]herefore|[Tt]hus|[Hh]ence),?\s+([A-Z])(?=[.!,;]*\s*$)",
        _LINE + r"([A-Z])(?:\s\([a-z]|[.):,](?![\w'])|[.)](?=\w{2})|\s-\s|[\"'.!*}]*\s*(?:\n|$))",
        _LINE + r"[(\[]?([a-z])[)\].:]\s",
        r"^[\"'(\[]*([a-z])[\"')\].!]*$",
    )
    for pattern in patterns:
        flags = 0 if pattern != patterns[0] else re.M
        every = list(re.finditer(pattern, text, flags=flags))
        if not every:
            continue
        found = [
            one
            for one in every
            if not (denied(text, one) or _asked_or_passed(text, one) or supposed(text, one.start()))
        ]
        if not found and pattern == patterns[0]:
            continue  # the answer is not (A); it is (B)
        if not found or _several(text, found[-1]) or _options(text, found):
            return None
        return next(group for group in found[-1].groups() if group).upper()
    return None


_ASKED = re.compile(r"[)\]\"']*\?(?!\W*(?:yes|yeah|right|correct)\b)", re.I)
_LINE = r"(?:^|\n)\s*(?:[-*\u2022>#]+\s*)?[\"'*{]*"


def _asked_or_passed(text: str, found: re.Match[str]) -> bool:
    """Whether a letter is only asked (B? No) or the one that another is preferred to (over B)."""
    at = next(i for i, group in enumerate(found.groups(), 1) if group)
    before = text[max(0, found.start(at) - NEAR) : found.start(at)]
    passed = re.search(r"\b(?:over|unlike|except)\s+(?:[Oo]ption\s+)?[(\[\"']*$", before)
    return bool(passed) or _ASKED.match(text, found.end(at)) is not None


_CAPITAL = (  # not "I don't know", "A dog"
    r"([A-HJ-Z]|I(?!\s+['a-z]))(?![\w'])(?!\s+(?!because|since|as|is|and|or\b)[a-z])"
)
_OTHER = (
    rf"{HEDGE}?(?:{_ALSO}|\s*[,;-]+\s*|\s+(?:to|through)\s+)(?:(?:maybe|perhaps|possibly|also)\s+)?"
)


def _several(text: str, found: re.Match[str]) -> bool:
    """Whether the letter found is one of several ("A or B", "both A and C", "A-C")."""
    at = next(i for i, group in enumerate(found.groups(), 1) if group)
    option = r"(?:[Oo]ptions?\s+)?[\"']?"
    behind = text[found.end(at) : found.end(at) + NEAR]
    if re.match(
        rf"[)\]}}\"'.]*{_OTHER}{option}(?:[(\[][A-Za-z][)\]]|{_CAPITAL}(?![.]?[A-Za-z]))", behind
    ):
        return True
    before = text[max(0, found.start(at) - NEAR) : found.start(at)]
    partner = re.search(rf"(?<![\w'])([A-Za-z])([)\]]?)[\"']?{_OTHER}{option}[(\[]?$", before)
    if partner is None or not (partner[1].isupper() or partner[2]):
        return False
    return DENIED.search(re.sub(r"[\s\W]*$", " ", before[: partner.start(1)])) is None


def _options(text: str, found: Sequence[re.Match[str]]) -> bool:
    """Whether letters are those of a list of options (A, B, ... in order, none of them chosen)."""
    groups = [next(i for i, group in enumerate(one.groups(), 1) if group) for one in found]
    letters = "".join(one[at] for one, at in zip(found, groups, strict=True)).upper()
    end = found[-1].end(groups[-1])
    if re.search(
        r"\bthan\s+(?:option\s+)?[(\[]?$", text[: found[-1].start(groups[-1])][-NEAR:], re.I
    ):
        return True  # A is worse than B
    begins = not text[: found[-1].start(groups[-1])].rpartition("\n")[2].strip("-*\u2022>#([ ")
    if letters == "A" and begins and _NEXT.match(text[end:]):
        return True  # A: no, B: yes
    if len(letters) < 2 or letters != _LETTERS[: len(letters)]:
        return False
    before = text[found[-2].end() : found[-1].start(groups[-1])]
    return _CHOSEN.search(before) is None


_NEXT = re.compile(r"[).:].*?(?<!\w)[(\[]?B[).:]\s(?!\s*(?:is|are)\b)", re.S | re.I)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHOSEN = re.compile(
    r"\b(?:so|thus|therefore|hence|but|then|is|are|be|choose|pick|select|answer|say|with|instead|not)\b",
    re.I,
)


def denied(text: str, found: re.Match[str]) -> bool:
    """Whether "not", "never", "rather than", ... is directly before a match or inside its lead, or
    "is wrong", "is not", ... directly behind it."""
    first = next((i for i in range(1, len(found.groups()) + 1) if found[i]), 0)
    if _WRONG.match(text, found.end(first)):
        return True
    before = text[max(0, found.start(first) - NEAR) : found.start(first)]
    if re.search(r"[.!?;]\s+\W*$", before):
        return False  # it begins a sentence
    return DENIED.search(re.sub(r"[\s\W]*$", " ", before)) is not None


def yes_no(answer: str, choices: Sequence[str] = ()) -> str | None:
    """`yes` or `no`."""
    text = normal_text(re.sub("[–—―]", " - ", answer)).lower()
    asked = _asked(text, _YES_NO)
    return _either(asserted(text, or_all=False), _YES_NO, first=True, asked=asked)


def boolean(answer: str, choices: Sequence[str] = ()) -> str | None:
    """`true` or `false`; yes and no are read after a question that names one (Is it true? No)."""
    text = normal_text(answer).lower()
    asked = _asked(text, _TRUE_FALSE)
    rest = asserted(text, or_all=False)
    said = _either(rest, _TRUE_FALSE, first=False)
    return said or (asked and _either(rest, _YES_NO, first=True, asked=asked))


def text(answer: str, choices: Sequence[str] = ()) -> str | None:
    """The whole answer."""
    return answer.strip()


EXTRACTIONS: dict[str, Callable[[str, Sequence[str]], str | None]] = {
    "number": number,
    "choice": choice,
    "yes_no": yes_no,
    "boolean": boolean,
    "text": text,
}


def _word_pattern(words: Mapping[str, str]) -> str:
    """A pattern whose group is one of the words, "no" only where it is an answer."""
    one_of = "|".join(rf"no(?!\s+(?!(?:{_NO_ALONE})\b)[a-z])" if w == "no" else w for w in words)
    return rf"({one_of})(?!['-]?\w)"


def _asked(text: str, words: Mapping[str, str]) -> str | None:
    """The word that the last question names ("is it true?"); None if several or negated."""
    questions = _QUESTION.findall(text)
    found = re.findall(r"(?<!\w)" + _word_pattern(words), questions[-1]) if questions else []
    return words[found[0]] if len(found) == 1 and not _NEGATED.search(questions[-1]) else None


def _either(
    text: str, words: Mapping[str, str], *, first: bool, asked: str | None = None
) -> str | None:
    """The answer among `words`; yes or no to a question that names `asked` agree to it or not."""
    found = _last_of(text, words, first=first)
    if found is None or asked is None:
        return found
    return asked if found == "yes" else _OPPOSITE[asked]


def _last_of(text: str, words: Mapping[str, str], *, first: bool) -> str | None:
    any_word = _word_pattern(words)
    both = re.fullmatch(rf"\W*{any_word}\W+{any_word}\W*", text)
    if both and words[both[1]] != words[both[2]]:
        return None
    for pattern in (_LEAD + r"\W*" + any_word, r"\\boxed\{\W*" + any_word):
        found = [
            m
            for m in re.finditer(pattern, text)
            if not _negated(text, m.start(1)) and not supposed(text, m.start())
        ]
        if found:
            return _one_of(text, found[-1:], any_word, words)
    if first and (start := re.match(rf"\W*{any_word}", text)):
        return _one_of(text, [start], any_word, words)
    found = list(re.finditer(rf"(?<!\w)(?<!\w'){any_word}", text))
    return _one_of(text, found, any_word, words)


def _one_of(
    text: str, found: Sequence[re.Match[str]], any_word: str, words: Mapping[str, str]
) -> str | None:
    """The last word found that is not negated; None if it is one of two ("true/false")."""
    meant = [
        one
        for one in found
        if not _negated(text, one.start(1))
        and not supposed(text, one.start(1))
        and not _WRONG.match(text, one.end(1))
    ]
    if not meant:
        return None
    both = rf"(?<!\w){any_word}\W*?{HEDGE}?{_ALSO}(?:not\b\s*|also\s*|\W)*{any_word}"
    pair = any(m.start() <= meant[-1].start(1) < m.end() for m in re.finditer(both, text))
    return None if pair else words[meant[-1][1]]


def _negated(text: str, at: int) -> bool:
    """Whether the clause that leads to a word is negated ("cannot say yes")."""
    return _NEGATED.search(_CLAUSE.split(text[max(0, at - NEAR) : at])[-1]) is not None


def _mentioned(text: str, choices: Sequence[str]) -> str | None:
    """The choice that is mentioned first after "the answer is", else the one mentioned last; a name
    inside a longer name does not count."""
    for lead in reversed(list(re.finditer(_LEAD, text, flags=re.I))):
        said = _clause(text[lead.start() : lead.end() + BEHIND].split("\n")[0])
        asked = text.startswith("?", lead.start() + len(said))
        if (
            not asked
            and not supposed(text, lead.start())
            and any(not denied(said, found) for found, _ in _mentions(said, choices))
        ):
            return _chosen(said, choices, first=True)
    return _chosen(text, choices, first=False)


def _mentions(text: str, choices: Sequence[str]) -> list[tuple[re.Match[str], str]]:
    """Every mention of a choice that is in no longer one, denied or not."""
    every = []
    for one in choices:
        number = r"(?<!\^)(?<!(?<!\d)-)" if one[:1].isdigit() else ""
        whole = rf"(?<!\w)(?<!\d[.,]){number}({re.escape(one)})(?!\w)(?![.,]\d)(?!-[A-Za-z])"
        every += [(found, one) for found in re.finditer(whole, text, flags=re.I)]
    longest: list[tuple[re.Match[str], str]] = []
    around = (0, 0)
    for found, one in sorted(every, key=lambda mention: (mention[0].start(), -mention[0].end())):
        if found.end() <= around[1] and found.span() != around:
            continue
        around = max(around, found.span(), key=lambda span: span[1])
        longest.append((found, one))
    return longest


_NO = re.compile(r"\bno\s+$", re.I)
"""What denies a choice of words ("no cat")."""


_DENIES_BOTH = re.compile(
    r"\b(?:not|rather than|instead of|unlike|never)\b(?:(?!\bbut\b)[^.;:!?\n])*"
    r"\b(?:n?or|and)\s+(?:an?\s+|the\s+)?$",
    re.I,
)
"""What denies the choice behind it with another word (a cat, not a mouse or a dog)."""
_OR_LATER = re.compile(
    r"(?:(?!\bbut\b)[^.;:!?\n])*\bor\b(?:\s+(?:maybe|perhaps|possibly|even|else|rather)\b)?"
    rf"{HEDGE}?\s+(?:an?\s+|the\s+)?[\"'(]*",
    re.I,
)
"""What stands between two choices of one clause, of which either may be meant."""


def _chosen(text: str, choices: Sequence[str], *, first: bool) -> str | None:
    """The first or last choice that is mentioned and not denied; None if it is one of several."""
    every = _mentions(text, choices)
    no = [
        denied(text, found)
        or _NO.search(text[max(0, found.start() - NEAR) : found.start()]) is not None
        for found, _ in every
    ]
    for one in range(len(every) - 1):
        between = text[every[one][0].end() : every[one + 1][0].start()]
        no[one + 1] = no[one + 1] or _DENIES_BOTH.search(between[-BEHIND:]) is not None
    meant = [at for at, denial in enumerate(no) if not denial]
    if not meant:
        return None
    at = meant[0 if first else -1]
    for one, other in ((at - 1, at), (at, at + 1)):
        if one < 0 or other == len(every) or every[one][1].lower() == every[other][1].lower():
            continue
        between = text[every[one][0].end() : every[other][0].start()]
        if no[other] and not no[one]:
            continue
        if len(between) < BEHIND and _OR_LATER.fullmatch(between):
            return None
        apart = no[one] and re.fullmatch(
            r"[\s,;.-]+(?:(?:an?|the)\s+)?", between, re.I
        )  # not Paris, London
        if not apart and re.fullmatch(rf"[\"')]*{_OTHER}(?:(?:an?|the)\s+)?[\"'(]*", between, re.I):
            return None
    return every[at][1]
