"""The canvas: the token rows a method fills in. It holds the answer, not the prompt.

Shapes: B rows of L positions. Rows may be shorter than L: positions past a row's length hold
`fill_id` and are not editable. After a committed stop token the rest of the row becomes `fill_id`.
The prompt is bound in the denoiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["Canvas", "alive_before_stop", "end_at_stop", "is_stop", "positions_of"]


@dataclass(frozen=True)
class Canvas:
    """A batch of token rows to complete.

    Attributes:
        z: `(B, L)` int64 tokens, `mask_id` where open.
        editable: `(B, L)` bool; positions a method may write (an infill's given text is not).
        block: `(B, L)` int64; blocks are completed in ascending order (semi-autoregressive). None
            is a single block.
        stop_ids: tokens that end a row; empty for images.
        fill_id: written after a stop token and past a row's length.
        group: `(B,)` int64; which prompt a row (a particle) belongs to.
        written: `(B, L)` int64; index of the step that wrote the token, -1 for none.
    """

    z: Tensor
    editable: Tensor
    block: Tensor | None
    stop_ids: tuple[int, ...]
    fill_id: int
    group: Tensor
    written: Tensor

    @classmethod
    def open(cls, lengths: Sequence[int], *, mask_id: int, **kwargs: Any) -> Canvas:
        """Rows of masks: row b has `lengths[b] >= 1` open positions; `kwargs` go to `of`."""
        return cls.of([[mask_id] * n for n in lengths], mask_id=mask_id, **kwargs)

    @classmethod
    def of(
        cls,
        rows: Sequence[Sequence[int]],
        *,
        mask_id: int,
        fill_id: int,
        stop_ids: Sequence[int] = (),
        given: Sequence[Sequence[bool]] | None = None,
        block_length: int | None = None,
        group: Sequence[int] | None = None,
        device: torch.device | str | None = None,
    ) -> Canvas:
        """A canvas of token rows, `mask_id` where open.

        Args:
            rows: B token lists, each of length >= 1.
            fill_id, stop_ids: see the class.
            given: B bool lists; positions that must stay as they are (an infill's text). Other
                tokens are a draft: they stay unless `remask`, and a stop among them ends a row.
            block_length: positions of a block, >= 1; None makes one block.
            group: B prompt numbers; None gives every row its own.

        Raises:
            ValueError: no rows, or an empty row.
        """
        lengths = [len(row) for row in rows]
        if not lengths or min(lengths) < 1:
            raise ValueError(f"every row needs at least one position, got lengths {lengths}")
        width = max(lengths)
        z = torch.full((len(rows), width), fill_id)
        editable = torch.zeros_like(z, dtype=torch.bool)
        for b, row in enumerate(rows):
            z[b, : len(row)] = torch.tensor(row, dtype=torch.long)
            editable[b, : len(row)] = True
            if given is not None:
                editable[b, : len(row)] = ~torch.tensor(given[b], dtype=torch.bool)
        z = end_at_stop(z, editable, tuple(stop_ids), fill_id)
        block = None
        if block_length is not None:
            block = (torch.arange(width) // block_length).expand_as(z).to(device)
        return cls(
            z=z.to(device),
            editable=editable.to(device),
            block=block,
            stop_ids=tuple(stop_ids),
            fill_id=fill_id,
            group=torch.tensor(list(range(len(rows)) if group is None else group), device=device),
            written=torch.full_like(z, -1, device=device),
        )

    @property
    def lengths(self) -> Tensor:
        """`(B,)` int64 positions of each row, padding not counted."""
        return (self.editable | (self.z != self.fill_id)).sum(-1)

    def reading_blocks(self, mask_id: int) -> Tensor | None:
        """`(B, L)` int64, `block` with a single one in rows that hold text behind a mask, which
        all of the row is to see, and in rows that end within their first block, as they would have
        alone; None without blocks."""
        if self.block is None:
            return None
        own = self.editable | (self.z != self.fill_id)
        masked = self.z == mask_id
        behind = (masked.cumsum(1) > 0) & ~masked & own
        several = (self.block > 0) & own
        whole = behind.any(1) | ~several.any(1)
        return self.block.masked_fill(whole[:, None], 0)

    def take(self, rows: Tensor) -> Canvas:
        """The canvas of other rows, `(B',)` int64."""
        return replace(
            self,
            z=self.z[rows],
            editable=self.editable[rows],
            block=None if self.block is None else self.block[rows],
            group=self.group[rows],
            written=self.written[rows],
        )

    def put(self, rows: Tensor, canvas: Canvas) -> Canvas:
        """This canvas with row i of `canvas` written over row `rows[i]`; `rows` ascend."""
        if len(rows) == len(self.z):
            return canvas
        return replace(
            self,
            z=self.z.index_put((rows,), canvas.z),
            written=self.written.index_put((rows,), canvas.written),
        )


def positions_of(on: Tensor) -> tuple[Tensor, Tensor]:
    """`(rows, cols)` of the True entries of `(B, L)`, ordered by row."""
    rows, cols = on.nonzero().unbind(-1)
    return rows, cols


def is_stop(z: Tensor, stop_ids: Sequence[int]) -> Tensor:
    """Which positions hold a stop token, bool of `z`'s shape."""
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
