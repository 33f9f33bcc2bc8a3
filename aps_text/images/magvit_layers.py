"""The encoder and decoder of MAGVIT-v2, with the published names of their parameters.

    residual block   x + conv(silu(norm(conv(silu(norm(x))))))    norms of 32 groups, 3x3 kernels
    encoder          conv_in, levels from fine to coarse, middle, norm, conv_out, quant_conv
    decoder          post_quant_conv, conv_in, middle, levels from coarse to fine, norm, conv_out

The middle is a residual block, an attention over all cells, and another residual block. Each level
but the coarsest ends in the encoder with a convolution of stride 2; each but the finest ends in the
decoder with doubled pixels and a convolution. Shapes: images `(B, C, H, W)`, cells
`(B, bits, H / factor, W / factor)` with `factor = 2^(levels - 1)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["GROUPS", "CoderSizes", "Magvit", "again", "at_once"]

GROUPS = 32  # of every group norm


@dataclass(frozen=True)
class CoderSizes:
    """Sizes of an encoder or a decoder.

    Attributes:
        channels: of the images.
        bits: signs per cell.
        first: channels after the first convolution.
        widths: channels of each level, from the finest (0) to the coarsest.
        blocks: residual blocks of each level.
    """

    channels: int
    bits: int
    first: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def factor(self) -> int:
        """Pixels per side of a cell."""
        return 2 ** (len(self.widths) - 1)


class ResidualBlock(nn.Module):
    """`x + conv(silu(norm(conv(silu(norm(x))))))`; a 1x1 convolution of x where channels change."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1 = _norm(before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = _norm(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(before, after, 1) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        """`(B, before, H, W)` to `(B, after, H, W)`."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.nin_shortcut is None else self.nin_shortcut(x))


class Attention(nn.Module):
    """`x + proj_out(attention(norm(x)))`, one head over all cells."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, width, H, W)` to the same shape."""
        h = self.norm(x)
        q, k, v = (m(h).flatten(2).transpose(1, 2).contiguous() for m in (self.q, self.k, self.v))
        found = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.proj_out(found.transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    """Half the resolution by a 3x3 convolution with stride 2, padded on the right and below."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, width, H, W)` to `(B, width, H / 2, W / 2)`."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice the resolution: every value repeated, then a 3x3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, width, H, W)` to `(B, width, 2 H, 2 W)`."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The residual blocks of one resolution, and the change to the next one if there is one."""

    def __init__(self, before: int, width: int, blocks: int, **change: nn.Module) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            ResidualBlock(before if number == 0 else width, width) for number in range(blocks)
        )
        for name, module in change.items():
            self.add_module(name, module)


class Middle(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(width, width)
        self.attn_1 = Attention(width)
        self.block_2 = ResidualBlock(width, width)


class Encoder(nn.Module):
    """Images to `bits` numbers per cell."""

    def __init__(self, sizes: CoderSizes) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(sizes.channels, sizes.first, 3, padding=1)
        last = len(sizes.widths) - 1
        self.down = nn.ModuleList()
        before = sizes.first
        for level, (width, blocks) in enumerate(zip(sizes.widths, sizes.blocks, strict=True)):
            change = {"downsample": Downsample(width)} if level < last else {}
            self.down.append(Level(before, width, blocks, **change))
            before = width
        self.mid = Middle(before)
        self.norm_out = _norm(before)
        self.conv_out = nn.Conv2d(before, sizes.bits, 3, padding=1)
        self.quant_conv = nn.Conv2d(sizes.bits, sizes.bits, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, bits, H / factor, W / factor)`."""
        h = self.conv_in(x)
        for level in self.down:
            for module in level.children():
                h = _chain(module, h)
        h = _chain(self.mid, h)
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(h))))


class Decoder(nn.Module):
    """Signs of the cells to images."""

    def __init__(self, sizes: CoderSizes) -> None:
        super().__init__()
        self.post_quant_conv = nn.Conv2d(sizes.bits, sizes.bits, 1)
        self.conv_in = nn.Conv2d(sizes.bits, sizes.first, 3, padding=1)
        self.mid = Middle(sizes.first)
        levels, before = [], sizes.first
        for level in reversed(range(len(sizes.widths))):
            width = sizes.widths[level]
            change = {"upsample": Upsample(width)} if level else {}
            levels.append(Level(before, width, sizes.blocks[level], **change))
            before = width
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out = _norm(before)
        self.conv_out = nn.Conv2d(before, sizes.channels, 3, padding=1)

    def forward(self, z: Tensor, recompute: bool = False) -> Tensor:
        """`(B, bits, h, w)` to images `(B, C, H, W)`.

        Args:
            recompute: compute each block again in the backward pass instead of keeping its
                activations.
        """
        run = again if recompute else at_once
        h = self.conv_in(self.post_quant_conv(z))
        for module in (self.mid, *reversed(self.up)):
            for part in module.children():
                for stage in part if isinstance(part, nn.ModuleList) else (part,):
                    h = run(stage, h)
        return run(self._out, h)

    def _out(self, h: Tensor) -> Tensor:
        return self.conv_out(F.silu(self.norm_out(h)))


class Magvit(nn.Module):
    """Encoder and decoder; their parameters have the names of the published file."""

    def __init__(self, encoder: CoderSizes, decoder: CoderSizes) -> None:
        super().__init__()
        self.encoder_sizes, self.decoder_sizes = encoder, decoder
        self.encoder, self.decoder = Encoder(encoder), Decoder(decoder)

    @property
    def bits(self) -> int:
        """Signs per token."""
        return self.decoder_sizes.bits

    @property
    def factor(self) -> int:
        """Pixels per side of a token's cell."""
        return self.decoder_sizes.factor


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=1e-6)


def _chain(module: nn.Module, h: Tensor) -> Tensor:
    """A module on `h`; a list, or a `Middle`, as its parts one after the other."""
    parts = module.children() if isinstance(module, nn.ModuleList | Middle) else (module,)
    for part in parts:
        h = part(h)
    return h


def at_once(stage: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
    """The stage on `h`."""
    return stage(h)


def again(stage: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
    """The stage without its activations being kept; they are computed again if needed."""
    if not (torch.is_grad_enabled() and h.requires_grad):
        return stage(h)
    found: Tensor = checkpoint(stage, h, use_reentrant=False)
    return found
