"""Conversion of ordered containers to lists, by position (never by an index or a label).

Accepted are lists, tuples, iterators, a dictionary's keys and values, NumPy arrays, tensors, pandas
and polars Series, arrays of Arrow and xarray, and columns of `datasets`. A table (a DataFrame, a
`Dataset`, an Arrow table) is not a container of values but has named columns, each of which is.
Lazy values (a polars LazyFrame, dask, Spark, an Arrow dataset) are refused: the error names the
method that computes them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

__all__ = ["in_order", "is_table", "kind_of", "read_first", "refuse_lazy", "row_names"]
__all__ += ["table_columns"]

_DICT_KEYS: tuple[type, ...] = type({}.keys()), type(OrderedDict().keys())
"""Sets that have an order."""


USUAL = {
    *("answer", "choices", "completion", "context", "input", "instruction", "label", "messages"),
    *("output", "problem", "prompt", "query", "question", "reference", "response", "target"),
    "text",
}
"""Names of columns of data sets, by which a row is told from a column with labels."""

LAZY = ("toPandas", "collect", "compute", "to_table", "read_all")
"""Methods that compute lazy values: of Spark, polars, dask, Arrow datasets, Arrow readers."""


def kind_of(value: Any) -> str:
    """A value's type and, for a string or number, its beginning; for error messages."""
    if value is None:
        return "None"
    shown = type(value).__name__
    if isinstance(value, (str, bytes, int, float)):
        text = repr(value[:60] if isinstance(value, (str, bytes)) else value)
        shown += f" {text[:60]}"
    elif isinstance(value, Mapping):
        shown += f" with the keys {', '.join(map(repr, list(value)[:6])) or '(none)'}"
    return shown


def refuse_lazy(name: str, value: Any) -> None:
    """Raise `TypeError` for values that are not there yet, naming what gives them.

    Args:
        name: what the value was given as; for the error.
    """
    if isinstance(value, Sequence | Mapping):  # its values are there, whatever else it can do
        return
    kind = type(value).__name__
    for method in () if _in_memory(value) else LAZY:
        if callable(getattr(type(value), method, None)):
            raise TypeError(
                f"{name}: a {kind} holds values that are yet to be computed; pass .{method}() of it"
            )
    if kind.endswith("GroupBy") or kind in ("Rolling", "Expanding", "Resampler"):
        raise TypeError(f"{name}: a {kind} holds groups of values; pass the column itself")
    if isinstance(value, DataLoader) and value.batch_size is not None:
        raise TypeError(f"{name}: a {kind} holds batches of rows; pass its dataset's rows")
    sized = hasattr(type(value), "__len__") and hasattr(type(value), "__getitem__")
    if sized and not isinstance(value, Iterable) and not is_table(value):
        raise TypeError(
            f"{name}: a {kind} is not iterable; pass [data[i] for i in range(len(data))]"
        )


def _in_memory(value: Any) -> bool:
    """Whether a value says that no chunks of it are to be computed, as xarray's arrays do unless
    dask holds their values."""
    return hasattr(type(value), "chunks") and value.chunks is None


def is_table(value: Any) -> bool:
    """Whether a value has named columns: a DataFrame, a `datasets.Dataset`, an Arrow table."""
    if isinstance(value, Mapping):
        return False
    return hasattr(value, "column_names") or (
        hasattr(value, "columns") and hasattr(value, "dtypes")
    )


def table_columns(table: Any) -> list[Any]:
    """The names of a table's columns, in order."""
    names = table.column_names if hasattr(table, "column_names") else table.columns
    return [] if names is None else list(names)


def row_names(value: Any) -> list[str]:
    """The names of a row's values, where it is one row of a table and no container; else empty.

    Rows are named tuples (`df.itertuples()`), `sqlite3.Row` and pandas Series whose labels are
    texts and one of which is a usual name of a column (`df.iloc[0]`).
    """
    if isinstance(value, tuple):
        return list(map(str, getattr(value, "_fields", ())))
    if hasattr(value, "iloc") and hasattr(value, "index"):
        names = list(value.index)
        texts = all(isinstance(name, str) for name in names)
        return names if texts and any(name.lower() in USUAL for name in names) else []
    if callable(getattr(value, "keys", None)) and not isinstance(value, Mapping):
        return list(map(str, value.keys()))
    return []


def in_order(name: str, values: Any, most: int | None = None) -> list[Any]:
    """The values as a new list, by position.

    Args:
        name: for errors.
        values: see the module.
        most: take at most `most + 1` values from an iterator, which may be infinite; None takes
            all.

    Raises:
        TypeError: not a container, or one without an order or with named values.
        ValueError: the iterator raised; the message has its exception.
    """
    refuse_lazy(name, values)
    wrong = TypeError(f"{name} must be a list with one value per prompt, got {kind_of(values)}")
    unordered = isinstance(values, Set) and not isinstance(values, _DICT_KEYS)
    if unordered or isinstance(values, (str, bytes, bytearray, Mapping)) or is_table(values):
        raise wrong
    # Arrow; pandas and polars; arrays, tensors; xarray
    if getattr(getattr(values, "dtype", None), "kind", "") in ("M", "m") and hasattr(
        values, "astype"
    ):
        values = _times(values)
    for method in ("to_pylist", "to_list", "tolist", "to_numpy"):
        if hasattr(values, method):
            try:
                found = getattr(values, method)()
            except RuntimeError as error:  # quantised and nested tensors
                raise TypeError(
                    f"{name}: a {type(values).__name__} gives no list of its values ({error}); "
                    "pass a list"
                ) from error
            found = found.tolist() if method == "to_numpy" else found
            if not isinstance(found, list):
                raise wrong
            return found
    if not isinstance(values, Iterable):
        raise wrong
    return read_first(name, values, most)


def _times(values: Any) -> Any:
    """NumPy's dates and durations, those in nanoseconds in microseconds: of nanoseconds NumPy makes
    whole numbers. Others as they are."""
    if type(values).__module__.partition(".")[0] != "numpy":
        return values  # pandas has dates of its own
    return (
        values.astype(f"{values.dtype.kind}8[us]") if values.dtype.str.endswith("[ns]") else values
    )


def read_first(name: str, values: Iterable[Any], most: int | None) -> list[Any]:
    """At most `most + 1` values of an iterable that may be infinite; None takes all.

    Raises:
        ValueError: the iterable raised; the message has its exception.
    """
    taken: list[Any] = []
    try:
        taken.extend(islice(iter(values), None if most is None else most + 1))
    except Exception as error:
        raise ValueError(
            f"reading {name} raised {type(error).__name__} after {len(taken)} of them: {error}"
        ) from error
    return taken
