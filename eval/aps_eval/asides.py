"""What an answer's text says beside its answer, by these rules:

a dialogue      Q: which? A: B         what is behind "A:", up to the next "Q:"
a reference     as shown in (2), by step 2, (see 2), 5 [2]: left out
an aside        The answer is, as we saw, 5: what is between the commas is left out
twice           5 (five), five (5): said once, in digits
a supposition   "If the answer is 6", "suppose (A) is right": states nothing (`supposed`)
a condition     "Only if x = 2 is it 5", "If (B) is wrong, (A)": states nothing (`conditional`)
a hedge         5, I think, or 6: what is between the commas parts no alternatives (`HEDGE`)
"""

from __future__ import annotations

import re
from bisect import bisect_right

from .numbers import numerals
from .numeral import NEAR, as_number
from .spoken_numbers import spoken_numerals

__all__ = ["HEDGE", "conditional", "of_dialogue", "said_once", "supposed", "without_references"]

HEDGE = (
    r"(?i:\s*[,(–-]\s*(?:(?:and|but)\s+)?(?:(?:I|we|you)(?:\s+|'d\s+|'m\s+)"
    r"(?:would\s+|do\s+|could\s+|might\s+|am\s+|not\s+)*"
    r"(?:think|guess|believe|suppose|assume|say|know|sure|suspect|hope)(?:\s+so)?"
    r"|(?:may|might|could)\s*be|maybe|perhaps|possibly|probably|presumably|likely|most likely"
    r"|surely|then|if not"
    r"|of course|as I said|in my opinion|to be (?:sure|fair|honest)|roughly|or so)\s*[,)–-]?)"
)
"""What may be said between an answer and "or": ", I think,"."""

_QUESTION_LABEL = r"(?:[Qq]|[Qq]uestion|Frage|Pregunta|Problem)\s*\d*\s*[:.]"
_ANSWER_LABEL = r"(?:[Aa]|Ans|[Aa]nswer|Antwort|Respuesta|Solution)\s*\d*\s*[:.)]"
_DIALOGUE = re.compile(
    rf"(?:^|\n)\W{{0,9}}{_QUESTION_LABEL}\**\s(?P<question>.*?)(?:(?<=[\s?!.*]){_ANSWER_LABEL}\**"
    rf"(?P<answer>.*?))?(?=\n\W{{0,9}}{_QUESTION_LABEL}|\Z)",
    re.S,
)
_OPTION_B = re.compile(r"(?:^|[\s(\[])B\s*[:.)\]]\s*\S")
_NEXT_QUESTION = re.compile(rf"\n\W{{0,9}}{_QUESTION_LABEL}\**\s")

_PLACES = (
    r"(?:eqs?|eqns?|equations?|steps?|lines?|tables?|figures?|figs?|sections?|rules?|theorems?|lemmas?"
    r"|rows?|columns?|problems?|questions?|examples?|formulas?|pages?|parts?|cases?|notes?"
    r"|footnotes?|chapters?|paragraphs?|statements?|facts?|hints?|refs?|nos?)\b\.?"
)
_NUMBERED = rf"(?:{_PLACES}\s*[(\[]?(?:\d+(?:\.\d+)*|[A-Za-z])[)\]]?(?![\w%]))"
_BRACKETED = r"(?:[(\[](?:\d+|[A-Za-z])[)\]])"
_SEEN = (
    r"(?:as\s+)?(?:(?:is|was|we|I|you|are|can be)\s+)?"
    r"(?:shown|seen|saw|stated|given|noted|said|derived|found|computed|explained|written|proved)"
    r"(?:\s+(?:above|before|below|already))?\s+(?:in|by|at|from|with|on|under)"
)
_REFERENCE = re.compile(
    rf"(?:[,;]\s{{0,3}}|\s{{1,3}})?\b(?:(?:{_SEEN}|as\s+in|see|see\s+also|according\s+to|compare|cf\.?)\s+(?:the\s+)?"
    rf"(?:{_NUMBERED}|{_BRACKETED})|(?:by|from|per|using|following)\s+(?:the\s+)?{_NUMBERED})"
    rf"(?:\s*(?:and|,)\s*(?:{_NUMBERED}|{_BRACKETED}))*",
    re.I,
)
_IN_BRACKETS = re.compile(
    rf"\s?[(\[]\s{{0,3}}(?:{_SEEN}|as\s+in|see|from|by|cf\.?|compare|using|per)?\s*(?:the\s+)?"
    rf"(?:{_NUMBERED}|(?<=\w\s){_BRACKETED}|(?<=see\s)\d+)\s*[)\]]",
    re.I,
)
_CITED = re.compile(r"(?<=\d)(?:\s?\[\d{1,3}(?:\s*,\s*\d{1,3})*\])+(?=\s*(?:[.,;:!?]|$|\n))")
_ASIDE = re.compile(
    r"(\banswer\s+(?:is|was|would be|will be|must be))\s*"
    r"(?:,\s*(?:as|by|from|see|in|according|per|using|given|I|we|you|of|after|based|following|when|if"
    r"|since|because|it)\b[^,\n.=]*(?:\.\d[^,\n.=]*)*,|\((?:as|by|from|see|in|according|per|using|given|I|we)\b[^()\n]*\))"
    r"\s*(?=\S)",
    re.I,
)


def of_dialogue(text: str, label: str = "", *, asked: bool = False) -> str:
    """The first answer of a dialogue, behind `label`, and if `asked` behind its question; other
    texts up to a further question.

    Where "A:" is an option (a "B:" follows), the text without its question.
    """
    found = _DIALOGUE.match(text)
    if found is None:
        further = _NEXT_QUESTION.search(text)
        return text[: further.start()] if further and text[: further.start()].strip() else text
    answer = found["answer"]
    if answer is None:
        return re.sub(rf"^\W{{0,9}}{_QUESTION_LABEL}\**", "", text)
    if _OPTION_B.search(answer):
        return text[found.end("question") : found.end()]
    question = found["question"].strip() + "\n" if asked else ""
    return question + label + answer.lstrip()


def without_references(text: str) -> str:
    """A text without asides after "the answer is" and without numbers and letters of places."""
    text = _ASIDE.sub(r"\1 ", text)
    for pattern in (_IN_BRACKETS, _REFERENCE, _CITED):
        rest = pattern.sub("", text)
        text = rest if re.search(r"\w", rest) else text
    return text


def said_once(text: str) -> str:
    """A text in which "5 (five)" and "five (5)" are 5."""
    found = list(re.finditer(r"\s?\(\s*([^()\n]{1,40}?)\s*\)", text))
    if not found:
        return text
    every = {True: spoken_numerals(text), False: numerals(text)}
    kept: list[str] = []
    done = 0  # up to here, the text is in `kept`
    for brackets in found:
        inside = brackets[1]
        digits, words = numerals(inside), spoken_numerals(inside)
        if bool(digits) == bool(words):
            continue
        mine = (digits or words)[0]
        earlier = every[bool(digits)]
        at = bisect_right(earlier, brackets.start(), key=lambda one: one.end)
        if not at or len(digits or words) > 1 or mine.text is None or mine.start:
            continue
        last = earlier[at - 1]
        if last.text is None or brackets.start() - last.end > 15:
            continue
        behind = text[last.end : brackets.start()]
        if not re.fullmatch(r"(?:\s?[A-Za-z%€£$]{1,14})?", behind):
            continue
        if as_number(last.text) != as_number(mine.text):
            continue
        said = text[last.start : last.end] if words else inside[mine.start : mine.end]
        kept += [text[done : last.start], said, behind]
        done = brackets.end()
    return "".join([*kept, text[done:]])


_SUPPOSED = re.compile(
    r"\b(?:if(?!\s+(?:I|we)\s+(?:had to|have to|must|may|were to|am\b|'m\b)|\s+asked)"
    r"|whether|unless|suppose|supposing|assume|assuming"
    r"|provided|imagine|in case|were)\b"
    r"(?![^\n]*(?:[;:!?]|,\s|\bthen\b|\.\s))[^\n]*$",
    re.I,
)


_ENDS = r"[;!?\n]|\.(?=\s|$)|\b(?:so|but|therefore|hence|thus|however)\b"
_CONDITION = re.compile(
    r"(?:(?:(?<=[.!?;:\n])|^)\W{0,9}(?:(?:so|but|and|well|hmm|now)\b,?\s*)?"
    r"only\s+(?:if|when|where|for|then|in\s+case|once|unless)\b"
    r"|(?<!even )\b(?:if|in case|unless|supposing|assuming)\b(?!\s+(?:I|we)\b)"
    r"(?:(?!\bthen\b)[^,.;:!?\n]){0,60}?(?<!not )(?<!n't )"
    r"\b(?:wrong|incorrect|false|untrue|ruled out|impossible|not (?:right|correct|true|it))\b"
    r"|(?<!even )\bif\s+(?:(?:it|that|this|the answer)\s*(?:is|was|'s)?\s*)?(?:not|isn't|wasn't)\s+"
    r"(?:option\s+)?[(\[\"']*(?:(?-i:[A-Z])|[-$]?\d[\d.,]*|yes|no|true|false)\b)"
    rf"(?:(?!{_ENDS})[^\n])*$",
    re.I,
)


def conditional(text: str, at: int) -> bool:
    """Whether what is said from `at` on holds only where something else does.

    That is a sentence of "only if", and what is behind "if ... is wrong" or "if not ...".
    """
    return _CONDITION.search(text, max(0, at - 4 * NEAR), at) is not None


def supposed(text: str, at: int) -> bool:
    """Whether what is said from `at` on is in a clause of "if", "whether" or "suppose", or
    `conditional`."""
    return conditional(text, at) or _SUPPOSED.search(text[max(0, at - 2 * NEAR) : at]) is not None
