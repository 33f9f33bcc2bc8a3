"""APS-SMC: particles proposed by x_phi, with importance weights (new here, not in the APS paper).

Target: `pi(x) ~ p(x) exp(r(x)/beta)`, where p is the law of the BASE SAMPLER: x_theta with the
call's temperature, top-p, stop bias, time grid, reveal counts, blocks, and the order policy
`order`. It is not the law of the data, nor of another grid or order: with few steps the base
sampler reveals several tokens at once from a product of marginals, and p includes that error.

    revealed set  from the base policy: ranks of x_theta (`entropy`, `topk_margin`), or random
                  (`random`, `origin`); a function of z_t and of draws independent of the candidates
    tokens        q^l ~ x_phi^l inside the support of the base sampler's x_theta^l
    weights       prod over the revealed tokens of x_theta/q, times psi_s/psi_t,
                  psi_T = exp(r(x)/beta), psi_1 = 1

A token revealed after a stop token of the same step is discarded under both p and q and does not
enter the weight. `order="anchored"` keeps the candidates with the highest tilted probability, as
APS does: the revealed set then depends on the candidates, the weights ignore this, and the result
is BIASED: it does not sample the target.

x_phi is fitted per particle by the objective of `methods.aps` under the call's settings (prior, M,
adapter, ...). Cost per returned sample, k particles, with `adapter="logits"`: k*T forwards, k*T*M
rewards forward and backward (black boxes: times `num_samples`, forward only), and
k * draws * (ceil(T/every) - 1) + k rewards for the weights; LoRA adds its k*T*M passes of the
denoiser, as in APS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator
from ..core.protocols import Denoiser
from ..core.sampler import Tilt
from ..core.states import StepState
from .aps import PosteriorTilt, new_phi
from .checks import ORDERS, check_counts, check_number, check_one_of, ordered
from .particle_filter import Proposal
from .particle_method import ParticleMethod
from .particles import unmasking_only
from .twist import log_twist

__all__ = ["APSSMC"]


@dataclass(frozen=True)
class APSSMC(ParticleMethod):
    """See `Method`.

    Attributes:
        particles: k >= 1.
        order: `entropy | topk_margin | random | origin` are exact, `anchored` is biased.
        beta: of the objective and of the weights; None is the call's `beta`.
        twist: psi_t from answers drawn from x_phi (`elbo`) or x_theta (`prior`), see
            `methods.twist`.
        draws: answers drawn per estimate of psi_t, >= 1.
        every: steps between two estimates of psi_t (resampling happens only there).
        resample: a group is resampled when its effective sample size is below this fraction of k.
        floor: fraction of x_theta in the proposal, in [0, 1]; no revealed token's weight exceeds
            1/floor.
        final: return a particle by its `weight` (the target's law) or by the highest `reward`.
    """

    particles: int = 4
    order: Literal["entropy", "topk_margin", "random", "origin", "anchored"] = "entropy"
    beta: float | None = None
    twist: Literal["elbo", "prior"] = "elbo"
    draws: int = 1
    every: int = 1
    resample: float = 0.5
    floor: float = 0.05
    final: Literal["weight", "reward"] = "reward"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of("order", self.order, ORDERS)
        check_one_of("twist", self.twist, ("elbo", "prior"))
        check_counts(draws=self.draws)
        check_number("floor", self.floor, (0, 1, True))

    def settings(self, config: APSConfig) -> APSConfig:
        """See `Declares`."""
        return ordered(config, self.order).replace(beta=self.beta_in(config))

    @property
    def reads(self) -> tuple[str, ...]:
        """See `Declares`: `settings` holds everything, `beta` too."""
        return ()

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """States of the particle with the largest weight; the last state is the chosen particle's.

        Raises:
            ValueError: the call's `remask` is True.
        """
        unmasking_only(config, "APS-SMC")
        beta = self.beta_in(config)
        settings = config.replace(beta=beta)

        def tilt(model: Denoiser, reward: Operator, own: Noise) -> Tilt:
            return PosteriorTilt(reward, settings, new_phi(model, reward, settings, own))

        def twist(reward: Operator, at: Proposal) -> Tensor:
            laws, draws = (at.log_p, at.log_q), self.draws
            return log_twist(reward, at.step, *laws, kind=self.twist, draws=draws, beta=beta)

        guided = self.settings(config).sampler.is_guided
        particle_filter = self.filter(config, twist, tilt=tilt, guided=guided, floor=self.floor)
        return particle_filter.run(denoiser, operator, canvas, noise)
