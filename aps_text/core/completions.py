"""Whole answers at a step: drawn from its distributions or relaxed, and their rewards."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .canvas import Canvas, alive_before_stop, end_at_stop, is_stop
from .codebook import Relaxed
from .noise import drawn
from .operator import Operator
from .protocols import Where
from .step import Step

__all__ = [
    "draw_answers",
    "ended",
    "ended_first",
    "fill_in",
    "relax",
    "rewards_of",
    "scored_positions",
]


def draw_answers(
    step: Step,
    probs: Tensor,
    draws: int,
    stream: str = "lookahead",
    ids: Tensor | None = None,
    size: int | None = None,
) -> Tensor:
    """Columns for the step's masked positions, `(N, draws)`, from `probs (N, W)`; see `drawn`."""
    return drawn(probs, step.noise.uniform(*step.where, step.index, stream, draws), ids, size)


def fill_in(canvas: Canvas, where: Where, tokens: Tensor) -> Tensor:
    """Whole answers `(B * n, L)`: tokens `(N, n)` at the masked positions, ended at their stop.

    Committed tokens are kept; the n answers of a row are adjacent.
    """
    count = tokens.shape[-1]
    ids = canvas.z[:, None].repeat(1, count, 1)
    ids[where[0], :, where[1]] = tokens
    editable = canvas.editable[:, None].expand_as(ids)
    return end_at_stop(ids, editable, canvas.stop_ids, canvas.fill_id).flatten(0, 1)


def relax(step: Step, probs: Tensor, hard: Tensor, **how: Any) -> Relaxed:
    """The canvas with distributions at the step's masked positions.

    Args:
        probs: `(N, K)`, carrying the gradient.
        hard: `(N,)` one token per position; the first stop token among them ends the row.
        how: fields of `Relaxed`: relaxation, quantizer, gumbel, temperature.
    """
    canvas, (rows, cols) = step.canvas, step.where
    ids = canvas.z.index_put((rows, cols), hard)
    ids = end_at_stop(ids, canvas.editable, canvas.stop_ids, canvas.fill_id)
    alive = alive_before_stop(ids, canvas.stop_ids)
    if canvas.stop_ids:  # rows shorter than the canvas are padded behind their last position
        alive &= ids != canvas.fill_id
    return Relaxed(ids, rows, cols, probs, alive, **how)


def rewards_of(operator: Operator, step: Step, tokens: Tensor) -> Tensor:
    """Rewards of the answers that `tokens (N, n)` complete, `(B, n)`, double."""
    batch, draws = len(step.canvas.z), tokens.shape[-1]
    owners = torch.arange(batch, device=tokens.device).repeat_interleave(draws)
    scores = operator.take(owners).log_prob_ids(fill_in(step.canvas, step.where, tokens))
    return scores.total.to(tokens.device, torch.double).view(batch, draws)


def scored_positions(ids: Tensor, canvas: Canvas) -> Tensor:
    """Which positions of `ids (B, n, L)` belong to an answer: its tokens and its stop; bool."""
    on = torch.ones_like(ids, dtype=torch.bool)
    if canvas.stop_ids:
        on[..., 1:] = alive_before_stop(ids, canvas.stop_ids)[..., :-1]
    return on


def ended(canvas: Canvas, ids: Tensor) -> Tensor:
    """Which whole answers `ids (B, n, L)` have a stop token in an open position, bool `(B, n)`;
    the others may have been cut off by the canvas. All have, where the canvas knows no stop."""
    if not canvas.stop_ids:
        return torch.ones(ids.shape[:2], dtype=torch.bool, device=ids.device)
    return (is_stop(ids, canvas.stop_ids) & canvas.editable[:, None]).any(-1)


def ended_first(log_weight: Tensor, ends: Tensor) -> Tensor:
    """`log_weight (B, n)` with -inf for answers that do not end, in rows where one that does may be
    chosen: as if their rewards were lower beyond all bounds.

    Args:
        ends: `(B, n)` bool, from `ended`.
    """
    possible = (ends & ~log_weight.isneginf()).any(1, keepdim=True)
    return log_weight.masked_fill(possible & ~ends, -torch.inf)
