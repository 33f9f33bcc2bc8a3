"""A measurement of an image, as an operator: `y = A(x) + sigma n`, and `log q(y | x)`.

    log q(y | x) = sum over the m measured entries of  -(y - A(x))^2 / (2 s^2) - log(s sqrt(2 pi))
    s^2 = sigma^2 + model_sigma^2

The same object simulates and scores, with the same sigma. `model_sigma` is the tokenizer's
reconstruction error after A: no decoder reproduces the true image exactly, and with the noise alone
the score would demand more detail than it can produce. It is 0 by default and is used by the score
only.

Entries that are not measured have no noise and do not enter the density.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.codebook import Codebook, Relaxed
from ..core.limits import check_number
from ..core.operator import Arithmetic, Scores
from .degradation import Degradation, check_images, degraded, rough_image

__all__ = ["SIGMAS", "Decoder", "Measurement", "model_sigma_of"]

SIGMAS = (1e-6, 1e6, True)
"""The standard deviations for which float32 holds a density and its gradient."""

MODEL_SIGMAS = (0.0, SIGMAS[1], True)
"""The tokenizer's errors that `Measurement` takes."""

Decoder = Callable[[Tensor], Tensor]
"""Codes `(B, L, d)` to images `(B, C, H, W)` in [-1, 1], differentiable."""


@dataclass(frozen=True)
class Measurement(Arithmetic):
    """A measurement of B images.

    Attributes:
        degradation: A.
        y: `(B, C', H', W')`, finite; entries that are not measured are ignored.
        sigma: standard deviation of the noise, in [1e-6, 1e6], on the range [-1, 1]; float32
            cannot hold the density beyond.
        decode, codebook: of the image tokenizer; needed to score tokens instead of images.
        encode, shape: of the image tokenizer: images to token ids, and (C, H, W); for `guess`.
        model_sigma: see the module, in [0, 1e6].
        name: of its term in reports.
    """

    degradation: Degradation
    y: Tensor
    sigma: float
    decode: Decoder | None = field(default=None, repr=False)
    codebook: Codebook | None = field(default=None, repr=False)
    model_sigma: float = 0.0
    encode: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)
    shape: tuple[int, int, int] | None = None
    name: str = "measurement"
    differentiable: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, SIGMAS)
        check_number("model_sigma", self.model_sigma, MODEL_SIGMAS)
        check_images(self.y)
        if not bool(self.y.isfinite().all()):
            raise ValueError(
                "y has numbers that are not finite; write 0 where nothing was measured"
            )

    @property
    def scale(self) -> float:
        """`s`, the standard deviation the score uses."""
        return math.hypot(self.sigma, self.model_sigma)

    @classmethod
    def simulate(
        cls,
        degradation: Degradation,
        images: Tensor,
        sigma: float,
        generator: torch.Generator,
        **options: Any,
    ) -> Measurement:
        """Simulate the measurement of images `(B, C, H, W)` in [-1, 1].

        The noise is drawn image by image on the CPU, so the first measurements depend neither on
        the number of images nor on the device.

        Args:
            options: the remaining attributes of the class.
        """
        check_images(images)
        check_number("sigma", sigma, SIGMAS)
        clean = degraded(degradation, images)
        noise = torch.stack(
            [
                torch.randn(clean.shape[1:], generator=generator, dtype=torch.float32)
                for _ in range(len(clean))
            ]
        )
        y = clean + sigma * noise.to(clean)
        observed = degradation.observed(y)
        if observed is not None:
            y = torch.where(observed, y, clean)
        return cls(degradation, y, sigma, **options)

    def take(self, rows: Tensor) -> Measurement:
        """See `Operator.take`."""
        return replace(self, y=self.y[rows.to(self.y.device)])

    def residual(self, images: Tensor, *, clipped: bool = False) -> Tensor:
        """`y - A(x)`, in the shape of `y`; 0 where nothing is measured.

        Args:
            clipped: A(x) is clipped to [-1, 1], as a file would, or to the range of y if that is
                wider.
        """
        y = self.y.to(images)
        made = degraded(self.degradation, images)
        if made.shape != y.shape:
            raise ValueError(
                f"{self.degradation.name} of images {tuple(images.shape)} is {tuple(made.shape)}, "
                f"and what was measured is {tuple(y.shape)}"
            )
        if clipped:
            made = made.clamp(min(-1.0, float(y.min())), max(1.0, float(y.max())))
        gap = y - made
        observed = self.degradation.observed(y)  # which may depend on y
        return gap if observed is None else torch.where(observed, gap, torch.zeros_like(gap))

    def counts(self) -> Tensor:
        """m, the number of measured entries of each image, `(B,)` int64."""
        observed = self.degradation.observed(self.y)
        on = torch.ones_like(self.y, dtype=torch.bool)
        if observed is not None:
            on = on & observed
        return on.flatten(1).sum(1)

    def log_density(self, images: Tensor) -> Tensor:
        """`log q(y | x)` of images `(B, C, H, W)`, normalised over the measured entries, `(B,)`."""
        squares = self.residual(images).square().flatten(1).sum(1)
        peak, scale = self.gaussian()
        return peak.to(squares) - squares / (2 * scale**2)

    def gaussian(self) -> tuple[Tensor, float]:
        """See `Gaussian`: `-m log(s sqrt(2 pi))`, double, and `s`."""
        constant = math.log(self.scale) + 0.5 * math.log(2 * math.pi)
        return -self.counts().double() * constant, self.scale

    def chi2(self, images: Tensor, *, rounding: float = 0.0) -> Tensor:
        """`|y - A(x)|^2 / (m (sigma^2 + rounding^2))`, `(B,)`: about 1 for the true image.

        `model_sigma` is not used, so that values are comparable whatever it is.

        Args:
            rounding: > 0 where files rounded and clipped y or the images: what a pixel may differ
                by; A(x) is clipped as well, see `residual`.
        """
        squares = self.residual(images, clipped=rounding > 0).square().flatten(1).sum(1)
        return squares / (self.counts().to(squares) * (self.sigma**2 + rounding**2))

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """See `Operator.log_prob`."""
        return self._scores(relaxed.codes(self._codebook()))

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """See `Operator.log_prob_ids`."""
        return self._scores(self._codebook().embed(ids))

    def first_image(self, shape: tuple[int, int, int]) -> Tensor | None:
        """A rough image `(B, *shape)` in [-1, 1], made without a model; see `rough_image`.

        Raises:
            TypeError: the degradation's own `guess` is no tensor, or one of integers.
            ValueError: it is of another shape, or not finite.
        """
        made = rough_image(self.degradation, self.y, shape)
        if made is None:
            return None
        if not isinstance(made, Tensor) or not made.is_floating_point():
            kind = made.dtype if isinstance(made, Tensor) else type(made).__name__
            raise TypeError(f"{self.degradation.name}.guess(y, {shape}) is floating, got {kind}")
        if made.shape != (len(self.y), *shape) or not bool(made.isfinite().all()):
            raise ValueError(
                f"{self.degradation.name}.guess(y, {shape}) is finite images "
                f"{(len(self.y), *shape)}, got {tuple(made.shape)}, "
                f"{'all' if bool(made.isfinite().all()) else 'not all'} finite"
            )
        return made.clamp(-1, 1)

    def guess(self) -> Tensor:
        """Codes `(B, L, d)` of a first guess: those of `first_image`; see `Guessing`.

        Where pixels are not measured, a token's code is multiplied by the measured share of its
        cell: 0 means that nothing is known of it. There are no codes, `(B, 0, d)`, for a
        degradation without a `guess`.

        Raises:
            ValueError: no `encode` or no `shape`.
        """
        if self.encode is None or self.shape is None:
            raise ValueError(
                "this measurement cannot guess: give it the tokenizer's encode= and the images' "
                "shape=(C, H, W)"
            )
        image, book = self.first_image(self.shape), self._codebook()
        if image is None:
            return book.embed(torch.zeros(len(self.y), 0, dtype=torch.long, device=self.y.device))
        with torch.no_grad():
            codes = book.embed(self.encode(image))
        observed = self.degradation.observed(self.y)
        if observed is None:
            return codes
        high, wide = self.shape[1:]
        side = math.isqrt(high * wide // codes.shape[1])  # of a token's cell, in pixels
        seen = observed.expand_as(self.y).any(1, keepdim=True).to(codes)
        share = F.adaptive_avg_pool2d(seen, (high // side, wide // side)).flatten(1)
        return codes * share[..., None]

    def _decoder(self) -> Decoder:
        self._codebook()
        return self.decode  # type: ignore[return-value]

    def _codebook(self) -> Codebook:
        if self.codebook is None or self.decode is None:
            raise ValueError(
                "this measurement can only score images; to score tokens give it the tokenizer's "
                "decode= and codebook="
            )
        return self.codebook

    def _scores(self, codes: Tensor) -> Scores:
        total = self.log_density(self._decoder()(codes))
        return Scores(total, {self.name: total.detach()})


@torch.no_grad()
def model_sigma_of(
    degradation: Degradation, images: Tensor, reconstructed: Tensor, batch: int = 64
) -> float:
    """The tokenizer's error after A: the rms of `A(x) - A(x^)` over measured entries.

    Args:
        images, reconstructed: `(B, C, H, W)` training images, and their reconstructions.
        batch: images degraded at a time.
    """
    total, count = 0.0, 0
    for first in range(0, len(images), batch):
        a = degraded(degradation, images[first : first + batch])
        b = degraded(degradation, reconstructed[first : first + batch])
        observed = degradation.observed(a)
        on = torch.ones_like(a, dtype=torch.bool)
        if observed is not None:
            on = on & observed
        total += float((a - b).square()[on].double().sum())
        count += int(on.sum())
    return math.sqrt(total / max(1, count))
