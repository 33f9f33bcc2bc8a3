"""Partly masked canvases seen one step ahead: x_theta at their masks, and answers filled from it.

    x0_hat(z)   the tokens of z, and at its masks the likeliest tokens or draws from x_theta(z)

Shapes: B' canvases, of rows of the caller's canvas; N masks of all of them together, K tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.canvas import Canvas
from ..core.completions import draw_answers, fill_in
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.protocols import Denoiser
from ..core.step import Step
from ..core.token_sampling import sampling_probs

__all__ = ["Lookahead"]


@dataclass
class Lookahead:
    """The canvases that have masks, and x_theta there.

    Attributes:
        rows: int64, ascending; which of the B' canvases they are.
        step: opened for these at all their masks.
        log_theta: `(N, K)`, log x_theta at `step.where`.
    """

    rows: Tensor
    step: Step
    log_theta: Tensor

    @classmethod
    def of(
        cls,
        denoiser: Denoiser,
        owners: Tensor,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
        index: int,
    ) -> Lookahead:
        """One forward of the denoiser, none if no canvas has masks.

        Args:
            owners: `(B',)` int64; the denoiser's row of each canvas.
            canvas, noise: of the B' canvases.
            index: of the step, which numbers the draws of `answers`.
        """
        rows = (canvas.z == denoiser.mask_id).any(-1).nonzero().squeeze(-1)
        some, own, mask_id = canvas.take(rows), noise.take(rows), denoiser.mask_id
        step = Step.open(some, mask_id, config, own, index, everywhere=True)
        if not len(rows):
            return cls(rows, step, torch.empty(0, denoiser.vocab_size, device=rows.device))
        return cls(rows, step, step.x_theta(denoiser.take(owners[rows])))

    def tokens(self, draws: int) -> Tensor:
        """Tokens at the masks: the likeliest, `(N, 1)`, if `draws` is 0, else draws, `(N, draws)`.

        Draws are from the base sampler's distributions (temperature, top-p, top-k).
        """
        if not draws:
            return self.log_theta.argmax(-1, keepdim=True)
        law = self.step.config.sampler.draw
        probs = sampling_probs(self.log_theta, law.temperature, law.top_p, law.top_k)
        return draw_answers(self.step, probs, draws)

    def answers(self, z: Tensor, draws: int) -> Tensor:
        """x0_hat of all canvases `z (B', L)`, from one set of `tokens`; whole ones unchanged."""
        filled = fill_in(self.step.canvas, self.step.where, self.tokens(draws))
        return z.index_put((self.rows,), filled)
