"""The allowed values of a setting: a specification beside each field, and its check.

    steps: int = number(16, low=1, whole=True)
    schedule: str = choice("linear", "cosine")

`check_fields` in a record's `__post_init__` applies them. Errors name the setting, the value and
what is allowed. Any real number is accepted (numpy's too) and stored as `int` or `float`.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from dataclasses import dataclass
from typing import Any

__all__ = [
    "MOST",
    "SEEDS",
    "Choice",
    "Number",
    "Switch",
    "check_fields",
    "check_number",
    "choice",
    "flat_name",
    "number",
    "switch",
]

MOST = 1e9
"""The upper limit of a setting that has no other: float32 squares it without overflow."""

SEEDS = (0, 2**63 - 1, True)
"""What a seed may be, for `check_number`."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A finite number.

    Attributes:
        low, high: the range; `above` leaves `low` itself out.
        least: numbers nearer to 0 than this are refused, since something is divided by them.
        whole: an integer.
        optional: None is allowed.
        words: allowed in place of a number.
        instead: what a value of another type should be given as, for the message.
    """

    low: float = 0
    high: float = MOST
    above: bool = False
    least: float = 0
    whole: bool = False
    optional: bool = False
    words: tuple[str, ...] = ()
    instead: str = ""

    def check(self, name: str, value: Any) -> Any:
        """The value as `int`, `float`, None or a word.

        Raises:
            TypeError: not a number, or not an integer.
            ValueError: outside the range, or no such word.
        """
        if value is None and self.optional:
            return None
        if isinstance(value, str) and self.words:
            if value not in self.words:
                words = " or ".join(map(repr, self.words))
                raise ValueError(f"{name} is {words}, or a number; got {value!r}")
            return value
        kind = numbers.Integral if self.whole else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            kinds = "an integer" if self.whole else "a number"
            raise TypeError(
                "; ".join(filter(None, [f"{name} is {kinds}, got {value!r}", self.instead]))
            )
        found = int(value) if isinstance(value, numbers.Integral) else float(value)
        try:
            inside = math.isfinite(found) and self.low <= found <= self.high
        except OverflowError:  # an integer too large for a float
            inside = False
        if not inside or (self.above and found == self.low):
            bits = found.bit_length() if isinstance(found, int) else 0
            shown = f"an integer of {bits} bits" if bits > 64 else repr(value)
            raise ValueError(f"{name} must be {self}, got {shown}")
        if found != 0 and abs(found) < self.least:
            raise ValueError(f"{name} is at least {self.least:g} if not 0, got {value!r}")
        return found

    def __str__(self) -> str:
        """The range in words."""
        low = f"{'>' if self.above else '>='} {_short(self.low)}"
        return low if self.high == math.inf else f"{low} and <= {_short(self.high)}"


@dataclass(frozen=True)
class Choice:
    """One of some names."""

    names: tuple[str, ...]

    def check(self, name: str, value: Any) -> Any:
        """The value; raises `ValueError` unless it is one of the names."""
        if not isinstance(value, str) or value not in self.names:
            raise ValueError(f"{name} is one of {', '.join(self.names)}; got {value!r}")
        return value


@dataclass(frozen=True)
class Switch:
    """True or False."""

    def check(self, name: str, value: Any) -> Any:
        """The value; raises `TypeError` for anything else."""
        if not isinstance(value, bool):
            raise TypeError(f"{name} is True or False, got {value!r}")
        return value


def number(default: Any, low: float = 0, high: float = MOST, *, flat: str = "", **kind: Any) -> Any:
    """A field that takes a `Number`; `flat` is its name as a keyword where that differs."""
    return _field(default, Number(low=low, high=high, **kind), flat)


def choice(default: str, *others: str, flat: str = "") -> Any:
    """A field that takes one of these names; the first is the default."""
    return _field(default, Choice((default, *others)), flat)


def switch(default: bool, *, flat: str = "") -> Any:
    """A field that takes True or False."""
    return _field(default, Switch(), flat)


def _field(default: Any, takes: Any, flat: str) -> Any:
    return dataclasses.field(default=default, metadata={"takes": takes, "flat": flat})


def flat_name(field: dataclasses.Field[Any]) -> str:
    """A field's name as a keyword."""
    return field.metadata.get("flat") or field.name


def check_fields(record: Any) -> None:
    """Check every specified field of a frozen record, and store numbers as `int` or `float`.

    Raises:
        ValueError, TypeError: naming the setting, the value and what it takes.
    """
    for field in dataclasses.fields(record):
        if "takes" in field.metadata:
            value = getattr(record, field.name)
            checked = field.metadata["takes"].check(flat_name(field), value)
            if checked is not value:
                object.__setattr__(record, field.name, checked)


def check_number(
    name: str, value: Any, limits: tuple[float, float, bool], *, whole: bool = False
) -> None:
    """Raise unless `value` is a finite number (an int if `whole`) within `limits`.

    Args:
        limits: (low, high, low itself is allowed).

    Raises:
        TypeError: not a number, or not an integer.
        ValueError: outside the range; the message has the range.
    """
    low, high, closed = limits
    Number(low=low, high=high, above=not closed, whole=whole).check(name, value)


def _short(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e6 or value in (1e6, MOST) else str(int(value))
