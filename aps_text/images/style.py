"""The style of a reference image as an operator: averages of an image near those of the reference.

    log q(ref | x) = sum over the m statistics of  -(S(ref) - S(x))^2 / (2 s^2) - log(s sqrt(2 pi))

The statistics S are those of `images.style_statistics`; `s` is in the features' own units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..core.codebook import Codebook, Relaxed
from ..core.limits import check_number
from ..core.operator import Arithmetic, Scores
from .degradation import check_followed, check_images
from .measurement import SIGMAS, Decoder
from .style_statistics import Statistic

__all__ = ["Style"]


def statistics_of(statistic: Statistic, images: Tensor, where: Tensor | None) -> Tensor:
    """`S(x)` `(B, m)` of a copy of the images, which a statistic of one's own may write on.

    Raises:
        TypeError: no tensor comes out.
        ValueError: another shape, or no gradient where one is asked for.
    """
    made: Any = statistic(images.clone(), where)
    if not isinstance(made, Tensor):
        raise TypeError(f"{statistic!r} of images is a tensor (B, m), got {type(made).__name__}")
    if made.ndim != 2 or len(made) != len(images):
        raise ValueError(
            f"{statistic!r} of images {tuple(images.shape)} must be ({len(images)}, m), got "
            f"{tuple(made.shape)}"
        )
    check_followed(repr(statistic), made, images)
    return made


@torch.no_grad()
def check_each_alone(statistic: Statistic, references: Tensor, within: Tensor | None) -> None:
    """Raise `ValueError` for a statistic of an image that depends on the others of its batch."""
    images = torch.cat([references, 0.2 - 0.5 * references])
    together = statistics_of(statistic, images, within)
    alone = torch.cat([statistics_of(statistic, one[None], within) for one in images])
    size = float(alone.abs().nan_to_num(0.0, 0.0).max()) if alone.numel() else 0.0
    if not torch.allclose(together, alone, atol=1e-3 * max(1.0, size), equal_nan=True):
        raise ValueError(
            f"{statistic!r} of an image is another one beside other images: a mean, a largest "
            "value or a norm is taken over the whole batch; take it of each image, x.mean((2, 3)) "
            "e.g."
        )


@dataclass(frozen=True)
class Style(Arithmetic):
    """Statistics of B reference images, which B images shall have; see the module.

    Attributes:
        statistic: S.
        target: `(B, m)`, the references' statistics, finite.
        sigma: `s`, the standard deviation of every statistic, in [1e-6, 1e6]; smaller is stricter.
        decode, codebook: of the image tokenizer; needed to score tokens instead of images.
        where: `(H, W)` bool, the pixels of the scored images that count; None is all of them.
        channels: of the references; None is not known.
        name: of its term in reports.
    """

    statistic: Statistic = field(repr=False)
    target: Tensor = field(repr=False)
    sigma: float
    decode: Decoder | None = field(default=None, repr=False)
    codebook: Codebook | None = field(default=None, repr=False)
    where: Tensor | None = None
    channels: int | None = None
    name: str = "style"
    differentiable: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, SIGMAS)
        if self.target.ndim != 2 or not bool(self.target.isfinite().all()):
            raise ValueError(
                f"target is (B, m) and finite, got {tuple(self.target.shape)}, of which "
                f"{int(self.target.isfinite().sum())} are finite; make it by Style.of"
            )
        if self.where is not None and (self.where.ndim != 2 or self.where.dtype != torch.bool):
            raise ValueError(
                f"where is (H, W) bool, got {tuple(self.where.shape)} {self.where.dtype}"
            )
        if self.where is not None and not bool(self.where.any()):
            raise ValueError("where is False everywhere; leave no pixel out, or mark some")

    @classmethod
    def of(
        cls,
        statistic: Statistic,
        references: Tensor,
        sigma: float | None = None,
        *,
        within: Tensor | None = None,
        **options: Any,
    ) -> Style:
        """The style of reference images `(B, C, H, W)` in [-1, 1].

        Args:
            sigma: None is the statistic's usual one.
            within: `(H, W)` bool, the pixels of the references that count; None is all of them.
            options: the remaining attributes of the class.
        """
        check_images(references)
        sides = tuple(references.shape[-2:])
        if within is not None and (within.dtype != torch.bool or within.shape != sides):
            raise ValueError(
                "within, the mask of the references, is bool and of their height and width "
                f"{sides}; got {tuple(within.shape)} {within.dtype}"
            )
        if within is not None and not bool(within.any()):
            raise ValueError(
                "within is False everywhere (a mask that is black everywhere); mark the pixels of "
                "the reference that count"
            )
        with torch.no_grad():
            target, again = (statistics_of(statistic, references, within) for _ in range(2))
        same = target.shape == again.shape
        if not same or not torch.allclose(target, again, atol=1e-3, equal_nan=True):
            raise ValueError(
                f"{statistic!r} of the same images is another one at each call; draw its random "
                "parts once, when it is made"
            )
        check_each_alone(statistic, references, within)
        if sigma is None and not hasattr(statistic, "sigma"):
            raise ValueError(f"{statistic!r} has no usual sigma; give one by sigma=")
        scale, options = statistic.sigma if sigma is None else sigma, dict(options)
        options.setdefault("channels", references.shape[1])
        return cls(statistic, target, scale, **options)

    def take(self, rows: Tensor) -> Style:
        """See `Operator.take`."""
        return replace(self, target=self.target[rows.to(self.target.device)])

    def guess(self) -> Tensor:
        """No codes `(B, 0, d)`: a style says nothing of where; see `Guessing`."""
        if self.codebook is None:
            raise ValueError("this style can only score images; give it the tokenizer's codebook=")
        none = torch.zeros(len(self.target), 0, dtype=torch.long, device=self.target.device)
        return self.codebook.embed(none)

    def inside(self, where: Tensor) -> Style:
        """The style of the pixels in `where`, `(H, W)` bool, alone."""
        return replace(self, where=where)

    def residual(self, images: Tensor) -> Tensor:
        """`S(ref) - S(x)` of images `(B, C, H, W)`, `(B, m)`.

        Raises:
            ValueError: another number of images, other channels, or another size than `where`.
        """
        if self.channels not in (None, images.shape[1]):
            raise ValueError(
                f"the style is of images of {self.channels} channels, and these have "
                f"{images.shape[1]}; take it from a reference of the same model"
            )
        if len(images) != len(self.target):
            raise ValueError(f"{len(images)} images for the style of {len(self.target)} references")
        if self.where is not None and images.shape[-2:] != self.where.shape:
            raise ValueError(
                f"where is {tuple(self.where.shape)} and the image {tuple(images.shape[-2:])}; "
                "they must have the same size"
            )
        made = statistics_of(self.statistic, images, self.where)
        return self.target.to(made) - made

    def counts(self) -> Tensor:
        """m for each image, `(B,)` int64."""
        return torch.full((len(self.target),), self.target.shape[1], device=self.target.device)

    def log_density(self, images: Tensor) -> Tensor:
        """`log q(ref | x)` of images `(B, C, H, W)`, normalised, `(B,)`."""
        squares = self.residual(images).square().sum(1)
        peak, scale = self.gaussian()
        return peak.to(squares) - squares / (2 * scale**2)

    def gaussian(self) -> tuple[Tensor, float]:
        """See `Gaussian`: `-m log(s sqrt(2 pi))`, double, and `s`."""
        constant = math.log(self.sigma) + 0.5 * math.log(2 * math.pi)
        return -self.counts().double() * constant, self.sigma

    def distance(self, images: Tensor) -> Tensor:
        """`|S(ref) - S(x)|` of images `(B, C, H, W)`, `(B,)`: 0 for the reference."""
        return self.residual(images).square().sum(1).sqrt()

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """See `Operator.log_prob`."""
        decode, codebook = self._tokenizer()
        return self._scores(decode(relaxed.codes(codebook)))

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """See `Operator.log_prob_ids`."""
        decode, codebook = self._tokenizer()
        return self._scores(decode(codebook.embed(ids)))

    def _tokenizer(self) -> tuple[Decoder, Codebook]:
        if self.decode is None or self.codebook is None:
            raise ValueError(
                "this style can only score images; to score tokens give it the tokenizer's "
                "decode= and codebook="
            )
        return self.decode, self.codebook

    def _scores(self, images: Tensor) -> Scores:
        total = self.log_density(images)
        return Scores(total, {self.name: total.detach()})
