"""Training rows of `smol`: masks are seen by nobody but themselves, so few have to be there.

    query i attends to key j        if j is no mask, or j = i
    ... of the prompt, but its last token: only if j <= i
    token i is predicted            by the head's output at i - 1 (Dream's shift)

A masked position is computed only if it predicts its successor (its successor is masked and has a
loss): the others change nothing. The positions that stay keep their places (`at`). As the prompt
sees nothing behind it, its states are the same at every step.

Decoded in blocks from left to right, a canvas has text, a block that is partly masked, and masks
that nobody sees. `in_blocks` makes such rows: block diffusion (Arriola et al. 2025,
https://arxiv.org/abs/2503.09573) with one noised block a row.

Such a row teaches two or three tokens. `in_order` makes rows that teach a whole answer at once, as
a language model learns: each token sees those before it alone. Decoding one token at a time the
model sees the same tokens, but those see each other; so these rows are near to what decoding needs,
not the same.

Shapes: B rows, S positions that are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recipes.word_knowledge.masking import Batch, TokenIds

__all__ = ["Rows", "attention_bias", "compact", "in_blocks", "in_order", "left_to_right"]


@dataclass
class Rows:
    """`ids`, `at` (their positions), `target` (the NEXT position's token), `weight` of its loss;
    all `(B, S)`, and `causal (B, S)` bool, the prompt without its last token. Padding has the id
    `TokenIds.pad`."""

    ids: Tensor
    at: Tensor
    target: Tensor
    weight: Tensor
    causal: Tensor

    def to(self, device: torch.device) -> Rows:
        """The same rows on a device."""
        return Rows(*(x.to(device) for x in self._fields))

    @property
    def _fields(self) -> tuple[Tensor, ...]:
        return self.ids, self.at, self.target, self.weight, self.causal

    def split(self, parts: int) -> list[Rows]:
        """The rows in up to `parts` groups of about equal size."""
        cut = zip(*(x.tensor_split(parts) for x in self._fields), strict=True)
        return [Rows(*f) for f in cut if len(f[0])]


def in_blocks(
    batch: Batch,
    ids: TokenIds,
    begin: Sequence[int],
    generator: torch.Generator,
    share: float = 1.0,
    longest: int = 8,
) -> Batch:
    """The batch with a part of its rows masked as if they were decoded in blocks.

    In such a row a block starts anywhere in the answer or at its stop token and has 1 to `longest`
    positions, of which 1 to all are masked; what stands before it is visible and what stands behind
    it is padding. All three numbers are uniform.

    Args:
        begin: the tokens with which the prompt ends; the first of them occurs nowhere behind.
        share: the probability of a row to become one of these; the others stay as they are.
        longest: a block's maximal length; blocks end with the stop token.
    """
    rows, width = batch.ids.shape
    at = torch.arange(width).expand(rows, width)
    start = (batch.ids == begin[0]).int().cumsum(1).argmax(1) + len(begin)
    answer = at >= start[:, None]
    stop = ((batch.target == ids.stop) & answer).int().argmax(1)
    chosen = torch.rand(rows, generator=generator) < share
    chosen &= stop > 0  # a short canvas may be cut before the stop token

    def uniform(most: torch.Tensor) -> torch.Tensor:
        return (torch.rand(rows, generator=generator) * most).long()

    first = start + uniform(stop - start + 1)
    end = torch.minimum(first + 1 + uniform(torch.full_like(stop, longest)), stop + 1)
    block = (at >= first[:, None]) & (at < end[:, None])
    rank = torch.rand(rows, width, generator=generator).masked_fill(~block, 2.0)
    rank = rank.argsort(1).argsort(1)
    hidden = rank < 1 + uniform(end - first)[:, None]
    seen = torch.where(answer, batch.target, batch.ids).masked_fill(hidden, ids.mask)
    seen = seen.masked_fill(at >= end[:, None], ids.pad)
    pick = chosen[:, None]
    return Batch(
        torch.where(pick, seen, batch.ids),
        batch.target,
        torch.where(pick, hidden.float(), batch.weight),
    )


def compact(batch: Batch, ids: TokenIds, begin: Sequence[int]) -> Rows:
    """The positions of a batch that are visible or predict a token with a loss.

    Args:
        begin: the tokens with which the prompt ends (`<|im_start|>assistant` and a line break);
            the first of them occurs nowhere behind.
    """
    ahead = torch.zeros_like(batch.weight)
    ahead[:, :-1] = batch.weight[:, 1:]
    target = torch.full_like(batch.target, ids.pad)
    target[:, :-1] = batch.target[:, 1:]
    kept = (batch.ids != ids.pad) & ((batch.ids != ids.mask) | (ahead > 0))
    width = int(kept.sum(1).max())
    order = kept.int().argsort(stable=True, dim=1, descending=True)[:, :width]
    real = kept.gather(1, order)

    def taken(x: Tensor, empty: float) -> Tensor:
        return x.gather(1, order).masked_fill(~real, empty)

    begins = (batch.ids == begin[0]).int().cumsum(1).argmax(1)  # of the last occurrence
    causal = order < (begins + len(begin) - 1)[:, None]
    return Rows(
        taken(batch.ids, ids.pad), order.masked_fill(~real, 0), taken(target, ids.pad),
        taken(ahead, 0.0), causal & real,
    )  # fmt: skip


def in_order(batch: Batch, ids: TokenIds, begin: Sequence[int]) -> Rows:
    """Rows of whole answers: every token and the stop token is predicted from those before it."""
    width = batch.ids.shape[1]
    at = torch.arange(width).expand_as(batch.ids)
    start = (batch.ids == begin[0]).int().cumsum(1).argmax(1, keepdim=True) + len(begin)
    answer = at >= start
    stopped = ((batch.target == ids.stop) & answer).int().cumsum(1)
    ends = stopped.cumsum(1) > 1  # behind the first stop token
    text = answer & ~ends & (batch.target != ids.pad)
    seen = torch.where(answer, batch.target.masked_fill(~text, ids.pad), batch.ids)
    rows = compact(Batch(seen, batch.target, text.float()), ids, begin)
    return replace(rows, causal=rows.ids != ids.pad)


def left_to_right(rows: Sequence[tuple[list[int], list[int]]], ids: TokenIds) -> Rows:
    """Rows of (prompt, answer): each token of the answer and the stop token has a loss of 1."""
    width = max(len(q) + len(a) for q, a in rows) + 1
    seen = torch.full((len(rows), width), ids.pad)
    weight = torch.zeros(len(rows), width)
    for row, (q, a) in enumerate(rows):
        seen[row, : len(q) + len(a) + 1] = torch.tensor([*q, *a, ids.stop])
        weight[row, len(q) - 1 : len(q) + len(a)] = 1.0
    target = torch.full_like(seen, ids.pad)
    target[:, :-1] = seen[:, 1:]
    real = seen != ids.pad
    at = torch.arange(width).expand_as(seen).masked_fill(~real, 0)
    return Rows(seen, at, target, weight, real)


def attention_bias(rows: Rows, ids: TokenIds, ahead: float = 1.0) -> Tensor:
    """`(B, S, S)`: 0 where query may see key, -1e9 elsewhere.

    Args:
        ahead: in (0, 1], the weight of keys behind the query; it grows from almost 0 to 1 while a
            causal model learns to look ahead.
    """
    visible = (rows.ids != ids.pad) & (rows.ids != ids.mask)
    itself = torch.eye(visible.shape[1], dtype=torch.bool, device=visible.device)
    bias = torch.where(visible[:, None, :] | itself, 0.0, -1e9)
    later = rows.at[:, None, :] > rows.at[:, :, None]
    bias = bias.masked_fill(later & rows.causal[:, :, None], -1e9)
    if ahead < 1:
        bias = bias + later * math.log(max(ahead, 1e-9))
    return bias
