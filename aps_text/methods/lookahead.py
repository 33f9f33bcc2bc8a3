"""What a canvas with masks promises: `log psi_t(z_t)`, an estimate of `log E[exp(r/beta) | z_t]`.

    prior:  log mean_k exp(r(x_k)/beta),                       x_k ~ x_theta(z_t) on the masks
    elbo:   mean_k r(x_k)/beta - sum_l KL(x_phi^l || x_theta^l),  x_k ~ x_phi(z_t)

`prior` has the right expectation (of psi under the product of marginals) and a large variance;
`elbo` is a lower bound of it that is tight where x_phi is the mean-field posterior. Either may be
noisy: a particle keeps the value it was weighed with, so the weights of its path telescope.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..adapter import Where
from ..canvas import Canvas, end_at_stop
from ..noise import Noise
from ..objective import sum_rows
from ..operator import Operator
from ..state import Step

__all__ = ["divergence", "draw_answers", "fill_in", "log_promise", "rewards_of"]


def draw_answers(noise: Noise, where: Where, index: int, probs: Tensor, draws: int) -> Tensor:
    """Tokens for the masked positions at step `index`, `(N, draws)`, from `probs (N, K)`."""
    cumulative = probs.double().cumsum(-1)
    u = noise.uniform(*where, index, "lookahead", draws) * cumulative[:, -1:]
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


def divergence(step: Step, log_q: Tensor, log_p: Tensor) -> Tensor:
    """`sum_l KL(q^l || p^l)` over a row's masks, `(B,)`; 0 log 0 is 0."""
    q = log_q.exp()
    each = torch.where(q > 0, q * (log_q - log_p), 0.0).sum(-1)
    return sum_rows(each.double(), step.where[0], len(step.canvas.z))


def log_promise(
    operator: Operator,
    step: Step,
    log_p: Tensor,
    log_q: Tensor,
    *,
    kind: str,
    draws: int,
    beta: float,
) -> Tensor:
    """`log psi_t` per row, `(B,)` double; `draws` rewards a row.

    Args:
        operator: bound to the step's rows.
        step: whose `where` are all masks of its canvas.
        log_p, log_q: `(N, K)` what the base sampler and the proposal draw candidates from.
        kind: `prior | elbo`.
    """
    probs = (log_p if kind == "prior" else log_q).exp()
    tokens = draw_answers(step.noise, step.where, step.index, probs, draws)
    r = rewards_of(operator, step, tokens) / beta
    if kind == "prior":
        return r.logsumexp(-1) - math.log(draws)
    return r.mean(-1) - divergence(step, log_q, log_p)
