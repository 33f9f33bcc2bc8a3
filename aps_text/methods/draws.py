"""What a call draws at random: whether its seed matters, and whether its answers differ."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.config import APSConfig
from ..core.settings import LoRA, Ranked

__all__ = ["Draws"]


@dataclass(frozen=True)
class Draws:
    """What a call draws at random that its settings do not say.

    Attributes:
        draft: the canvas starts from a draft, positions of which are masked at random.
        control: words are permuted by the seed, as the control `shuffled` does.
        samples: a guiding reward has no gradient, so that one is estimated from sampled answers;
            True where this is not known.
        beside: answers to be shown beside this call's are drawn by the same seed.
    """

    draft: bool = False
    control: bool = False
    samples: bool = True
    beside: bool = False

    def sources(self, config: APSConfig) -> frozenset[str]:
        """What APS or the base sampler draws anew for each answer with these settings.

        Of `draft`; `tokens`, the candidates; `order`, the positions to reveal; `pool`, whole
        answers to choose among; `fit`, what phi starts from or is fitted by.
        """
        sampler = config.sampler
        hot, fit, order = sampler.draw.temperature > 0, sampler.fit, sampler.order
        drawn = {
            "draft": self.draft,
            "tokens": sampler.candidate == "sample" and hot,
            "order": not isinstance(order, Ranked) or order.alg_temp is not None,
            "pool": sampler.pool_size is not None,
        }
        if fit is not None:
            relaxation, score = fit.gradient.relaxation, fit.gradient.score
            relaxed = relaxation is not None and relaxation.draws
            at_any_heat = relaxation is not None and relaxation.kind == "gumbel"
            answers = score is not None and (self.samples or relaxation is None)
            drawn["fit"] = (
                (relaxed and (hot or at_any_heat)) or answers or isinstance(fit.phi, LoRA)
            )
        return frozenset(name for name, there in drawn.items() if there)
