"""The letter that an answer chooses: `the answer is (B)`, `\\boxed{B}`, `(B)`, `option B`, `B.`.

The options repeated from a question ("(A) cat (B) dog") choose none, and neither do several letters
("A, B", "both A and C", "A-C").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .answer_leads import SAID
from .asides import supposed
from .denials import DENIED, denied
from .joined_answers import OTHER
from .numeral import NEAR

__all__ = ["are_letters", "chosen_letter"]

_ASKED = re.compile(r"[)\]\"']*\?(?!\W*(?:yes|yeah|right|correct)\b)", re.I)
_LINE = r"(?:^|\n)\s*(?:[-*\u2022>#]+\s*)?[\"'*{]*"
_CAPITAL = (  # not "I don't know", "A dog"
    r"([A-HJ-Z]|I(?!\s+['a-z]))(?![\w'])(?!\s+(?!because|since|as|is|and|or\b)[a-z])"
)
_NEXT = re.compile(r"[).:].*?(?<!\w)[(\[]?B[).:]\s(?!\s*(?:is|are)\b)", re.S | re.I)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHOSEN = re.compile(
    r"\b(?:so|thus|therefore|hence|but|then|is|are|be|choose|pick|select|answer|say|with|instead|not)\b",
    re.I,
)


def are_letters(choices: Sequence[str]) -> bool:
    """Whether an answer chooses a letter: its choices are letters, in brackets or not, or none."""
    return all(re.fullmatch(r"\(?[A-Z]\)?", one) for one in choices)


def chosen_letter(text: str) -> str | None:
    """The letter `A` to `Z` that a text from `normal_text` chooses; None if it chooses none, or
    several."""
    if re.fullmatch(r"\W*[A-Z](?:\W+[A-Z])+\W*", text) and len(set(re.findall("[A-Z]", text))) > 1:
        return None  # A, B
    lead = SAID.format(
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


def _asked_or_passed(text: str, found: re.Match[str]) -> bool:
    """Whether a letter is only asked (B? No) or the one that another is preferred to (over B)."""
    at = next(i for i, group in enumerate(found.groups(), 1) if group)
    before = text[max(0, found.start(at) - NEAR) : found.start(at)]
    passed = re.search(r"\b(?:over|unlike|except)\s+(?:[Oo]ption\s+)?[(\[\"']*$", before)
    return bool(passed) or _ASKED.match(text, found.end(at)) is not None


def _several(text: str, found: re.Match[str]) -> bool:
    """Whether the letter found is one of several ("A or B", "both A and C", "A-C")."""
    at = next(i for i, group in enumerate(found.groups(), 1) if group)
    option = r"(?:[Oo]ptions?\s+)?[\"']?"
    behind = text[found.end(at) : found.end(at) + NEAR]
    if re.match(
        rf"[)\]}}\"'.]*{OTHER}{option}(?:[(\[][A-Za-z][)\]]|{_CAPITAL}(?![.]?[A-Za-z]))", behind
    ):
        return True
    before = text[max(0, found.start(at) - NEAR) : found.start(at)]
    partner = re.search(rf"(?<![\w'])([A-Za-z])([)\]]?)[\"']?{OTHER}{option}[(\[]?$", before)
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
