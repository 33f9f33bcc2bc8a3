"""SVDD-PM: per step, M candidates of z_s; one is kept by the reward of the answer it promises.

    z_s^1..M ~ p_theta(. | z_t);   v_m = r(x0_hat(z_s^m));   keep m ~ softmax(v / alpha)

`x0_hat` keeps the committed tokens and fills the masks from x_theta(z_s). For M -> infinity a step
is a draw from `p_theta(z_s | z_t) exp(v(z_s)/alpha)`, normalised per step: that is the target only
where v/alpha is the true soft value. `alpha=0` keeps the best (SVDD's greedy form).

Source: Li et al. 2024, "Derivative-Free Guidance in Continuous and Discrete Diffusion Models with
Soft Value-Based Decoding" (the posterior-mean variant, without a trained value). A text reward
takes no mean of tokens, so x0_hat is the likeliest answer or a draw. Cost per returned sample: the
kept candidate's logits are the next step's, so 1 + M*(T-1) forwards; M*T rewards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.adapters import Denoiser, Where
from ..core.candidates import score_of, stop_bias
from ..core.canvas import Canvas
from ..core.completions import draw_answers, fill_in
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator, guiding
from ..core.remasking import sampling_probs
from ..core.sampler import StepState
from ..core.state import Tilted
from ..core.transition import open_step, positions_of, report, write
from .ancestral import base_config
from .checks import check_number, check_one_of
from .particles import (
    draw_one,
    particle_noise,
    slots,
    take_ragged,
    unmasking_only,
)

__all__ = ["SVDD"]


@dataclass(frozen=True)
class SVDD:
    """See `Method`.

    Attributes:
        candidates: M per step.
        alpha: temperature of the choice, in the reward's units; 0 takes the best, None is the
            call's `beta`.
        fill: x0_hat is the `argmax` answer or a `sample` from x_theta(z_s).
    """

    candidates: int = 4
    alpha: float | None = None
    fill: Literal["argmax", "sample"] = "argmax"

    def __post_init__(self) -> None:
        check_number("candidates", self.candidates, (1, math.inf, True), whole=True)
        if self.alpha is not None:
            check_number("alpha", self.alpha, (0, math.inf, True))
        check_one_of("fill", self.fill, ("argmax", "sample"))

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """One state a step.

        Raises:
            ValueError: `revisable`.
        """
        unmasking_only(config, "SVDD")
        return self._run(denoiser, guiding(operator), canvas, base_config(config), noise)

    def _run(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        mask_id, many = denoiser.mask_id, self.candidates
        active = (canvas.z == mask_id).any(-1).nonzero().squeeze(-1)
        if not len(active):
            return
        where = positions_of(canvas.z[active] == mask_id)
        log_theta = prior(denoiser.take(active), canvas.take(active), where, config)
        for index in range(config.steps):
            owners = slots(len(active), many, active.device)
            own = particle_noise(noise.take(active), many)
            step = open_step(
                canvas.take(active[owners]), mask_id, config, own, index, everywhere=True
            )
            entries, _ = take_ragged(where, owners)
            log_p = log_theta[entries]
            tilted = Tilted(log_p, log_p)
            probs = sampling_probs(log_p, config.temperature, config.top_p, config.top_k)
            tokens = own.categorical(probs, *step.where, index, "candidate")
            move = write(step, tokens, score_of(tilted, tokens, step, config, operator), config)
            ahead = self._look(denoiser, move.canvas, active[owners], own, index, config)
            reward = operator.take(active[owners]).log_prob_ids(ahead.answers).total
            kept = self._choose(
                reward.to(active.device).view(-1, many), config, noise, active, index
            )
            kept = kept + torch.arange(len(active), device=kept.device) * many
            # What the kept candidates did, and x_theta where they stand.
            entries, chosen_where = take_ragged(step.where, kept)
            chosen = Tilted(log_p[entries], log_p[entries])
            move = move.take(kept)
            canvas = canvas.put(active, move.canvas)
            yield report(index, config.steps, canvas, active, chosen_where, chosen, move)
            still = (move.canvas.z == mask_id).any(-1)
            active = active[still]
            if not len(active):
                return
            entries, where = take_ragged(ahead.where, torch.searchsorted(ahead.rows, kept[still]))
            log_theta = ahead.log_theta[entries]

    def _look(
        self,
        denoiser: Denoiser,
        canvas: Canvas,
        rows: Tensor,
        noise: Noise,
        index: int,
        config: APSConfig,
    ) -> _Ahead:
        """x_theta at the candidates that have masks, and the answers all of them promise.

        `canvas` and `noise` are the candidates', `rows` their rows in `denoiser`.
        """
        masked = canvas.z == denoiser.mask_id
        some = masked.any(-1).nonzero().squeeze(-1)
        where = positions_of(masked[some])
        if not len(some):
            return _Ahead(some, where, torch.empty(0, device=some.device), canvas.z)
        partial = canvas.take(some)
        log_theta = prior(denoiser.take(rows[some]), partial, where, config)
        if self.fill == "argmax":
            tokens = log_theta.argmax(-1, keepdim=True)
        else:
            probs = sampling_probs(log_theta, config.temperature, config.top_p, config.top_k)
            tokens = draw_answers(noise.take(some), where, index, probs, 1)
        answers = canvas.z.index_put((some,), fill_in(partial, where, tokens))
        return _Ahead(some, where, log_theta, answers)

    def _choose(
        self, reward: Tensor, config: APSConfig, noise: Noise, active: Tensor, index: int
    ) -> Tensor:
        """The kept candidate of each row, `(B, M)` -> `(B,)`."""
        alpha = config.beta if self.alpha is None else self.alpha
        if alpha == 0:
            return reward.argmax(-1)
        return draw_one(reward.double() / alpha, noise.take(active), index, "choice")


@dataclass
class _Ahead:
    """One look ahead: `rows` are the candidates with masks, `where` and `log_theta` theirs."""

    rows: Tensor
    where: Where
    log_theta: Tensor
    answers: Tensor


@torch.no_grad()
def prior(denoiser: Denoiser, canvas: Canvas, where: Where, config: APSConfig) -> Tensor:
    """`log x_theta(z_t)` at `where`, `(N, K)`: one forward."""
    logits = denoiser.logits(denoiser.trunk(canvas.z), where)
    return stop_bias(canvas, where, config)(logits).log_softmax(-1)
