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

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .canvas import alive_before_stop, end_at_stop
from .codebook import Relaxed
from .completions import counted, draw_answers, fill_in
from .operator import Operator, OperatorSum, merge_terms, parts
from .remasking import sampling_probs

if TYPE_CHECKING:
    from .canvas import Canvas
    from .config import APSConfig
    from .noise import Noise

__all__ = ["Likelihood", "estimate"]


@dataclass
class Likelihood:
    """What an estimator found.

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
    where: tuple[Tensor, Tensor],
    canvas: Canvas,
    config: APSConfig,
    noise: Noise,
    step: int,
    inner: int,
) -> Likelihood:
    """Estimate the likelihood part of the loss, per operator of a sum.

    Args:
        operator: bound to the canvas' B rows.
        log_phi: `(N, K)` normalised, on the graph of the logits.
        where: the masked positions, ordered by row.
        step, inner: name the draws.

    Raises:
        ValueError: `estimator="relaxed"` with an operator that is a black box.
    """
    relaxed_parts: list[tuple[float, Operator]] = []
    sampled_parts: list[tuple[float, Operator]] = []
    for weight, part in parts(operator):
        if weight == 0:
            continue
        if config.estimator == "relaxed" and not part.differentiable:
            raise ValueError(
                "estimator='relaxed' needs differentiable rewards, and one of these is a black "
                "box; use estimator='auto' or 'rloo'"
            )
        through = part.differentiable and config.estimator in ("auto", "relaxed")
        (relaxed_parts if through else sampled_parts).append((weight, part))
    zero = log_phi.new_zeros(len(canvas.z))
    found = Likelihood(zero, zero, torch.zeros_like(zero, dtype=torch.bool))
    if relaxed_parts:
        found = _add(
            found, _relaxed(relaxed_parts, log_phi, where, canvas, config, noise, step, inner)
        )
    if sampled_parts:
        found = _add(
            found, _sampled(sampled_parts, log_phi, where, canvas, config, noise, step, inner)
        )
    return found


def _add(one: Likelihood, two: Likelihood) -> Likelihood:
    return Likelihood(
        one.surrogate + two.surrogate,
        one.value + two.value,
        one.informative | two.informative,
        merge_terms(one.terms, two.terms),
    )


def _relaxed(weighted, log_phi, where, canvas, config, noise, step, inner) -> Likelihood:
    rows, cols = where
    stream = f"relax{inner}"
    log_hard = log_phi.detach()
    gumbel = None
    if config.relaxation == "gumbel":
        gumbel = noise.gumbel(rows, cols, step, stream, log_phi.shape[-1])
        hard = (log_hard + gumbel).argmax(-1)
    elif config.quantizer == "sample" and config.relaxation != "expectation":
        probs = sampling_probs(log_hard, config.temperature, config.top_p, config.top_k)
        hard = noise.categorical(probs, rows, cols, step, stream)
    else:
        hard = log_hard.argmax(-1)
    ids = canvas.z.index_put((rows, cols), hard)
    ids = end_at_stop(ids, canvas.editable, canvas.stop_ids, canvas.fill_id)
    alive = alive_before_stop(ids, canvas.stop_ids)
    if canvas.stop_ids:  # rows shorter than the canvas are padded behind their last position
        alive &= ids != canvas.fill_id
    relaxed = Relaxed(
        ids=ids,
        rows=rows,
        cols=cols,
        probs=log_phi.exp(),
        alive=alive,
        relaxation=config.relaxation,
        quantizer=config.quantizer,
        gumbel=gumbel,
        temperature=config.gumbel_temperature,
    )
    scores = OperatorSum(weighted).log_prob(relaxed)
    total = scores.total.to(log_phi)
    return Likelihood(total, total.detach(), torch.ones_like(total, dtype=torch.bool), scores.terms)


def _sampled(weighted, log_phi, where, canvas, config, noise, step, inner) -> Likelihood:
    rows, cols = where
    batch, length = canvas.z.shape
    draws = config.num_samples
    probs = log_phi.detach().double().exp()
    hard = draw_answers(noise, where, step, probs, draws, f"score{inner}")
    if config.estimator == "remax":
        hard = torch.cat([log_phi.detach().argmax(-1, keepdim=True), hard], -1)
    width = hard.shape[-1]
    ids = fill_in(canvas, where, hard)
    counts = counted(ids.view(batch, width, length), canvas)
    owner = torch.arange(batch, device=ids.device).repeat_interleave(width)
    scored = OperatorSum(weighted).take(owner).log_prob_ids(ids)
    rewards = scored.total.to(log_phi).view(batch, width)
    terms = {
        name: value.view(batch, width)[:, -draws:].mean(1) for name, value in scored.terms.items()
    }
    sampled = rewards[:, -draws:]
    if config.estimator == "remax":
        advantage = sampled - rewards[:, :1]
    else:
        advantage = (sampled - sampled.mean(1, keepdim=True)) * draws / (draws - 1)
    log_each = log_phi.gather(-1, hard[:, -draws:]) * counts[rows, :, cols][:, -draws:]
    log_answer = log_phi.new_zeros(batch, draws).index_add(0, rows, log_each)
    surrogate = (advantage * log_answer).mean(1)
    spread = rewards.amax(1) > rewards.amin(1)
    return Likelihood(surrogate, sampled.mean(1), spread, terms)
