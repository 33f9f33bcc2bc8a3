"""What a method declares whose target is the base sampler's law, reweighted by `exp(r(x)/beta)`.

The target is `p(x) exp(r(x)/beta)` with p the law of the base sampler. By default such a method
runs the loop without guidance, and of the call's guidance it reads `beta` alone, or nothing if it
has a beta of its own. A method that proposes from a tilted distribution (APS-SMC, twisted SMC) adds
the settings of its proposal.
"""

from __future__ import annotations

from typing import ClassVar

from ..core.config import APSConfig
from .ancestral import base_config

__all__ = ["Reweighted"]


class Reweighted:
    """Implements `Declares` for a method with a field `beta`; None there is the call's `beta`."""

    beta: float | None
    selects: ClassVar[bool] = True

    def settings(self, config: APSConfig) -> APSConfig:
        """See `Declares`."""
        return base_config(config)

    @property
    def reads(self) -> tuple[str, ...]:
        """See `Declares`."""
        return () if self.beta is not None else ("beta",)

    def beta_in(self, config: APSConfig) -> float:
        """The temperature of the reward in a call with this configuration."""
        return config.sampler.beta if self.beta is None else self.beta
