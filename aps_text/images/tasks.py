"""Restoration tasks by name: the usual degradations, with kernels that scale with the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..core.limits import SEEDS, check_number
from .degradation import Degradation
from .degradations import (
    Blur,
    Grayscale,
    HighDynamicRange,
    Inpainting,
    JpegLike,
    NonlinearBlur,
    SuperResolution,
)
from .kernels import gaussian_kernel, motion_kernel
from .masks import box_mask, drop_mask

__all__ = ["TASKS", "Task", "make_task"]


def blur_std(size: int) -> float:
    """Standard deviation of the blur for images of `size` pixels: 3 at 256, at least 1.5."""
    return max(1.5, 3 * size / 256)


def motion_size(size: int) -> int:
    """Side of the motion kernel for images of `size` pixels: 61 at 256, odd, at least 9."""
    return max(9, round(61 * size / 256) // 2 * 2 + 1)


@dataclass(frozen=True)
class Task:
    """How images are degraded; called with a size `(H, W)` and a generator.

    Attributes:
        what: what is measured, in some words.
        make: the degradation for images of a size.
        random: it has a part that is drawn from the generator.
    """

    what: str
    make: Callable[[tuple[int, int], torch.Generator], Degradation]
    random: bool = False

    def __call__(self, size: tuple[int, int], generator: torch.Generator) -> Degradation:
        """The degradation of images of `size`."""
        return self.make(size, generator)


TASKS: dict[str, Task] = {
    "sr2": Task("half the sides", lambda size, generator: SuperResolution(2)),
    "sr4": Task("a quarter of the sides", lambda size, generator: SuperResolution(4)),
    "gaussian-blur": Task(
        "out of focus", lambda size, generator: Blur(gaussian_kernel(blur_std(max(size))))
    ),
    "motion-blur": Task(
        "blurred along a path",
        lambda size, generator: Blur(motion_kernel(motion_size(max(size)), generator)),
        random=True,
    ),
    "random-inpainting": Task(
        "70% of the pixels missing",
        lambda size, generator: Inpainting(drop_mask(size, generator)),
        random=True,
    ),
    "box-inpainting": Task(
        "a box missing", lambda size, generator: Inpainting(box_mask(size, generator)), random=True
    ),
    "hdr": Task("overexposed", lambda size, generator: HighDynamicRange()),
    "nonlinear-blur": Task(
        "blurred along a path, in linear light",
        lambda size, generator: NonlinearBlur(motion_kernel(motion_size(max(size)), generator)),
        random=True,
    ),
    "jpeg": Task("rounded block cosines", lambda size, generator: JpegLike()),
    "grayscale": Task("without colours", lambda size, generator: Grayscale()),
}
"""Tasks by name: each makes a degradation for a size `(H, W)` and draws its random parts."""


def make_task(name: str, size: tuple[int, int], seed: int = 0) -> Degradation:
    """The degradation of a task in `TASKS` for images of `size (H, W)`, random parts from `seed`.

    Raises:
        ValueError: no such task, or a seed out of range.
        TypeError: a seed that is no integer.
    """
    if name not in TASKS:
        own = (
            "; holes of your own are images.degradations.Inpainting(mask), True where measured"
            if name == "inpainting"
            else ""
        )
        raise ValueError(f"task is one of {', '.join(TASKS)}; got {name!r}{own}")
    check_number("seed", seed, SEEDS, whole=True)
    return TASKS[name](size, torch.Generator().manual_seed(int(seed)))
