"""SVDD-PM: per step, M candidates of z_s, one of which is kept by the reward of its x0_hat.

    z_s^1..M ~ p_theta(. | z_t);   v_m = r(x0_hat(z_s^m));   keep m ~ softmax(v / alpha)

`x0_hat` keeps the committed tokens and fills the masks from x_theta(z_s). For M -> infinity a step
is a draw from `p_theta(z_s | z_t) exp(v(z_s)/alpha)`, normalised per step; the samples follow the
target only if v/alpha is the true soft value. `alpha=0` keeps the best (SVDD's greedy form).

Source: Li et al. 2024, https://arxiv.org/abs/2408.08252 (the posterior-mean variant, without a
trained value). A text reward cannot score a mean of tokens, so x0_hat is the likeliest answer or a
draw. Cost per returned sample: the kept candidate's logits are reused by the next step, so
1 + M*(T-1) forwards; M*T rewards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.canvas import Canvas
from ..core.completions import draw_answers, fill_in
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator, guiding
from ..core.protocols import Denoiser
from ..core.step import Step, StepState, Tilted
from ..core.token_sampling import sampling_probs
from .ancestral import base_config
from .checks import check_number, check_one_of
from .particles import draw_one, particle_noise, slots, take_ragged, unmasking_only

__all__ = ["SVDD"]


@dataclass(frozen=True)
class SVDD:
    """See `Method`.

    Attributes:
        candidates: M >= 1 per step.
        alpha: temperature of the choice, >= 0, in the reward's units; None is the call's `beta`.
        fill: x0_hat is the `argmax` answer or a `sample` from x_theta(z_s).
    """

    candidates: int = 4
    alpha: float | None = None
    fill: Literal["argmax", "sample"] = "argmax"

    selects: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("candidates", self.candidates, (1, math.inf, True), whole=True)
        if self.alpha is not None:
            check_number("alpha", self.alpha, (0, math.inf, True))
        check_one_of("fill", self.fill, ("argmax", "sample"))

    def settings(self, config: APSConfig) -> APSConfig:
        """See `Declares`."""
        return base_config(config)

    @property
    def reads(self) -> tuple[str, ...]:
        """See `Declares`."""
        return () if self.alpha is not None else ("beta",)

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """See `Method.steps`.

        Raises:
            ValueError: the call's `remask` is True.
        """
        unmasking_only(config, "SVDD")
        alpha = config.sampler.beta if self.alpha is None else self.alpha
        operator, config, many = guiding(operator), self.settings(config), self.candidates

        def look(z: Canvas, of: Tensor, own: Noise, index: int) -> tuple[Tensor, Step, Tensor]:
            """The rows of `z` with masks, their step and x_theta; `of` has their caller's rows."""
            open_rows = (z.z == denoiser.mask_id).any(-1).nonzero().squeeze(-1)
            z, own = z.take(open_rows), own.take(open_rows)
            step = Step.open(z, denoiser.mask_id, config, own, index, everywhere=True)
            none = torch.empty(0, denoiser.vocab_size, device=of.device)
            model = denoiser.take(of[open_rows])
            return open_rows, step, step.x_theta(model) if len(open_rows) else none

        rows, ahead, log_theta = look(canvas, slots(len(canvas.z), 1, canvas.z.device), noise, 0)
        where = ahead.where
        for index in range(config.sampler.steps):
            if not len(rows):
                return
            owners = slots(len(rows), many, rows.device)
            own = particle_noise(noise.take(rows), many)
            here = canvas.take(rows[owners])
            step = Step.open(here, denoiser.mask_id, config, own, index, everywhere=True)
            log_p = log_theta[take_ragged(where, owners)[0]]
            tilted = Tilted(log_p, log_p)
            tokens = step.draw(tilted)
            move = step.write(tokens, step.score(tilted, tokens, operator.codebook))
            left, ahead, log_ahead = look(move.canvas, rows[owners], own, index)
            answers = move.canvas.z.index_put((left,), self._promised(ahead, log_ahead))
            value = operator.take(rows[owners]).log_prob_ids(answers).total
            value = value.to(rows.device, torch.double).view(-1, many)
            if alpha == 0:
                kept = value.argmax(-1)
            else:
                kept = draw_one(value / alpha, noise.take(rows), index, "choice")
            kept = kept + torch.arange(len(rows), device=rows.device) * many
            entries, _ = take_ragged(step.where, kept)
            move = move.take(kept)
            canvas = canvas.put(rows, move.canvas)
            law = tilted.take(kept, entries)
            yield step.take(kept).report(canvas, rows, law, move, guided=False)  # no x_phi
            still = (move.canvas.z == denoiser.mask_id).any(-1)
            entries, where = take_ragged(ahead.where, torch.searchsorted(left, kept[still]))
            rows, log_theta = rows[still], log_ahead[entries]

    def _promised(self, step: Step, log_theta: Tensor) -> Tensor:
        """x0_hat of the step's rows, `(B, L)`."""
        if self.fill == "argmax":
            tokens = log_theta.argmax(-1, keepdim=True)
        else:
            law = step.config.sampler.draw
            probs = sampling_probs(log_theta, law.temperature, law.top_p, law.top_k)
            tokens = draw_answers(step, probs, 1)
        return fill_in(step.canvas, step.where, tokens)
