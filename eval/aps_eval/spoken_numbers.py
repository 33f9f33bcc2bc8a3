"""Numbers in words: twenty-one, three hundred and five, two dozen, twenty-first, minus five.

Not before or after a part: three quarters, one point five, half a million.
"""

from __future__ import annotations

import re

from .denials import number_denied
from .number_words import NUMBER_WORDS, ONES, ORDINALS, PART_WORDS, SCALES, TENS
from .numeral import NEAR, SIGN, Numeral

__all__ = ["spoken_numerals"]

_SPOKEN = re.compile(
    rf"(?<!\w)(?<!\w-)(?<!\bno )(?:(?:minus|negative)\s+)?"
    rf"(?:a\s+(?=(?:{'|'.join(SCALES)}|dozen)\b))?"
    rf"(?:(?:{NUMBER_WORDS})\b(?:(?:\s+and\s+|\s+|-)(?=(?:{NUMBER_WORDS})\b))?)+",
    re.I,
)
_IN_PARTS = re.compile(
    rf"[\s-]*(?:and[\s-]+(?:a|an|one|two|three)[\s-]+)?(?:{PART_WORDS})\b"
    r"|\s+(?:dozens|hundreds|thousands|(?:m|b|tr)illions)\b|\s*(?:point|dot)\b",
    re.I,
)
"""What makes a number in words before it a count of parts (three quarters, one point five)."""
_OF_PARTS = re.compile(rf"\b(?:(?:point|dot)|(?:{PART_WORDS})(?:\s+of)?(?:\s+an?)?)\s+$", re.I)
"""What makes a number in words behind it a multiple of a part (half a million, point five)."""
_ORDINAL = re.compile(rf"(?:\s+|-)({'|'.join(ORDINALS)})\b", re.I)


def spoken_numerals(text: str) -> list[Numeral]:
    """The numbers in words of a text, in order; without text before a part (three quarters)."""
    found = []
    for run in _SPOKEN.finditer(text):
        for start, end in _each_spoken(text, run.start(), run.end()):
            words = text[start:end]
            value = _spoken(words)
            before = text[max(0, start - NEAR) : start]
            if value % 10 == 0 and value % 100 >= 20 and (last := _ORDINAL.match(text, end)):
                value, end = value + 1 + ORDINALS.index(last[1].lower()), last.end()
            sign = SIGN.search(before)
            minus = value and (
                re.match("minus|negative", words, re.I) or (sign is not None and sign[1] == "-")
            )
            of_parts = _IN_PARTS.match(text, end) or _OF_PARTS.search(before)
            plain = None if value >= 10**30 or of_parts else f"{'-' if minus else ''}{value}"
            found.append(Numeral(start, end, plain, number_denied(before), True))
    return found


def _each_spoken(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The places of the numbers in a run of number words ("three five", "three and five")."""
    words = [
        (word[0].lower(), start + word.start(), start + word.end())
        for word in re.finditer("[A-Za-z]+", text[start:end])
    ]
    found: list[tuple[int, int]] = []
    part, begin, before = 0, start, ""
    for at, (word, left, right) in enumerate(words):
        value = ONES.get(word, TENS.get(word))
        joins = before == "and" and at > 1 and words[at - 2][0] not in SCALES
        tens = part % 100 >= 20 and part % 10 == 0 and 0 < (value or 0) < 10
        goes_on = value is None or not part or tens or part % 100 == 0
        if found and (joins or not goes_on):
            begin, part = left, 0
            found.append((left, right))
        elif word != "and":
            found[-1:] = [(begin, right)]
        if value is not None:
            part += value
        elif word in ("hundred", "dozen"):
            part = (part or 1) * (100 if word == "hundred" else 12)
        elif word in SCALES:
            part = 0
        before = word
    return found


def _spoken(words: str) -> int:
    total = group = part = 0  # all before the group, the last group with a scale, what follows it
    for word in re.findall(r"[a-z]+", words.lower()):
        if word in ONES or word in TENS:
            value = ONES.get(word, TENS.get(word, 0))
            tens = part % 100 >= 20 and part % 10 == 0 and 0 < value < 10
            part = part + value if part == 0 or tens or part % 100 == 0 else value
        elif word in ("dozen", *SCALES):
            times = 12 if word == "dozen" else 10 ** SCALES[word]
            if group and not part:  # five thousand million
                group *= times
            elif word in ("hundred", "dozen"):
                part = (part or 1) * times
            else:
                total, group, part = total + group, (part or 1) * times, 0
    return total + group + part
