"""Particles: a row's parallel samples as rows of one batch; weights, resampling, selection.

Row b of the caller becomes slots b*k .. b*k + k-1. Slot i of a row takes the noise of particle
`p * k + i` of the row's seed (p is the row's own particle number), so a row's draws depend neither
on other rows nor on other returned sequences, and with k = 1 they are the base sampler's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.protocols import Where

__all__ = [
    "ParticlePath",
    "Weights",
    "draw_one",
    "effective_size",
    "normalised",
    "particle_noise",
    "rollout_noise",
    "slots",
    "systematic",
    "take_ragged",
    "unmasking_only",
]


def slots(rows: int, count: int, device: torch.device) -> Tensor:
    """The caller's row of each slot, `(rows * count,)` int64."""
    return torch.arange(rows, device=device).repeat_interleave(count)


def particle_noise(noise: Noise, count: int) -> Noise:
    """The noise of `count` slots per row."""
    owners = slots(len(noise.row_seed), count, noise.row_seed.device)
    number = torch.arange(len(owners), device=owners.device) % count
    return Noise(noise.row_seed[owners], noise.particle[owners] * count + number)


def rollout_noise(noise: Noise, count: int, index: int, steps: int) -> Noise:
    """The noise of `count` rollouts per row, begun at step `index` of the call's `steps`.

    Negative and distinct particle numbers: no rollout repeats the draws of another or of the run.
    """
    own = particle_noise(noise, count)
    return Noise(own.row_seed, -1 - (own.particle * steps + index))


def normalised(log_weights: Tensor) -> Tensor:
    """Weights that sum to 1 along the last axis, double; uniform where all weights are 0."""
    dead = log_weights.isneginf().all(-1, keepdim=True)
    return log_weights.double().masked_fill(dead, 0.0).softmax(-1)


def effective_size(log_weights: Tensor) -> Tensor:
    """`1 / sum w^2` of normalised weights, `(B, k)` -> `(B,)` in [1, k]."""
    return 1 / normalised(log_weights).square().sum(-1)


def systematic(log_weights: Tensor, u: Tensor) -> Tensor:
    """Systematic resampling: ancestors `(B, k)` in 0..k-1 from one uniform per group, `u (B,)`.

    Slot i gets the particle under `(i + u) / k` of the cumulative weights, so a particle of weight
    w has floor(k w) or ceil(k w) offspring.
    """
    count = log_weights.shape[-1]
    cumulative = normalised(log_weights).cumsum(-1)
    points = (torch.arange(count, device=u.device) + u[:, None]) / count
    points = points * cumulative[:, -1:]
    return torch.searchsorted(cumulative, points, right=True).clamp_max(count - 1)


def draw_one(log_weights: Tensor, noise: Noise, step: int, stream: str) -> Tensor:
    """Draw one particle per group by weight, `(B, k)` -> `(B,)` in 0..k-1."""
    rows = torch.arange(len(log_weights), device=log_weights.device)
    probs = normalised(log_weights)
    return noise.categorical(probs, rows, torch.zeros_like(rows), step, stream)


def take_ragged(where: Where, ancestors: Tensor) -> tuple[Tensor, Where]:
    """Reindex a ragged `(N, ...)` tensor, whose entries lie at `where`, to rows `ancestors (B',)`.

    Returns the index into N, `(N',)`, and the new `where`, ordered by row.
    """
    rows, cols = where
    highest = int(ancestors.max()) + 1 if len(ancestors) else 0
    counts = torch.bincount(rows, minlength=highest)
    starts = counts.cumsum(0) - counts
    many = counts[ancestors]
    new_rows = torch.arange(len(ancestors), device=rows.device).repeat_interleave(many)
    offset = torch.arange(len(new_rows), device=rows.device) - (many.cumsum(0) - many)[new_rows]
    index = starts[ancestors][new_rows] + offset
    return index, (new_rows, cols[index])


def unmasking_only(config: APSConfig, method: str) -> None:
    """Refuse settings under which a written token may be masked again.

    Raises:
        ValueError: `remask` is True.
    """
    if config.sampler.remask:
        raise ValueError(
            f"remask=True masks written tokens again, and the weights of {method} do not cover "
            "that; use remask=False"
        )


@dataclass
class Weights:
    """The weights of all slots, each `(B*k,)` double.

    Attributes:
        log_weight: accumulated since the last resampling.
        log_potential: the sum of log G over the particle's whole path.
        running: the maximum or the sum of log psi_t so far, for the potentials `max` and `sum`.
        reward: of a finished particle; 0 before.
    """

    log_weight: Tensor
    log_potential: Tensor
    running: Tensor
    reward: Tensor

    @classmethod
    def even(cls, slots: int, potential: str, device: torch.device) -> Weights:
        """The weights before the first step."""
        zero = torch.zeros(slots, dtype=torch.double, device=device)
        running = torch.full_like(zero, -torch.inf) if potential == "max" else zero.clone()
        return cls(zero, zero.clone(), running, zero.clone())

    def take(self, ancestors: Tensor, resampled: Tensor) -> Weights:
        """Those of `ancestors (B*k,)`; `log_weight` is reset to 0 where `resampled (B*k,)`."""
        log_weight = self.log_weight[ancestors].masked_fill(resampled, 0.0)
        rest = (self.log_potential, self.running, self.reward)
        return Weights(log_weight, *(value[ancestors] for value in rest))

    def weigh(self, at: Tensor, value: Tensor, potential: str) -> None:
        """Multiply the weights of slots `at` by this step's potential of `value = log psi_t`.

        Slots with `value` -inf (every drawn answer has reward -inf) are left unchanged, since psi_t
        must be positive.
        """
        known = ~value.isneginf()
        at, value = at[known], value[known]
        if potential == "difference":
            gain = value - self.log_potential[at]
        else:
            running = self.running[at]
            gain = running.maximum(value) if potential == "max" else running + value
            self.running[at] = gain
        self.log_weight[at] += gain
        self.log_potential[at] += gain

    def finish(self, at: Tensor, reward: Tensor, beta: float) -> None:
        """Apply the last potential to slots `at`: their product becomes `exp(reward / beta)`."""
        self.reward[at] = reward
        self.log_weight[at] += reward / beta - self.log_potential[at]


@dataclass
class ParticlePath:
    """The canvases of some particles before each step and at the end of the run.

    After a path's end its last canvas is repeated.
    """

    canvases: list[Canvas] = field(default_factory=list)

    def keep(self, rows: Tensor) -> None:
        """Keep the paths of these particles, `(B',)` int64."""
        self.canvases = [canvas.take(rows) for canvas in self.canvases]

    def after(self, index: int) -> Canvas:
        """The canvas after step `index`."""
        return self.canvases[min(index + 1, len(self.canvases) - 1)]
