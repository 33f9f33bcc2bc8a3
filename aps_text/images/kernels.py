"""Blur kernels `(h, w)` of odd sides that sum to 1, and the convolution by them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["check_kernel", "convolve", "gaussian_kernel", "motion_kernel", "own_copy"]


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """`k * x` per channel, mirrored at the border (edges repeated if x is too small to mirror)."""
    high, wide = kernel.shape
    pad = (wide // 2, wide // 2, high // 2, high // 2)
    fits = x.shape[-1] > pad[0] and x.shape[-2] > pad[2]
    padded = F.pad(x, pad, mode="reflect" if fits else "replicate")
    channels = x.shape[1]
    weight = kernel.to(x).flip(0, 1).expand(channels, 1, high, wide)
    return F.conv2d(padded, weight, groups=channels)


def check_kernel(kernel: Tensor) -> None:
    """Raise `ValueError` unless a kernel is `(h, w)`, odd, finite and sums to 1; `TypeError` if it
    is no tensor."""
    if not isinstance(kernel, Tensor):
        raise TypeError(f"a kernel is a tensor (h, w), got {type(kernel).__name__}")
    if kernel.ndim != 2 or not all(side % 2 for side in kernel.shape):
        raise ValueError(f"a kernel is (h, w) with odd sides, got {tuple(kernel.shape)}")
    total = float(kernel.sum())
    if not bool(kernel.isfinite().all()) or abs(total - 1) > 1e-3:
        raise ValueError(f"a kernel is finite and sums to 1, got a sum of {total:g}")


def gaussian_kernel(std: float) -> Tensor:
    """A Gaussian kernel of `std` > 0 pixels, truncated at 4 standard deviations, square."""
    if not (math.isfinite(std) and std > 0):
        raise ValueError(f"std is in pixels and > 0, got {std!r}")
    radius = max(1, math.ceil(4 * std))
    at = torch.arange(-radius, radius + 1, dtype=torch.double)
    line = torch.exp(-at.square() / (2 * std**2))
    plane = torch.outer(line, line)
    return (plane / plane.sum()).float()


def motion_kernel(size: int, generator: torch.Generator, intensity: float = 0.5) -> Tensor:
    """A motion-blur kernel `(size, size)`: a random walk whose direction drifts.

    Args:
        size: odd, at least 3.
        intensity: how much the direction drifts, in [0, 1]; 0 is a straight line.
    """
    if size < 3 or size % 2 == 0:
        raise ValueError(f"size is odd and at least 3, got {size}")
    if not 0 <= intensity <= 1:
        raise ValueError(f"intensity must be in [0, 1], got {intensity!r}")
    points = 16 * size
    start = torch.rand((), generator=generator, dtype=torch.double) * 2 * math.pi
    turns = torch.randn(points, generator=generator, dtype=torch.double)
    angle = start + intensity * turns.cumsum(0) * math.pi / math.sqrt(points)
    path = torch.stack([angle.sin(), angle.cos()], -1).cumsum(0)
    path = path - (path.amax(0) + path.amin(0)) / 2
    path = path / path.abs().max().clamp_min(1e-9) * (size - 1) / 2 * 0.95 + (size - 1) / 2
    kernel = torch.zeros(size, size, dtype=torch.double)
    low = path.floor().long().clamp(0, size - 2)
    part = path - low
    for down in (0, 1):
        for right in (0, 1):
            share = (part[:, 0] if down else 1 - part[:, 0]) * (
                part[:, 1] if right else 1 - part[:, 1]
            )
            kernel.index_put_((low[:, 0] + down, low[:, 1] + right), share, accumulate=True)
    return (kernel / kernel.sum()).float()


def own_copy(part: Tensor) -> Tensor:
    """A copy of a kernel or a mask, which later changes of the original do not reach; an ordinary
    tensor, also of one made in inference mode."""
    with torch.inference_mode(False):
        return part.clone()
