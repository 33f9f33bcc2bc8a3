"""Image tokenizers with a table of code vectors, in diffusers' `VQModel` (aMUSEd).

    z = quant_conv(E(x)) per cell    id = nearest e_k    x^ = D(post_quant_conv(e_id))

E and D take and make pixels in [0, 1]; here they are in [-1, 1], as everywhere. The decoder takes
any vector, so an expected code is a product of probabilities with the table.

Codes are the table's vectors, centred and scaled: `c_k = s (e_k - mean e)`, with s such that their
mean square length is log2 K, as of K codes of signs -1 and +1. So learning rates of a tilt towards
codes do not depend on the units of a table. Distances keep their order, so nearest codes are those
of the table.

Shapes: images `(B, C, H, W)` in [-1, 1]; codes `(B, L, d)`; ids `(B, L)`, row-major over the
`(H / factor) x (W / factor)` cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from ..core.codebook import VectorCodebook
from .magvit import check_side
from .magvit_layers import again, at_once

__all__ = ["VQTokenizer", "factor_of"]


def factor_of(net: Any) -> int:
    """Pixels per side of a cell of a `VQModel`."""
    return int(2 ** (len(net.config.block_out_channels) - 1))


@dataclass(frozen=True)
class VQTokenizer:
    """A `VQModel` for images of one size, with the interface of `images.magvit.MagvitTokenizer`.

    Args:
        net: diffusers' `VQModel`, frozen, in eval mode.
        height, width: of the images in pixels, multiples of its factor.
        at_most: see `decode`; None decodes everything at once.

    Raises:
        ValueError: a side that is no multiple of the factor, `at_most` below 1, or a network that
            normalises by the latent image or does not look ids up in its table.
    """

    net: Any
    height: int
    width: int
    at_most: int | None = None

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width)):
            check_side(side, self.factor, name)
        if self.at_most is not None and self.at_most < 1:
            raise ValueError(f"at_most={self.at_most} pixels; give at least 1, or None")
        if self.net.config.norm_type != "group":
            raise ValueError(
                f"norm_type={self.net.config.norm_type!r} of the image tokenizer is not supported; "
                "published is 'group'"
            )

    @property
    def factor(self) -> int:
        """Pixels per side of a cell."""
        return factor_of(self.net)

    @cached_property
    def _scaling(self) -> tuple[Tensor, float]:
        """The mean vector `(d,)` and s; see the module."""
        table = self.net.quantize.embedding.weight.float()
        mean = table.mean(0)
        length = (table - mean).square().sum(1).mean()
        return mean, math.sqrt(math.log2(max(2, len(table))) / max(float(length), 1e-30))

    @cached_property
    def codebook(self) -> VectorCodebook:
        """The codes of the token ids, centred and scaled."""
        mean, scale = self._scaling
        with torch.inference_mode(False), torch.no_grad():
            return VectorCodebook(scale * (self.net.quantize.embedding.weight.float() - mean))

    @property
    def codes(self) -> int:
        """K, the codes."""
        return self.codebook.size

    @property
    def size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return int(self.net.config.out_channels), self.height, self.width

    @property
    def grid(self) -> tuple[int, int]:
        """Cells per column and per row."""
        return self.height // self.factor, self.width // self.factor

    @property
    def tokens(self) -> int:
        """L, tokens per image."""
        return self.grid[0] * self.grid[1]

    @property
    def _weight(self) -> Tensor:
        return self.net.post_quant_conv.weight

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
        parts = ((images + 1) / 2).to(self._weight).split(self._rows(len(images)))
        z = torch.cat([self.net.quant_conv(self.net.encoder(part)) for part in parts])
        mean, scale = self._scaling
        return scale * (z.flatten(2).transpose(1, 2).float() - mean)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Token ids `(B, L)` of images `(B, C, H, W)` in [-1, 1]."""
        z = self.project(images)
        return self.codebook.nearest(z.flatten(0, 1)).view(z.shape[:2])

    def decode(self, codes: Tensor, at_most: int | None = None) -> Tensor:
        """Images `(B, C, H, W)`, about in [-1, 1] but not clipped, of codes `(B, L, d)`.

        Differentiable in the codes, which may be any real numbers.

        Args:
            at_most: pixels whose activations are held at a time; see `MagvitTokenizer.decode`.

        Raises:
            ValueError: codes of another shape.
        """
        shape = (self.tokens, self.codebook.table.shape[1])
        if codes.ndim != 3 or tuple(codes.shape[1:]) != shape:
            raise ValueError(
                f"codes of {self.height} x {self.width} pixels are (B, {shape[0]}, {shape[1]}), "
                f"got {tuple(codes.shape)}"
            )
        mean, scale = self._scaling
        cells = (codes.float() / scale + mean).transpose(1, 2).unflatten(2, self.grid)
        cells = cells.to(self._weight)
        limit = self.at_most if at_most is None else at_most
        rows = self._rows(len(cells), at_most)
        blockwise = limit is not None and self.height * self.width > limit
        run = at_once if rows >= len(cells) else again
        decode = partial(self._decoded, again if blockwise else at_once)
        made = torch.cat([run(decode, part) for part in cells.split(rows)]).float()
        return 2 * made - 1

    def _decoded(
        self, run: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor], cells: Tensor
    ) -> Tensor:
        """Images in [0, 1]; `run` computes each block."""
        decoder = self.net.decoder
        h = decoder.conv_in(self.net.post_quant_conv(cells))
        h = run(decoder.mid_block, h)
        for block in decoder.up_blocks:
            for residual in block.resnets:
                h = run(partial(residual, temb=None), h)
            for upsampler in block.upsamplers or ():
                h = run(upsampler, h)
        return run(lambda h: decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(h))), h)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Images `(B, C, H, W)` of token ids `(B, L)`."""
        return self.decode(self.codebook.embed(ids))

    def _rows(self, count: int, at_most: int | None = None) -> int:
        """Images in a slice."""
        limit = self.at_most if at_most is None else at_most
        if limit is None:
            return max(1, count)
        return max(1, limit // (self.height * self.width))
