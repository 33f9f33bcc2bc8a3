"""Twisted SMC with gradient proposals: one reward gradient per step gives proposal and weight.

    q^l[k] ~ x_theta^l[k] exp( d r(xbar) / d p^l[k] / beta ),     p = x_theta(z_t), xbar = p @ C
    log w += log p - log q + log psi_s - log psi_t,               log psi_t = r(xbar)/beta

The tilt is the first-order expansion of r around the expected code, pulled back into the trust
region; q stays inside the base sampler's support. Target, order policies and the treatment of
tokens after a stop are those of `aps_smc`. Source: Wu et al. 2023 (TDS), Grathwohl et al. 2021
(gradients as discrete proposals); for masked diffusion, Pani et al. 2025. Differences: the same
r(xbar) gives the tilt and the weight (one pass of the reward for both), no Gumbel-softmax, a trust
region. Cost per returned sample: k*T forwards, k*T rewards forward and backward, and k rewards at
the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.canvas import Canvas
from ..core.completions import relax
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.objective import trust_region
from ..core.operator import Operator, guiding
from ..core.protocols import Denoiser
from ..core.sampler import Tilt
from ..core.settings import Fit
from ..core.states import StepState, Tilted
from ..core.step import Step
from .checks import ORDERS, WINDOW, check_number, check_one_of, ordered
from .particle_filter import Proposal
from .particle_method import ParticleMethod
from .particles import unmasking_only

__all__ = ["GradientTilt", "TwistedSMC"]


class GradientTilt:
    """A `Tilt` of x_theta by one gradient of the reward at the expected code."""

    def __init__(self, operator: Operator, beta: float, bound: float | None) -> None:
        self.operator, self.beta, self.bound = operator, beta, bound

    def take(self, rows: Tensor) -> None:
        """See `Tilt.take`."""
        self.operator = self.operator.take(rows)

    def __call__(self, denoiser: Denoiser, step: Step) -> Tilted:
        """One forward, one reward forward and backward."""
        log_theta = step.x_theta(denoiser)
        probs = log_theta.exp().requires_grad_()
        with torch.enable_grad():
            relaxed = relax(step, probs, log_theta.argmax(-1), relaxation="expectation")
            total = self.operator.log_prob(relaxed).total
            (grad,) = torch.autograd.grad(total.sum(), probs)
        with torch.no_grad():
            log_phi = (log_theta + grad / self.beta).log_softmax(-1)
            if self.bound is not None:
                batch = len(step.canvas.z)
                log_phi = trust_region(log_phi, log_theta, step.where[0], batch, self.bound)
        return Tilted(log_phi, log_theta, log_twist=total.detach().to(log_theta) / self.beta)


@dataclass(frozen=True)
class TwistedSMC(ParticleMethod):
    """See `Method`; every guiding reward must be differentiable.

    Attributes:
        particles: k >= 1.
        order: as in `APSSMC`.
        beta: None is the call's `beta`.
        every: steps between two updates of the weights by psi (and chances to resample).
        resample: a group is resampled when its effective sample size is below this fraction of k.
        floor: fraction of x_theta in the proposal, in [0, 1].
        final: return a particle by its `weight` (the target's law) or by the highest `reward`.
    """

    particles: int = 4
    order: Literal["entropy", "topk_margin", "random", "origin", "anchored"] = "entropy"
    beta: float | None = None
    every: int = 1
    resample: float = 0.5
    floor: float = 0.05
    final: Literal["weight", "reward"] = "reward"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of("order", self.order, ORDERS)
        check_number("floor", self.floor, (0, 1, True))

    def settings(self, config: APSConfig) -> APSConfig:
        """See `Declares`."""
        return ordered(config, self.order).replace(inner_steps=0)

    @property
    def reads(self) -> tuple[str, ...]:
        """See `Declares`."""
        return (*WINDOW, "trust_region", *super().reads)

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
            ValueError: the call's `remask` is True, or a guiding reward is a black box.
        """
        unmasking_only(config, "twisted SMC")
        if not guiding(operator).differentiable:
            raise ValueError(
                "twisted SMC needs the reward's gradient, and one of these rewards is a black "
                "box; use method 'aps-smc' or 'fk'"
            )
        beta = self.beta_in(config)

        def tilt(model: Denoiser, reward: Operator, own: Noise) -> Tilt:
            return GradientTilt(reward, beta, (config.sampler.fit or Fit()).trust_region)

        window = self.settings(config).sampler.guided_window

        def guided(index: int) -> bool:
            return window.has(index, config.sampler.steps)

        def twist(reward: Operator, at: Proposal) -> Tensor | None:
            return at.tilted.log_twist

        particle_filter = self.filter(config, twist, tilt=tilt, guided=guided, floor=self.floor)
        return particle_filter.run(denoiser, operator, canvas, noise)
