"""MAGVIT-v2: a convolutional image tokenizer with lookup-free codes, which MMaDA and Show-o use.

    z = quant_conv(E(x)) in R^bits per cell    c = sign(z), 0 -> -1    x^ = D(post_quant_conv(c))

(Yu et al. 2023, "Language Model Beats Diffusion"; weights: `showlab/magvitv2`.) E and D are
residual convolutions with group norms and one attention at the coarsest resolution. They take any
image whose sides are multiples of `factor`, 2^(levels - 1) = 16 pixels for the published weights.
All sizes are read from the shapes of the tensors: the published config.json states none.

Shapes: images `(B, C, H, W)` in [-1, 1]; codes `(B, L, bits)` of -1 and +1, most significant bit of
the token id first; ids `(B, L)`, row-major over the `(H / factor) x (W / factor)` cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from ..core.codebook import LFQCodebook
from .magvit_files import read_magvit
from .magvit_layers import Magvit, again, at_once

__all__ = ["MagvitTokenizer", "check_side", "load_magvit"]


@dataclass(frozen=True)
class MagvitTokenizer:
    """MAGVIT-v2 for images of one size, with the interface of `images.lfq.LFQTokenizer`.

    Args:
        net: frozen, in eval mode.
        height, width: of the images in pixels, multiples of `net.factor`.
        at_most: see `decode`; None decodes everything at once.

    Raises:
        ValueError: a side that is no multiple of the factor (the message names the nearest), or
            `at_most` below 1.
    """

    net: Magvit
    height: int
    width: int
    at_most: int | None = None

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width)):
            check_side(side, self.net.factor, name)
        if self.at_most is not None and self.at_most < 1:
            raise ValueError(f"at_most={self.at_most} pixels; give at least 1, or None")

    @cached_property
    def codebook(self) -> LFQCodebook:
        """The codes of the token ids."""
        return LFQCodebook(self.net.bits)

    @property
    def codes(self) -> int:
        """K, the codes."""
        return self.codebook.size

    @property
    def size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return self.net.decoder_sizes.channels, self.height, self.width

    @property
    def grid(self) -> tuple[int, int]:
        """Cells per column and per row."""
        return self.height // self.net.factor, self.width // self.net.factor

    @property
    def tokens(self) -> int:
        """L, tokens per image."""
        return self.grid[0] * self.grid[1]

    def project(self, images: Tensor) -> Tensor:
        """`z`, before the sign: images `(B, C, H, W)` in [-1, 1] to `(B, L, bits)` float32.

        Raises:
            ValueError: images of another size.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.size:
            raise ValueError(
                f"this tokenizer takes images (B, {', '.join(map(str, self.size))}), got "
                f"{tuple(images.shape)}"
            )
        weight = self.net.encoder.conv_in.weight
        z = [self.net.encoder(part.to(weight)) for part in images.split(self._rows(len(images)))]
        return torch.cat(z).flatten(2).transpose(1, 2).float()

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Token ids `(B, L)` of images `(B, C, H, W)` in [-1, 1]."""
        return self.codebook.nearest(self.project(images))

    def decode(self, codes: Tensor, at_most: int | None = None) -> Tensor:
        """Images `(B, C, H, W)`, about in [-1, 1] but not clipped, of codes `(B, L, bits)`.

        Differentiable in the codes, which may be any real numbers.

        Args:
            at_most: pixels whose activations are held at a time; None is the tokenizer's own. Of
                more images, slices are decoded one after the other, and each is computed again in
                the backward pass; a single image with more pixels, block by block.

        Raises:
            ValueError: codes of another shape.
        """
        shape = (self.tokens, self.net.bits)
        if codes.ndim != 3 or tuple(codes.shape[1:]) != shape:
            raise ValueError(
                f"codes of {self.height} x {self.width} pixels are (B, {shape[0]}, {shape[1]}), "
                f"got {tuple(codes.shape)}"
            )
        decoder = self.net.decoder
        cells = codes.transpose(1, 2).unflatten(2, self.grid).to(decoder.conv_in.weight)
        limit = self.at_most if at_most is None else at_most
        rows = self._rows(len(cells), at_most)
        blockwise = limit is not None and self.height * self.width > limit
        run = at_once if rows >= len(cells) else again
        decode = partial(decoder, recompute=blockwise)
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


def check_side(side: int, factor: int, name: str = "size") -> None:
    """Raise `ValueError` unless a side of an image is a positive multiple of `factor` pixels."""
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


def load_magvit(
    folder: str | Path,
    size: int | tuple[int, int],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    at_most: int | None = None,
) -> MagvitTokenizer:
    """The tokenizer in a folder's safetensors file; frozen, in eval mode.

    Args:
        folder: with `pytorch_model.safetensors` (the published name) or `model.safetensors`.
        size: of the images in pixels: one number for squares, or (height, width).
        device, dtype: of the weights.
        at_most: see `MagvitTokenizer.decode`.

    Raises:
        ValueError: a checkpoint that cannot be read (see `read_magvit`), or a size that is no
            multiple of the factor.
    """
    net = read_magvit(folder, device, dtype)
    height, width = size if isinstance(size, tuple) else (size, size)
    for side, which in ((height, "height"), (width, "width")):
        check_side(side, net.factor, which if isinstance(size, tuple) else "size")
    return MagvitTokenizer(net, height, width, at_most)
