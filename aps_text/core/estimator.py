"""Estimators of the likelihood's gradient at the logits.

    relaxed   d/dphi log q(y | x~_phi), through the quantised expectation (biased, low variance)
    rloo      (1/K) sum_k (r_k - mean_{j != k} r_j) d/dphi log x_phi(x_k | z_t), Kool et al. 2019
    remax     the same with the argmax answer's reward as the baseline, Li et al. 2023

At a fixed z_t the denoiser factorises over masked positions, so `log x_phi(x | z_t)` is exact from
one forward and the score function is unbiased for the gradient of E[r] (not of log E[exp r]). The
K samples are untempered. Positions after a sample's first stop token cannot change its reward and
are left out of its log-probability: still unbiased, less noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .completions import draw_answers, fill_in, relax, scored_positions
from .operator import Operator, OperatorSum, merge_terms, parts
from .settings import Fit, Gradient, Relaxation, ScoreFunction
from .step import Step
from .token_sampling import sampling_probs

__all__ = ["Likelihood", "estimate"]


@dataclass
class Likelihood:
    """The result of an estimator.

    Attributes:
        surrogate: `(B,)`; its gradient at the logits estimates that of log q.
        value: `(B,)`; log q on the relaxed canvas, or the mean over samples.
        informative: `(B,)` bool; False where all samples scored the same: skip the step.
        terms: unweighted values by name.
    """

    surrogate: Tensor
    value: Tensor
    informative: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


def estimate(
    operator: Operator,
    log_phi: Tensor,
    step: Step,
    inner: int,
    gradient: Gradient | None = None,
    probs: Tensor | None = None,
) -> Likelihood:
    """Estimate the likelihood part of the loss, per operator of a sum.

    Args:
        operator: bound to the step's B rows.
        log_phi: `(N, K)` normalised, on the graph of the logits.
        inner: index of the optimiser step, a coordinate of the counted noise.
        gradient: which estimators to use; None reads the step's settings.
        probs: `(N, K)` `exp(log_phi)` where it is known, on the graph of the same logits.

    Raises:
        ValueError: `estimator="relaxed"` with an operator that is a black box.
    """
    if gradient is None:
        gradient = (step.config.sampler.fit or Fit()).gradient
    through: list[tuple[float, Operator]] = []
    scored: list[tuple[float, Operator]] = []
    for weight, part in parts(operator):
        if weight == 0:
            continue
        if gradient.score is None and not part.differentiable:
            raise ValueError(
                "estimator='relaxed' needs differentiable rewards, and one of these is a black "
                "box; use estimator='auto' or 'rloo'"
            )
        relaxed = part.differentiable and gradient.relaxation is not None
        (through if relaxed else scored).append((weight, part))
    zero = log_phi.new_zeros(len(step.canvas.z))
    found = Likelihood(zero, zero, torch.zeros_like(zero, dtype=torch.bool))
    if through and gradient.relaxation is not None:
        each = log_phi.exp() if probs is None else probs
        found = _add(found, _relaxed(through, log_phi, each, step, inner, gradient.relaxation))
    if scored and gradient.score is not None:
        found = _add(found, _sampled(scored, log_phi, step, inner, gradient.score))
    return found


def _add(one: Likelihood, two: Likelihood) -> Likelihood:
    return Likelihood(
        one.surrogate + two.surrogate,
        one.value + two.value,
        one.informative | two.informative,
        merge_terms(one.terms, two.terms),
    )


def _relaxed(
    weighted: Sequence[tuple[float, Operator]],
    log_phi: Tensor,
    probs: Tensor,
    step: Step,
    inner: int,
    relaxation: Relaxation,
) -> Likelihood:
    where, stream = step.where, f"relax{inner}"
    log_hard = log_phi.detach()
    gumbel = None
    if relaxation.kind == "gumbel":
        gumbel = step.noise.gumbel(*where, step.index, stream, log_phi.shape[-1])
        hard = (log_hard + gumbel).argmax(-1)
    elif relaxation.quantizer == "sample":
        draw = step.config.sampler.draw
        law = sampling_probs(log_hard, draw.temperature, draw.top_p, draw.top_k)
        hard = step.noise.categorical(law, *where, step.index, stream)
    else:
        hard = log_hard.argmax(-1)
    relaxed = relax(
        step,
        probs,
        hard,
        relaxation=relaxation.kind,
        quantizer=relaxation.quantizer or "sample",
        gumbel=gumbel,
        temperature=relaxation.gumbel_temperature or 1.0,
    )
    scores = OperatorSum(weighted).log_prob(relaxed)
    total = scores.total.to(log_phi)
    return Likelihood(total, total.detach(), torch.ones_like(total, dtype=torch.bool), scores.terms)


def _sampled(
    weighted: Sequence[tuple[float, Operator]],
    log_phi: Tensor,
    step: Step,
    inner: int,
    score: ScoreFunction,
) -> Likelihood:
    rows, cols = step.where
    batch, length = step.canvas.z.shape
    draws = score.samples
    hard = draw_answers(step, log_phi.detach().double().exp(), draws, f"score{inner}")
    if score.baseline == "remax":
        hard = torch.cat([log_phi.detach().argmax(-1, keepdim=True), hard], -1)
    width = hard.shape[-1]
    ids = fill_in(step.canvas, step.where, hard)
    on = scored_positions(ids.view(batch, width, length), step.canvas)
    owner = torch.arange(batch, device=ids.device).repeat_interleave(width)
    scored = OperatorSum(weighted).take(owner).log_prob_ids(ids)
    rewards = scored.total.to(log_phi).view(batch, width)
    terms = {
        name: value.view(batch, width)[:, -draws:].mean(1) for name, value in scored.terms.items()
    }
    sampled = rewards[:, -draws:]
    if score.baseline == "remax":
        advantage = sampled - rewards[:, :1]
    else:
        advantage = (sampled - sampled.mean(1, keepdim=True)) * draws / (draws - 1)
    log_each = log_phi.gather(-1, hard[:, -draws:]) * on[rows, :, cols][:, -draws:]
    log_answer = log_phi.new_zeros(batch, draws).index_add(0, rows, log_each)
    surrogate = (advantage * log_answer).mean(1)
    spread = rewards.amax(1) > rewards.amin(1)
    return Likelihood(surrogate, sampled.mean(1), spread, terms)
