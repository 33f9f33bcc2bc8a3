"""The noise schedule `alpha_t`, the time grid, and how many tokens each row reveals per step.

`alpha_t` falls from 1 (t=0, clean) to 0 (t=1, all masked). A step t -> s keeps a position masked
with probability `(1 - alpha_s) / (1 - alpha_t)`; confidence decoders fix the NUMBER revealed to
the expectation of that. Counts are per row and sum exactly to the row's masks.

In blocks (semi-autoregressive decoding) the T steps are divided evenly among a row's blocks if
there are as many; the remainder goes to the first blocks, one step each. Every block has its own
grid from t=1 to t=0 on its steps: with the linear schedule a block of m masks and S steps reveals
`m // S` per step, and one more at the first `m % S`. That is LLaDA's rule (Nie et al. 2025,
https://arxiv.org/abs/2502.09992), which requires that these divisions have no remainder. A row
that is ahead (a block was given, or a threshold revealed more) spreads its block over the steps up
to the block's end. With more blocks than steps some steps take several: with the linear schedule
as even a number as can be, with the cosine schedule one at first and many at the end.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = [
    "Clock",
    "alpha",
    "block_clock",
    "dream_count",
    "keep_masked",
    "reveal_count",
    "time_grid",
]

Clock = tuple[int | Tensor, int | Tensor]
"""(index, steps) of the grid, t = 1 - index / steps: two ints for whole canvases, two `(B,)` double
tensors where rows decode in blocks."""


def alpha(t: float | Tensor, schedule: str = "linear") -> float | Tensor:
    """Share of clean tokens at time `t` in [0, 1]; `linear`: 1 - t, `cosine`: 1 - sin(pi t / 2)."""
    if isinstance(t, float | int) and not 0 <= t <= 1:
        raise ValueError(f"time runs from 0 (clean) to 1 (all masked), got t={t}")
    if schedule == "linear":
        return 1 - t
    if schedule == "cosine":
        turn = math.pi / 2 * t
        return 1 - (torch.sin(turn) if isinstance(turn, Tensor) else math.sin(turn))
    raise ValueError(f"schedule is 'linear' or 'cosine', got {schedule!r}")


@lru_cache
def time_grid(steps: int) -> tuple[float, ...]:
    """`steps + 1` times from 1 (all masked) to 0 (clean), evenly spaced."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    return tuple(1 - i / steps for i in range(steps + 1))


def keep_masked(t: float | Tensor, s: float | Tensor, schedule: str = "linear") -> float | Tensor:
    """`(1 - alpha_s) / (1 - alpha_t)`: the chance that a mask survives the step t -> s."""
    if isinstance(t, float | int) and isinstance(s, float | int) and not s < t:
        raise ValueError(f"a step goes from t to a smaller s, got t={t}, s={s}")
    return (1 - alpha(s, schedule)) / (1 - alpha(t, schedule))


def reveal_count(masked: Tensor, keep: float | Tensor) -> Tensor:
    """How many of each row's masks a step reveals: `masked - floor(masked * keep)`, int64 `(B,)`.

    At least one while a row has masks, and all of them when `keep` is 0, so over a grid that ends
    at t=0 the counts of every row sum exactly to its masks, whatever finished early in between.
    """
    # The tolerance: 12 * (3/4) must keep 9 masks, not floor(8.999...).
    kept = torch.floor(masked.double() * keep + 1e-9).long()
    return masked - torch.minimum(kept, (masked - 1).clamp_min(0))


def dream_count(
    masked: Tensor, index: int | Tensor, steps: int | Tensor, eps: float = 1e-3
) -> Tensor:
    """The reveal count of Dream's code at step `index` of `steps`, `(B,)`, for comparisons.

    `floor(masked * (1 - s/t))` on a grid from 1 to `eps`, and everything at the last step: with as
    many steps as masks the first step reveals none and the last two.
    """
    t, s = (1 + (eps - 1) * i / steps for i in (index, index + 1))
    some = (masked.double() * (1 - s / t)).long()
    last = torch.as_tensor(index == steps - 1, device=masked.device)
    return torch.where(last, masked, some)


def _shared_end(rank: Tensor, many: Tensor, steps: int, schedule: str) -> Tensor:
    """The step `(B, L)`, counted from 1, at whose end block `rank` of `many (B, 1)` is done where
    there are more blocks than steps.

    After k steps `ceil(many * k / steps)` blocks are done with the linear schedule, with another
    `many * alpha(1 - k / steps)`, rounded down, but at least k.
    """
    if schedule == "linear":
        return rank * steps // many + 1
    shares = [float(alpha(1 - k / steps, schedule)) for k in range(1, steps)]
    least = torch.arange(1, steps, device=rank.device)
    done = many.double() * torch.tensor(shares, device=rank.device, dtype=torch.double) + 1e-9
    done = torch.maximum(done.floor().long(), least)
    return 1 + torch.searchsorted(done, rank, right=True)


def block_clock(
    masked: Tensor,
    editable: Tensor,
    block: Tensor,
    index: int,
    steps: int,
    schedule: str = "linear",
) -> tuple[Tensor, Clock]:
    """The masks `(B,)` of the block in work at step `index` of `steps`, and its place in its grid.

    Args:
        masked, editable: `(B, L)` bool; blocks without an editable position get no steps.
        block: `(B, L)` int64 in 0..L-1.
    """
    count = torch.zeros_like(block).scatter_add(1, block, editable.long())
    masks = torch.zeros_like(block).scatter_add(1, block, masked.long())
    rank = (count > 0).cumsum(1) - 1  # of each block among its row's blocks with editable positions
    many = rank[:, -1:] + 1
    each, more = steps // many, steps % many
    begin = rank * each + rank.minimum(more)
    end = begin + each + (rank < more).long()
    if block.shape[1] > steps:
        crowded = many > steps  # several blocks share a step
        end = torch.where(crowded, _shared_end(rank, many, steps, schedule), end)
        begin = torch.where(crowded, end - 1, begin)
    # `late` masks must be gone after this step; without any, work on the first block with a mask.
    late = torch.where(end <= index + 1, masks, 0).sum(1)
    first = (masks > 0).long().argmax(1, keepdim=True)
    begin, end, open_masks = (x.gather(1, first).squeeze(1) for x in (begin, end, masks))
    own = (end - begin).maximum(end - index)
    at = own - (end - index)
    overdue = (late > 0) | (open_masks == 0)
    return torch.where(overdue, late, open_masks), (
        torch.where(overdue, 0, at).double(),
        torch.where(overdue, 1, own).double(),
    )
