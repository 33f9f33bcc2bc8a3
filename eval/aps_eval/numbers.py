"""Numerals in running text, read by these rules:

    thousands   1,234,567  1 234 567  1'234'567  1_234  1{,}234  1\\,234  12,34,567; 1.234.567 too
    decimals    3.5  .5  3,5  1.234,5; a comma before three digits marks thousands (not in 0,125)
    fractions   3/4  \\frac{3}{4}  ½; mixed: 3 1/2  3½  3\\frac{1}{2}
    powers      2^3, 2**3 is 8; 3 x 10^8, 3e8; 5 million, 5 hundred thousand, 5 bn, 5k, 5M, 5万;
                2 dozen; one behind another multiplies too (1/2 million, 5 x 10^3 million)
    parts       1 and a half, 2 and three quarters
    signs       a dash next to the digits that does not touch a word before it, or after a sign of
                equality, a colon, `is` or a brace (= - 5); minus 5, negative 5
    units       $5  5%  5 kg  5kg  4th: the number without them
    no number   times and ratios (10:30), ranges and dates (5-10, 2026-11-28, 5/6/26), versions
                (1.2.3), digits inside a word (H2O, COVID-19, 0x1F), a number under a root, or
                followed by a root, pi, a variable (2x, 5i) or a non-integer power (5 squared);
                wrong digit groups (1,234,5); a division by zero (5/0); a period (0.(3)); a day, a
                month and a year (28 November 2026)
    denied      not 5, rather than 5, less than 5, over 5, > 5: what is beside it is meant
    a list      1,2,3: several numbers; see `number_groups` for what is stated together
    words       twenty-one, three hundred and five, two dozen, twenty-first, minus five; only if
                there are no digits, and not before or after a fraction (three quarters, one point
                five, half a million)

Powers, fractions and mixed numbers are exact; results are text (`1234.50`, `-7/2`).
"""

from __future__ import annotations

import re

from .denials import number_denied
from .digit_runs import digit_runs
from .multipliers import multiplied
from .numeral import NEAR, SIGN, Numeral

__all__ = ["numerals"]

_SIGN_WORD = re.compile(r"(?:^|[^\d)\s]\s*)\b(?:minus|negative)\s+[€£¥₹]?$", re.I)
_MONTH = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    "|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?"
)
_DATE = re.compile(
    rf"\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{_MONTH})\.?,?\s+\d{{4}}\b"
    rf"|\b(?:{_MONTH})\.?\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}\b"
)


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
        if plain is not None:
            plain, end = multiplied(plain, text, end)
        while at < len(parts) and parts[at][0] < end:  # the 10 of "x 10^3"
            at += 1
        before = text[max(0, start - NEAR) : start]
        sign = SIGN.search(before)
        minus = (sign is not None and sign[1] == "-") or _SIGN_WORD.search(before) is not None
        if plain is not None and minus:
            plain = f"-{plain}"
        found.append(Numeral(start, end, plain, number_denied(before)))
    return found
