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
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ..core.codebook import LFQCodebook
from .magvit_files import read_magvit
from .magvit_layers import Magvit
from .sliced_tokenizer import SlicedTokenizer, check_side

__all__ = ["MagvitTokenizer", "load_magvit"]


@dataclass(frozen=True)
class MagvitTokenizer(SlicedTokenizer):
    """A MAGVIT-v2 network for images of one size; see `SlicedTokenizer`."""

    net: Magvit

    @property
    def factor(self) -> int:
        """See `SlicedTokenizer`."""
        return self.net.factor

    @property
    def channels(self) -> int:
        """See `SlicedTokenizer`."""
        return self.net.decoder_sizes.channels

    @cached_property
    def codebook(self) -> LFQCodebook:
        """The codes of the token ids."""
        return LFQCodebook(self.net.bits)

    @property
    def code_size(self) -> int:
        """Bits."""
        return self.net.bits

    def latents(self, images: Tensor) -> Tensor:
        """`z`, before the sign; see `SlicedTokenizer`."""
        z: Tensor = self.net.encoder(images.to(self.net.encoder.conv_in.weight))
        return z

    def images(self, cells: Tensor, recompute: bool) -> Tensor:
        """See `SlicedTokenizer`."""
        decoder = self.net.decoder
        made: Tensor = decoder(cells.to(decoder.conv_in.weight), recompute=recompute)
        return made


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
        at_most: see `SlicedTokenizer.decode`.

    Raises:
        ValueError: a checkpoint that cannot be read (see `read_magvit`), or a size that is no
            multiple of the factor.
    """
    net = read_magvit(folder, device, dtype)
    height, width = size if isinstance(size, tuple) else (size, size)
    for side, which in ((height, "height"), (width, "width")):
        check_side(side, net.factor, which if isinstance(size, tuple) else "size")
    return MagvitTokenizer(net, height, width, at_most)
