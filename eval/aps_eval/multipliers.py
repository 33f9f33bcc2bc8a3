"""What multiplies a run of digits: powers, powers of ten in words and letters, dozens, and parts.

powers      2^3, 2**3 is 8; 3 x 10^8; 5 million, 5 hundred thousand, 5 bn, 5k, 5M, 5万; 2 dozen
parts       1 and a half, 2 and three quarters
chains      5 x 10^3 million, 1/2 million, 1 and a half dozen, 2 dozen million: the product
"""

from __future__ import annotations

import re
from fractions import Fraction

from .digit_runs import power_of
from .number_words import EASTERN_SCALES, ONES, OTHER_SCALES, PARTS, SCALE_LETTERS, SCALES
from .numeral import as_number

__all__ = ["multiplied"]

_POWER = re.compile(r"\s?\^\s?(?:[{(]\s?([-+]?\d{1,9})\s?[)}]|([-+]?\d{1,9}))(?!\.*[\d^])")
_GOES_ON = re.compile(
    r"[\s-](?:thirds|fourths|fifths|sixths|sevenths|eighths|ninths|tenths|elevenths|twelfths"
    r"|\w+(?:teenths|tieths|redths|sandths|lionths))\b|"
    r"\.?\(\d+\)|h\d|[\u0304\u0305]|\s(?:squared|cubed|factorial)\b(?!\s(?:[ck]?m|met|f[eo]{1,2}t|inch))|"
    r"\s?[})]?\s?(?:\^(?!\{?\s?\\circ)|√|π|\\(?:pi|sqrt|cdot\s*\\pi)\b)"
    r"|(?:[abijnqruvwxyz]|(?!cc)[abcijxyz]{2,4})(?![A-Za-z])"  # 2x, 5i, 3xy
)
"""What follows digits that are no number of their own: a part, a period, a power, a variable."""
_SCIENTIFIC = re.compile(r"\s?[x×*·]\s?10\s?\^\s?[{(]?([-+]?\d{1,9})(?!\d)[)}]?")
_SCALE = re.compile(
    rf"\s?\{{?[\s-]({'|'.join([*SCALES, *OTHER_SCALES])})\b|\s?([{''.join(EASTERN_SCALES)}])", re.I
)
"""A power of ten in words behind digits (5 million, 5万)."""
_LETTER = re.compile(rf"({'|'.join(SCALE_LETTERS)})\b(?!['.-]?\w)")
"""A power of ten in letters that touch the digits (5k)."""
_DOZEN = re.compile(r"[\s-]dozens?\b", re.I)
_AND_PARTS = re.compile(rf"\s+and\s+(an?|one|two|three|four|five)\s+({'|'.join(PARTS)})s?\b", re.I)
"""A fraction in words behind a whole number (1 and a half)."""
_OF = re.compile(r"\s+of\b", re.I)


def multiplied(plain: str, text: str, end: int) -> tuple[str | None, int]:
    """A run of digits that ends at `end` of the text, times all that multiplies it behind.

    Returns the product in plain notation, None if there is no number of its own (`2x`, `5 million
    and a half`), and where it ends.
    """
    number: str | None = plain
    if after := _SCIENTIFIC.match(text, end):
        number, end = _times(plain, int(after[1]), 0), after.end()
    elif after := _POWER.match(text, end):
        number, end = power_of(plain, int(after[1] or after[2])), after.end()
        if (letter := _LETTER.match(text, end)) and letter[1] != "K":  # 2^3k; no kelvin
            number = None
    elif _GOES_ON.match(text, end):
        return None, end
    elif after := _LETTER.match(text, end):
        number, end = _times(plain, SCALE_LETTERS[after[1]], 0), after.end()
    elif after := _AND_PARTS.match(text, end):
        number, end = _with_parts(plain, after), after.end()
    start, power, dozens = end, 0, 0
    while True:
        if after := _SCALE.match(text, end):
            word = (after[1] or after[2]).lower()
            power += {**SCALES, **OTHER_SCALES, **EASTERN_SCALES}[word]
        elif after := _DOZEN.match(text, end):
            dozens += 1
        else:
            break
        end = after.end()
    if end > start and number is not None:
        number = _times(number, power, dozens)
    parts = _AND_PARTS.match(text, end)
    if _GOES_ON.match(text, end) or (parts and not _OF.match(text, parts.end())):
        number = None
    return number, end


def _times(plain: str, power: int, dozens: int) -> str | None:
    """A number times a power of ten and of twelve, exactly; digits and a power stay as written."""
    digits, _, own = plain.lower().partition("e")
    if "/" not in plain and not dozens:
        return f"{digits}e{int(own or 0) + power}"
    value = as_number(plain)
    if value is None or abs(power) > 400:
        return None
    return _written(value * Fraction(10) ** power * 12**dozens)


def _with_parts(plain: str, parts: re.Match[str]) -> str | None:
    """A whole number and a fraction in words; None for any other number before it."""
    if not plain.isdigit():
        return None
    count = ONES.get(parts[1].lower(), 1)
    return _written(int(plain) + Fraction(count, PARTS[parts[2].lower().removesuffix("s")]))


def _written(value: Fraction) -> str:
    return (
        str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
    )
