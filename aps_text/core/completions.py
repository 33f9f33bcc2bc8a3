"""Whole answers drawn from a step's distributions: tokens at the masks, canvases, their rewards."""

from __future__ import annotations

import torch
from torch import Tensor

from .adapters import Where
from .canvas import Canvas, alive_before_stop, end_at_stop
from .noise import Noise
from .operator import Operator
from .state import Step

__all__ = ["counted", "draw_answers", "fill_in", "rewards_of"]


def draw_answers(
    noise: Noise, where: Where, index: int, probs: Tensor, draws: int, stream: str = "lookahead"
) -> Tensor:
    """Tokens for the masked positions at step `index`, `(N, draws)`, from `probs (N, K)`."""
    cumulative = probs.double().cumsum(-1)
    u = noise.uniform(*where, index, stream, draws) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, u, right=True).clamp_max(probs.shape[-1] - 1)


def fill_in(canvas: Canvas, where: Where, tokens: Tensor) -> Tensor:
    """Whole answers: tokens `(N, n)` at the masked positions, ended at their stop, `(B * n, L)`.

    Committed tokens are kept; a row's n answers stand together.
    """
    count = tokens.shape[-1]
    ids = canvas.z[:, None].repeat(1, count, 1)
    ids[where[0], :, where[1]] = tokens
    editable = canvas.editable[:, None].expand_as(ids)
    return end_at_stop(ids, editable, canvas.stop_ids, canvas.fill_id).flatten(0, 1)


def rewards_of(operator: Operator, step: Step, tokens: Tensor) -> Tensor:
    """Rewards of the answers that `tokens (N, n)` complete, `(B, n)`, double."""
    batch, draws = len(step.canvas.z), tokens.shape[-1]
    owners = torch.arange(batch, device=tokens.device).repeat_interleave(draws)
    scores = operator.take(owners).log_prob_ids(fill_in(step.canvas, step.where, tokens))
    return scores.total.to(tokens.device, torch.double).view(batch, draws)


def counted(ids: Tensor, canvas: Canvas) -> Tensor:
    """Positions of `(B, n, L)` that decide an answer: its tokens, and the stop that ends it."""
    on = torch.ones_like(ids, dtype=torch.bool)
    if canvas.stop_ids:
        on[..., 1:] = alive_before_stop(ids, canvas.stop_ids)[..., :-1]
    return on
