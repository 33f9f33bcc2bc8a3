"""EntRGi and its Expectation and APS-logits variants: reward gradients on an offset of the logits.

    phi = logits at the masked positions, reset at every step;  M times:
        x~  = xbar + w sg[x_hard - xbar],   x_hard ~ x_phi (tempered, top-p)
        phi = Adam(phi, - grad r(x~))
    w = H(x_phi)/log K per position (EntRGi) | 0 (Expectation) | 1 (APS-logits)

These run `methods.aps` with the authors' settings: no prior term, no trust region, their Adam
(learning rate and eps), M, temperature and top-p, and their order: positions are ranked by the
entropy of the prior x_theta, tokens are drawn from x_phi. Adam divides by the gradient's scale, so
without a prior term beta has no effect; with so small an eps the first step moves every logit by
the learning rate, whatever its gradient. Cost per sample: T forwards, T*M rewards forward and
backward.

Source: Tejaswi, Rout et al. 2026, https://arxiv.org/abs/2602.05000, and its code. Differences: here
xbar is the expected code of the untempered x_phi, there of the tempered one; here eps is relative
to the rms of the gradient; here reveal counts are per row. Their K = 4 trajectories are
`BestOf(EntRGi(), 4)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator
from ..core.protocols import Denoiser
from ..core.states import StepState
from .aps import APS

__all__ = ["EntRGi", "aps_logits", "expectation"]


@dataclass(frozen=True)
class EntRGi:
    """EntRGi as a `Method`; the fields are settings of `APSConfig`, with the authors' values.

    All other settings (steps, length, blocks, guidance window, seeds) are the call's.
    """

    relaxation: Literal["entropy", "expectation", "quantized"] = "entropy"
    inner_steps: int = 3
    learning_rate: float = 0.5
    adam_eps: float = 1e-8
    temperature: float = 0.7
    top_p: float = 0.95
    alg: Literal["maskgit_plus", "topk_margin", "entropy", "origin"] = "entropy"

    reads: ClassVar[tuple[str, ...]] = ()
    selects: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raises what `APSConfig` raises of bad values."""
        self.settings(APSConfig())

    def settings(self, config: APSConfig) -> APSConfig:
        """The call's configuration with the authors' settings."""
        return config.replace(
            adapter="logits",
            prior="none",
            likelihood_weight=1.0,
            beta=1.0,
            quantizer="sample",
            trust_region=None,
            remasking="standard",
            rank_by="theta",
            candidate="sample",
            pool_size=None,
            **asdict(self),
        )

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """T forwards, T*M rewards forward and backward."""
        return APS().steps(denoiser, operator, canvas, self.settings(config), noise)


def expectation() -> EntRGi:
    """The Expectation baseline: the reward sees the expected code only (w = 0)."""
    return EntRGi(relaxation="expectation")


def aps_logits() -> EntRGi:
    """The APS baseline of the authors' text code: straight-through to a sampled token (w = 1)."""
    return EntRGi(relaxation="quantized")
