"""The settings that all methods with a particle filter share, and the filter made from them."""

from __future__ import annotations

import math
from typing import Any, Literal

from ..core.config import APSConfig
from .checks import check_beta, check_counts, check_number, check_one_of
from .particle_filter import ParticleFilter, Twist
from .reweighted import Reweighted

__all__ = ["ParticleMethod"]


class ParticleMethod(Reweighted):
    """A method whose fields `particles`, `every`, `resample` and `final` are a `ParticleFilter`'s.

    Raises:
        ValueError, TypeError: a field outside its range.
    """

    particles: int
    every: int
    resample: float
    final: Literal["weight", "reward"]

    def __post_init__(self) -> None:
        check_counts(particles=self.particles, every=self.every)
        check_number("resample", self.resample, (0, math.inf, True))
        check_one_of("final", self.final, ("weight", "reward"))
        check_beta(self.beta)

    def filter(self, config: APSConfig, log_twist: Twist, **others: Any) -> ParticleFilter:
        """The filter for a call; `others` are fields of `ParticleFilter`, `final` among them."""
        return ParticleFilter(
            particles=self.particles,
            config=self.settings(config),
            beta=self.beta_in(config),
            log_twist=log_twist,
            every=self.every,
            resample=self.resample,
            **{"final": self.final, **others},
        )
