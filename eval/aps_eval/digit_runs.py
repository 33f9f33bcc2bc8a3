"""Runs of digits with their separators, each as a plain number, or as none.

thousands   1,234,567  1 234 567  1'234'567  1_234  1{,}234  1\\,234  12,34,567; 1.234.567 too
decimals    3.5  .5  3,5  1.234,5; a comma before three digits marks thousands (not in 0,125)
fractions   3/4  \\frac{3}{4}  ½; mixed: 3 1/2  3½  3\\frac{1}{2}
lists       1,2,3: as it is
"""

from __future__ import annotations

import re
from fractions import Fraction

from .numeral import as_number

__all__ = ["digit_runs", "power_of"]

LONGEST = 400
"""Maximal number of characters of a run that is read as one number."""

_WESTERN = r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d?(?:,\d\d)+,\d{3}(?:\.\d+)?"
_QUOTED = r"[1-9]\d{0,2}(?:(?:'\d{3})+|(?:_\d{3})+)(?:[.,]\d+)?"
_DOTTED = r"[1-9]\d{0,2}(?:\.\d{3}){2,}(?:,\d+)?|[1-9]\d{0,2}(?:\.\d{3})+,\d+"
_PLAIN = r"\d+(?:\.\d+)?|\.\d+"
_CHUNK = re.compile(
    r"(?<![\w.^√])(?<!√[\[({])(?<!sqrt\()(?<![A-Z]-)(?!0(?:[xX][\da-fA-F]|[oObB]\d))\.?\d+(?:[.,:'_/-]\d+)*(?:[eE][-+]?\d+)?"
)
"""A run of digits with separators; not inside a word, under a root, or in another base."""


def digit_runs(text: str) -> list[tuple[int, int, str | None]]:
    """Start, end and plain number of each run of digits, digit groups and fractions joined."""
    runs = [(m.start(), m.end(), m[0]) for m in _CHUNK.finditer(text)]
    found: list[tuple[int, int, str | None]] = []
    at = 0
    while at < len(runs):
        start, end, run = runs[at]
        at += 1
        if re.fullmatch(r"[1-9]\d{0,2}", run):  # 1 234 567,8
            digits = run
            while (
                at < len(runs)
                and text[end : runs[at][0]] == " "
                and re.fullmatch(r"\d{3}", digits[-3:].rjust(3, "0"))
                and (group := re.fullmatch(r"(\d{3})([.,]\d+)?", runs[at][2]))
            ):
                digits, end = digits + group[0].replace(",", "."), runs[at][1]
                at += 1
                if group[2]:
                    break
            if digits != run:
                found.append((start, end, digits if len(digits) <= LONGEST else None))
                continue
        plain = _plain(run)
        if re.fullmatch(r"\d+,\d+", run) and re.fullmatch(
            r"[\[(][\])]", text[max(0, start - 1) : start] + text[end : end + 1]
        ):
            plain = None  # (3,4): a pair
        if re.search(r"[A-Za-z_]\d{1,3} $", text[max(0, start - 9) : start]) and len(run) == 3:
            plain = None  # of x1 000
        if (
            at < len(runs)
            and text[end : runs[at][0]] == " "
            and re.fullmatch(r"[1-9]\d{0,2}", run)
            and re.match(r"\d{3}-", runs[at][2])
        ):  # 1 000-2 000
            end = runs[at][1]
            at += 1
            while at < len(runs) and text[end : runs[at][0]] == " " and runs[at][2].isdigit():
                end = runs[at][1]
                at += 1
            found.append((start, end, None))
            continue
        if plain is not None and at < len(runs) and "," not in plain:
            between, (_, stop, after) = text[end : runs[at][0]], runs[at]
            over = re.fullmatch(r"(\d+)/(\d+)", after)
            if between == " " and run.isdigit() and over and int(over[1]) < int(over[2]):
                mixed = Fraction(int(run)) + Fraction(int(over[1]), int(over[2]))
                found.append((start, stop, f"{mixed.numerator}/{mixed.denominator}"))
                at += 1
                continue
            if re.fullmatch(r"\s+/\s*|\s*/\s+", between) and "/" not in plain:
                below = _plain(after)
                if below is not None and re.fullmatch(_PLAIN, below):
                    whole = f"{plain}/{below}"
                    plain, end = whole if as_number(whole) is not None else None, stop
                    at += 1
                while at < len(runs) and text[end : runs[at][0]].strip() == "/":  # 1 / 2 / 3
                    plain, end = None, runs[at][1]
                    at += 1
        found.append((start, end, plain))
    return found


def _plain(run: str) -> str | None:
    """A run of digits and signs as a number, `1,2,3` as it is, or None."""
    if len(run) > LONGEST:
        return None
    number, mark, power = run.partition("e") if "e" in run else run.partition("E")
    if mark:
        plain = _plain(number)
        return None if plain is None or "/" in plain or "," in plain else f"{plain}{mark}{power}"
    if re.fullmatch(_PLAIN, run):
        return run
    if re.fullmatch(_WESTERN, run):
        return run.replace(",", "")
    if re.fullmatch(_QUOTED, run):
        return re.sub("['_]", "", run).replace(",", ".")
    if re.fullmatch(_DOTTED, run):
        return run.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d+,\d+", run):
        return run.replace(",", ".")
    if over := re.fullmatch(r"([^/]+)/([^/]+)", run):
        above, below = map(_plain, over.groups())
        if (
            above
            and below
            and "," not in above + below
            and as_number(f"{above}/{below}") is not None
        ):
            return f"{above}/{below}"
        return None
    if re.fullmatch(r"\d{1,3}(?:,\d+)+", run) and re.search(r",\d{3}(?!\d)", run):
        return None  # wrong digit groups
    return run if re.fullmatch(r"\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?)+", run) else None


def power_of(plain: str, power: int) -> str | None:
    """The power in plain notation (`2^3` as 8); None if it is very long."""
    base = as_number(plain)
    if base is None or abs(power) > 100 or (base == 0 and power < 0):
        return None
    value = base**power
    size = max(value.numerator.bit_length(), value.denominator.bit_length())
    if size > 400:
        return None
    if value.denominator == 1:
        return str(value.numerator)
    return f"{value.numerator}/{value.denominator}"
