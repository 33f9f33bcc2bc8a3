"""Reuse of the text's states in a block-causal model: a column is computed once its text is known.

    query in block b attends to key in block c     only if c <= b       (the prompt: before all)

A column whose block, and all before it, hold no mask is settled: its states depend on what stands
left of its block's end, so they serve every canvas that begins with the same text (block diffusion,
Arriola et al. 2025; the prefix cache of Fast-dLLM, Wu et al. 2025, exact here). Kept are the states
of the canvases computed last, and of the prompts; a forward finds, for each of its rows, the kept
one that shares most of its beginning, and computes the columns behind it. What is found changes
nothing but the time: without it the same states are computed anew.

Shapes: B rows of S = P + W columns, H heads; blocks of the trunk only (`TransformerDenoiser`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .partial_forward import Keys, extended, gathered

__all__ = ["UNSETTLED", "TextStates", "settled_columns"]

UNSETTLED = -1
"""Stands for the id of a column that is not settled, so that it equals none."""


@dataclass(frozen=True)
class _Kept:
    """States of U rows: `owner (U,)`, their ids `(U, S)` (`UNSETTLED` where not settled), the
    columns dropped left of them, hidden state `(U, S, d)` and keys and values `(U, H, S, d_h)`."""

    owner: Tensor
    ids: Tensor
    first: int
    hidden: Tensor
    keys: list[Keys]


@dataclass
class TextStates:
    """The states of one bound model, shared by all denoisers taken from it.

    Attributes:
        prompts: states of all its rows' prompts; None before the first trunk.
        latest: of the canvases computed last.
    """

    prompts: _Kept | None = None
    latest: _Kept | None = None

    def through(
        self,
        layers: Sequence[nn.Module],
        hidden: Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        owner: Tensor,
        ids: Tensor,
        blocks: Tensor,
        first: int,
    ) -> Tensor:
        """Run the trunk's layers on the embeddings `hidden (B, S, d)`, reusing what is kept.

        Args:
            layers: the trunk's.
            args, kwargs: of every layer, for all S columns.
            owner: `(B,)` the row of the bound model that each row is taken from.
            ids: `(B, S)`, `UNSETTLED` where not settled.
            blocks: `(B, S + 1)`, of the next column, too; `(B, S)` where the canvas ends.
            first: columns of the bound model that were dropped left of these.

        Returns:
            The hidden state `(B, S, d)` after the last layer.
        """
        source, rows, width = self._beginning(owner, ids, blocks, first)
        keys: list[Keys] = []
        if source is None:
            kept: list[Keys | None] = [None] * len(layers)
            below = hidden
        else:
            at = slice(first - source.first, first - source.first + width)
            kept = [(k[rows, :, at], v[rows, :, at]) for k, v in source.keys]
            behind = torch.arange(width, hidden.shape[1], device=hidden.device)
            behind = behind.expand(len(hidden), -1)
            args = gathered(args, behind)
            kwargs = {name: gathered(value, behind) for name, value in kwargs.items()}
            below = hidden[:, width:]
        for layer, known in zip(layers, kept, strict=True):
            below, joined = extended(layer, below, args, kwargs, known)
            keys.append(joined)
        if source is not None:
            below = torch.cat([source.hidden[rows, at], below], 1)
        self.latest = _Kept(owner, ids, first, below, keys)
        if self.prompts is None:
            self.prompts = self.latest
        return below

    def _beginning(
        self, owner: Tensor, ids: Tensor, blocks: Tensor, first: int
    ) -> tuple[_Kept | None, Tensor, int]:
        """The kept rows `(B,)` whose beginnings are longest, and the width that all of them have;
        no source where nothing is known."""
        best: tuple[_Kept | None, Tensor, int] = None, owner, 0
        # A block is known as a whole or not at all: its columns attend to each other.
        size = ids.shape[1]
        starts = (blocks[:, None, :size] < blocks[:, :, None]).sum(-1)
        if blocks.shape[1] == size:
            starts = torch.cat([starts, starts.new_full((len(ids), 1), size)], 1)
        for kept in (self.latest, self.prompts):
            if kept is None or kept.first > first:
                continue
            there = kept.ids[:, first - kept.first :]
            most = min(there.shape[1], ids.shape[1])
            here = ids[:, :most]
            if torch.equal(kept.owner, owner):  # usually each row goes on from its own
                other = (here != there[:, :most]) | (here == UNSETTLED)
                length = _leading(other)
                place = torch.arange(len(owner), device=owner.device)
                if bool((length < most).any()) and bool((length < _settled(there)).any()):
                    length, place = self._nearest(kept.owner, there[:, :most], owner, here)
            else:
                length, place = self._nearest(kept.owner, there[:, :most], owner, here)
            width = int(starts.gather(1, length[:, None]).min())
            if width > best[2]:
                best = kept, place, width
            if kept is self.latest and width > 0:
                break
        source, rows, width = best
        # The last column is computed in any case, so that every layer has a query.
        width = min(width, ids.shape[1] - 1)
        return (source, rows, width) if width > 0 else (None, owner, 0)

    @staticmethod
    def _nearest(
        owners: Tensor, there: Tensor, owner: Tensor, here: Tensor
    ) -> tuple[Tensor, Tensor]:
        """For each row, the longest beginning that a kept row of the same owner has, and where."""
        other = (here[:, None] != there[None]) | (here == UNSETTLED)[:, None]
        other |= (owner[:, None] != owners)[..., None]
        length, place = _leading(other).max(1)
        return length, place


def _settled(ids: Tensor) -> Tensor:
    return (ids != UNSETTLED).sum(1)


def _leading(other: Tensor) -> Tensor:
    """How many entries of the last axis come before the first True."""
    stop = torch.cat([other, other.new_ones(*other.shape[:-1], 1)], -1)
    return stop.int().argmax(-1)


def settled_columns(masked: Tensor, blocks: Tensor) -> Tensor:
    """Which columns are settled, `(B, S)` bool: no mask is in their block or before it.

    Args:
        masked: `(B, S)` bool.
        blocks: `(B, S)` int64, ascending.
    """
    far = torch.iinfo(torch.long).max
    first = torch.where(masked, blocks, far).amin(1, keepdim=True)
    return blocks < first
