"""The noise schedule `alpha_t`, the time grid, and how many tokens each row reveals per step.

`alpha_t` falls from 1 (t=0, clean) to 0 (t=1, all masked). A step t -> s keeps a position masked
with probability `(1 - alpha_s) / (1 - alpha_t)`; confidence decoders fix the NUMBER revealed to
the expectation of that. Counts are per row and sum exactly to the row's masks.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["alpha", "dream_count", "in_window", "keep_masked", "reveal_count", "time_grid"]


def alpha(t: float, schedule: str = "linear") -> float:
    """Share of clean tokens at time `t` in [0, 1]; `linear`: 1 - t, `cosine`: 1 - sin(pi t / 2)."""
    if not 0 <= t <= 1:
        raise ValueError(f"time runs from 0 (clean) to 1 (all masked), got t={t}")
    if schedule == "linear":
        return 1 - t
    if schedule == "cosine":
        return 1 - math.sin(math.pi * t / 2)
    raise ValueError(f"schedule is 'linear' or 'cosine', got {schedule!r}")


@lru_cache
def time_grid(steps: int) -> tuple[float, ...]:
    """`steps + 1` times from 1 (all masked) to 0 (clean), evenly spaced."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    return tuple(1 - i / steps for i in range(steps + 1))


def keep_masked(t: float, s: float, schedule: str = "linear") -> float:
    """`(1 - alpha_s) / (1 - alpha_t)`: the chance that a mask survives the step t -> s."""
    if not s < t:
        raise ValueError(f"a step goes from t to a smaller s, got t={t}, s={s}")
    return (1 - alpha(s, schedule)) / (1 - alpha(t, schedule))


def reveal_count(masked: Tensor, keep: float) -> Tensor:
    """How many of a row's masks to reveal now: `masked - floor(masked * keep)`, int64 `(B,)`.

    At least one while a row has masks, and all of them when `keep` is 0, so over a grid that ends
    at t=0 the counts of every row sum exactly to its masks, whatever finished early in between.
    """
    # A tolerance, because 12 * (3/4) must keep 9 masks and not 8.999...
    kept = torch.floor(masked.double() * keep + 1e-9).long()
    return masked - torch.minimum(kept, (masked - 1).clamp_min(0))


def dream_count(masked: Tensor, index: int, steps: int, eps: float = 1e-3) -> Tensor:
    """Dream's own counting at step `index` of `steps`, per row, for comparisons with its code.

    `floor(masked * (1 - s/t))` on a grid from 1 to `eps`, and everything at the last step: with as
    many steps as masks the first step reveals none and the last two.
    """
    if index == steps - 1:
        return masked
    t, s = (1 + (eps - 1) * i / steps for i in (index, index + 1))
    return (masked.double() * (1 - s / t)).long()


def in_window(index: int, steps: int, start: float, end: float, interval: int) -> bool:
    """Whether step `index` lies in the part `[start, end)` of the steps and on the interval."""
    return start <= index / steps < end and index % interval == 0
