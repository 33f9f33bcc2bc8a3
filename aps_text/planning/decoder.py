"""Cost of a convolutional image decoder by its sizes: operations, and what its graph keeps.

    residual block i -> o    18 (i o + o^2) p, 2 i o p more where i != o, keeps 3 (i + o) p
    upsampling of c          18 c^2 p, keeps c p (its input, repeated)
    attention of c           8 c^2 p + 4 c p^2, keeps 6 c p

Operations come first; p is the pixels at the block's resolution, after upsampling. The backward
pass of frozen weights takes the same operations again. What is kept is counted in numbers of 4
bytes: decoders are float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["DecoderShape"]


@dataclass(frozen=True)
class DecoderShape:
    """A decoder's sizes, finest resolution first.

    Attributes:
        widths, blocks: channels and residual blocks of each resolution.
        width: numbers per code.
        attention: whether the coarsest resolution has one.
        parameters: of encoder and decoder together.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    width: int
    attention: bool
    parameters: int

    @property
    def factor(self) -> int:
        """Pixels per side of a cell."""
        return int(2 ** (len(self.widths) - 1))

    def stages(self, side: int) -> Iterator[tuple[float, float, float]]:
        """Of each part, for an image of `side` pixels: operations, numbers kept, numbers read."""
        p, c = float(side // self.factor) ** 2, self.widths[-1]
        yield 18.0 * self.width * c * p + 2 * self.width**2 * p, 0.0, self.width * p
        yield self._residual(c, c, p)
        if self.attention:
            yield 8 * c * c * p + 4 * c * p * p, 6 * c * p, c * p
        yield self._residual(c, c, p)
        for level in reversed(range(len(self.widths))):
            for _ in range(self.blocks[level]):
                yield self._residual(c, self.widths[level], p)
                c = self.widths[level]
            if level:
                before, p = c * p, 4 * p
                yield 18.0 * c * c * p, c * p, before
        yield 18.0 * 3 * c * p, 3 * c * p, c * p

    @staticmethod
    def _residual(i: int, o: int, p: float) -> tuple[float, float, float]:
        shortcut = 2.0 * i * o * p if i != o else 0.0
        return 18.0 * (i * o + o * o) * p + shortcut, 3.0 * (i + o) * p, i * p

    def operations(self, side: int) -> float:
        """Of one pass forward."""
        return sum(work for work, _, _ in self.stages(side))

    def kept(self, side: int, at_most: int | None) -> float:
        """Bytes for the backward pass of one image.

        Args:
            at_most: pixels whose activations are held; a larger image keeps the inputs of its
                parts, and one part's own while it is computed again.
        """
        each = list(self.stages(side))
        if at_most is None or side * side <= at_most:
            return 4 * sum(kept for _, kept, _ in each)
        return 4 * (sum(read for _, _, read in each) + max(kept for _, kept, _ in each))
