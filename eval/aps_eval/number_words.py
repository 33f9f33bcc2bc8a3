"""The words that numbers are spelled with, and their values."""

from __future__ import annotations

__all__ = [
    "EASTERN_SCALES",
    "NUMBER_WORDS",
    "ONES",
    "ORDINALS",
    "OTHER_SCALES",
    "PARTS",
    "PART_WORDS",
    "SCALES",
    "SCALE_LETTERS",
    "TENS",
]

ONES = {
    **{"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7},
    **{"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13},
    **{"fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18},
    "nineteen": 19,
}
TENS = {
    **{"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50},
    **{"sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90},
}
SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
NUMBER_WORDS = "|".join([*ONES, *TENS, *SCALES, "dozen"])
OTHER_SCALES = {
    **{"lakh": 5, "lakhs": 5, "crore": 7, "crores": 7, "mn": 6, "mln": 6, "mio": 6, "bn": 9},
    **{"bln": 9, "tn": 12, "hundreds": 2, "thousands": 3, "millions": 6, "billions": 9},
    **{"trillions": 12, "millionen": 6, "millones": 6, "milliarde": 9, "milliarden": 9},
    **{"milliard": 9, "milliards": 9, "billionen": 12},
}
"""Powers of ten by other names, behind digits only."""
EASTERN_SCALES = {"千": 3, "万": 4, "萬": 4, "만": 4, "億": 8, "亿": 8, "억": 8}
SCALE_LETTERS = {"k": 3, "K": 3, "M": 6, "mn": 6, "B": 9, "bn": 9}
"""Powers of ten in letters that touch the digits (5k)."""
PART_WORDS = (
    r"hal(?:f|ves)|quarters?|thirds?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?"
    r"|elevenths?|twelfths?|\w+(?:teenth|tieth)s?|hundredths?|thousandths?|millionths?"
)
"""A pattern of the names of parts (three quarters)."""
PARTS = {
    **{"half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6},
    **{"seventh": 7, "eighth": 8, "ninth": 9},
    **{"tenth": 10, "hundredth": 100, "thousandth": 1000, "millionth": 10**6},
}
ORDINALS = [
    *["first", "second", "third", "fourth", "fifth"],
    *["sixth", "seventh", "eighth", "ninth"],
]
"""In the order of the digits 1 to 9."""
