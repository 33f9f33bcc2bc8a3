"""A small masked transformer over the tokens of an image, conditional on attributes.

    x_theta^l = softmax_k(norm(h_l) . (e_k + W c_k) + b_k)        h = transformer(z, attributes)

The input embedding of token k is a learned vector plus a linear map of its `bits` signs c_k; the
output table (e_k + W c_k) is another one of this form, so tokens that share signs share
parameters. Each block is a depthwise 3x3 convolution on the grid, then attention and a
feed-forward net (squared ReLU), each after an RMS norm. The embeddings of the attributes are added
at every position; a withheld attribute adds nothing. Withholding all attributes gives the
unconditional logits of classifier-free guidance.

Shapes: canvas `(B, L)` row-major over the grid, mask id `2^bits`; attribute values `(B, A)`, -1
where withheld; positions `(N,)`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.codebook import LFQCodebook
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.protocols import Adapter, Denoiser, Where
from ..tensor_files import load_part
from .attribute_names import known_name, nearest
from .guided import GuidedDenoiser
from .lora import new_adapter
from .parts import lock_of

__all__ = ["ImageDenoiser", "MaskedImageModel", "PriorConfig", "load_prior"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PriorConfig:
    """Sizes of a prior.

    Attributes:
        grid: tokens per side; L = grid^2.
        bits: signs per token; K = 2^bits.
        width, layers, heads: of the transformer; heads divide width.
        attributes: names of the values of each attribute, by the attribute's name.
    """

    grid: int
    bits: int
    width: int
    layers: int
    heads: int
    attributes: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        if not self.heads or self.width % self.heads:
            raise ValueError(f"heads must divide width, got {self.heads} and {self.width}")

    def named(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Attributes by name, spelt as the model does; case, spaces, hyphens and underscores of
        names and values do not matter.

        Raises:
            ValueError: an unknown attribute or value, or an attribute given twice.
        """
        given: dict[str, str] = {}
        for name, value in sorted(chosen.items(), key=str):
            own = known_name(name, self.attributes)
            if own is None:
                raise ValueError(
                    f"no attribute {name!r}; this model knows {', '.join(self.attributes)}"
                    + nearest(name, self.attributes)
                )
            if own in given:
                raise ValueError(f"{own} is given twice: {given[own]!r} and {value!r}")
            given[own] = value
        found = {}
        for name, value in given.items():
            if value is None:  # withheld
                continue
            known = self.attributes[name]
            own = known_name(value, known)
            if own is None:
                raise ValueError(
                    f"{name}={value!r} is not one of {', '.join(known)}" + nearest(value, known)
                )
            found[name] = own
        return found

    def values(self, chosen: Mapping[str, str]) -> Tensor:
        """`(1, A)` int64 values of attributes by name; those not named are withheld (-1).

        Raises:
            ValueError: see `named`.
        """
        found = self.named(chosen)
        row = [
            known.index(found[name]) if name in found else -1
            for name, known in self.attributes.items()
        ]
        return torch.tensor([row])


class Block(nn.Module):
    """A transformer block: depthwise convolution, attention, feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.local = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm_attention = nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_feed = nn.RMSNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, L, width)` -> `(B, L, width)`."""
        batch, length, _ = x.shape
        side = round(length**0.5)
        cells = x.transpose(1, 2).unflatten(2, (side, side))
        x = x + self.local(cells).flatten(2).transpose(1, 2)
        qkv = self.qkv(self.norm_attention(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        # With few tokens, matrix products train several times faster on a CPU than a fused kernel.
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1).to(v.dtype)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(x.shape))
        return x + self.down(F.relu(self.up(self.norm_feed(x))).square())


class MaskedImageModel(nn.Module):
    """The network; see the module."""

    signs: Tensor

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        width, size = config.width, 2**config.bits
        self.mask_id = size
        codes = LFQCodebook(config.bits).embed(torch.arange(size))
        self.register_buffer("signs", codes, persistent=False)
        self.tokens = nn.Embedding(size + 1, width)
        self.bits_in = nn.Linear(config.bits, width, bias=False)
        self.positions = nn.Parameter(torch.zeros(config.grid**2, width))
        self.attributes = nn.ModuleList(
            nn.Embedding(len(values), width) for values in config.attributes.values()
        )
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.RMSNorm(width)
        self.bits_out = nn.Linear(config.bits, width, bias=False)
        self.codes_out = nn.Parameter(torch.zeros(size, width))
        self.bias = nn.Parameter(torch.zeros(size))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.positions, std=0.02)
        for block in self.blocks:
            if isinstance(block, Block):
                nn.init.normal_(block.out.weight, std=0.02 / (2 * config.layers) ** 0.5)
                nn.init.normal_(block.down.weight, std=0.02 / (2 * config.layers) ** 0.5)

    def embed(self, z: Tensor, values: Tensor) -> Tensor:
        """Input of the first block, `(B, L, width)`."""
        x = self.tokens(z) + self.positions
        clean = z != self.mask_id
        signs = self.signs[z.clamp_max(self.mask_id - 1)] * clean[..., None]
        x = x + self.bits_in(signs)
        for column, table in zip(values.unbind(1), self.attributes, strict=True):
            known = column >= 0
            x = x + (table(column.clamp_min(0)) * known[:, None])[:, None]
        return x

    def head(self, x: Tensor) -> Tensor:
        """Logits `(N, K)` of states `(N, width)` after the last block."""
        table = self.codes_out + self.bits_out(self.signs)
        return F.linear(self.norm(x), table, self.bias)

    def forward(self, z: Tensor, values: Tensor) -> Tensor:
        """States `(B, L, width)` after the last block, of a canvas and its attributes."""
        x = self.embed(z, values)
        for block in self.blocks:
            x = block(x)
        return x


@dataclass(frozen=True)
class ImageDenoiser:
    """`x_theta` with the attributes of B rows bound; build with `bind`.

    Attributes:
        model: in eval mode and frozen.
        values: `(B, A)` attribute values, -1 where withheld.
        split: blocks below those that LoRA adapts.
    """

    model: MaskedImageModel
    values: Tensor
    split: int

    @classmethod
    def bind(
        cls,
        model: MaskedImageModel,
        values: Tensor,
        cfg_scale: float = 0.0,
        adapted_layers: int | None = None,
    ) -> Denoiser:
        """Bind attributes `(B, A)`; with `cfg_scale` w > 0, with classifier-free guidance.

        Args:
            adapted_layers: blocks that LoRA adapts, from the top; None is all.

        Raises:
            ValueError: values of another shape or range, more adapted layers than the model has,
                or a negative scale.
        """
        config = model.config
        sizes = [len(known) for known in config.attributes.values()]
        if values.ndim != 2 or values.shape[1] != len(sizes):
            raise ValueError(
                f"attributes are (B, {len(sizes)}) for {', '.join(config.attributes)}, "
                f"got {tuple(values.shape)}"
            )
        limit = torch.tensor(sizes, device=values.device)
        if bool(((values < -1) | (values >= limit)).any()):
            raise ValueError(f"attribute values lie in -1 .. size - 1 of {sizes}, got {values}")
        adapted = config.layers if adapted_layers is None else adapted_layers
        if not 0 <= adapted <= config.layers:
            raise ValueError(f"lora_layers={adapted}, but the model has {config.layers} layers")
        if cfg_scale < 0:
            raise ValueError(f"cfg_scale must be >= 0, got {cfg_scale}")
        values = values.to(model.positions.device)
        side = cls(model, values, config.layers - adapted)
        if cfg_scale and not bool((values >= 0).any()):
            log.warning(
                "cfg_scale=%g guides towards attributes, and none is given: no effect", cfg_scale
            )
        if not cfg_scale:
            return side
        return GuidedDenoiser(side, replace(side, values=torch.full_like(values, -1)), cfg_scale)

    @property
    def mask_id(self) -> int:
        """See `Denoiser`."""
        return self.model.mask_id

    @property
    def vocab_size(self) -> int:
        """See `Denoiser`; the mask id is K, one beyond the tokens."""
        return self.model.mask_id

    def take(self, rows: Tensor) -> ImageDenoiser:
        """See `Denoiser.take`."""
        return replace(self, values=self.values[rows])

    @torch.no_grad()
    def trunk(self, z: Tensor) -> Tensor:
        """See `Denoiser.trunk`: the input `(B, L, width)` of the adapted blocks."""
        with lock_of(self.model):
            x = self.model.embed(z, self.values)
            for block in self.model.blocks[: self.split]:
                x = block(x)
            return x

    def logits(self, state: Tensor, where: Where, phi: Any = None) -> Tensor:
        """See `Denoiser.logits`; float32."""
        with lock_of(self.model), nullcontext() if phi is None else phi.attached():
            for block in self.model.blocks[self.split :]:
                state = block(state)
        return self.model.head(state[where]).float()

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """See `Denoiser.new_adapter`: LoRA on the linear layers above the trunk, or logits."""
        own = {
            f"blocks.{index}": self.model.blocks[index]
            for index in range(self.split, self.model.config.layers)
        }
        return new_adapter(config, noise, own, len(self.values))


def load_prior(folder: Path, device: str | torch.device = "cpu") -> MaskedImageModel:
    """The prior in a folder's `prior.json` and `prior.safetensors`; frozen, eval mode, float32."""
    return load_part(folder, "prior", PriorConfig, MaskedImageModel, device)
