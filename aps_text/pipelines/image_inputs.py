"""Images, tasks and degraded images as the caller gives them, checked for a model's size."""

from __future__ import annotations

import logging
import math
import os
from typing import Any

import torch
from torch import Tensor

from ..core.limits import SEEDS, check_number
from ..images.degradation import Degradation, degraded
from ..images.measurement import SIGMAS
from ..images.tasks import TASKS, make_task
from .any_image_model import AnyImageModel
from .inputs import kind_of

__all__ = [
    "SizeError",
    "as_degradation",
    "as_images",
    "as_observed",
    "check_each_alone",
    "check_function",
    "check_pixels",
    "check_size",
    "refuse_drawn",
    "seen_of",
    "warn_of_sigma",
]

log = logging.getLogger(__name__)

SLACK = 1e-3
"""How far rounding may take a pixel out of [-1, 1]."""

OVERSHOOT, NOISE = 1.5, 10.0
"""The largest pixel that may be observed: what kernels with negative weights make of [-1, 1] (of
the largest value of a degradation of one's own), and standard deviations of the noise."""

LARGE_SIGMA = 1.0
"""Noise of a larger standard deviation, half of the range [-1, 1], is warned of."""


class SizeError(ValueError):
    """What was measured is not of the size that this model's images have when degraded."""


def as_images(model: AnyImageModel, images: Tensor) -> Tensor:
    """The images, as a tensor a gradient may pass; raises where they are none of this model."""
    if not isinstance(images, Tensor):
        raise TypeError(f"images are a tensor (B, C, H, W), got {_named(images, model.size[0])}")
    if images.ndim != 4 or tuple(images.shape[1:]) != model.size or not len(images):
        raise ValueError(
            f"{model.name} restores images (B, {', '.join(map(str, model.size))}), got "
            f"{tuple(images.shape)}"
        )
    if images.is_complex():
        raise TypeError(f"images are floating in [-1, 1], got {images.dtype}")
    check_dense(images)
    images = images.detach()
    check_finite(images, "images")
    low, high = float(images.min()), float(images.max())
    if not (low >= -1 - SLACK and high <= 1 + SLACK):
        raise ValueError(
            f"pixels are in [-1, 1], got {low:.4g} to {high:.4g}; from 0 to 255: x / 127.5 - 1,"
            " from 0 to 1: 2 * x - 1"
        )
    if not images.is_floating_point():
        raise TypeError(f"images are floating in [-1, 1], got {images.dtype}; use x.float()")
    warn_of_range(low, high)
    images = wide(images)
    return images.clone() if images.is_inference() else images


def _named(given: object, channels: int) -> str:
    """What was given in place of a tensor of images, and what makes one of it."""
    kind = type(given).__name__
    if isinstance(given, str | os.PathLike):
        return f"a {kind}; images.files.read_image(path, {channels}) reads a file"
    if type(given).__module__.startswith("PIL."):
        return (
            f"a {kind} of Pillow; images.files.read_image(path, {channels}) reads the file itself"
        )
    if kind == "ndarray":
        return (
            f"a {kind}; images.files.read_image(path, {channels}) reads a file, and "
            "torch.from_numpy takes an array of this shape"
        )
    return f"a {kind}"


def check_finite(images: Tensor, what: str) -> None:
    """Raise `ValueError` for numbers that are NaN or infinite."""
    odd = int((~images.isfinite()).count_nonzero())
    if odd:
        raise ValueError(
            f"{what}: {odd} of {images.numel()} numbers are not finite (NaN or infinite); find "
            "where they come from, e.g. a division by 0"
        )


def check_dense(images: Tensor) -> None:
    """Raise `TypeError` for a sparse tensor, or one without numbers."""
    if images.layout != torch.strided or images.is_meta:
        kind = "meta" if images.is_meta else images.layout
        raise TypeError(f"images are a dense tensor with numbers in it, got a {kind} one")


def as_degradation(model: AnyImageModel, task: str | Degradation, seed: int) -> Degradation:
    """The degradation of a task's name, or the task itself if it is one."""
    check_number("seed", seed, SEEDS, whole=True)
    if isinstance(task, str):
        return make_task(task, model.size[1:], seed)
    lacks = [part for part in ("name", "observed") if not hasattr(task, part)]
    if isinstance(task, type) or not callable(task) or lacks:
        without = f", which has no {' and no '.join(lacks)}" if callable(task) and lacks else ""
        raise TypeError(
            f"task is one of {', '.join(TASKS)}, or a Degradation such as SuperResolution(4); "
            f"got {kind_of(task)}{without}"
        )
    return task


def refuse_drawn(task: str) -> None:
    """Raise `ValueError` for a task whose parts are drawn: a degraded image needs the very ones."""
    if task in TASKS and TASKS[task].random:
        raise ValueError(
            f"{task} draws a part at random, and a degraded image needs the very part that made "
            "it: give its seed=, or the degradation itself, such as Inpainting(mask) of "
            "images.degradations"
        )


@torch.no_grad()
def check_function(model: AnyImageModel, degradation: Degradation, device: torch.device) -> float:
    """The largest value that a degradation makes of some images in [-1, 1].

    Raises:
        ValueError: it is no function of one image: a part of it is drawn anew at each call, and
            what scores the samples is another one than what measured; or see `degraded`.
    """
    count = math.prod(model.size)
    ramp = torch.linspace(-1, 1, count).view(1, *model.size)
    signs = torch.randn(1, *model.size, generator=torch.Generator().manual_seed(0)).sign()
    one = torch.ones(1, *model.size)
    probes = torch.cat([ramp, signs, one, -one]).to(device)
    degraded(degradation, probes[:1])  # of a mask for each image, this says so
    one, two = (degraded(degradation, probes) for _ in range(2))
    if one.shape != two.shape or not torch.allclose(
        one.float(), two.float(), atol=1e-3, equal_nan=True
    ):
        raise ValueError(
            f"{degradation.name} of the same images is another one at each call; draw its random "
            "parts once, when it is made"
        )
    return float(one.abs().max())


@torch.no_grad()
def check_each_alone(model: AnyImageModel, degradation: Degradation) -> None:
    """Raise `ValueError` for a degradation whose `A(x)` depends on the other images of its batch,
    or not on the image itself."""
    count = math.prod(model.size)
    ramp = torch.linspace(-1, 1, count, dtype=torch.float32).view(1, *model.size)
    signs = torch.randn(
        1, *model.size, generator=torch.Generator().manual_seed(0), dtype=torch.float32
    ).sign()
    probes = torch.cat([0.3 * ramp, 0.2 + 0.6 * signs, 0.1 - 0.9 * ramp]).to(model.device)
    together = degraded(degradation, probes).float().flatten(1)
    alone = torch.cat([degraded(degradation, one[None]) for one in probes]).float().flatten(1)
    # One image may differ by the rounding of another kernel, enlarged where A itself rounds.
    size = float(alone.abs().nan_to_num(0.0, 0.0).max()) if alone.numel() else 0.0
    differs = ((together - alone).abs() > 1e-3 * max(1.0, size)).any(1)
    if int(differs.sum()) > 1:
        raise ValueError(
            f"{degradation.name} of an image is another one beside other images: a mean, a largest "
            "value or a norm is taken over the whole batch; take it of each image, "
            "x.amax((1, 2, 3), keepdim=True) e.g."
        )
    if bool((together == together[:1]).all()):
        raise ValueError(
            f"{degradation.name} of different images is the same, so that it measures nothing of "
            "them"
        )


def check_pixels(y: Tensor, sigma: float, largest: float) -> None:
    """Raise `ValueError` for a measured entry that no degradation whose values are up to `largest`
    makes, such as one from 0 to 255."""
    found = float(y.abs().max())
    if found > OVERSHOOT * max(1.0, largest) + NOISE * sigma:
        raise ValueError(
            f"pixels are in [-1, 1] but for noise of sigma={sigma:g}, got up to {found:.4g}; "
            "from 0 to 255: x / 127.5 - 1"
        )


def seen_of(degradation: Degradation, y: Tensor) -> Tensor | None:
    """Which entries of `y` are measured.

    Raises:
        TypeError: no tensor, and not None.
        ValueError: none, no bool, or of a shape that does not fit `y`.
    """
    seen: Any = degradation.observed(y)
    if seen is None:
        return None
    what = f"{degradation.name}.observed(y) is bool and True where y is measured"
    if not isinstance(seen, Tensor):
        raise TypeError(f"{what}, a tensor, or None for all; got {kind_of(seen)}")
    if seen.dtype != torch.bool or not bool(seen.any()):
        raise ValueError(f"{what}; got {int(seen.count_nonzero())} entries of {seen.dtype}")
    sides = zip(reversed(seen.shape), reversed(y.shape), strict=False)
    if seen.ndim > y.ndim or any(side not in (1, of) for side, of in sides):
        raise ValueError(
            f"{what}, in its shape {tuple(y.shape)} or one that expands to it, such as "
            f"{tuple(y.shape[2:])}; got {tuple(seen.shape)}"
        )
    return seen


def as_observed(model: AnyImageModel, degradation: Degradation, y: Tensor, sigma: float) -> Tensor:
    """The degraded images `y`, 0 where nothing is measured; raises where this degradation cannot
    have made them of images."""
    if not isinstance(y, Tensor):
        raise TypeError(f"a measurement is a tensor (B, C, H, W), got {_named(y, model.size[0])}")
    check_number("sigma", sigma, SIGMAS)
    check_dense(y)
    if y.dtype == torch.bool or y.is_complex():
        raise TypeError(f"images are floating in [-1, 1], got {y.dtype}")
    y = y.detach().clone()  # what is written into the caller's tensor later does not reach it
    check_size(model, degradation, y)
    largest = check_function(model, degradation, y.device)
    seen = seen_of(degradation, y)
    measured = y.flatten() if seen is None else y[seen.expand_as(y)]
    if seen is not None:
        y = torch.where(seen, y, torch.zeros_like(y))
    check_finite(measured, "what was measured")
    check_pixels(measured, sigma, largest)
    if y.is_floating_point():
        warn_of_range(float(measured.min()), float(measured.max()))
    return wide(y)


def warn_of_range(low: float, high: float) -> None:
    """Warn of pixels that may be those of an image in [0, 1]."""
    if low >= 0 and high > low:
        log.warning(
            "no pixel is below 0 (they are %.4g to %.4g), and images are in [-1, 1]; if these "
            "are from 0 to 1: 2 * x - 1",
            low,
            high,
        )


def warn_of_sigma(sigma: float) -> None:
    """Warn of noise that hides the image: its scale may be that of pixels from 0 to 255."""
    if sigma > LARGE_SIGMA:
        log.warning(
            "sigma=%.4g hides an image, whose pixels are in [-1, 1]; if it is of pixels from 0 to "
            "255: sigma / 127.5 = %.3g",
            sigma,
            sigma / 127.5,
        )


def check_size(model: AnyImageModel, degradation: Degradation, y: Tensor) -> None:
    """Raise `SizeError` unless `y` has the shape of degraded images of this model."""
    clean = torch.zeros(1, *model.size, device=y.device)
    try:
        expected = tuple(degraded(degradation, clean).shape[1:])
    except ValueError as error:  # of a mask, or a hole, of another size
        raise SizeError(str(error)) from error
    if y.ndim != 4 or tuple(y.shape[1:]) != expected or not len(y):
        raise SizeError(
            f"{degradation.name} of images {model.size} is (B, {', '.join(map(str, expected))})"
            f", got {tuple(y.shape)}; simulate a measurement of clean images with `measure`"
        )


def wide(images: Tensor) -> Tensor:
    """The images in 32 bits or more: not every degradation is there in 16 on a CPU."""
    return images.float() if images.is_floating_point() and images.itemsize < 4 else images
