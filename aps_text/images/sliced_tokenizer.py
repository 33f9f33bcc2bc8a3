"""`SlicedTokenizer`: what image tokenizers of published networks share.

A network takes images of any multiple of its factor; a tokenizer is one for images of one size, of
which it encodes and decodes at most so many pixels at a time. Of more images, slices follow one
another, and each is computed again in the backward pass; a single larger image, block by block.

Shapes: images `(B, C, H, W)` in [-1, 1]; codes `(B, L, d)`; ids `(B, L)`, row-major over the
`(H / factor) x (W / factor)` cells.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..core.settings import COUNT
from .magvit_layers import again, at_once

__all__ = ["MOST_CELLS", "SlicedTokenizer", "check_at_most", "check_side"]


@dataclass(frozen=True)
class SlicedTokenizer(ABC):
    """A network for images of one size; see the module.

    Args:
        net: the network, frozen, in eval mode.
        height, width: of the images in pixels, multiples of its factor.
        at_most: see `decode`; None decodes everything at once.

    Raises:
        ValueError: a side that is no multiple of the factor (the message names the nearest) or has
            more than `MOST_CELLS` cells, or `at_most` below 1.
        TypeError: `at_most` is no whole number.
    """

    net: Any
    height: int
    width: int
    at_most: int | None = None

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width)):
            check_side(side, self.factor, name)
        check_at_most(self.at_most)

    @property
    @abstractmethod
    def factor(self) -> int:
        """Pixels per side of a cell."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """C, of the images."""

    @property
    @abstractmethod
    def codebook(self) -> Any:
        """The codes of the token ids."""

    @property
    @abstractmethod
    def code_size(self) -> int:
        """d, numbers of a code."""

    @abstractmethod
    def latents(self, images: Tensor) -> Tensor:
        """`(B, d, h, w)`: the encoder's output for a slice of images."""

    @abstractmethod
    def images(self, cells: Tensor, recompute: bool) -> Tensor:
        """Images `(B, C, H, W)` of a slice of latents `(B, d, h, w)`.

        Args:
            recompute: each block is computed again in the backward pass.
        """

    def from_latents(self, z: Tensor) -> Tensor:
        """Latents `(B, L, d)` float32 in the units of the codes."""
        return z

    def to_latents(self, codes: Tensor) -> Tensor:
        """The inverse of `from_latents`."""
        return codes

    @property
    def codes(self) -> int:
        """K, the codes."""
        return int(self.codebook.size)

    @property
    def size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return self.channels, self.height, self.width

    @property
    def grid(self) -> tuple[int, int]:
        """Cells per column and per row."""
        return self.height // self.factor, self.width // self.factor

    @property
    def tokens(self) -> int:
        """L, tokens per image."""
        return self.grid[0] * self.grid[1]

    def project(self, images: Tensor) -> Tensor:
        """`z` in the units of the codes: images `(B, C, H, W)` in [-1, 1] to `(B, L, d)` float32.

        Raises:
            ValueError: images of another size.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.size:
            raise ValueError(
                f"this tokenizer takes images (B, {', '.join(map(str, self.size))}), got "
                f"{tuple(images.shape)}"
            )
        z = torch.cat([self.latents(part) for part in images.split(self._rows(len(images)))])
        return self.from_latents(z.flatten(2).transpose(1, 2).float())

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Token ids `(B, L)` of images `(B, C, H, W)` in [-1, 1]."""
        z = self.project(images)
        ids: Tensor = self.codebook.nearest(z.flatten(0, 1))
        return ids.view(z.shape[:2])

    def decode(self, codes: Tensor, at_most: int | None = None) -> Tensor:
        """Images `(B, C, H, W)`, about in [-1, 1] but not clipped, of codes `(B, L, d)`.

        Differentiable in the codes, which may be any real numbers.

        Args:
            at_most: pixels whose activations are held at a time; None is the tokenizer's own.

        Raises:
            ValueError: codes of another shape.
        """
        shape = (self.tokens, self.code_size)
        if codes.ndim != 3 or tuple(codes.shape[1:]) != shape:
            raise ValueError(
                f"codes of {self.height} x {self.width} pixels are (B, {shape[0]}, {shape[1]}), "
                f"got {tuple(codes.shape)}"
            )
        cells = self.to_latents(codes).transpose(1, 2).unflatten(2, self.grid)
        limit = self.at_most if at_most is None else at_most
        rows = self._rows(len(cells), at_most)
        blockwise = limit is not None and self.height * self.width > limit
        run = at_once if rows >= len(cells) else again
        decode = partial(self.images, recompute=blockwise)
        return torch.cat([run(decode, part) for part in cells.split(rows)]).float()

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Images `(B, C, H, W)` of token ids `(B, L)`."""
        return self.decode(self.codebook.embed(ids))

    def _rows(self, count: int, at_most: int | None = None) -> int:
        """Images in a slice."""
        limit = self.at_most if at_most is None else at_most
        if limit is None:
            return max(1, count)
        return max(1, limit // (self.height * self.width))


def check_at_most(pixels: int | None) -> None:
    """Raise `TypeError` unless it is a whole number of pixels or None, `ValueError` below 1."""
    if pixels is None:
        return
    if not isinstance(pixels, int) or isinstance(pixels, bool):
        raise TypeError(f"at_most is a whole number of pixels, or None; got {pixels!r}")
    if pixels < 1:
        raise ValueError(f"at_most={pixels} pixels; give at least 1, or None")


MOST_CELLS = math.isqrt(COUNT)
"""Cells per side of an image, at most: its tokens are as many as a canvas may have positions."""


def check_side(side: int, factor: int, name: str = "size") -> None:
    """Raise `ValueError` unless a side of an image is a positive multiple of `factor` pixels, and
    of no more than `MOST_CELLS` cells."""
    if isinstance(side, int) and not isinstance(side, bool) and side > MOST_CELLS * factor:
        raise ValueError(
            f"{name}={side} pixels: the sides of an image are at most {MOST_CELLS * factor} pixels "
            f"({MOST_CELLS} tokens) here. Resize or crop the image"
        )
    if isinstance(side, int) and not isinstance(side, bool) and side > 0 and side % factor == 0:
        return
    if not isinstance(side, int) or isinstance(side, bool) or side < factor:
        raise ValueError(
            f"{name}={side!r}: the sides of an image are multiples of {factor} pixels, at least "
            f"{factor}"
        )
    below = side // factor * factor
    raise ValueError(
        f"{name}={side}: a token covers {factor} x {factor} pixels, so sides are multiples of "
        f"{factor}; the nearest are {below} and {below + factor}. Resize or crop the image"
    )
