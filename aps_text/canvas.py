"""The canvas: what a method fills. Only the answer is on it; the prompt is bound in the denoiser.

Shapes: B rows of L positions. Rows may be shorter than L: positions past a row's length hold
`fill_id` and are not editable. After a committed stop token the rest of the row becomes `fill_id`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Canvas", "end_at_stop"]


@dataclass(frozen=True)
class Canvas:
    """A batch of token rows to complete.

    Attributes:
        z: `(B, L)` int64 tokens, `mask_id` where open.
        editable: `(B, L)` bool; positions a method may write (an infill's given text is not).
        block: `(B, L)` int64; blocks are completed in rising order (semi-autoregressive).
        stop_ids: tokens that end a row; empty for images.
        fill_id: written after a stop token and past a row's length.
        group: `(B,)` int64; which prompt a row (a particle) belongs to.
    """

    z: Tensor
    editable: Tensor
    block: Tensor
    stop_ids: tuple[int, ...]
    fill_id: int
    group: Tensor

    @classmethod
    def open(
        cls,
        lengths: Sequence[int],
        *,
        mask_id: int,
        fill_id: int,
        stop_ids: Sequence[int] = (),
        block_length: int | None = None,
        group: Sequence[int] | None = None,
        device: torch.device | str | None = None,
    ) -> Canvas:
        """All masks: row b has `lengths[b] >= 1` open positions."""
        if not lengths or min(lengths) < 1:
            raise ValueError(f"every row needs at least one position, got lengths {list(lengths)}")
        positions = torch.arange(max(lengths), device=device)[None, :]
        editable = positions < torch.tensor(lengths, device=device)[:, None]
        z = torch.where(editable, mask_id, fill_id)
        block = (positions // (block_length or max(lengths))).expand_as(z)
        rows = range(len(lengths)) if group is None else group
        return cls(
            z=z,
            editable=editable,
            block=block,
            stop_ids=tuple(stop_ids),
            fill_id=fill_id,
            group=torch.tensor(list(rows), device=device),
        )

    @property
    def lengths(self) -> Tensor:
        """`(B,)` int64 positions of each row, without the padding behind a shorter one."""
        return (self.editable | (self.z != self.fill_id)).sum(-1)

    def take(self, rows: Tensor) -> Canvas:
        """The canvas of other rows, `(B',)` int64."""
        return replace(
            self,
            z=self.z[rows],
            editable=self.editable[rows],
            block=self.block[rows],
            group=self.group[rows],
        )


def is_stop(z: Tensor, stop_ids: Sequence[int]) -> Tensor:
    """Where stop tokens stand, bool of `z`'s shape."""
    hit = torch.zeros_like(z, dtype=torch.bool)
    for stop in stop_ids:
        hit |= z == stop
    return hit


def alive_before_stop(z: Tensor, stop_ids: Sequence[int]) -> Tensor:
    """Positions before the first stop token of their row, bool `(B, L)`."""
    return is_stop(z, stop_ids).cumsum(-1) == 0


def end_at_stop(z: Tensor, editable: Tensor, stop_ids: Sequence[int], fill_id: int) -> Tensor:
    """Fill every editable position after the first EDITABLE stop token of its row, `(B, L)`."""
    if not stop_ids:
        return z
    stop = is_stop(z, stop_ids) & editable
    after = (stop.cumsum(-1) - stop.long()) > 0
    return torch.where(after & editable, fill_id, z)
