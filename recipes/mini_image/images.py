"""`Images`: a set of images with attributes, for training and measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Images"]


@dataclass(frozen=True)
class Images:
    """N images and their attributes.

    Attributes:
        pixels: `(N, C, S, S)` uint8.
        values: `(N, A)` int64, the value of each attribute; -1 where it has none.
        attributes: names of the A attributes, and of each one's values.
    """

    pixels: Tensor
    values: Tensor
    attributes: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(self.pixels)

    def at(self, index: Tensor | slice) -> Tensor:
        """Images `(B, C, S, S)` in [-1, 1]."""
        return self.pixels[index].float() / 127.5 - 1

    def first(self, count: int) -> Images:
        """The first `count` images."""
        return Images(self.pixels[:count], self.values[:count], self.attributes)

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`size` random images in [-1, 1] and their values `(size, A)`."""
        index = torch.randint(len(self), (size,), generator=generator)
        return self.at(index), self.values[index]
