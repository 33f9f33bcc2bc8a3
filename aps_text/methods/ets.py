"""ETS: at several points of the decoding, keeps one of M continuations by its rollouts' rewards.

    z_s^1..M ~ p_theta(. | z_t)                     the base sampler, from one point to the next
    w_m = mean_k exp(r(x_mk) / lambda),   x_mk ~ p_theta(x | z_s^m),   k = 1..K
    keep m ~ w_m / sum_m w_m                        lambda = beta

For M -> infinity, and any K, a stretch between two points is a draw from
`p_theta(z_s | z_t) E[exp(r(x) / lambda) | z_s]`, normalised. With `rollout="sampler"` the
expectation is over the base sampler itself, so the answers follow `p(x) exp(r(x)/beta)` exactly,
at any number of points; with `x_theta` it is over the product of marginals at the point, which
costs one forward instead of a rollout, and is biased if more than one mask is left. At the last
point the continuations are whole answers with one reward each.

Source: Li et al. 2026, "ETS: Energy-Guided Test-Time Scaling for Training-Free RL Alignment",
https://arxiv.org/abs/2601.21484. Differences: their rollouts run the sampler to the end and are
scored by a majority vote of the answers; here the reward is arbitrary, and draws of x_theta are the
default; points are spread over the steps instead of the blocks; their importance sampling by a
smaller model is not implemented. Cost per returned sample, I points: M*T + M*(I-1) forwards
(`sampler`: M*T, and K*M rollouts from each point except the last), M*K*(I-1) + M rewards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator, guiding
from ..core.protocols import Denoiser
from ..core.sampler import denoise
from ..core.states import StepState
from ..core.step import Step
from ..core.token_sampling import sampling_probs
from .checks import check_beta, check_counts, check_one_of
from .particles import draw_one, particle_noise, rollout_noise, slots, unmasking_only
from .reweighted import Reweighted
from .twist import log_twist

__all__ = ["ETS"]


@dataclass(frozen=True)
class ETS(Reweighted):
    """See `Method`.

    Attributes:
        candidates: M >= 1 continuations of the whole canvas between two points.
        draws: K >= 1 rollouts of a continuation.
        points: I >= 1 points, evenly spaced over the steps, the last at the end; at most one per
            step.
        rollout: how a continuation is completed: each token from `x_theta` at once, or by the
            `sampler`, step by step.
        beta: lambda, > 0, in the reward's units; None is the call's `beta`.
    """

    candidates: int = 4
    draws: int = 3
    points: int = 4
    rollout: Literal["x_theta", "sampler"] = "x_theta"
    beta: float | None = None

    def __post_init__(self) -> None:
        check_counts(candidates=self.candidates, draws=self.draws, points=self.points)
        check_one_of("rollout", self.rollout, ("x_theta", "sampler"))
        check_beta(self.beta)

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """States of each row's first continuation; at a point, of the one that is kept.

        Raises:
            ValueError: the call's `remask` is True.
        """
        unmasking_only(config, "ETS")
        beta = self.beta_in(config)
        config, total, many = self.settings(config), config.sampler.steps, self.candidates
        owners = slots(len(canvas.z), many, canvas.z.device)
        heads = torch.arange(len(canvas.z), device=owners.device) * many
        models, reward = denoiser.take(owners), guiding(operator).take(owners)
        own, points = particle_noise(noise, many), min(self.points, total)
        for first, end in pairwise(total * point // points for point in range(points + 1)):
            cloud, last = canvas.take(owners), None
            busy = (cloud.z == denoiser.mask_id).any(-1)
            for state in denoise(models, reward, cloud, config, own, first=first, end=end):
                if last is not None:
                    yield last.take(heads)
                last = state
            if last is None:  # no row had anything to reveal
                continue
            cloud = replace(cloud, z=last.z, written=last.written)
            with torch.no_grad():
                open_ = (cloud.z == denoiser.mask_id).any(-1)
                whole, left = ((busy & on).nonzero().squeeze(-1) for on in (~open_, open_))
                value = torch.zeros(len(owners), dtype=torch.double, device=owners.device)
                if len(whole):
                    value[whole] = _rewards(reward.take(whole), cloud.z[whole]) / beta
                if len(left):
                    here = cloud.take(left), denoiser.mask_id, config, own.take(left), end
                    step = Step.open(*here, everywhere=True)
                    value[left] = self._energy(models.take(left), reward.take(left), step, beta)
                kept = heads + draw_one(value.view(-1, many), noise, end, "choice")
            canvas = cloud.take(kept)
            yield last.take(kept)

    def _energy(self, denoiser: Denoiser, reward: Operator, step: Step, beta: float) -> Tensor:
        """`log w` of the canvases before a step, `(B,)` double."""
        config = step.config
        if self.rollout == "x_theta":
            law, log_theta = config.sampler.draw, step.x_theta(denoiser)
            log_p = sampling_probs(log_theta, law.temperature, law.top_p, law.top_k).log()
            return log_twist(reward, step, log_p, log_p, kind="prior", draws=self.draws, beta=beta)
        copies = slots(len(step.canvas.z), self.draws, step.canvas.z.device)
        apart = rollout_noise(step.noise, self.draws, step.index, config.sampler.steps)
        canvas = step.canvas.take(copies)
        *_, last = denoise(
            denoiser.take(copies), reward.take(copies), canvas, config, apart, first=step.index
        )
        log_w = _rewards(reward.take(copies), last.z).view(-1, self.draws) / beta
        return log_w.logsumexp(-1) - math.log(self.draws)


def _rewards(operator: Operator, ids: Tensor) -> Tensor:
    """Rewards of whole answers, `(B,)` double on their device."""
    return operator.log_prob_ids(ids).total.to(ids.device, torch.double)
