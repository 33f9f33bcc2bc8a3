"""Statistics of an image whose nearness is a likeness of style.

    channels    mean and standard deviation of each feature      Huang & Belongie 2017 (AdaIN)
    gram        E[f f^T] of the features at a position           Gatys et al. 2016
    histogram   shares of the pixels in bins of colour, each pixel shared by the nearest bins

A statistic is a function of averages over positions, so an image and its shifted copy look alike
to it, but for the border; with a mask the averages cover the masked pixels only. Features are a
classifier's (`AttributeClassifier.features`) or those of fixed filters (`filter_features`). The
statistics of each feature map are divided by the root of their number, so a squared distance is the
sum over maps of the mean squared gap. The usual `sigma` of each statistic puts the styles of two
garments of different classes 70 to 100 nats apart (Fashion-MNIST, features of fixed filters).

Sources: https://arxiv.org/abs/1703.06868, https://arxiv.org/abs/1508.06576.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .degradation import check_images

__all__ = [
    "STATISTICS",
    "Channels",
    "Features",
    "Gram",
    "Histogram",
    "Statistic",
    "filter_features",
    "make_statistic",
]

Features = Callable[[Tensor], Sequence[Tensor]]
"""Images `(B, C, H, W)` in [-1, 1] to feature maps `(B, c_i, h_i, w_i)`, differentiable."""


class Statistic(Protocol):
    """`S`, statistics of an image, differentiable."""

    @property
    def name(self) -> str:
        """Its name in messages."""
        ...

    @property
    def sigma(self) -> float:
        """The usual standard deviation of its style, > 0."""
        ...

    def __call__(self, x: Tensor, where: Tensor | None = None) -> Tensor:
        """`(B, C, H, W)` -> `(B, m)`; of the pixels in `where`, `(H, W)` bool, only."""
        ...


def average(values: Tensor, where: Tensor | None) -> Tensor:
    """Mean over positions, `(B, c, h, w)` -> `(B, c)`, weighted by the share of each in `where`."""
    if where is None:
        return values.mean((2, 3))
    high, wide = values.shape[-2:]
    share = F.adaptive_avg_pool2d(where.to(values)[None, None], (high, wide))
    return (values * share).sum((2, 3)) / share.sum()


@dataclass(frozen=True)
class Channels:
    """Mean and standard deviation of each channel of each feature map."""

    features: Features
    sigma: ClassVar[float] = 0.02
    name: ClassVar[str] = "channels"

    def __call__(self, x: Tensor, where: Tensor | None = None) -> Tensor:
        """See `Statistic.__call__`."""
        check_images(x)
        found = []
        for maps in self.features(x):
            mean = average(maps, where)
            centred = maps - mean[:, :, None, None]
            # The summand keeps the root's slope finite in flat images.
            spread = (average(centred.square(), where) + 1e-4).sqrt()
            found.append(torch.cat([mean, spread], 1) / math.sqrt(2 * maps.shape[1]))
        return torch.cat(found, 1)


@dataclass(frozen=True)
class Gram:
    """`E[f f^T]` of each feature map, its entries on and (times sqrt 2) above the diagonal."""

    features: Features
    sigma: ClassVar[float] = 0.007
    name: ClassVar[str] = "gram"

    def __call__(self, x: Tensor, where: Tensor | None = None) -> Tensor:
        """See `Statistic.__call__`."""
        check_images(x)
        found = []
        for maps in self.features(x):
            count = maps.shape[1]
            rows, cols = torch.triu_indices(count, count, device=x.device)
            products = average(maps[:, rows] * maps[:, cols], where)
            weight = torch.where(rows == cols, 1.0, math.sqrt(2)).to(products)
            found.append(products * weight / count)
        return torch.cat(found, 1)


@dataclass(frozen=True)
class Histogram:
    """Shares of the pixels in the `bins^C` cells of a grid over the colours, summing to 1.

    A pixel's weight goes to the nearest grid points, linearly (in RGB, to 8 of them).

    Attributes:
        bins: grid points per channel, >= 2, from -1 to 1.
    """

    bins: int = 6
    sigma: ClassVar[float] = 0.02
    name: ClassVar[str] = "histogram"

    def __post_init__(self) -> None:
        if isinstance(self.bins, bool) or not isinstance(self.bins, int) or self.bins < 2:
            raise ValueError(f"bins is a whole number of at least 2, got {self.bins!r}")

    def __call__(self, x: Tensor, where: Tensor | None = None) -> Tensor:
        """See `Statistic.__call__`; values outside of [-1, 1] are clipped."""
        check_images(x)
        points = torch.linspace(-1, 1, self.bins, device=x.device, dtype=x.dtype)
        gap = (x.clamp(-1, 1)[:, :, None] - points[:, None, None]).abs()
        weights = (1 - gap * (self.bins - 1) / 2).clamp_min(0)  # (B, C, bins, H, W)
        joint = weights[:, 0]
        for channel in range(1, x.shape[1]):
            joint = (joint[:, :, None] * weights[:, channel, None]).flatten(1, 2)
        return average(joint, where)


def filter_features(x: Tensor) -> list[Tensor]:
    """Features without a network: an image, its two slopes and its curvature, at three scales.

    Returns:
        Three maps `(B, 4 C, H / 2^i, W / 2^i)`.

    Raises:
        ValueError: an image of fewer than 8 pixels a side.
    """
    check_images(x)
    if min(x.shape[-2:]) < 8:
        raise ValueError(f"filters need at least 8 pixels a side, got {tuple(x.shape[-2:])}")
    maps = []
    for scale in (1, 2, 4):
        image = x if scale == 1 else F.avg_pool2d(x, scale)
        padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
        left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
        above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
        across, down = (right - left) / 2, (below - above) / 2
        curve = (left + right + above + below) / 4 - image
        maps.append(torch.cat([image, across, down, curve], 1))
    return maps


STATISTICS: dict[str, Callable[[Features], Statistic]] = {
    "channels": Channels,
    "gram": Gram,
    "histogram": lambda features: Histogram(),
}
"""Statistics by name, made from features."""


def make_statistic(name: str, features: Features = filter_features) -> Statistic:
    """The statistic of a name in `STATISTICS`.

    Raises:
        ValueError: no such statistic.
    """
    if name not in STATISTICS:
        raise ValueError(f"statistic is one of {', '.join(STATISTICS)}; got {name!r}")
    return STATISTICS[name](features)
