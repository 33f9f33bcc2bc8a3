"""The one of several words or names that an answer chooses: behind "the answer is", or the last."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .answer_leads import BEHIND, LEAD, clause
from .asides import HEDGE, conditional, supposed
from .denials import denied
from .joined_answers import OTHER
from .numeral import NEAR

__all__ = ["chosen_name"]

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


def chosen_name(text: str, choices: Sequence[str]) -> str | None:
    """The choice that is mentioned first after "the answer is", else the one mentioned last; a name
    inside a longer name does not count."""
    for lead in reversed(list(re.finditer(LEAD, text, flags=re.I))):
        said = clause(text[lead.start() : lead.end() + BEHIND].split("\n")[0])
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


def _chosen(text: str, choices: Sequence[str], *, first: bool) -> str | None:
    """The first or last choice that is mentioned and not denied; None if it is one of several."""
    every = _mentions(text, choices)
    no = [
        denied(text, found)
        or conditional(text, found.start())
        or _NO.search(text[max(0, found.start() - NEAR) : found.start()]) is not None
        for found, _ in every
    ]
    for one in range(len(every) - 1):
        between = text[every[one][0].end() : every[one + 1][0].start()]
        no[one + 1] = no[one + 1] or _DENIES_BOTH.search(between[-BEHIND:]) is not None
    affirmed = [at for at, denial in enumerate(no) if not denial]
    if not affirmed:
        return None
    at = affirmed[0 if first else -1]
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
        if not apart and re.fullmatch(rf"[\"')]*{OTHER}(?:(?:an?|the)\s+)?[\"'(]*", between, re.I):
            return None
    return every[at][1]
