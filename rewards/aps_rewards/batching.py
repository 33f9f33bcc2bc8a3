"""Token rows in batches of about equal length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["by_length"]


def by_length(
    rows: Sequence[Sequence[int]], size: int, device: torch.device, pad_id: int = 0
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Batches of up to `size` rows, the shortest rows first.

    Yields `(numbers, ids, mask)`: which rows these are, their tokens `(B, S)` padded on the right
    with `pad_id`, and 1 where a token stands, both int64.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), size):
        part = order[start : start + size]
        width = max(len(rows[i]) for i in part)
        gaps = [width - len(rows[i]) for i in part]
        ids = [[*rows[i], *[pad_id] * gap] for i, gap in zip(part, gaps, strict=True)]
        mask = [[1] * (width - gap) + [0] * gap for gap in gaps]
        shape = (len(part), width)
        yield (
            part,
            torch.tensor(ids, dtype=torch.long, device=device).view(shape),
            torch.tensor(mask, dtype=torch.long, device=device).view(shape),
        )
