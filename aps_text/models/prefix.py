"""Prompt-prefix reuse: the keys and values of the first P columns are computed once every n steps.

    step 0, n, 2n ...   every block of the trunk runs on all columns; the keys, values and last
                        hidden state of the first P are kept
    other steps         the blocks run on the other columns only, attending to what is kept, too

(Fast-dLLM, Wu et al. 2025; dKV-Cache, Ma et al. 2025.) In a bidirectional model the prompt's states
depend on the canvas, so between refreshes the logits are approximate: the kept states were computed
with an earlier canvas. The states of a causal prompt (`ModelParts.causal_prompt`) depend on nothing
behind them: kept for good, they are exact, and rows that are taken share them. P is then the prompt
without its last `shift` columns, which attend to the canvas. The layers above the trunk run as
usual, from the kept hidden state, so steering and its gradient need no change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from .partial_forward import Keys, gathered, recorded, run_after

__all__ = ["Prefix"]


@dataclass
class Prefix:
    """The kept states of the prompts of B rows; it counts the trunks computed.

    With a finite n it serves a single run, whose steps it counts; a causal prompt's is never
    refreshed, and serves any number of canvases.

    Attributes:
        every: n >= 1; 1 recomputes at every step, `sys.maxsize` never.
        step: trunks computed so far.
        hidden: `(B, P, d)` their hidden state after the trunk's last block; None before a trunk.
        keys: keys and values of each block, both `(B, H, P, d_h)`.
    """

    every: int
    step: int = 0
    hidden: Tensor | None = None
    keys: list[Keys] = field(default_factory=list)

    def take(self, rows: Tensor, first: int) -> Prefix:
        """The kept states of other rows `(B',)`, without the columns before `first`."""
        if self.hidden is None:
            return replace(self)
        return replace(
            self,
            hidden=self.hidden[rows.to(self.hidden.device), first:],
            keys=[(k[_of(rows, k), :, first:], v[_of(rows, v), :, first:]) for k, v in self.keys],
        )

    def through(
        self,
        layers: Sequence[nn.Module],
        hidden: Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        width: int,
    ) -> Tensor:
        """Run the trunk's blocks on the embeddings `hidden (B, S, d)`, reusing what is kept.

        Args:
            layers: the trunk's blocks.
            args, kwargs: of every block, for all S positions.
            width: P, the columns that are kept.

        Returns:
            The hidden state `(B, S, d)` after the last block.
        """
        step, self.step = self.step, self.step + 1
        if self.hidden is None or step % self.every == 0:
            self.keys = []
            for layer in layers:
                hidden, keys = recorded(layer, hidden, args, kwargs, width)
                self.keys.append(keys)
            self.hidden = hidden[:, :width].clone()
            return hidden
        index = torch.arange(width, hidden.shape[1], device=hidden.device)
        index = index.expand(len(hidden), -1)
        args = gathered(args, index)
        kwargs = {name: gathered(value, index) for name, value in kwargs.items()}
        hidden = hidden[:, width:]
        for layer, keys in zip(layers, self.keys, strict=True):
            hidden = run_after(layer, hidden, args, kwargs, keys)
        return torch.cat([self.hidden.to(hidden.device), hidden], 1)


def _of(rows: Tensor, kept: Tensor) -> Tensor:
    return rows.to(kept.device)
