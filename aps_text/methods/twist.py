"""The twisting function `log psi_t(z_t)`: an estimate of `log E[exp(r/beta) | z_t]`.

    prior:  log mean_k exp(r(x_k)/beta),                       x_k ~ x_theta(z_t) on the masks
    elbo:   mean_k r(x_k)/beta - sum_l KL(x_phi^l || x_theta^l),  x_k ~ x_phi(z_t)

With `prior`, psi is unbiased (under the product of marginals) and has a large variance; `elbo` is
in expectation a lower bound, tight if x_phi is the mean-field posterior. Noise in the estimate
does not bias the filter: a particle keeps the value it was weighted with, so the weights along its
path telescope.
Twisting functions: Wu et al. 2023, https://arxiv.org/abs/2306.17775.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..core.completions import draw_answers, rewards_of
from ..core.objective import sum_rows
from ..core.operator import Operator
from ..core.step import Step
from .particle_filter import Proposal, Twist

__all__ = ["divergence", "log_twist", "prior_twist"]


def divergence(step: Step, log_q: Tensor, log_p: Tensor) -> Tensor:
    """`sum_l KL(q^l || p^l)` over a row's masks, `(B,)`; 0 log 0 is 0."""
    q = log_q.exp()
    each = torch.where(q > 0, q * (log_q - log_p), 0.0).sum(-1)
    return sum_rows(each.double(), step.where[0], len(step.canvas.z))


def log_twist(
    operator: Operator,
    step: Step,
    log_p: Tensor,
    log_q: Tensor,
    *,
    kind: str,
    draws: int,
    beta: float,
) -> Tensor:
    """`log psi_t` per row, `(B,)` double; costs `draws` rewards per row.

    Args:
        operator: bound to the step's rows.
        step: opened with `everywhere`, so that `where` are all masks of its canvas.
        log_p, log_q: `(N, K)`, the distributions candidates are drawn from by the base sampler and
            by the proposal.
        kind: `prior | elbo`.
    """
    probs = (log_p if kind == "prior" else log_q).exp()
    tokens = draw_answers(step, probs, draws)
    r = rewards_of(operator, step, tokens) / beta
    if kind == "prior":
        return r.logsumexp(-1) - math.log(draws)
    return r.mean(-1) - divergence(step, log_q, log_p)


def prior_twist(draws: int, beta: float) -> Twist:
    """`log_twist` of kind `prior`, as a particle filter that proposes from x_theta asks for it."""

    def twist(reward: Operator, at: Proposal) -> Tensor:
        log_p = at.log_p
        return log_twist(reward, at.step, log_p, log_p, kind="prior", draws=draws, beta=beta)

    return twist
