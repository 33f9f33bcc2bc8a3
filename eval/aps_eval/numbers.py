"""Numerals in running text, read by these rules:

    thousands   1,234,567  1 234 567  1'234'567  1_234  1{,}234  1\\,234  12,34,567; 1.234.567 too
    decimals    3.5  .5  3,5  1.234,5; a comma before three digits marks thousands (not in 0,125)
    fractions   3/4  \\frac{3}{4}  ½; mixed: 3 1/2  3½  3\\frac{1}{2}
    powers      2^3, 2**3 is 8; 3 x 10^8, 3e8; 5 million, 5 hundred thousand, 5 bn, 5k, 5M, 5万;
                2 dozen
    parts       1 and a half, 2 and three quarters
    signs       a dash next to the digits that does not touch a word before it, or after a sign of
                equality, a colon, `is` or a brace (= - 5); minus 5, negative 5
    units       $5  5%  5 kg  5kg  4th: the number without them
    no number   times and ratios (10:30), ranges and dates (5-10, 2026-11-28, 5/6/26), versions
                (1.2.3), digits inside a word (H2O, COVID-19, 0x1F), a number under a root, or
                followed by a root, pi, a variable (2x, 5i) or a non-integer power (5 squared);
                wrong digit groups (1,234,5); a division by zero (5/0); a period (0.(3)); a day, a
                month and a year (28 November 2026)
    denied      not 5, rather than 5, less than 5, > 5: what is beside it is meant
    a list      1,2,3: several numbers; see `number_groups` for what is stated together
    words       twenty-one, three hundred and five, two dozen, twenty-first, minus five; only if
                there are no digits, and not before or after a fraction (three quarters, one point
                five, half a million)

Powers, fractions and mixed numbers are exact; results are text (`1234.50`, `-7/2`).
"""

from __future__ import annotations

import re
from fractions import Fraction

from .denials import DENIED
from .digit_runs import digit_runs, power_of
from .number_words import (
    EASTERN_SCALES,
    ONES,
    OTHER_SCALES,
    PARTS,
    SCALE_LETTERS,
    SCALES,
)
from .numeral import NEAR, SIGN, Numeral, as_number

__all__ = ["numerals"]

_SIGN_WORD = re.compile(r"(?:^|[^\d)\s]\s*)\b(?:minus|negative)\s+[€£¥₹]?$", re.I)
_POWER = re.compile(r"\s?\^\s?(?:[{(]\s?([-+]?\d{1,9})\s?[)}]|([-+]?\d{1,9}))(?!\.*[\d^])")
_GOES_ON = re.compile(
    r"\s(?:thirds|fourths|fifths|sixths|sevenths|eighths|ninths|tenths|hundredths)\b|"
    r"\.?\(\d+\)|h\d|[\u0304\u0305]|\s(?:squared|cubed|factorial)\b(?!\s(?:[ck]?m|met|f[eo]{1,2}t|inch))|"
    r"\s?[})]?\s?(?:\^(?!\{?\s?\\circ)|√|π|\\(?:pi|sqrt|cdot\s*\\pi)\b)"
    r"|(?:[abijnqruvwxyz]|(?!cc)[abcijxyz]{2,4})(?![A-Za-z])"  # 2x, 5i, 3xy
)
"""What follows digits that are no number of their own: a part, a period, a power, a variable."""
_SCIENTIFIC = re.compile(r"\s?[x×*·]\s?10\s?\^\s?[{(]?([-+]?\d{1,9})(?!\d)[)}]?")
_SCALE = re.compile(
    rf"\s?\{{?\s({'|'.join([*SCALES, *OTHER_SCALES])})\b|\s?([{''.join(EASTERN_SCALES)}])", re.I
)
"""A power of ten in words behind digits (5 million, 5万)."""
_LETTER = re.compile(rf"({'|'.join(SCALE_LETTERS)})\b(?!['.-]?\w)")
"""A power of ten in letters that touch the digits (5k)."""
_DOZEN = re.compile(r"\s(?:dozens?)\b", re.I)
_BOUND = re.compile(r"(?:^|[^<>=\n-])[ \t]*[<>]\s*[$€£]?[-+]?$")
"""A strict bound; no arrow, no `>>`, no quotation mark of a line."""
_TAG = re.compile(r"</?[A-Za-z][^<>]*>\s*[$€£]?[-+]?$")
"""A tag of markup, whose bracket is no bound (<b>5)."""
_MONTH = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    "|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?"
)
_DATE = re.compile(
    rf"\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{_MONTH})\.?,?\s+\d{{4}}\b"
    rf"|\b(?:{_MONTH})\.?\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}\b"
)
_AND_PARTS = re.compile(rf"\s+and\s+(an?|one|two|three|four|five)\s+({'|'.join(PARTS)})s?\b", re.I)
"""A fraction in words behind a whole number (1 and a half)."""


def numerals(text: str) -> list[Numeral]:
    """The numerals of a text from `normal_text`, in order, including those that are no number."""
    parts = digit_runs(text)
    dates = [date.span() for date in _DATE.finditer(text)]
    date = 0
    found: list[Numeral] = []
    at = 0
    while at < len(parts):
        start, end, plain = parts[at]
        at += 1
        while date < len(dates) and dates[date][1] <= start:
            date += 1
        if date < len(dates) and dates[date][0] <= start:
            plain = None
        if plain is not None and "," in plain:  # a list
            for one in re.finditer(r"\d+(?:\.\d+)?", text[start:end]):
                found.append(Numeral(start + one.start(), start + one.end(), one[0]))
            continue
        if plain is not None and (after := _SCIENTIFIC.match(text, end)):
            plain, end = f"{plain}e{int(after[1])}", after.end()
        elif plain is not None and (after := _POWER.match(text, end)):
            plain, end = power_of(plain, int(after[1] or after[2])), after.end()
        elif _GOES_ON.match(text, end):
            plain = None
        elif plain is not None and "/" not in plain and (after := _LETTER.match(text, end)):
            plain, end = f"{plain}e{SCALE_LETTERS[after[1]]}", after.end()
        elif plain is not None and (after := _DOZEN.match(text, end)):
            count = as_number(plain)
            plain, end = None if count is None else _written(12 * count), after.end()
        elif plain is not None and (after := _AND_PARTS.match(text, end)):
            plain, end = _with_parts(plain, after), after.end()
            if _SCALE.match(text, end):
                plain = None  # 1 and a half million
        elif plain is not None and "/" not in plain:
            plain, end = _scaled(plain, text, end)
        while at < len(parts) and parts[at][0] < end:  # the 10 of "x 10^3"
            at += 1
        before = text[max(0, start - NEAR) : start]
        sign = SIGN.search(before)
        minus = (sign is not None and sign[1] == "-") or _SIGN_WORD.search(before) is not None
        if plain is not None and minus:
            plain = f"-{plain}"
        denied = DENIED.search(before) or (_BOUND.search(before) and not _TAG.search(before))
        found.append(Numeral(start, end, plain, bool(denied)))
    return found


def _scaled(plain: str, text: str, end: int) -> tuple[str, int]:
    """A number and its end, with the powers of ten that follow it in words."""
    power = 0
    while after := _SCALE.match(text, end):
        word = (after[1] or after[2]).lower()
        power += {**SCALES, **OTHER_SCALES, **EASTERN_SCALES}[word]
        end = after.end()
    return (f"{plain}e{power}" if power else plain), end


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
