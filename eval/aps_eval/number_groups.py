"""What a text states in numbers: single numbers, and numbers that belong together.

    tolerance     5±1, 5 kg +/- 1 kg, 5 plus or minus 1: the first number
    range         3 to 5, between 3 and 5, 5%-10%, $5 - $10, 3 < x < 5     undecided
    alternatives  5 or 6, 5 kg or 6 kg, 5 vs 6                              undecided
    list          1,2,3  1, 2 and 3  5 and 6                                undecided
    expression    2+3, 10 - 3, 2 * x, 2(3), (2)(3), 2 plus 3, 5 out of 6          undecided
    measure       1 hour 30 minutes, 6 ft 2 in, 5 dollars and 30 cents      undecided

Numbers in words are read by the same rules (`three or four`). An undecided group has no text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from .asides import HEDGE
from .numbers import numerals
from .numeral import NEAR, Numeral
from .spoken_numbers import spoken_numerals

__all__ = ["Statement", "spoken_statement", "statements"]


@dataclass(frozen=True)
class Statement(Numeral):
    """A number, or several that belong together.

    Attributes:
        undecided: whether it names several numbers, none of which is meant alone.
        expression: whether these are joined by an operator, so that a result may follow.
    """

    undecided: bool = False
    expression: bool = False


_MEASURE = (
    r"percent|per cent|degrees?|dollars?|euros?|pounds?|cents?|seconds?|minutes?|hours?|days?"
    r"|weeks?|months?|years?|meters?|metres?|feet|inches|miles|[kcmu]?[mgslL]|km/h|kg|lbs?|ft|st|nd|rd|th"
)
_SYMBOL = rf"(?:\s?(?:%|°\s?[CF]?|[€£¥₹$])|\s?(?:{_MEASURE})\b)?"
_NO_UNIT = (
    r"(?!(?:but|and|or|not|so|then|is|are|was|were|to|of|we|in|with|for|from|than|by|because|since|if"
    r"|as|has|have|gives?|makes?|equals?|that|which|left|gets?|at|on)\b)"
)
_WORD = rf"(?:\s?(?:%|°\s?[CF]?|[€£¥₹$])|\s?{_NO_UNIT}[A-Za-z]{{1,14}}\.?(?:\^?\d)?)?"
_GUESS = r"(?:(?:maybe|perhaps|even|possibly|probably|about|around|roughly|at (?:most|least))\s+)?"
_OPEN = r"\s*(?:[A-Za-z]\s?=)?\s*[(\[{]?\s*[$€£¥₹~≈]?\s?[-+]?\s?[$€£¥₹]?(?:(?:minus|negative)\s+)?"
_TO = r"(?:-+|~|\.\.+|…|(?:up )?to\b|through\b|thru\b|until\b|till\b)"

_TOLERANCE = re.compile(
    rf"{_WORD}\s*[(,]?\s*(?:±|\+\s?/?\s?-|plus(?: or |/)minus\b|give or take\b)\s*[$€£¥₹]?", re.I
)
_ALTERNATIVE = re.compile(
    rf"{_WORD}[)\]]*{HEDGE}?\s*[,;(]?\s*\b(?:and/or|or|vs\.?|versus)\s*{_GUESS}{_OPEN}", re.I
)
_RANGE = re.compile(rf"{_SYMBOL}\s*[,(]?\s*{_TO}\s*{_GUESS}{_OPEN}", re.I)
_SAME_UNIT = re.compile(rf"\s?([A-Za-z]+)\s*{_TO}{_OPEN}", re.I)
_BETWEEN = re.compile(
    rf"{_WORD}(?:\s\w+)?[)\]]*\s*(?:\band\b|\bor\b|,|{_TO})\s*{_GUESS}{_OPEN}", re.I
)
_AFTER_BETWEEN = re.compile(r"\bbetween\s+\W*$", re.I)
_OPERATOR = re.compile(
    rf"{_WORD}\s*[)\]}}]*\s*(?:[-+*×·÷/^]|\*\*|\b(?:plus|minus|times)\b)\s*{_OPEN}"
    rf"|\s?(?:%|percent|per cent)?\s*[)\]]*\s*(?:x|mod|(?:more|less|fewer|greater) than"
    rf"|(?:raised )?to the (?:power|exponent)(?: of)?"
    rf"|(?:out )?of(?: the)?|over|by|(?:multiplied|divided) by)\s+{_OPEN}"
    rf"|\s*[)\]]\s*[(\[]\s*[-+]?",
    re.I,
)
_TIMES = re.compile(r"[A-Za-z]?\(\s*[-+]?|\)")
"""A bracket that touches both of its factors, 2(3) or (2)3."""
_FACTOR = re.compile(r"[\s\d.,+*/^×·÷√-]*(?:[a-z][\s\d.,+*/^×·÷√-]+)*\)")
"""What may follow the first number of a factor in brackets."""
_SMALLER = (  # a measure in two units: the larger, the smaller
    (r"h(?:ou)?rs?|h", r"m(?:in(?:ute)?s?)?"),
    (r"m(?:in(?:ute)?s?)?", r"s(?:ec(?:ond)?s?)?"),
    (r"days?", r"h(?:(?:ou)?rs?)?"),
    (r"weeks?", r"days?"),
    (r"months?", r"weeks?|days?"),
    (r"years?|yrs?", r"months?|weeks?|days?"),
    (r"f(?:ee|oo)?t|'", r"in(?:ch(?:es)?)?|\""),
    (r"yards?", r"f(?:ee|oo)?t"),
    (r"km|kilomet(?:er|re)s?", r"m(?:et(?:er|re)s?)?"),
    (r"m|met(?:er|re)s?", r"cm|centimet(?:er|re)s?"),
    (r"kg|kilograms?", r"g(?:rams?)?"),
    (r"lbs?|pounds?", r"oz|ounces?|pence"),
    (r"dollars?|euros?", r"cents?"),
)
_MEASURED = [
    (
        re.compile(rf"\s?(?:{large})\.?\s*(?:,|and|&|,\s*and)?\s*", re.I),
        re.compile(rf"\s?(?:{small})(?!\w)", re.I),
    )
    for large, small in _SMALLER
]
_ORDERED = re.compile(r"\s*[<>≤≥]\s*(?:[A-Za-z]\s*[<>≤≥]\s*)?[-+]?")
_LIST = re.compile(rf"\s*(?:[,;&]\s*(?:and\b|or\b)?|\band\b)\s*{_OPEN}", re.I)
_OPENING = re.compile(
    r"\b(?:in|on|at|by|since|until|after|before|during|day|step|year|week|round|case|question|item"
    r"|page|part|line)\s+(?:[A-Za-z]+\s+)?$|[\d)\]}%]\s*=\s*[$€£¥₹]?[-+]?$",
    re.I,
)
_WITH_LETTER = re.compile(
    r"\s?[-+*×·/^]\s?(?:[b-hj-zπ√])(?![\w'])|\((?:\s*[-+]?\d|\s*[a-z]\s*[-+*/^)])|\s?±"
)
_LETTER_WITH = re.compile(r"(?<![\w'])[b-hj-zπ√]\s?[-+*×·/^]\s?$|[)\]}]\s?[*×·/]\s?$|±\s?$")


def statements(text: str) -> list[Statement]:
    """What a text from `normal_text` states, in order; numbers in words only without digits."""
    digits = numerals(text)
    words = [one for one in spoken_numerals(text) if not _overlaps(digits, one)]
    groups: list[list[Numeral]] = []
    kinds: list[set[str]] = []
    for one in sorted([*digits, *words], key=lambda n: n.start):
        kind = _joined(text, groups[-1], one) if groups else ""
        if kind:
            groups[-1].append(one)
            kinds[-1].add(kind)
        else:
            groups.append([one])
            kinds.append(set())
    return [
        _stated(text, group, kind)
        for group, kind in zip(groups, kinds, strict=True)
        if not digits or not all(one.in_words for one in group)
    ]


def spoken_statement(text: str) -> Statement | None:
    """What the first number words of a text state; None if it has none."""
    found = spoken_numerals(text)
    if not found:
        return None
    group, kinds = found[:1], set()
    while len(group) < len(found) and (kind := _joined(text, group, found[len(group)])):
        group.append(found[len(group)])
        kinds.add(kind)
    return _stated(text, group, kinds)


def _overlaps(digits: Sequence[Numeral], one: Numeral) -> bool:
    """Whether number words are part of one of the numerals, which are in order (5 million)."""
    at = bisect_right(digits, one.start, key=lambda n: n.end)
    return at < len(digits) and digits[at].start < one.end


def _stated(text: str, group: Sequence[Numeral], kinds: AbstractSet[str]) -> Statement:
    first, last = group[0], group[-1]
    whole = Statement(first.start, last.end, first.text, first.denied)
    if kinds <= {"tolerance"}:
        behind = _WITH_LETTER.match(text, last.end)
        before = _LETTER_WITH.search(text[max(0, first.start - NEAR) : first.start])
        if first.text is not None and (behind or before):
            return replace(whole, text=None, undecided=True, expression=True)
        return replace(whole, undecided=first.text is None and first.in_words)
    several = any(one.text is not None for one in group)
    return replace(whole, text=None, undecided=several, expression="expression" in kinds)


def _joined(text: str, group: Sequence[Numeral], other: Numeral) -> str:
    """How a number belongs to those directly before it; empty if it does not."""
    one = group[-1]
    start = other.start
    if other.in_words and (minus := re.match(r"minus\s+", text[start : start + NEAR], re.I)):
        start += minus.end()
    between = text[one.end : start]
    if len(between) > NEAR or "\n" in between:
        return ""
    if not between:
        return "list" if one.text is not None and other.text is not None else ""
    before = text[max(0, one.start - NEAR) : one.start]
    if _TOLERANCE.fullmatch(between):
        return "tolerance"
    if _ALTERNATIVE.fullmatch(between) or _RANGE.fullmatch(between) or _ORDERED.fullmatch(between):
        return "range"
    behind = text[other.end : other.end + NEAR]
    if any(large.fullmatch(between) and small.match(behind) for large, small in _MEASURED):
        return "list"
    if one.in_words and other.in_words and between in (" ", "-"):
        return "list"  # nineteen eighty-four
    if (unit := _SAME_UNIT.fullmatch(between)) and re.match(rf"\s?{unit[1]}\b", behind, re.I):
        return "range"
    if _AFTER_BETWEEN.search(before) and _BETWEEN.fullmatch(between):
        return "range"
    if one.in_words != other.in_words:
        return ""
    if _OPERATOR.fullmatch(between):
        return "expression"
    if _TIMES.fullmatch(between) and (
        _FACTOR.match(behind) if between != ")" else re.search(r"(?:^|\W)\(\s*[-+]?$", before)
    ):
        return "expression"
    if one.text is None or other.text is None or not _LIST.fullmatch(between):
        return ""
    if len(group) == 1 and re.match(r"\s*,\s", between) and _OPENING.search(before):
        return ""  # In 2020, 100 people
    return "list"
