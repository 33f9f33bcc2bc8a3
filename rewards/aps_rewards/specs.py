"""A reward as text: its name, its options, its weight: `NAME:OPTION=VALUE:OPTION=VALUE=WEIGHT`."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from .installed import installed

__all__ = ["FILE_OPTIONS", "TypedOption", "parse_reward_spec", "split_options", "split_spec"]

FILE_OPTIONS = frozenset(
    {"weights", "model", "tokenizer", "checkpoint", "adapter", "base", "trust_remote_code"}
    | {"path", "file", "folder", "module", "function", "code", "cache_dir", "reward", "rewards"}
)
"""Options that choose the files or the code a reward loads: only its user may give them."""


def parse_reward_spec(spec: str) -> tuple[str, float]:
    """`"relevance=0.5"` -> `("relevance", 0.5)`; without a weight, 1. Negative weights are allowed.

    Options stay part of the name, as `load_reward` expects it:
    `"keywords:present=king,lonely=2"` -> `("keywords:present=king,lonely", 2.0)`. A name or a last
    option that itself contains `=` needs an explicit weight.

    Raises:
        ValueError: no name, or a weight that is not a finite number.
    """
    name, options = split_spec(spec)
    if options:
        last, _, number = options[-1].rpartition("=")
        if "=" not in last or not _is_number(number):
            last, number = options[-1], "1"
        name = ":".join([name, *options[:-1], last])
    else:
        name, _, number = name.rpartition("=") if "=" in name else (name, "", "1")
    name = name.strip()
    if not name:
        raise ValueError(f"no reward name in {spec!r}; write NAME or NAME=WEIGHT, e.g. relevance=2")
    shown = name.encode("utf-8", "backslashreplace").decode()
    if not _is_number(number):
        raise ValueError(f"weight {number!r} in {spec!r} is not a number; write e.g. {shown}=0.5")
    weight = float(number)
    if not math.isfinite(weight):
        raise ValueError(f"weight {number!r} in {spec!r} is not finite; write e.g. {shown}=0.5")
    return name, weight


def split_options(spec: str) -> tuple[str, dict[str, str]]:
    """The name and the options in a reward's string (without a weight)."""
    name, typed = split_spec(spec)
    pairs = (one.partition("=") for one in typed)
    return name, {option: value for option, _, value in pairs}


def split_spec(spec: str) -> tuple[str, list[str]]:
    """Split `NAME:OPTION=VALUE:OPTION=VALUE` into the name and its options.

    The first part after `package.module` or `file.py` belongs to the name (`pkg.mod:attr=0` has a
    weight and no option); parts after an installed name, a model or an attribute are options.
    """
    name, *options = re.split(r":(?=[A-Za-z_]\w*=)", spec)
    model = ("/" in name or Path(name).is_dir()) and not name.endswith(".py")
    complete = ":" in name or model or name.strip() in installed()
    if options and not complete:
        return ":".join([name, options[0]]), options[1:]
    return name, options


class TypedOption(str):
    """An option's value as typed; what it is depends on the option's annotation."""

    def read(self, kind: str = "") -> Any:
        """The value as a list or a text if the annotation says so, else as JSON or text.

        Args:
            kind: the annotation; "" if there is none.
        """
        try:
            value = json.loads(self)
        except (ValueError, RecursionError):  # no JSON, thousands of digits, nested too deeply
            value = str(self)
        if isinstance(value, list):
            return value
        alone = re.search(r"(^|\| )(str|float|int)\b", kind)  # a single value is allowed, too
        if not alone and re.search(r"(?i)\b(sequence|iterable|list|tuple|(frozen)?set)\b", kind):
            items = [item.strip() for item in self.split(",") if item.strip()]
            return items if "str" in kind else [TypedOption(item).read() for item in items]
        if "str" in kind and not isinstance(value, str) and not re.search("int|float|bool", kind):
            return str(self)
        return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
