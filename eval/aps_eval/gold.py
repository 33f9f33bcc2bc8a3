"""Gold answers: what an extracted answer is compared with, and whether it can be found at all.

letters   (A) is A; "C) cat" is C, or the third of the options if these are words
numbers   by their value: 5.0 is 5, 7/2 is 3.5; a text states one, or says which is the answer
truth     true and yes are one, by the name that the extraction gives it
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from .items import Item
from .letters import are_letters
from .metrics import same_answer
from .normal_text import normal_text
from .number_groups import statements
from .numeral import as_number
from .stated_number import number

__all__ = ["agree", "equal", "gold_number", "readable_gold"]

_Finder = Callable[[Sequence[str], Sequence[str]], tuple[list[str], str]]
"""Of gold answers and choices: those that an extraction finds, by its names, and what it finds."""


def agree(found: str, gold: str) -> bool:
    """Whether an extracted answer is a gold answer: the same letter, text or number."""
    if same_answer(_bare(found), _bare(gold)):
        return True
    values = _value(found), _value(gold)
    return values[0] is not None and values[1] is not None and equal(values[0], values[1])


def _value(text: str) -> Fraction | None:
    """The number that is the whole text, without its sign of currency or per cent."""
    alone = re.fullmatch(r"[^\w]*\d[\d.,' /eE+-]*[^\w]*", text)
    return as_number(number(text) or "") if alone else None


def gold_number(gold: str) -> str | None:
    """The number of a gold text; None if it has several and does not say which is the answer."""
    stated = sum(one.text is not None or one.undecided for one in statements(normal_text(gold)))
    said = re.search(r"####|\\boxed|\banswer\b", gold, re.I)
    return number(gold) if said or stated == 1 or as_number(gold) is not None else None


def equal(one: Fraction, other: Fraction) -> bool:
    """Integers exactly, others within rounding."""
    if one.denominator == other.denominator == 1:
        return one == other
    return abs(one - other) <= max(Fraction(1), abs(other)) / 10**9


def readable_gold(how: Any, names: Iterable[str], item: Item) -> list[str]:
    """The gold answers, and those among them that the extraction `how` finds under another name.

    For `accuracy`: true and false are yes and no to `yes_no`, and vice versa to `boolean`; "C) cat"
    is C to `choice`, and C the third of the options if these are words.

    Raises:
        ValueError: none of them is what the extraction can find, so that no answer would be right.
    """
    gold = list(item.gold)
    if "accuracy" not in names or not gold or not isinstance(how, str) or how not in _FINDERS:
        return gold
    found, wanted = _FINDERS[how](gold, item.choices)
    if not found:
        raise ValueError(
            f"accuracy: `extract: {how}` finds {wanted}, never a gold answer of {gold}; write the "
            "gold answers so, or extract otherwise"
        )
    return [*gold, *(one for one in found if one not in gold)]


_TRUTH = {
    **dict.fromkeys(("yes", "true", "y"), True),
    **dict.fromkeys(("no", "false", "n"), False),
}


def _truth(true: str, false: str) -> _Finder:
    """The finder of an extraction that says `true` or `false`."""

    def found(gold: Sequence[str], choices: Sequence[str]) -> tuple[list[str], str]:
        values = [_TRUTH[one] for one in map(_plain, gold) if one in _TRUTH]
        return [true if value else false for value in values], f"{true} or {false}"

    return found


def _one_of(gold: Sequence[str], choices: Sequence[str]) -> tuple[list[str], str]:
    """A letter, or one of `choices` if these are words."""
    letters = are_letters(choices)
    found = []
    for one in gold:
        known = [option for option in choices if same_answer(_bare(option), _bare(one))]
        letter = re.fullmatch(r"\W*([A-Za-z])(?:\W*|[).:]+\s.*)", one.strip(), re.S)
        at = ord(letter[1].upper()) - ord("A") if letter else len(choices)
        if known:
            found.append(known[0])
        elif letters and letter:
            found.append(letter[1].upper())
        elif not letters and at < len(choices):
            found.append(choices[at])
    return found, "a letter" if letters else f"one of {', '.join(map(repr, choices[:9]))}"


_FINDERS: dict[str, _Finder] = {
    "yes_no": _truth("yes", "no"),
    "boolean": _truth("true", "false"),
    "choice": _one_of,
}


def _plain(text: str) -> str:
    return text.strip().strip(".!\"'()").lower()


def _bare(text: str) -> str:
    """A letter without its brackets and in upper case; any other text with composed characters."""
    letter = re.fullmatch(r"\(?([A-Za-z])\)?[.]?", text.strip())  # "(A)" is not the article "a"
    return letter[1].upper() if letter else unicodedata.normalize("NFC", text)
