"""A number found in a text, and the exact value of what it is written as."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["NEAR", "SIGN", "Numeral", "as_number"]

NEAR = 60
"""Maximal number of characters before a number in which a sign or negation is looked for."""
SIGN = re.compile(r"(?:^|[^\w)\]%.}])([-+])[€£¥₹]?$")
"""A sign that touches the number behind it."""


@dataclass(frozen=True)
class Numeral:
    """A run of digits in a text.

    Attributes:
        start, end: its place in the text.
        text: the number in plain notation; None if it is not a number (a time, a range, a date).
        denied: whether it is negated ("not 5", "rather than 5").
        in_words: whether it is spelled out.
    """

    start: int
    end: int
    text: str | None
    denied: bool = False
    in_words: bool = False


def as_number(text: str) -> Fraction | None:
    """The exact value of a number as text: `1,234.5`, `-3`, `3/4`, `2e6`; None for anything else,
    and for powers of ten above 400."""
    plain = text.replace(",", "").replace(" ", "")
    match = re.fullmatch(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE]([-+]?\d+)|/\d+(?:\.\d+)?)?", plain)
    if match is None or abs(int(match[1] or 0)) > 400:
        return None
    above, _, below = plain.partition("/")
    try:
        return Fraction(above) / Fraction(below or 1)
    except (ValueError, ZeroDivisionError):
        return None
