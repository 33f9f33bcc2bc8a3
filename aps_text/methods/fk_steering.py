"""FK steering: particles of the base sampler, weighed by potentials of the reward, resampled.

    log G_t:  difference  lambda (r_t - r_prev)
              max         lambda max_{s <= t} r_s
              sum         lambda sum_{s <= t} r_s           lambda = 1/beta
    the last potential is exp(lambda r(x)) / prod of the earlier ones, for all three

so the product along every path is exactly exp(lambda r(x)), and the particles target
`p(x) exp(r(x)/beta)` with p the law of the base sampler, whatever its order policy. `lambda r_t` is
`log psi_t` of `methods.twist` with answers drawn from x_theta (the log-mean-exp of `draws`
rewards over beta).

Source: Singhal et al. 2025, "A General Framework for Inference-time Scaling and Steering of
Diffusion Models", https://arxiv.org/abs/2501.06848, and its code for masked diffusion text.
Differences: their code ends `max` with the running maximum instead of the final reward, and drops
the weights of a step at which adaptive resampling does not resample, so that the product is not
exp(lambda r); resampling is systematic here and multinomial there. Cost per returned sample: k*T
forwards, k * draws * (ceil(T/every) - 1) + k rewards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator
from ..core.protocols import Denoiser
from ..core.states import StepState
from .checks import check_counts, check_one_of
from .particle_method import ParticleMethod
from .particles import unmasking_only
from .twist import prior_twist

__all__ = ["FKSteering"]


@dataclass(frozen=True)
class FKSteering(ParticleMethod):
    """See `Method`.

    Attributes:
        particles: k >= 1.
        potential: `difference | max | sum`.
        beta: 1/lambda; None is the call's `beta`.
        every: steps between two evaluations of r_t (resampling happens only there).
        draws: answers drawn per evaluation and particle, >= 1.
        resample: a group is resampled when its effective sample size is below this fraction of k;
            above 1 is always, 0 is never (importance sampling).
        final: return a particle by its `weight` (the target's law) or the one with the highest
            `reward` (as the authors do).
    """

    particles: int = 4
    potential: Literal["difference", "max", "sum"] = "difference"
    beta: float | None = None
    every: int = 4
    draws: int = 4
    resample: float = 0.5
    final: Literal["weight", "reward"] = "reward"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of("potential", self.potential, ("difference", "max", "sum"))
        check_counts(draws=self.draws)

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
        unmasking_only(config, "FK steering")
        twist = prior_twist(self.draws, self.beta_in(config))
        particle_filter = self.filter(config, twist, potential=self.potential)
        return particle_filter.run(denoiser, operator, canvas, noise)
