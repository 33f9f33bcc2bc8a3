"""Arguments of a call with one value per prompt: dataset columns, seeds, starting texts.

Each function accepts any ordered container (`text.containers`) and returns new lists.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

from ..core.limits import SEEDS, check_number
from ..text.containers import (
    in_order,
    is_table,
    kind_of,
    read_first,
    refuse_lazy,
    table_columns,
)
from ..text.prompts import checked_text

__all__ = ["Columns", "as_columns", "as_count", "as_seeds", "as_starts", "refuse_seeds"]

Columns = dict[str, list[Any]]

TEXTS = ("prefix", "suffix", "template", "init_text")
STARTS = (*TEXTS, "init_strength")


def as_count(name: str, value: Any) -> int:
    """An integer >= 1, also NumPy's; bool and text are refused.

    Raises:
        TypeError: not an integer.
        ValueError: below 1.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} is a whole number, got {value!r}")
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is a whole number, got {kind_of(value)}") from None
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")
    if count > sys.maxsize:
        raise ValueError(f"{name} must be at most {sys.maxsize}, got {count}")
    return count


def as_columns(columns: Any, prompts: int) -> Columns:
    """Dataset columns by name, each with a value per prompt.

    Args:
        columns: a mapping of names to containers, a table (DataFrame, `Dataset`, Arrow, a NumPy
            record array), or rows: one mapping, named tuple, record or pandas Series per prompt
            (`df.iterrows()`, `df.itertuples()`, an `IterableDataset`), all with the same keys;
            None is no columns.
        prompts: the number of prompts.

    Raises:
        TypeError: anything else, or a name that is not text.
        ValueError: the number of values differs from that of prompts, or reading them raises.
    """
    if columns is None:
        return {}
    refuse_lazy("columns", columns)
    # A streamed table may know its columns' names or not; read row by row it is read once.
    streamed = not hasattr(columns, "__len__")
    if isinstance(columns, Mapping) or (is_table(columns) and not streamed):
        names = list(columns) if isinstance(columns, Mapping) else table_columns(columns)
        values = {name: columns[name] for name in names}
    else:
        values = _by_name(columns, prompts)
    for name in values:
        if not isinstance(name, str):
            raise TypeError(f"a column's name is text, got {kind_of(name)}")
    return {
        str(name): _per_prompt(f"column {name!r}", value, prompts) for name, value in values.items()
    }


def as_seeds(seeds: Any, default: int, prompts: int, of: str = "prompt") -> list[int]:
    """One seed per prompt, an integer in [0, 2**63 - 1]; None gives each the `default`.

    Args:
        of: what the seeds are of, for the messages.

    Raises:
        TypeError: not a container of integers.
        ValueError: the number of seeds differs from that of prompts, or one is out of range.
    """
    if seeds is None:
        return [default] * prompts
    if isinstance(seeds, int):
        raise TypeError(
            f"seeds holds one seed per {of}, got {seeds!r}; for all {of}s: seed={seeds!r}"
        )
    found = []
    for at, seed in enumerate(_per_prompt("seeds", seeds, prompts, of)):
        name = f"seed {at}"
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise TypeError(f"{name} is a whole number, got {kind_of(seed)}")
        found.append(operator.index(seed))
        check_number(name, found[-1], SEEDS, whole=True)
    return found


def refuse_seeds(seeds: Any, options: Mapping[str, Any], of: str = "prompt") -> None:
    """Raise `ValueError` for `seeds` beside a `seed` that they leave without effect."""
    if seeds is not None and "seed" in options:
        raise ValueError(
            f"seed={options['seed']!r} has no use beside seeds, which holds one per {of}; give one "
            "of the two"
        )


def as_starts(start: Any, prompts: int) -> Columns:
    """Each prompt's initial canvas, as arguments of `text.drafts.draft`.

    Args:
        start: `prefix`, `suffix`, `template`, `init_text` (texts) and `init_strength` (a number in
            (0, 1]), each one value for all prompts or a container with one per prompt.

    Raises:
        TypeError: not a mapping, an unknown key, or a value of another type.
        ValueError: the number of values differs from that of prompts, a text has half of a
            surrogate pair, or an `init_strength` has no `init_text`.
    """
    if start is None:
        return {}
    if not isinstance(start, Mapping):
        raise TypeError(
            f"start is a mapping with keys of {', '.join(STARTS)}; got {kind_of(start)}"
        )
    found: Columns = {}
    for name, value in start.items():
        if name not in STARTS:
            raise TypeError(f"unknown start {name!r}; known: {', '.join(STARTS)}")
        if value is None:
            continue
        alike = isinstance(value, (str, Real, Decimal))
        values = [value] * prompts if alike else _per_prompt(f"start {name!r}", value, prompts)
        read = _start_text if name in TEXTS else _strength
        found[name] = [read(name, one) for one in values]
    if "init_strength" in found and "init_text" not in found:
        raise ValueError(
            "start has an 'init_strength' and no 'init_text', the draft of which it masks a part; "
            "give both or neither"
        )
    return found


def _per_prompt(name: str, values: Any, prompts: int, of: str = "prompt") -> list[Any]:
    found = in_order(name, values, most=prompts)
    if len(found) != prompts:
        count = len(values) if hasattr(values, "__len__") else len(found)
        more = "at least " if count > prompts and not hasattr(values, "__len__") else ""
        raise ValueError(f"{name} has {more}{count} values for {prompts} {of}s; give one per {of}")
    return found


def _by_name(rows: Any, prompts: int) -> Columns:
    """Columns made of rows, one mapping per prompt."""
    wanted = (
        "columns is a mapping of names to lists, a table, or one row (a mapping) per prompt; got "
    )
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
        raise TypeError(wanted + kind_of(rows))
    taken = read_first("columns", rows, prompts)
    names: list[Any] = []
    found = []
    for at, value in enumerate(taken):
        row = _as_mapping(value)
        if row is None:
            raise TypeError(f"{wanted}{kind_of(rows)} with {kind_of(value)} at {at}")
        found.append(row)
        names = names or list(row)
        if set(row) != set(names):
            raise ValueError(f"row {at} of columns has the keys {list(row)}, and row 0 {names}")
    if len(taken) != prompts:
        least = "at least " if len(taken) > prompts else ""
        raise ValueError(f"columns has {least}{len(taken)} rows for {prompts} prompts")
    return {name: [row[name] for row in found] for name in names}


def _as_mapping(row: Any) -> Mapping[Any, Any] | None:
    """A row as a mapping of its names to its values; None if it has no names."""
    if isinstance(row, Mapping):
        return row
    if type(row) is tuple and len(row) == 2 and hasattr(row[1], "iloc"):
        row = row[1]  # (index, Series), of `iterrows`
    if isinstance(row, tuple) and hasattr(row, "_asdict"):
        named: dict[Any, Any] = row._asdict()
        return {name: value for name, value in named.items() if name != "Index"}
    if hasattr(row, "iloc") and hasattr(row, "index") and not is_table(row):
        return dict(zip(list(row.index), in_order("a row", row), strict=True))
    names = getattr(getattr(row, "dtype", None), "names", None)
    return {name: row[name] for name in names} if names and row.ndim == 0 else None


def _start_text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"start {name!r} is text, or one text per prompt; got {kind_of(value)}")
    return checked_text(value, f"start {name!r}")


def _strength(name: str, value: Any) -> float:
    number = isinstance(value, (Real, Decimal)) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise TypeError(f"start {name!r} is a number in (0, 1], got {kind_of(value)}")
    return float(value)
