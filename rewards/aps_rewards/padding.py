"""Token rows of unequal length as one tensor with its attention mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["by_length", "check_length", "packed", "padded"]


def padded(
    rows: Sequence[Sequence[int]], device: torch.device, *, left: bool = False, pad_id: int = 0
) -> tuple[Tensor, Tensor]:
    """Ids and attention mask `(B, S)`, int64, padded with `pad_id` on the right, or on the left."""
    width = max(map(len, rows))
    gaps = [[pad_id] * (width - len(row)) for row in rows]
    ids = [[*gap, *row] if left else [*row, *gap] for gap, row in zip(gaps, rows, strict=True)]
    tokens = [len(row) for row in rows]
    at = torch.arange(width, device=device)
    count = torch.tensor(tokens, device=device)[:, None]
    mask = at >= width - count if left else at < count
    shape = (len(rows), width)
    return torch.tensor(ids, dtype=torch.long, device=device).view(shape), mask.long()


def packed(
    live: Tensor, inputs: dict[str, Tensor], *, left: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Rows with their live tokens adjacent and padding on one side, trimmed to the longest.

    Args:
        live: `(B, S)` bool, the tokens with attention 1, wherever they are.
        inputs: ids `(B, S)` or embeddings `(B, S, d)` by name.
        left: padding on the left; otherwise on the right.

    Returns:
        The attention mask `(B, S')`, int64, and the inputs.
    """
    width = max(1, int(live.sum(-1).max()))
    order = (live if left else ~live).long().argsort(dim=-1, stable=True)
    order = order[:, -width:] if left else order[:, :width]
    moved = {}
    for name, value in inputs.items():
        index = order if value.ndim == 2 else order[..., None].expand(-1, -1, value.shape[-1])
        moved[name] = value.gather(1, index)
    return live.gather(1, order).long(), moved


def check_length(attention_mask: Tensor, most: int, whose: str) -> None:
    """Raise `ValueError` if a row of `attention_mask (B, S)` has more than `most` live tokens.

    Args:
        whose: the model that reads at most so many, for the message.
    """
    if attention_mask.shape[1] <= most:  # spares a synchronisation with the device
        return
    longest = int(attention_mask.bool().sum(-1).max())
    if longest > most:
        raise ValueError(
            f"{longest} tokens of an answer with its frame exceed the {most} that {whose} reads; "
            "shorten max_new_tokens"
        )


def by_length(
    rows: Sequence[Sequence[int]], size: int, device: torch.device, pad_id: int = 0
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Batches of up to `size` rows of similar length (for little padding), the shortest first.

    Yields `(numbers, ids, mask)`: the indices of the rows, and the result of `padded`.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), size):
        part = order[start : start + size]
        yield part, *padded([rows[i] for i in part], device, pad_id=pad_id)
