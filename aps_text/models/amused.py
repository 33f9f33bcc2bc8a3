"""aMUSEd 256 / 512: a masked transformer of image tokens given a text, in diffusers' own class.

    x_theta^l = softmax_k(head(U-ViT(z, H(text), p(text), micro)))        K = 8192

(Patil et al. 2024, https://arxiv.org/abs/2401.01808; weights: `amused/amused-256`, `-512`.) CLIP
reads the text: H is its last hidden state but one, p its projected one. Texts are padded to 77
tokens, and the padding is attended, as published; a longer text is cut. The micro-conditions are
the image's width and height in pixels, the place it was cropped from, (0, 0), and an aesthetic
score, 6. Without a text the text is empty, which gives the unconditional logits of classifier-free
guidance: `(1 + w) cond - w uncond`, where `guidance_scale` of diffusers is 1 + w.

    outside:  tokens 0 .. K - 1, mask = K    inside:  the same tokens, mask 8255 = vocab_size - 1

The model's head has K columns, none for the mask. Its forward is computed in two parts, below and
above the adapted blocks; `tests/models/test_models_amused.py` compares them with the class's own.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.protocols import Adapter, Denoiser, Where
from ..text.prompt_encoding import encode_text
from .guided import guided_by_texts
from .lora import new_adapter
from .parts import lock_of

__all__ = ["AmusedDenoiser", "AmusedPrior"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AmusedPrior:
    """The transformer with its text encoder.

    Attributes:
        name: as it was loaded.
        net: diffusers' `UVit2DModel`, frozen, in eval mode.
        text_encoder, tokenizer: of CLIP.
        model_mask: the mask token's id inside the model.
        factor: pixels per side of a token's cell.
        aesthetic: the aesthetic score among the micro-conditions.
    """

    name: str
    net: Any
    text_encoder: Any
    tokenizer: Any
    model_mask: int
    factor: int = 16
    aesthetic: float = 6.0

    def __post_init__(self) -> None:
        config = self.net.config
        if self.model_mask != config.vocab_size - 1 or self.model_mask < self.size:
            raise ValueError(
                f"mask_token_id={self.model_mask} of {self.name}'s scheduler is not the last id of "
                f"its transformer, {config.vocab_size - 1}, behind {self.size} image tokens; take "
                "the published files"
            )
        own, tokenizer = self.text_encoder.config, self.tokenizer
        if tokenizer.model_max_length != own.max_position_embeddings:
            raise ValueError(
                f"the tokenizer of {self.name} has model_max_length={tokenizer.model_max_length} "
                f"and its text encoder {own.max_position_embeddings} positions; take the "
                "published files"
            )
        if len(tokenizer) > own.vocab_size:
            raise ValueError(
                f"the tokenizer of {self.name} has {len(tokenizer)} tokens and its text encoder "
                f"{own.vocab_size}; they do not belong together"
            )
        # CLIP's projected state is that at the last id of all, or at the one that is named.
        end = own.vocab_size - 1 if own.eos_token_id == 2 else own.eos_token_id
        if tokenizer.eos_token_id != end:
            raise ValueError(
                f"the tokenizer of {self.name} ends a text with token {tokenizer.eos_token_id}, "
                f"and its text encoder looks for {end}; they do not belong together, take the "
                "published files"
            )
        for what, ours, theirs in (
            ("encoder_hidden_size", config.encoder_hidden_size, own.hidden_size),
            ("cond_embed_dim", config.cond_embed_dim, own.projection_dim),
        ):
            if ours != theirs:
                raise ValueError(
                    f"the transformer of {self.name} has {what}={ours} and its text encoder makes "
                    f"{theirs}; they do not belong together"
                )

    @property
    def size(self) -> int:
        """K, the image tokens."""
        return int(self.net.config.codebook_size)

    @property
    def tokens(self) -> int:
        """L, image tokens of the size it was made for."""
        return int(self.net.config.sample_size) ** 2

    @property
    def device(self) -> torch.device:
        """Of the transformer's weights."""
        return self.net.embed.embeddings.weight.device

    @property
    def longest(self) -> int:
        """Tokens of a text, with those of its beginning and end."""
        room: int = self.text_encoder.config.max_position_embeddings
        return room

    def check_grid(self, tokens: int) -> int:
        """Tokens per side of an image.

        Raises:
            ValueError: an image that is not square, or whose grid the model cannot halve.
        """
        side, halved = math.isqrt(tokens), self.net.config.downsample
        if side * side != tokens or (halved and side % 2):
            raise ValueError(
                f"{self.name} makes square images"
                f"{' with an even number of tokens per side' if halved else ''}; got {tokens} "
                "tokens"
            )
        return side

    @torch.no_grad()
    def encode(self, text: str) -> tuple[Tensor, Tensor]:
        """H `(1, 77, d)` and p `(1, d')` of a text, each encoded alone.

        Control tokens that are written in the text are plain text.
        """
        longest = self.longest
        ids = encode_text(self.tokenizer, text, framed=True)
        if {ids[0], ids[-1]} & {*ids[1:-1]}:  # transformers 4.57 reads <|endoftext|> as one
            text = re.sub(r"<\|(\w+)\|>", r"<| \1 |>", text)
            ids = encode_text(self.tokenizer, text, framed=True)
        if len(ids) > longest:
            log.warning(
                "the text has %d tokens and %s reads %d; the rest is cut: %.60s",
                len(ids) - 2,
                self.name,
                longest - 2,
                text,
            )
            ids = [*ids[: longest - 1], ids[-1]]
        ids += [self.tokenizer.pad_token_id] * (longest - len(ids))
        read = torch.tensor([ids], device=self.device)
        found = self.text_encoder(read, output_hidden_states=True)
        return found.hidden_states[-2], found.text_embeds

    def denoiser(
        self,
        texts: Sequence[str],
        tokens: int | None = None,
        cfg_scale: float = 0.0,
        adapted_layers: int | None = None,
    ) -> Denoiser:
        """`x_theta` over the tokens of one image per text; an empty text is no condition.

        Args:
            tokens: L, tokens per image, a square; None is `tokens` of the class.
            cfg_scale: w >= 0 of classifier-free guidance by the empty text.
            adapted_layers: blocks that LoRA adapts, from the top; None is all.

        Raises:
            ValueError: a negative scale, more adapted layers than the model has, or a grid that
                the model cannot halve.
        """
        layers = len(self.net.transformer_layers)
        adapted = layers if adapted_layers is None else adapted_layers
        if not 0 <= adapted <= layers:
            raise ValueError(f"lora_layers={adapted}, but {self.name} has {layers} layers")
        length = self.tokens if tokens is None else tokens
        side = self.check_grid(length)

        def bound(texts: Sequence[str]) -> AmusedDenoiser:
            known = {text: self.encode(text) for text in dict.fromkeys(texts)}
            hidden, pooled = (torch.cat([known[text][k] for text in texts]) for k in (0, 1))
            return AmusedDenoiser(self, hidden, pooled, side, layers - adapted)

        return guided_by_texts(bound, texts, cfg_scale)


@dataclass(frozen=True)
class State:
    """Below the adapted blocks: their input `(B, cells, d)`, H `(B, 77, d)` and the condition that
    shifts the norms `(B, d)`, both in the transformer's width."""

    x: Tensor
    text: Tensor
    condition: Tensor
    side: int


@dataclass(frozen=True)
class AmusedDenoiser:
    """`x_theta` with the texts of B rows bound; `AmusedPrior.denoiser` makes it.

    Attributes:
        prior: the model.
        text, pooled: H `(B, 77, d)` and p `(B, d')` of the texts.
        side: cells per side.
        split: blocks below those that LoRA adapts.
    """

    prior: AmusedPrior
    text: Tensor
    pooled: Tensor
    side: int
    split: int

    @property
    def mask_id(self) -> int:
        """See `Denoiser`; one beyond the tokens."""
        return self.prior.size

    @property
    def vocab_size(self) -> int:
        """See `Denoiser`."""
        return self.prior.size

    def take(self, rows: Tensor) -> AmusedDenoiser:
        """See `Denoiser.take`."""
        rows = rows.to(self.text.device)
        return replace(self, text=self.text[rows], pooled=self.pooled[rows])

    @property
    def micro(self) -> Tensor:
        """The micro-conditions `(B, 5)`."""
        pixels = self.side * self.prior.factor
        row = self.text.new_tensor([pixels, pixels, 0, 0, self.prior.aesthetic])
        return row.expand(len(self.text), -1)

    @torch.no_grad()
    def trunk(self, z: Tensor) -> State:
        """See `Denoiser.trunk`: all that lies below the adapted blocks."""
        from diffusers.models.embeddings import get_timestep_embedding

        net, side = self.prior.net, self.side
        ids = torch.where(z == self.mask_id, self.prior.model_mask, z).to(self.prior.device)
        with lock_of(self.prior.net):
            text = net.encoder_proj_layer_norm(net.encoder_proj(self.text.to(net.dtype)))
            micro = get_timestep_embedding(
                self.micro.flatten(),
                net.config.micro_cond_encode_dim,
                flip_sin_to_cos=True,
                downscale_freq_shift=0,
            ).view(len(z), -1)
            joined = torch.cat([self.pooled.to(micro), micro], 1).to(net.dtype)
            condition = net.cond_embed(joined)
            x = net.down_block(net.embed(ids.view(-1, side, side)), condition, text, None)
            inner = x.shape[-1]
            x = net.project_to_hidden(net.project_to_hidden_norm(x.flatten(2).transpose(1, 2)))
            state = State(x, text, condition, inner)
            return replace(state, x=self._blocks(state, 0, self.split))

    def _blocks(self, state: State, first: int, last: int) -> Tensor:
        x = state.x
        for block in self.prior.net.transformer_layers[first:last]:
            x = block(
                x,
                encoder_hidden_states=state.text,
                added_cond_kwargs={"pooled_text_emb": state.condition},
            )
        return x

    def logits(self, state: State, where: Where, phi: Any = None) -> Tensor:
        """See `Denoiser.logits`; float32, the head at the positions asked for alone."""
        net = self.prior.net
        with lock_of(self.prior.net):
            with nullcontext() if phi is None else phi.attached():
                x = self._blocks(state, self.split, len(net.transformer_layers))
            x = net.project_from_hidden(net.project_from_hidden_norm(x))
            x = x.transpose(1, 2).unflatten(2, (state.side, state.side)).contiguous()
            x = net.up_block(x, state.condition, state.text, None)
            head = net.mlm_layer
            x = head.conv1(x).flatten(2).transpose(1, 2)
            x = head.layer_norm(x[where[0].to(x.device), where[1].to(x.device)])
            return F.linear(x, head.conv2.weight[:, :, 0, 0], head.conv2.bias).float()

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """See `Denoiser.new_adapter`: LoRA on attention and feed-forward maps above the trunk, or
        logits."""
        own = {
            f"transformer_layers.{index}.{part}": getattr(block, part)
            for index, block in enumerate(self.prior.net.transformer_layers)
            for part in ("attn1", "attn2", "ff")
            if index >= self.split
        }
        return new_adapter(config, noise, own, len(self.text))
