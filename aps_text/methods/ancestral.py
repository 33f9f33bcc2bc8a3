"""The base sampler: confidence or ancestral decoding of x_theta, no reward.

`alg`, Dream's name, is how positions are ranked; `origin` is ancestral sampling: every mask is
revealed independently with probability `1 - (1 - alpha_s) / (1 - alpha_t)` (Sahoo et al. 2024,
MDLM, https://arxiv.org/abs/2406.07524). Confidence decoders reveal per-row counts (Chang et
al. 2022, MaskGIT, https://arxiv.org/abs/2202.04200; Ye et al. 2025, Dream,
https://arxiv.org/abs/2508.15487).
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from ..core.canvas import Canvas
from ..core.codebook import Codebook
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator
from ..core.protocols import Denoiser
from ..core.sampler import denoise
from ..core.settings import Ranked
from ..core.states import StepState, Tilted, Transition
from ..core.step import Step

__all__ = ["Ancestral", "base_config", "base_step"]


class Ancestral:
    """The base sampler as a `Method`; the operator is never scored."""

    name = "method 'plain'"
    reads: tuple[str, ...] = ()
    selects = False

    def settings(self, config: APSConfig) -> APSConfig:
        """See `Declares`."""
        return base_config(config)

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """See `Method.steps`; at most T forwards, fewer when rows finish early."""
        return denoise(denoiser, operator, canvas, self.settings(config), noise)


def base_config(config: APSConfig) -> APSConfig:
    """`config` without its guidance: no phi, no pool, tokens sampled and ranked by x_theta."""
    base = config.replace(inner_steps=0, candidate="sample", pool_size=None)
    if isinstance(base.sampler.order, Ranked):
        return base.replace(remasking="standard", rank_by="theta")
    return base


def base_step(
    canvas: Canvas,
    mask_id: int,
    config: APSConfig,
    noise: Noise,
    index: int,
    log_theta: Tensor,
    codebook: Codebook | None,
) -> tuple[Step, Tilted, Transition]:
    """One step of the base sampler with known x_theta: its inputs, distributions and outcome.

    Args:
        config: from `base_config`.
        log_theta: `(N, K)` log x_theta at all masks of the canvas, ordered by row.
        codebook: of the operator, for orders that score by codes.
    """
    step = Step.open(canvas, mask_id, config, noise, index, everywhere=True)
    tilted = Tilted(log_theta, log_theta)
    tokens = step.draw(tilted)
    return step, tilted, step.write(tokens, step.score(tilted, tokens, codebook))
