"""Image tokenizers with a table of code vectors, in diffusers' `VQModel` (aMUSEd).

    z = quant_conv(E(x)) per cell    id = nearest e_k    x^ = D(post_quant_conv(e_id))

E and D take and make pixels in [0, 1]; here they are in [-1, 1], as everywhere. The decoder takes
any vector, so an expected code is a product of probabilities with the table. `lookup_from_codebook`
of its configuration says what the published `decode` takes without quantising, ids (True) or
vectors; here ids are always looked up, and vectors never quantised again, so it is not read.

Codes are the table's vectors, centred and scaled: `c_k = s (e_k - mean e)`, with s such that their
mean square length is log2 K, as of K codes of signs -1 and +1. So learning rates of a tilt towards
codes do not depend on the units of a table. Distances keep their order, so nearest codes are those
of the table.

Shapes: images `(B, C, H, W)` in [-1, 1]; codes `(B, L, d)`; ids `(B, L)`, row-major over the
`(H / factor) x (W / factor)` cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from ..core.codebook import VectorCodebook
from .magvit_layers import again, at_once
from .sliced_tokenizer import SlicedTokenizer

__all__ = ["VQTokenizer", "factor_of"]


def factor_of(net: Any) -> int:
    """Pixels per side of a cell of a `VQModel`."""
    return int(2 ** (len(net.config.block_out_channels) - 1))


@dataclass(frozen=True)
class VQTokenizer(SlicedTokenizer):
    """A `VQModel` of diffusers, frozen, in eval mode, for images of one size.

    Raises:
        ValueError: see `SlicedTokenizer`; a network whose decoder is normalised by the latents
            (`norm_type` other than `group`).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.net.config.norm_type != "group":
            raise ValueError(
                f"norm_type={self.net.config.norm_type!r} of the image tokenizer is not supported; "
                "published is 'group'"
            )

    @property
    def factor(self) -> int:
        """See `SlicedTokenizer`."""
        return factor_of(self.net)

    @property
    def channels(self) -> int:
        """See `SlicedTokenizer`."""
        return int(self.net.config.out_channels)

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
        with torch.inference_mode(False), torch.no_grad():
            return VectorCodebook(self.from_latents(self.net.quantize.embedding.weight.float()))

    @property
    def code_size(self) -> int:
        """See `SlicedTokenizer`."""
        return int(self.codebook.table.shape[1])

    def from_latents(self, z: Tensor) -> Tensor:
        """See `SlicedTokenizer`."""
        mean, scale = self._scaling
        return scale * (z - mean)

    def to_latents(self, codes: Tensor) -> Tensor:
        """See `SlicedTokenizer`."""
        mean, scale = self._scaling
        return codes.float() / scale + mean

    def latents(self, images: Tensor) -> Tensor:
        """See `SlicedTokenizer`."""
        pixels = ((images + 1) / 2).to(self.net.post_quant_conv.weight)
        z: Tensor = self.net.quant_conv(self.net.encoder(pixels))
        return z

    def images(self, cells: Tensor, recompute: bool) -> Tensor:
        """See `SlicedTokenizer`."""
        run, decoder = again if recompute else at_once, self.net.decoder
        h = self.net.post_quant_conv(cells.to(self.net.post_quant_conv.weight))
        h = run(decoder.mid_block, decoder.conv_in(h))
        for block in decoder.up_blocks:
            for residual in block.resnets:
                h = run(partial(residual, temb=None), h)
            for upsampler in block.upsamplers or ():
                h = run(upsampler, h)
        unit = run(lambda h: decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(h))), h)
        return 2 * unit.float() - 1
