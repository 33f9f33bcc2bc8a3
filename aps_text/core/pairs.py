"""`NAME=VALUE` texts of a command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

__all__ = ["read_pairs"]


def read_pairs(texts: Iterable[str], takes: str, *, dashes: bool = True) -> dict[str, Any]:
    """The values by name; what is JSON (a number, `null`) is parsed, any other is a string.

    Args:
        takes: the beginning of the error for a text of another form, up to "NAME=VALUE".
        dashes: dashes in names become underscores.

    Raises:
        ValueError: a text without a name or `=`, or a name that is given twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"{takes} NAME=VALUE, got {text!r}")
        name = name.replace("-", "_") if dashes else name
        try:
            read = json.loads(value)
        except json.JSONDecodeError:
            read = value
        if name in found:
            raise ValueError(f"{name} is given twice: {found[name]!r} and {read!r}; give it once")
        found[name] = read
    return found
