"""The sizes of this repository's small image models, from their configurations.

    tokenizer.json, prior.json      sizes
    the headers of their weights    numbers

    residual block of w             36 w^2 p, keeps 4 w p
    transformer block of d          24 d^2 n + 4 n^2 d + 18 d n

p and n are positions on the grid, p four times as many in a `refine` stage. As in `decoder`, the
backward pass takes the same operations again, and numbers have 4 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..images.lfq import TokenizerConfig
from ..models.mini_image import PriorConfig

__all__ = ["MiniDecoderShape", "MiniPriorShape"]


@dataclass(frozen=True)
class MiniDecoderShape:
    """The decoder of an `LFQTokenizer`; images are those of its one size.

    Attributes:
        sizes: of the tokenizer.
        parameters: of encoder and decoder together.
    """

    sizes: TokenizerConfig
    parameters: int

    @property
    def width(self) -> int:
        """Numbers per code."""
        return self.sizes.bits

    @property
    def factor(self) -> int:
        """Pixels per side of a cell."""
        return self.sizes.factor

    def stages(self, side: int) -> Iterator[tuple[float, float]]:
        """Of each part, for an image of `side` pixels: operations, and numbers kept."""
        sizes, p = self.sizes, float(side // self.factor) ** 2
        w, pixels = sizes.width, sizes.channels * sizes.factor**2
        yield 18.0 * sizes.bits * w * p, sizes.bits * p
        for _ in range(sizes.decoder_blocks):
            yield 36.0 * w * w * p, 4.0 * w * p
        if not sizes.refine:
            yield 18.0 * w * pixels * p, 2.0 * w * p
            return
        half = w // 2
        yield 8.0 * w * half * p, w * p
        for _ in range(sizes.refine):
            yield 36.0 * half * half * 4 * p, 4.0 * half * 4 * p
        yield 18.0 * half * (pixels // 4) * 4 * p, 2.0 * half * 4 * p

    def operations(self, side: int) -> float:
        """Of one pass forward."""
        return sum(work for work, _ in self.stages(side))

    def kept(self, side: int, at_most: int | None) -> float:
        """Bytes for the backward pass of one image; `at_most` has no use, nothing is sliced."""
        return 4 * sum(kept for _, kept in self.stages(side))


@dataclass(frozen=True)
class MiniPriorShape:
    """A `MaskedImageModel`.

    Attributes:
        sizes: of the prior.
    """

    sizes: PriorConfig

    @property
    def hidden(self) -> int:
        """Width of a position's state."""
        return self.sizes.width

    def operations(self, tokens: int, codes: int) -> float:
        """Of one pass, the head at every token."""
        d, bits, n = self.sizes.width, self.sizes.bits, float(tokens)
        block = 24.0 * d * d * n + 4.0 * n * n * d + 18.0 * d * n
        return self.sizes.layers * block + 2.0 * bits * d * (n + codes) + 2.0 * n * d * codes

    def inside(self, tokens: int) -> float:
        """Numbers held inside one block of a pass without gradient, and the head's table."""
        d, heads, n = self.sizes.width, self.sizes.heads, float(tokens)
        block = max(9 * d * n, 4 * d * n + 2 * heads * n * n)
        return block + 2.0 * d * 2**self.sizes.bits
