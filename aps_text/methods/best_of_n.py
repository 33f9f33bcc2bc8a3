"""Best of N: of N samples of any method, the one with the highest reward is returned.

`BestOf(samples=8)` is best-of-N of the base sampler, `BestOf(FKSteering(), 4)` selects among four
runs of FK steering, `BestOf(EntRGi(), 4)` is EntRGi with its authors' four trajectories; on a
command line that is the setting `best_of=4` of any method. The selection uses the guiding rewards;
to select by other rewards, pass `num_return_sequences` and `select=` to the pipeline.

The law of the result is `P(x) = F(r(x))^N - F(r(x)-)^N` over distinct rewards, F being the
distribution function of the reward under the inner method. Cost per returned sample: N times the
inner method's, and N rewards. With the call's `prefer_ended` a sample without a stop token is
returned only where no sample has one, or all have the same reward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch

from ..core.canvas import Canvas
from ..core.completions import ended, ended_first
from ..core.config import APSConfig
from ..core.limits import check_number
from ..core.noise import Noise
from ..core.operator import Operator, guiding
from ..core.protocols import Denoiser
from ..core.sampler import Method
from ..core.states import StepState
from .ancestral import Ancestral
from .particles import particle_noise, slots

__all__ = ["BestOf"]


@dataclass(frozen=True)
class BestOf:
    """See `Method`.

    Attributes:
        method: draws the samples.
        samples: N >= 1; of equal rewards the earlier sample is returned.
    """

    method: Method = field(default_factory=Ancestral)
    samples: int = 4

    def __post_init__(self) -> None:
        check_number("samples", self.samples, (1, float("inf"), True), whole=True)

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """Streams the first sample; the last state holds the selected one, so no state has a
        `pool`, which would be another sample's."""
        batch, device = len(canvas.z), canvas.z.device
        owners = slots(batch, self.samples, device)
        first = torch.arange(batch, device=device) * self.samples
        last: StepState | None = None
        for state in self.method.steps(
            denoiser.take(owners),
            operator.take(owners),
            canvas.take(owners),
            config,
            particle_noise(noise, self.samples),
        ):
            if last is not None:
                yield replace(last.take(first), pool={})
            last = state
        if last is None:
            return
        reward = guiding(operator).take(owners).log_prob_ids(last.z).total
        reward = reward.to(device).view(batch, self.samples)
        if config.sampler.prefer_ended:
            differ = (reward != reward[:, :1]).any(1, keepdim=True)
            ends = ended(canvas, last.z.view(batch, self.samples, -1))
            reward = torch.where(differ, ended_first(reward, ends), reward)
        best = reward.argmax(-1)
        yield replace(last.take(first + best), pool={})
