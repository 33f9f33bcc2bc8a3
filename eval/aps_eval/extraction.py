"""Extraction of the final answer from a model's text; each rule tries its patterns in order.

    number    `#### 18`, `\\boxed{18}`, `the answer is 18`, the last number; see `numbers`
    choice    `the answer is (B)`, `\\boxed{B}`, the last `(B)` or `[B]`, `option B`, a lone
              `B.`, an option's own words
    yes_no    `the answer is yes`, a yes or no at the start, the last one
    boolean   `the answer is True`, the last True or False
    text      the whole answer
    {pattern: REGEX}   the group `found` (or the first that took part) of the last match

An equation after "the answer is" gives its last side that is a single number (`2 * 3 = 6`); a
negated answer ("not 5 but 6", "not (A)") is skipped; several answers together ("3 5", "A or B",
"true/false"), or a range or a time in place of a number, are not an answer.

All return a string, or None if nothing was found (counted as `not found`). Only `text` always finds
something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from .numbers import DENIED, NEAR, NUMBER_WORDS, normal_text, numerals, word_number

__all__ = ["EXTRACTIONS", "check_extraction", "extract", "number"]

BEHIND = 500
"""Maximal distance in characters between the words "the answer is" and the answer."""
_LEAD = r"\banswer(?:\s+(?:is|would be|must be|should be|equals)\b\s*:?|\s*[:=])\s*"


def extract(how: str | Mapping[str, str], answer: str, choices: Sequence[str] = ()) -> str | None:
    """The final answer in the text `answer`, by the rule `how`; None if there is none."""
    if not isinstance(how, str):
        found = list(re.finditer(how["pattern"], answer, flags=re.S | re.I))
        groups = [found[-1].groupdict().get("found"), *found[-1].groups()] if found else []
        return next((one.strip() for one in groups if one is not None), None)
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
        if re.search(r"\d\s*!|\\\{.*,.*\\\}", content):  # a factorial, a set
            return None
        if found := _stated(normal_text(content)):
            return found[0]
    text = normal_text(answer)
    for lead in (r"####\s*", _LEAD):
        for match in reversed(list(re.finditer(lead, text, flags=re.I))):
            line = text[match.end() : match.end() + BEHIND].split("\n")[0]
            if found := _stated(line if lead != _LEAD else _clause(line)):
                return found[0]
    every = [one.text for one in numerals(text) if one.text is not None and not one.denied]
    return every[-1] if every else None if numerals(text) else word_number(text)


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


def _clause(line: str) -> str:
    """A line up to the end of its sentence."""
    return re.split(r"[.!?](?=\s|$)", line, maxsplit=1)[0]


def _stated(text: str) -> tuple[str | None] | None:
    """A tuple of the number that a text states; `(None,)` if it is ambiguous; None without one."""
    equation = re.match(r"\s*(?:[A-Za-z]\s*)?[\d\s.,^*/+×÷·()√%{}-]*[=≈]", text)
    if equation:
        for side in reversed(re.split("[=≈]", text)):
            own = numerals(side)
            first = next(iter(own), None)
            rest = re.sub(r"\s", "", side[first.end :] if first else side)
            if first is None or re.search(r"[\d+*/×÷√(^]", side[: first.start]):
                continue
            if first.text is not None and not re.match(r"[-+*/×÷·^(\d]", rest):
                return (first.text,)
    if (spoken := re.match(r"\W*(?:exactly |about |a total of )?", text)) and re.match(
        rf"(?:{NUMBER_WORDS})\b(?! of\b)", text[spoken.end() :], flags=re.I
    ):
        return (word_number(text, first=True),)
    own = [one for one in numerals(text) if not one.denied]
    if not own:
        return None
    if len(own) > 1 and re.fullmatch(
        r"\s*(?:,|;|and|or|to|through|&)?\s*", text[own[0].end : own[1].start]
    ):
        return (None,)
    return (own[0].text,)


def choice(answer: str, choices: Sequence[str] = ()) -> str | None:
    """The chosen letter `A` to `Z`, or the chosen one of `choices` if these are words."""
    text = normal_text(answer).strip()
    letters = not choices or all(re.fullmatch(r"\(?[A-Z]\)?", one) for one in choices)
    if not letters:
        return _mentioned(text, choices)
    lead = _LEAD.replace(
        "answer", "(?:[Aa]nswer|(?:[Cc]orrect |[Rr]ight )?(?:[Cc]hoice|[Oo]ption))"
    )
    # "I don't know", "A dog": a word, not a letter.
    capital = r"([A-HJ-Z]|I(?!\s+['a-z]))(?![\w'])(?!\s+(?!because|since|as|is|and|or\b)[a-z])"
    patterns = (
        lead
        + r"[\"']?(?:[Oo]ption\s+)?[\"']?"
        + rf"(?:[(\[]([A-Za-z])[)\]]|{capital}|([a-z])(?=[.)\"']*\s*$))",
        r"\\boxed\{\s*[({\[]*([A-Za-z])[)}\]]*\s*\}",
        r"[(\[]([A-Z])[)\]]",
        r"\b[Oo]ption\s+([A-Z])\b|\b[Oo]ption\s+([a-z])(?=[.)]*\s*$)",
        r"(?:^|\n)\s*([A-Z])(?:[.):,](?:\s|$)|\s*(?:\n|$))",
        r"^\(?([a-z])\)?[.]?$",
    )
    for pattern in patterns:
        flags = 0 if pattern != patterns[0] else re.M
        every = list(re.finditer(pattern, text, flags=flags))
        if not every:
            continue
        found = [one for one in every if not denied(text, one)]
        if not found or re.match(r"\s*(?:or|/)\s*[(\[]?[A-Z][)\]]?(?!\w)", text[found[-1].end() :]):
            return None
        return next(group for group in found[-1].groups() if group).upper()
    return None


def denied(text: str, found: re.Match[str]) -> bool:
    """Whether "not", "never", "rather than", ... is directly before a match or inside its lead."""
    first = next((i for i in range(1, len(found.groups()) + 1) if found[i]), 0)
    before = text[max(0, found.start(first) - NEAR) : found.start(first)]
    return DENIED.search(re.sub(r"[\s\W]*$", " ", before)) is not None


def yes_no(answer: str, choices: Sequence[str] = ()) -> str | None:
    """`yes` or `no`."""
    return _either(answer, {"yes": "yes", "no": "no", "yeah": "yes", "nope": "no"}, first=True)


def boolean(answer: str, choices: Sequence[str] = ()) -> str | None:
    """`true` or `false`."""
    return _either(answer, {"true": "true", "false": "false"}, first=False)


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


def _either(answer: str, words: Mapping[str, str], *, first: bool) -> str | None:
    text = normal_text(answer).lower()
    any_word = rf"({'|'.join(words)})(?!'?\w)"
    for pattern in (_LEAD + r"\W*" + any_word, r"\\boxed\{\W*" + any_word):
        if found := list(re.finditer(pattern, text)):
            return _one_of(text, found[-1:], any_word, words)
    if first and (start := re.match(rf"\W*{any_word}", text)):
        return _one_of(text, [start], any_word, words)
    found = list(re.finditer(rf"(?<!\w)(?<!\w'){any_word}", text))
    return _one_of(text, found, any_word, words)


def _one_of(
    text: str, found: list[re.Match[str]], any_word: str, words: Mapping[str, str]
) -> str | None:
    """The last word found; None if it is negated, or one of two ("true/false")."""
    if not found or denied(text, found[-1]):
        return None
    both = rf"{any_word}\s*(?:/|\bor\b)\s*{any_word}"
    pair = any(m.start() <= found[-1].start(1) < m.end() for m in re.finditer(both, text))
    return None if pair else words[found[-1][1]]


def _mentioned(text: str, choices: Sequence[str]) -> str | None:
    """The choice that is mentioned last; a name inside a longer name does not count."""
    spots = []
    for one in choices:
        whole = rf"(?<!\w)(?<!\d[.,])({re.escape(one)})(?!\w)(?![.,]\d)"
        found = [m for m in re.finditer(whole, text, flags=re.I) if not denied(text, m)]
        if found:
            spots.append((found[-1].end(), len(one), one))
    if not spots:
        return None
    end, _, chosen = max(spots)
    before = text[: end - len(chosen)]
    if re.search(rf"(?<!\w)(?:{'|'.join(map(re.escape, choices))})\s*(?:/|\bor)\s*$", before, re.I):
        return None  # one of two
    return chosen
