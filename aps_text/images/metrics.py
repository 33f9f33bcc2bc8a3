"""Metrics of restored images: PSNR, SSIM, perceptual distance, and samples' spread and error.

Images are `(B, C, H, W)` in [-1, 1]; they are clipped first. PSNR, SSIM and calibration use the
range [0, 1], not the image's own. Every metric is per image.

All raise `TypeError` for images of integers, and `ValueError` for batches of different shapes and
for pixels of another range (beyond `FAR`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .kernels import gaussian_kernel

__all__ = ["calibration", "perceptual", "psnr", "spread_and_error", "ssim"]


def unit(x: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], clipped."""
    return ((x + 1) / 2).clamp(0, 1)


FAR = 10.0
"""A pixel that no noise makes of one in [-1, 1]: one of another range."""


def check_range(x: Tensor) -> None:
    """Raise unless images are floating, and near [-1, 1]: clipped, others would look alike."""
    if not x.is_floating_point():
        raise TypeError(f"images are floating in [-1, 1], got {x.dtype}; use x.float() / 127.5 - 1")
    if x.numel() and float(x.abs().max()) > FAR:
        raise ValueError(
            f"images are in [-1, 1], got pixels up to {float(x.abs().max()):.4g}; from 0 to 255: "
            "x / 127.5 - 1"
        )


def check_pair(x: Tensor, y: Tensor) -> None:
    """Raise unless two batches of images have one shape, and see `check_range`."""
    if x.shape != y.shape or x.ndim != 4:
        raise ValueError(
            "both batches must be (B, C, H, W) of the same shape, got "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    for images in (x, y):
        check_range(images)


def psnr(x: Tensor, truth: Tensor) -> Tensor:
    """`-10 log10 mean (x - truth)^2` in dB per image, `(B,)`; equal images are `inf`."""
    check_pair(x, truth)
    error = (unit(x) - unit(truth)).square().flatten(1).mean(1)
    return -10 * error.log10()


def ssim(x: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity per image, `(B,)`: mean over channels and positions.

    Wang et al. 2004 (https://doi.org/10.1109/TIP.2003.819861): a Gaussian window of std 1.5 and 11
    pixels, K1 = .01, K2 = .03; only windows that lie inside the image count.

    Raises:
        ValueError: an image smaller than the window.
    """
    check_pair(x, truth)
    window = gaussian_kernel(1.5)[1:-1, 1:-1].to(x.device, torch.double)  # 13 -> 11 pixels
    window = window / window.sum()
    side = window.shape[0]
    if min(x.shape[-2:]) < side:
        raise ValueError(f"SSIM needs at least {side} pixels a side, got {tuple(x.shape[-2:])}")
    a, b = unit(x).double(), unit(truth).double()  # float32 is too coarse for the variances
    channels = x.shape[1]
    weight = window.expand(channels, 1, side, side)

    def mean(values: Tensor) -> Tensor:
        return F.conv2d(values, weight, groups=channels)

    mean_a, mean_b = mean(a), mean(b)
    var_a = mean(a * a) - mean_a.square()
    var_b = mean(b * b) - mean_b.square()
    both = mean(a * b) - mean_a * mean_b
    one, two = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + one) * (2 * both + two)
    bottom = (mean_a.square() + mean_b.square() + one) * (var_a + var_b + two)
    return (top / bottom).flatten(1).mean(1)


def perceptual(x: Tensor, truth: Tensor, features: Callable[[Tensor], Sequence[Tensor]]) -> Tensor:
    """Distance of the two images' feature maps, per image, `(B,)`; 0 for equal images.

        mean over stages, mean over positions, |f / |f| - g / |g||^2

    f and g are the channels of a stage at a position, so a stage's part lies in [0, 4]. This is
    LPIPS (Zhang et al. 2018, https://arxiv.org/abs/1801.03924) with all channel weights 1 and
    another network; values of different networks cannot be compared.

    Args:
        features: images in [-1, 1] to feature maps `(B, c_i, h_i, w_i)` of each stage, such as
            `AttributeClassifier.features`.

    Raises:
        ValueError: batches of different shapes, or ones that `features` refuses.
    """
    check_pair(x, truth)
    total = torch.zeros(len(x), device=x.device)
    stages = list(zip(features(x.clamp(-1, 1)), features(truth.clamp(-1, 1)), strict=True))
    for f, g in stages:
        gap = F.normalize(f, dim=1, eps=1e-6) - F.normalize(g, dim=1, eps=1e-6)
        total = total + gap.square().sum(1).flatten(1).mean(1)
    return total / len(stages)


def calibration(samples: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Spread of samples and their error, over a whole set: two scalars that should be equal.

    For posterior samples `E |x - x'|^2 = E |x - truth|^2`, since the truth is another sample.

    Args:
        samples: `(n, B, C, H, W)`, n >= 2 independent samples of each image.
        truth: `(B, C, H, W)`.

    Returns:
        The rms distance between two samples of an image (their standard deviation times sqrt 2),
        and between a sample and the truth, per pixel, in [0, 1] units. A ratio below 1 means that
        the samples vary too little.
    """
    between, error = spread_and_error(samples, truth)
    return between.mean().sqrt(), error.mean().sqrt()


def spread_and_error(samples: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The mean squares of `calibration` for each image, `(B,)` each, per pixel in [0, 1] units.

    Average them over a set before taking the ratio's root: the ratio of one image is noisy.

    Args:
        samples, truth: see `calibration`.

    Raises:
        ValueError: fewer than two samples, or samples of another shape than the truth.
    """
    if samples.ndim != 5 or len(samples) < 2 or samples.shape[1:] != truth.shape:
        raise ValueError(f"samples are (n >= 2, *{tuple(truth.shape)}), got {tuple(samples.shape)}")
    for images in (samples, truth):
        check_range(images)
    x, target = unit(samples), unit(truth)
    variance = x.var(0)
    error = (x - target).square().mean(0)
    return 2 * variance.flatten(1).mean(1), error.flatten(1).mean(1)
