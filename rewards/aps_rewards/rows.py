"""What a constraint is checked against: fixed when the reward is built, or a dataset column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["row_values"]


def row_values(
    reward: str, name: str, fixed: Any, columns: Mapping[str, Sequence[Any]], count: int
) -> list[Any]:
    """`fixed` for each of `count` rows, or, where it is None, the column `name`.

    Raises:
        ValueError: neither is there, or the column has another number of values.
    """
    if fixed is not None:
        return [fixed] * count
    if name not in columns:
        raise ValueError(
            f"reward {reward!r} needs {name!r}: give it when loading the reward, "
            f"load_reward({reward!r}, {name}=...), or as a column with one value per prompt, "
            f"columns={{{name!r}: [...]}}; got columns {sorted(columns) or 'none'}"
        )
    values = list(columns[name])
    if len(values) != count:
        raise ValueError(f"column {name!r} has {len(values)} values for {count} answers")
    return values
