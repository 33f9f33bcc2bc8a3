"""The harness's cache of answers, kept apart by what answered.

Its key is the request alone, so that a file filled by `plain` would be served as the answers of
`aps`. An `SqliteDict` is one table of a file: each model, method, reward and setting gets a table
of its own, and the harness looks there without knowing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import Any

from ..rows import digest

__all__ = ["identity", "keep_apart"]

logger = logging.getLogger(__name__)

SIMPLE = (str, int, float, bool, type(None))


def keep_apart(table: Any, key: Any) -> None:
    """Turn an open `SqliteDict` to the table of a key, made if it is not there.

    Args:
        table: of the file; what was in its other tables stays there.
        key: JSON-ready.
    """
    table.tablename = f"aps_{digest(key)[:32]}"
    columns = "(key TEXT PRIMARY KEY, value BLOB)"
    table.conn.execute(f'CREATE TABLE IF NOT EXISTS "{table.tablename}" {columns}')
    table.conn.commit()


def identity(value: Any) -> Any:
    """What is answered by, JSON-ready: names and numbers as they are, settings of simple objects.

    Anything else (a function, a loaded model) cannot be told from another one by a later process;
    it stands for itself in this object's life, so that a cache is filled and not served.
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
