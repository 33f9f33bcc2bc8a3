"""Separation of the harness's cached answers by model, method, reward and settings.

The key of the harness's cache is the request alone, so a file filled by `plain` would be used for
the answers of `aps`. An `SqliteDict` is one table of a file: here each combination gets a table of
its own.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import Any

from ..rows import digest

__all__ = ["check_cached", "identity", "keep_apart"]

logger = logging.getLogger(__name__)

SIMPLE = (str, int, float, bool, type(None))


def keep_apart(table: Any, key: Any) -> None:
    """Point an open `SqliteDict` at the table of `key`, which is created if missing.

    Args:
        table: the `SqliteDict`; the file's other tables are unchanged.
        key: a JSON value.
    """
    table.tablename = f"aps_{digest(key)[:32]}"
    columns = "(key TEXT PRIMARY KEY, value BLOB)"
    table.conn.execute(f'CREATE TABLE IF NOT EXISTS "{table.tablename}" {columns}')
    table.conn.commit()


def check_cached(repeats: int, options: Mapping[str, Any]) -> None:
    """Raise `ValueError` if the harness's cache would give one answer for several.

    The cache has one answer of a request, and serves it for every repetition unless the request
    says `do_sample`.

    Args:
        repeats: answers that are asked for.
        options: the request's generation_kwargs.
    """
    if repeats > 1 and not options.get("do_sample"):
        raise ValueError(
            f"the task asks for several answers of a request (repeats: {repeats}), and the "
            "harness's cache would give one for all; leave out the cache, or set "
            "generation_kwargs: {do_sample: true}, for which the harness does not use it"
        )


def identity(value: Any) -> Any:
    """A JSON value that identifies a method or reward, for cache keys.

    Names and numbers are taken as they are, simple objects by their settings. Any other object (a
    function, a loaded model) cannot be recognised by a later process; it gets a key that is unique
    to this process, so its answers are cached but never reused.
    """
    if isinstance(value, SIMPLE):
        return value
    if isinstance(value, list | tuple):
        return [identity(one) for one in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: identity(one) for name, one in value.items()}
    kind = type(value)
    if kind.__module__.startswith("aps_text.methods") and hasattr(value, "__dict__"):
        return [f"{kind.__module__}.{kind.__qualname__}", identity(vars(value))]
    logger.warning(
        "cached answers of %s are not used again: name it by a text (method='fk', "
        "reward='sentiment'), or give PipelineLM a cache_key",
        kind.__qualname__,
    )
    return uuid.uuid4().hex
