"""Masks `(H, W)` bool of measured pixels, drawn from an explicit generator."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["box_mask", "drop_mask"]


def drop_mask(
    size: tuple[int, int], generator: torch.Generator, low: float = 0.7, high: float | None = None
) -> Tensor:
    """`(H, W)` bool, False at a random fraction of pixels: `low`, or drawn from U(low, high)."""
    high = low if high is None else high
    if not 0 <= low <= high < 1:
        raise ValueError(f"shares to drop are 0 <= low <= high < 1, got {low!r} and {high!r}")
    share = low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.double))
    count = size[0] * size[1]
    kept = count - round(share * count)
    order = torch.randperm(count, generator=generator)
    mask = torch.zeros(count, dtype=torch.bool)
    mask[order[:kept]] = True
    return mask.view(size)


def box_mask(size: tuple[int, int], generator: torch.Generator, share: float = 0.5) -> Tensor:
    """`(H, W)` bool, False in a box of the fraction `share` of each side, away from the border."""
    if not 0 < share < 1:
        raise ValueError(f"the box's share of a side is in (0, 1), got {share!r}")
    mask = torch.ones(size, dtype=torch.bool)
    spans = []
    for side in size:
        box = max(1, round(share * side))
        margin = min(side // 16, (side - box) // 2)
        room = side - box - 2 * margin
        first = margin + int(torch.randint(room + 1, (), generator=generator))
        spans.append(slice(first, first + box))
    mask[spans[0], spans[1]] = False
    return mask
