"""The columns of bound rows: the prompt, the canvas behind it and what follows; who sees whom.

Shapes: prompts `(B, P)` left-padded, canvas `(B, W)`, given tokens behind it `(B, R)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .forward_inputs import ForwardInputs, inputs_of
from .parts import ModelParts

__all__ = ["BoundColumns"]


@dataclass(frozen=True)
class BoundColumns:
    """Rows of columns, and what each of them attends to.

    Attributes:
        parts: the model's parts.
        prompt, prompt_mask: `(B, P)` ids, left-padded, and bool, True where not padding.
        lengths: `(B,)` canvas positions of each row; the rest is padding.
        suffix: `(B, R)` ids that follow the canvas of each row; None if nothing does.
        blocks: `(B, W)` the block of each canvas position, if text attends to nothing behind its
            block; None lets it attend to the whole canvas.
    """

    parts: ModelParts
    prompt: Tensor
    prompt_mask: Tensor
    lengths: Tensor
    suffix: Tensor | None = None
    blocks: Tensor | None = None

    @cached_property
    def within(self) -> Tensor:
        """`(B, W)` bool: the canvas positions of each row, W those of the longest."""
        columns = torch.arange(int(self.lengths.max()), device=self.lengths.device)
        return columns < self.lengths[:, None]

    @cached_property
    def starts(self) -> Tensor:
        """`(B,)` the column at which each row's prompt begins."""
        return self.prompt.shape[1] - self.prompt_mask.sum(-1)

    @cached_property
    def whole(self) -> ForwardInputs:
        """Those where every position of the canvas is attended to."""
        return self.inputs(self.within)

    def inputs(
        self, real: Tensor, hidden: Tensor | None = None, needed: Tensor | None = None
    ) -> ForwardInputs:
        """See `inputs_of`."""
        shown = self.prompt != self.parts.mask_id
        behind = 0 if self.suffix is None else self.suffix.shape[1]
        causal = self.ahead if self.parts.causal_prompt else 0
        blocks = None if self.blocks is None else self.blocks_of(self.blocks.shape[1])
        return inputs_of(
            self.parts, self.prompt_mask, shown, real, hidden, behind, causal, needed, blocks
        )

    @property
    def ahead(self) -> int:
        """The columns of the prompt that predict nothing of the canvas."""
        return max(0, self.prompt.shape[1] - self.parts.shift)

    @cached_property
    def one_by_one(self) -> bool:
        """Whether every block is of one position."""
        return self.blocks is not None and bool((self.blocks.diff(dim=1) > 0).all())

    def unseen(self, seen: Tensor, real: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The masks of `seen (B, W)`, if none but themselves attend to them, and what has a use.

        In blocks of one token a mask, whose output predicts the next position, has none but before
        another mask.
        """
        if self.parts.attend_masks:
            return None, None
        masks = seen == self.parts.mask_id
        if not self.parts.shift or not self.one_by_one:
            return masks, None
        asked = torch.zeros_like(masks)
        asked[:, :-1] = masks[:, 1:]
        return masks, real & (~masks | asked)

    def blocks_of(self, width: int) -> Tensor:
        """`(B, P + W)` the block of every column: -1 of the prompt's, but for those that predict a
        canvas of a single block, which they attend to."""
        if self.blocks is None:
            raise RuntimeError("no blocks are bound")
        before = torch.full_like(self.prompt, -1)
        before[:, self.ahead :] = torch.where(self.blocks.amax(1) > 0, -1, 0)[:, None]
        return torch.cat([before, self.blocks[:, :width]], 1)
