"""Conversion of record fields to text, the same for questions, gold answers, columns and names.

    text, numbers    a number in plain notation: 5.0 is `5`, a Decimal without its exponent
    true, false      `true`, `false`
    dates            as ISO 8601
    lists            of any of these (gold answers, choices), arrays too
    chat messages    a list of {role, content}, or one; also written in a cell as JSON or Python

Anything else raises a `FieldError` that names the value: null, NaN, an empty text, bytes, an
object, a lone surrogate. No value becomes the text "None", "nan" or a Python repr.
"""

from __future__ import annotations

import ast
import datetime
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

__all__ = ["FieldError", "as_column", "as_messages", "as_text", "as_texts"]

ROLES = ("system", "user", "assistant", "tool")


class FieldError(ValueError):
    """A field whose value cannot be used; its record becomes a failed item."""


def as_text(value: Any, name: str) -> str:
    """The field's value as one text.

    Raises:
        FieldError: see the module.
    """
    value = _plain(value)
    if value is None:
        raise FieldError(f"the field {name!r} is null")
    if isinstance(value, float) and not math.isfinite(value):
        raise FieldError(f"the field {name!r} is {'NaN' if math.isnan(value) else 'infinite'}")
    if isinstance(value, str):
        if not value.strip():
            raise FieldError(f"the field {name!r} is empty")
        if lone := next((c for c in value if "\ud800" <= c <= "\udfff"), None):
            raise FieldError(f"the field {name!r} has a lone surrogate, U+{ord(lone):04X}")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, Decimal):
        return _decimal(value, name)
    if isinstance(value, int | float | Fraction):
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise FieldError(
        f"the field {name!r} holds {_kind(value)} and no text ({value!r:.60}); name a text field"
    )


def as_texts(value: Any, name: str) -> list[str]:
    """The field's value as a list of at least one text.

    Raises:
        FieldError: see the module.
    """
    value = _plain(value)
    if not isinstance(value, list | tuple):
        return [as_text(value, name)]
    if not value:
        raise FieldError(f"the field {name!r} is an empty list")
    return [as_text(one, name) for one in value]


def as_messages(value: Any, name: str) -> list[dict[str, str]] | None:
    """The field's value as chat messages; None if it is something else.

    Raises:
        FieldError: messages without a role or a text.
    """
    value = _plain(value)
    if isinstance(value, str):
        value = _written(value)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple) or not value:
        return None
    if not all(isinstance(one, Mapping) for one in value):
        return None
    found = []
    for number, one in enumerate(value, 1):
        if "role" not in one or "content" not in one:
            raise FieldError(
                f"the field {name!r} holds objects with {', '.join(map(str, one))}; chat messages "
                "have `role` and `content`"
            )
        if one["role"] not in ROLES:
            raise FieldError(
                f"message {number} of the field {name!r} has the role {one['role']!r}; roles are "
                f"{', '.join(ROLES)}"
            )
        content = _plain(one["content"])
        if isinstance(content, list):  # OpenAI's parts
            if not all(isinstance(p, Mapping) and p.get("type") == "text" for p in content):
                raise FieldError(f"message {number} of the field {name!r} is not all text")
            content = "\n".join(as_text(part.get("text"), name) for part in content)
        found.append({"role": str(one["role"]), "content": as_text(content, name)})
    return found


def as_column(value: Any, name: str) -> Any:
    """The field's value as a reward gets it: a JSON value; NaN becomes None.

    Raises:
        FieldError: bytes, a lone surrogate, or a value that JSON cannot represent.
    """
    value = _plain(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str | bool | int | float):
        return as_text(value, name) if isinstance(value, str) and value.strip() else value
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): as_column(one, name) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_column(one, name) for one in value]
    raise FieldError(f"the field {name!r} holds {_kind(value)}, which no reward can be given")


def _plain(value: Any) -> Any:
    """Arrays and their scalars as Python values; missing values as None."""
    if type(value).__module__.partition(".")[0] in ("numpy", "pandas", "pyarrow", "torch"):
        if type(value).__name__ in ("NAType", "NaTType"):
            return None
        for name in ("tolist", "as_py", "to_pydatetime"):
            if hasattr(value, name):
                return getattr(value, name)()
    return value


def _decimal(value: Decimal, name: str) -> str:
    if not value.is_finite():
        raise FieldError(f"the field {name!r} is {value}")
    if abs(value.adjusted()) > 300:
        return str(value)
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _written(text: str) -> Any:
    """Messages written in a cell as JSON or Python's repr; None for other text."""
    start = text.lstrip()[:2]
    if not start.startswith(("[", "{")) or "role" not in text or "content" not in text:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        ones = [value] if isinstance(value, dict) else value
        if (
            isinstance(ones, list)
            and ones
            and all(isinstance(one, dict) and "role" in one and "content" in one for one in ones)
        ):
            return value
    return None


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {dict: "an object", list: "a list", tuple: "a list", bytes: "bytes"}
    return kinds.get(type(value), f"a {type(value).__name__}")
