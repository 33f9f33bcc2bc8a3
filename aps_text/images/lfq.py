"""Lookup-free quantised image tokenizer: an image as L tokens of `bits` signs each.

    z = E(x) / rms(E(x)) in R^bits per token      c = sign(z) in {-1, +1}^bits      x^ = D(c)

The token id is the binary number of the signs, most significant bit first (`core.codebook`).
Training uses a straight-through gradient of the sign. Normalising z to rms 1, the rms of the signs
(Zhao et al. 2024, "Binary Spherical Quantization"), prevents values near 0, whose signs flip, and
large ones, whose gradient vanishes. Training adds the entropy terms of lookup-free quantisation
(Yu et al. 2023, "Language Model Beats Diffusion"): with `p = prod_b sigmoid(2 z_b)` over the 2^bits
codes,

    entropy = E_tokens[H(p)] - H(E_tokens[p])       makes tokens certain, and uses all codes

`H(E[p])` covers the whole codebook: `E[p]` is the outer product of two halves of the bits.

Shapes: images `(B, C, S, S)` in [-1, 1]; codes `(B, L, bits)`; ids `(B, L)`, row-major over the
`(S / factor)^2` cells. Both nets are residual convolutions without normalisation (as in EDSR, Lim
et al. 2017) on the grid of cells; a `refine` stage of the decoder works at twice its resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.codebook import LFQCodebook
from ..tensor_files import load_part

__all__ = [
    "LFQTokenizer",
    "TokenizerConfig",
    "code_entropy",
    "load_tokenizer",
    "straight_through",
]


@dataclass(frozen=True)
class TokenizerConfig:
    """Sizes of a tokenizer.

    Attributes:
        size: S, pixels per side.
        channels: 1 (gray) or 3 (RGB).
        factor: pixels per side of one token's cell; divides `size`.
        bits: signs per token; the codebook has 2^bits codes.
        width: channels of the convolutions.
        encoder_blocks, decoder_blocks: residual blocks on the grid of cells.
        refine: residual blocks of the decoder at twice the grid's resolution, `width // 2` wide;
            they need an even `factor`.
    """

    size: int
    channels: int
    factor: int
    bits: int
    width: int
    encoder_blocks: int
    decoder_blocks: int
    refine: int = 0

    def __post_init__(self) -> None:
        if not self.factor or self.size % self.factor:
            raise ValueError(f"factor={self.factor} does not divide size={self.size}")
        if self.refine and self.factor % 2:
            raise ValueError(f"refine={self.refine} needs an even factor, got {self.factor}")

    @property
    def grid(self) -> int:
        """Cells per side."""
        return self.size // self.factor

    @property
    def tokens(self) -> int:
        """L, tokens per image."""
        return self.grid**2


class Residual(nn.Module):
    """`x + conv(silu(conv(silu(x))))`; starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps `(B, width, H, W)` to ones of the same shape."""
        return x + self.second(F.silu(self.first(F.silu(x))))


class LFQTokenizer(nn.Module):
    """Encoder, sign and decoder; see the module."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.codebook = LFQCodebook(config.bits)
        pixels, width = config.channels * config.factor**2, config.width
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(config.factor),
            nn.Conv2d(pixels, width, 3, padding=1),
            *(Residual(width) for _ in range(config.encoder_blocks)),
            nn.SiLU(),
            nn.Conv2d(width, config.bits, 1),
        )
        grid = [
            nn.Conv2d(config.bits, width, 3, padding=1),
            *(Residual(width) for _ in range(config.decoder_blocks)),
        ]
        if config.refine:
            half = width // 2
            grid += [
                nn.Conv2d(width, 4 * half, 1),
                nn.PixelShuffle(2),
                *(Residual(half) for _ in range(config.refine)),
                nn.SiLU(),
                nn.Conv2d(half, pixels // 4, 3, padding=1),
                nn.PixelShuffle(config.factor // 2),
            ]
        else:
            grid += [
                nn.SiLU(),
                nn.Conv2d(width, pixels, 3, padding=1),
                nn.PixelShuffle(config.factor),
            ]
        self.decoder = nn.Sequential(*grid)

    def project(self, images: Tensor) -> Tensor:
        """`z`, before the sign, of rms 1 per token: images `(B, C, S, S)` -> `(B, L, bits)`.

        Raises:
            ValueError: images of another shape.
        """
        config = self.config
        if images.ndim != 4 or images.shape[1:] != (config.channels, config.size, config.size):
            raise ValueError(
                f"this tokenizer takes images (B, {config.channels}, {config.size}, "
                f"{config.size}), got {tuple(images.shape)}"
            )
        weight = next(self.encoder.parameters())
        z = self.encoder(images.to(weight)).flatten(2).transpose(1, 2).float()
        return z * torch.rsqrt(z.square().mean(-1, keepdim=True) + 1e-6)

    def encode(self, images: Tensor) -> Tensor:
        """Token ids `(B, L)` of images `(B, C, S, S)` in [-1, 1]."""
        return self.codebook.nearest(self.project(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Images `(B, C, S, S)`, about in [-1, 1] but not clipped, of codes `(B, L, bits)`.

        Differentiable in the codes, which may be any real numbers.
        """
        grid = self.config.grid
        cells = codes.transpose(1, 2).unflatten(2, (grid, grid))
        return self.decoder(cells.to(self.decoder[0].weight.dtype))

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Images `(B, C, S, S)` of token ids `(B, L)`."""
        return self.decode(self.codebook.embed(ids))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction `(B, C, S, S)` and `z (B, L, bits)`, with straight-through gradients."""
        z = self.project(images)
        return self.decode(straight_through(z)), z


def straight_through(z: Tensor) -> Tensor:
    """`sign(z)` (0 -> -1) whose gradient is that of `z`."""
    hard = torch.where(z > 0, 1.0, -1.0).to(z)
    return z + (hard - z).detach()


def code_entropy(z: Tensor) -> tuple[Tensor, Tensor]:
    """`E[H(p)]` and `H(E[p])` in nats, of `z (..., bits)`; see the module. Needs 2 bits or more."""
    z = z.flatten(0, -2).float()
    bits = z.shape[-1]
    high = torch.sigmoid(2 * z)
    each = (F.softplus(2 * z) - 2 * z * high).sum(-1).mean()
    halves = []
    for columns in (high[:, : bits // 2], high[:, bits // 2 :]):
        p = torch.ones_like(columns[:, :1])
        for bit in columns.unbind(1):
            p = torch.stack([p * (1 - bit[:, None]), p * bit[:, None]], -1).flatten(1)
        halves.append(p)
    with torch.autocast(z.device.type, enabled=False):
        mean = halves[0].T @ halves[1] / len(z)
    tiny = torch.finfo(mean.dtype).tiny  # p log p has no finite gradient at 0
    return each, -(mean * mean.clamp_min(tiny).log()).sum()


def load_tokenizer(folder: Path, device: str | torch.device = "cpu") -> LFQTokenizer:
    """Read `tokenizer.json` and `tokenizer.safetensors`; frozen, in eval mode, float32."""
    return load_part(folder, "tokenizer", TokenizerConfig, LFQTokenizer, device)
