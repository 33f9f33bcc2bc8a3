"""A step's candidates: the logits they come from, the tokens, and what they compete by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .adapters import SUPPRESSED, Where
from .canvas import Canvas
from .config import APSConfig
from .operator import Operator
from .remasking import confidence, margin, quantized_score, sampling_support
from .state import Step, Tilted

__all__ = ["candidates_of", "is_random", "score_of", "stop_bias"]


def stop_bias(canvas: Canvas, where: Where, config: APSConfig) -> Callable[[Tensor], Tensor]:
    """`eos_penalty` and `min_new_tokens` as a change of logits `(N, K)`, prior and phi alike."""
    if not canvas.stop_ids or (config.eos_penalty == 0 and config.min_new_tokens == 0):
        return lambda logits: logits
    rows, cols = where
    offset = canvas.editable.long().cumsum(-1)[rows, cols] - 1
    early = offset < config.min_new_tokens
    stops = torch.tensor(canvas.stop_ids, device=cols.device)

    def bias(logits: Tensor) -> Tensor:
        shift = torch.where(early, SUPPRESSED, -config.eos_penalty).to(logits)
        return logits.index_add(1, stops, shift[:, None].expand(-1, len(stops)))

    return bias


def candidates_of(tilted: Tilted, step: Step, config: APSConfig, operator: Operator) -> Tensor:
    """A token per masked position `(N,)`: a draw from x_phi, or the quantised expectation."""
    rows, cols = step.where
    if config.candidate == "quantized":
        if operator.codebook is None:
            raise ValueError(
                "candidate='quantized' needs an operator with a codebook; use candidate='sample'"
            )
        return operator.codebook.nearest(operator.codebook.expect(tilted.log_phi.exp()))
    if config.temperature == 0:
        if config.alg == "topk_margin":
            return tilted.likeliest[1]
        return tilted.log_phi.argmax(-1)
    probs, ids = sampling_support(tilted.log_phi, config.temperature, config.top_p, config.top_k)
    drawn = step.noise.categorical(probs, rows, cols, step.index, "candidate")
    return drawn if ids is None else ids.gather(-1, drawn[:, None]).squeeze(-1)


def is_random(config: APSConfig) -> bool:
    """Whether positions come in an order that is drawn, whatever the scores."""
    return config.alg == "origin" or config.remasking == "random"


def score_of(
    tilted: Tilted, candidates: Tensor, step: Step, config: APSConfig, operator: Operator
) -> Tensor:
    """What the candidates compete by, `(N,)`; with `alg_temp`, perturbed so that the best n are a
    draw from `softmax(score / alg_temp)` without replacement (the Gumbel-top-k trick)."""
    rows, cols = step.where
    if is_random(config):
        return -step.noise.uniform(rows, cols, step.index, "order")
    if config.remasking == "anchored" and config.alg == "maskgit_plus":
        scores = quantized_score(config.anchor_score, tilted.log_phi, candidates, operator.codebook)
    else:
        by_prior = config.remasking != "anchored" and config.standard_score == "theta"
        ranked = tilted.log_theta if by_prior else tilted.log_phi
        if config.alg == "topk_margin" and ranked is tilted.log_phi:
            scores = margin(tilted.likeliest[0])
        else:
            scores = confidence(config.alg, ranked, candidates)
    if config.alg_temp is not None:
        gumbel = step.noise.gumbel(rows, cols, step.index, "alg_temp", 1).squeeze(-1)
        scores = scores / config.alg_temp + gumbel
    return scores
