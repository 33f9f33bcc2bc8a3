"""SVDD-PM: per step, M candidates of z_s, one of which is kept by the reward of its x0_hat.

    z_s^1..M ~ p_theta(. | z_t);   v_m = r(x0_hat(z_s^m));   keep m ~ softmax(v / beta)

`x0_hat` keeps the committed tokens and fills the masks from x_theta(z_s). For M -> infinity a step
is a draw from `p_theta(z_s | z_t) exp(v(z_s)/beta)`, normalised per step; the samples follow the
target only if v/beta is the true soft value. `beta=0` keeps the best (SVDD's greedy form).

Source: Li et al. 2024, https://arxiv.org/abs/2408.08252 (the posterior-mean variant, without a
trained value). A text reward cannot score a mean of tokens, so x0_hat is the likeliest answer or a
draw. Cost per returned sample: the kept candidate's logits are reused by the next step, so
1 + M*(T-1) forwards; M*T rewards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import InitVar, dataclass
from typing import Literal

import torch

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.names import given_once
from ..core.noise import Noise
from ..core.operator import Operator, guiding
from ..core.protocols import Denoiser
from ..core.states import StepState
from .ancestral import base_step
from .checks import check_beta, check_counts, check_one_of
from .lookahead import Lookahead
from .particles import draw_one, particle_noise, slots, take_ragged, unmasking_only
from .reweighted import Reweighted

__all__ = ["SVDD"]


@dataclass(frozen=True)
class SVDD(Reweighted):
    """See `Method`.

    Attributes:
        candidates: M >= 1 continuations z_s of the whole canvas per step (no tokens are counted).
        beta: temperature of the choice, >= 0, in the reward's units; None is the call's `beta`.
        fill: x0_hat is the `argmax` answer or a `sample` from x_theta(z_s).
        alpha: deprecated name of `beta`.
    """

    candidates: int = 4
    beta: float | None = None
    fill: Literal["argmax", "sample"] = "argmax"
    alpha: InitVar[float | None] = None

    def __post_init__(self, alpha: float | None) -> None:
        object.__setattr__(self, "beta", given_once("beta", self.beta, "alpha", alpha))
        check_counts(candidates=self.candidates)
        check_beta(self.beta, zero=True)
        check_one_of("fill", self.fill, ("argmax", "sample"))

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """See `Method.steps`; raises `ValueError` if the call's `remask` is True."""
        unmasking_only(config, "SVDD")
        beta, config, many = self.beta_in(config), self.settings(config), self.candidates
        operator, mask_id, draws = guiding(operator), denoiser.mask_id, int(self.fill == "sample")
        each = torch.arange(len(canvas.z), device=canvas.z.device)
        ahead = Lookahead.of(denoiser, each, canvas, config, noise, 0)
        rows, where, log_theta = ahead.rows, ahead.step.where, ahead.log_theta
        for index in range(config.sampler.steps):
            if not len(rows):
                return
            owners = slots(len(rows), many, rows.device)
            own, here = particle_noise(noise.take(rows), many), canvas.take(rows[owners])
            log_p, book = log_theta[take_ragged(where, owners)[0]], operator.codebook
            step, law, move = base_step(here, mask_id, config, own, index, log_p, book)
            ahead = Lookahead.of(denoiser, rows[owners], move.canvas, config, own, index)
            answers = ahead.answers(move.canvas.z, draws)
            value = operator.take(rows[owners]).log_prob_ids(answers).total
            value = value.to(rows.device, torch.double).view(-1, many)
            if beta == 0:
                kept = value.argmax(-1)
            else:
                kept = draw_one(value / beta, noise.take(rows), index, "choice")
            kept = kept + each[: len(rows)] * many
            law, move = law.take(kept, take_ragged(step.where, kept)[0]), move.take(kept)
            canvas = canvas.put(rows, move.canvas)
            yield step.take(kept).report(canvas, rows, law, move, guided=False)  # no x_phi
            left = kept[(move.canvas.z == mask_id).any(-1)]
            at, where = take_ragged(ahead.step.where, torch.searchsorted(ahead.rows, left))
            rows, log_theta = rows[owners[left]], ahead.log_theta[at]
