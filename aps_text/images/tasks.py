"""Restoration tasks by name: the usual degradations, with kernels that scale with the image."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .degradations import (
    Blur,
    Degradation,
    Grayscale,
    HighDynamicRange,
    Inpainting,
    JpegLike,
    NonlinearBlur,
    SuperResolution,
)
from .kernels import gaussian_kernel, motion_kernel
from .masks import box_mask, drop_mask

__all__ = ["TASKS", "make_task"]


def blur_std(size: int) -> float:
    """Standard deviation of the blur for images of `size` pixels: 3 at 256, at least 1.5."""
    return max(1.5, 3 * size / 256)


def motion_size(size: int) -> int:
    """Side of the motion kernel for images of `size` pixels: 61 at 256, odd, at least 9."""
    return max(9, round(61 * size / 256) // 2 * 2 + 1)


TASKS: dict[str, Callable[[tuple[int, int], torch.Generator], Degradation]] = {
    "sr2": lambda size, generator: SuperResolution(2),
    "sr4": lambda size, generator: SuperResolution(4),
    "gaussian-blur": lambda size, generator: Blur(gaussian_kernel(blur_std(max(size)))),
    "motion-blur": lambda size, generator: Blur(motion_kernel(motion_size(max(size)), generator)),
    "random-inpainting": lambda size, generator: Inpainting(drop_mask(size, generator)),
    "box-inpainting": lambda size, generator: Inpainting(box_mask(size, generator)),
    "hdr": lambda size, generator: HighDynamicRange(),
    "nonlinear-blur": lambda size, generator: NonlinearBlur(
        motion_kernel(motion_size(max(size)), generator)
    ),
    "jpeg": lambda size, generator: JpegLike(),
    "grayscale": lambda size, generator: Grayscale(),
}
"""Tasks by name: each makes a degradation for a size `(H, W)` and draws its random parts."""


def make_task(name: str, size: tuple[int, int], seed: int = 0) -> Degradation:
    """The degradation of a task in `TASKS` for images of `size (H, W)`, random parts from `seed`.

    Raises:
        ValueError: no such task.
    """
    if name not in TASKS:
        raise ValueError(f"task is one of {', '.join(TASKS)}; got {name!r}")
    return TASKS[name](size, torch.Generator().manual_seed(seed))
