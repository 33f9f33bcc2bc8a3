"""Particle Gibbs: sweeps of a particle filter, each conditioned on the path kept by the last one.

    sweep 1    a particle filter; one path z_T..z_0 is drawn by its weight: the reference
    sweep s    conditional SMC: k - 1 particles beside the reference, which is never resampled away,
               log w += log psi_s - log psi_t,   prod = exp(r(x) / beta)
               then the next reference is drawn among all k by weight

A sweep is a Markov kernel on paths that leaves `p(path) exp(r(x)/beta)` invariant for any k >= 2.
So the answer's law converges to the target `p(x) exp(r(x)/beta)`, p being the base sampler's law,
with the number of sweeps, while a particle filter needs many particles. `log psi_t` is that of
`methods.twist` with answers drawn from x_theta. The estimates are drawn again in each sweep: under
the target they depend on the path only, so this is a Gibbs update, too.

Source: Dang et al. 2025, "Inference-Time Scaling of Diffusion Language Models with Particle Gibbs
Sampling" (PG-DLM), https://arxiv.org/abs/2507.08390; Andrieu, Doucet, Holenstein 2010, "Particle
Markov chain Monte Carlo methods". Written from the abstract of the first and the algorithm of the
second; the authors' code has not been compared. Choices of ours: a group is resampled if its
effective sample size is low, by independent draws (systematic in the first sweep, which has no
reference); psi_t is evaluated every few steps. Cost per returned sample, S sweeps: S times that of
FK steering, k*T*S forwards and S * (k * draws * (ceil(T/every) - 1) + k) rewards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator
from ..core.protocols import Denoiser
from ..core.states import StepState
from .checks import check_counts, check_number
from .particle_method import ParticleMethod
from .particles import ParticlePath, particle_noise, unmasking_only
from .twist import prior_twist

__all__ = ["ParticleGibbs"]


@dataclass(frozen=True)
class ParticleGibbs(ParticleMethod):
    """See `Method`.

    Attributes:
        particles: k >= 2, including the reference (with k = 1 it would never change).
        sweeps: S >= 1, including the first; with 1 this is a particle filter.
        beta: None is the call's `beta`.
        every: steps between two evaluations of psi_t (resampling happens only there).
        draws: answers drawn per evaluation and particle, >= 1.
        resample: a group is resampled when its effective sample size is below this fraction of k;
            above 1 is always, 0 is never.
        final: return a particle of the last sweep by its `weight` (the target's law) or the one
            with the highest `reward`.
    """

    particles: int = 4
    sweeps: int = 4
    beta: float | None = None
    every: int = 4
    draws: int = 4
    resample: float = 0.5
    final: Literal["weight", "reward"] = "reward"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("particles", self.particles, (2, float("inf"), True), whole=True)
        check_counts(sweeps=self.sweeps, draws=self.draws)

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """States of the particle with the largest weight, T per sweep; at last the chosen one's.

        Raises:
            ValueError: the call's `remask` is True.
        """
        unmasking_only(config, "particle Gibbs")
        twist = prior_twist(self.draws, self.beta_in(config))
        particle_filter = self.filter(config, twist, final="weight")
        numbers, reference = particle_noise(noise, self.sweeps), None
        firsts = torch.arange(len(canvas.z), device=canvas.z.device) * self.sweeps
        for sweep in range(self.sweeps):
            if sweep == self.sweeps - 1:
                particle_filter = replace(particle_filter, final=self.final)
            own, trail = numbers.take(firsts + sweep), ParticlePath()
            for state in particle_filter.run(
                denoiser, operator, canvas, own, reference=reference, trail=trail
            ):
                at = sweep * state.steps + state.step
                yield replace(state, step=at, steps=self.sweeps * state.steps)
            reference = trail
