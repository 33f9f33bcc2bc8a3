"""Lumina-DiMOO: LLaDA with 8,192 image tokens, laid out row by row with newlines.

    <system>Generate an image ...</system><user>text</user> <boa> <boi>
        W image tokens <newline>    H times
    <eoi> <eoa>

(Xin et al. 2025, https://arxiv.org/abs/2510.06308; weights: `Alpha-VLLM/Lumina-DiMOO`.) Image token
k has the id `FIRST + k`, and they end the vocabulary: the published code reads the last 8,192
logits, and takes `FIRST` from what it drew. The canvas holds the H x W image tokens alone; newlines
are put between its rows when the model reads it. The prompt is encoded as one string by the
checkpoint's own tokenizer, whatever it makes of the tags; a text that holds one of its control
tokens is refused. Without a text the user says `<uncondition>`, which gives the unconditional
logits of classifier-free guidance, `(1 + w) cond - w uncond`; published is w = 4.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from aps_rewards.tokenizing import token_ids
from torch import Tensor

from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.protocols import Adapter, Denoiser, Where
from .causal import wrap_causal
from .checkpoint import Checkpoint
from .checkpoint_files import read_headers
from .guided import guided_by_texts
from .llada import RENAMED, llada_config
from .parts import ModelParts
from .text_model import TextModel
from .transformer import TransformerDenoiser
from .window import WindowDenoiser, window_parts

__all__ = [
    "CODES",
    "FIRST",
    "IDS",
    "LuminaPrior",
    "RowsDenoiser",
    "check_vocabulary",
    "load_lumina",
]

IDS = {"newline": 126084, "boi": 126349, "eoi": 126350, "boa": 126354, "eoa": 126355}
MASK = 126336
FIRST, CODES = 126356, 8192
SYSTEM = "Generate an image according to the text prompt."
UNCONDITIONAL = "<uncondition>"
log = logging.getLogger(__name__)

PIXELS = 512
"""Per side, where nothing else is said; it was trained with several sizes."""


def load_lumina(checkpoint: Checkpoint) -> TextModel:
    """A checkpoint in the layout of Lumina-DiMOO, as a text model; `LuminaPrior` makes images.

    Raises:
        ValueError: see `llada_config`; another mask token, a vocabulary that does not end with the
            image tokens, or a tokenizer without those of the layout.
    """
    from transformers import LlamaForCausalLM

    mask = checkpoint.config.get("mask_token_id", MASK)
    if mask != MASK:
        raise ValueError(
            f"config.json of {checkpoint.name!r} has mask_token_id={mask!r}; published is {MASK}"
        )
    own: dict[str, Any] = {}
    stored = read_headers(checkpoint.folder, checkpoint.name).get("model.transformer.wte.weight")
    if stored is not None:
        own["vocab_size"] = stored.shape[0]
    given = replace(checkpoint, config={**checkpoint.config, "mask_token_id": MASK})
    config = llada_config(given, **own)
    check_vocabulary(config.vocab_size, checkpoint.name)
    tokenizer = given.tokenizer()
    if len(tokenizer) <= max(IDS.values()):
        raise ValueError(
            f"the tokenizer of {checkpoint.name!r} has {len(tokenizer)} tokens, and the layout of "
            f"images needs its ids {min(IDS.values())} .. {max(IDS.values())}, as of "
            "Lumina-DiMOO's own, not LLaDA's; copy the published files next to config.json"
        )
    model = given.model(LlamaForCausalLM, config, RENAMED, exact=True)
    return wrap_causal(model, tokenizer, given.name, checkpoint=given)


def check_vocabulary(rows: int, name: str) -> None:
    """Raise `ValueError` unless a vocabulary of `rows` tokens ends with the image tokens."""
    if rows != FIRST + CODES:
        raise ValueError(
            f"{name!r} has {rows} tokens, and Lumina-DiMOO ends with its image tokens, {FIRST} .. "
            f"{FIRST + CODES - 1}; where this model has its own is not known. Take the published "
            "config.json and weights"
        )


@dataclass(frozen=True)
class LuminaPrior:
    """The image side of a loaded Lumina-DiMOO.

    Attributes:
        text: the model, as `load_lumina` returns it.
        first, size: the window of image tokens in its vocabulary.
        tokens: L, image tokens where nothing else is said.
    """

    text: TextModel
    first: int = FIRST
    size: int = CODES
    tokens: int = (PIXELS // 16) ** 2

    @property
    def device(self) -> torch.device:
        """Of the input embeddings."""
        return self.text.parts.device

    @cached_property
    def parts(self) -> ModelParts:
        """The model's parts with the head cut to the window."""
        return window_parts(self.text.parts, self.first, self.size)

    def prompt(self, text: str) -> list[int]:
        """The ids in front of an image's first row, unpadded.

        Raises:
            ValueError: a text with a control token of the tokenizer.
        """
        tokenizer = self.text.tokenizer
        found = [token for token in tokenizer.get_added_vocab() if token in text]
        tags = [tag for tag in ("<system>", "</system>", "<user>", "</user>") if tag in text]
        if found or tags:
            raise ValueError(
                f"the text holds {(found + tags)[0]!r}, which {self.text.name} reads as a control "
                "token; leave it out"
            )
        said = text or UNCONDITIONAL
        ids = token_ids(tokenizer, f"<system>{SYSTEM}</system><user>{said}</user>")
        return [*ids, IDS["boa"], IDS["boi"]]

    def denoiser(
        self,
        texts: Sequence[str],
        tokens: int | None = None,
        cfg_scale: float = 0.0,
        adapted_layers: int | None = None,
    ) -> Denoiser:
        """`x_theta` over the image tokens of one image per text; an empty text is no condition.

        Args:
            tokens: L, tokens per image, a square; None is `tokens` of the class.
            cfg_scale: w >= 0 of classifier-free guidance.
            adapted_layers: see `TransformerDenoiser.bind`.

        Raises:
            ValueError: a negative scale, an image that is not square, or see `prompt` and
                `TransformerDenoiser.bind`.
        """
        length = self.tokens if tokens is None else tokens
        side = math.isqrt(length)
        if side * side != length:
            raise ValueError(f"{self.text.name} makes square images here; got {length} tokens")

        def bound(texts: Sequence[str]) -> RowsDenoiser:
            prompts = [self.prompt(text) for text in texts]
            longest = max(map(len, prompts), default=0) + length + side + 2
            if longest > self.text.context:
                log.warning(
                    "%s: a text and its image have %d tokens, and the model was made for %d",
                    self.text.name,
                    longest,
                    self.text.context,
                )
            inner = TransformerDenoiser.bind(
                self.parts,
                prompts,
                [length + side] * len(texts),
                adapted_layers,
                suffixes=[[IDS["eoi"], IDS["eoa"]]] * len(texts),
            )
            return RowsDenoiser(WindowDenoiser(inner, self.first), side, IDS["newline"])

        return guided_by_texts(bound, texts, cfg_scale)


@dataclass(frozen=True)
class RowsDenoiser:
    """A denoiser of H x W image tokens whose model reads a newline behind each row.

    Attributes:
        inner: over the window; its canvas has H (W + 1) positions.
        side: W.
        newline: its id in the model.
    """

    inner: WindowDenoiser
    side: int
    newline: int

    @property
    def mask_id(self) -> int:
        """See `Denoiser`; one beyond the tokens."""
        return self.inner.mask_id

    @property
    def vocab_size(self) -> int:
        """See `Denoiser`."""
        return self.inner.vocab_size

    def take(self, rows: Tensor) -> RowsDenoiser:
        """See `Denoiser.take`."""
        return replace(self, inner=self.inner.take(rows))

    def trunk(self, z: Tensor) -> Any:
        """See `Denoiser.trunk`."""
        rows = z.unflatten(1, (-1, self.side))
        # The window adds its first id to all that is no mask.
        ends = rows.new_full((*rows.shape[:2], 1), self.newline - self.inner.first)
        return self.inner.trunk(torch.cat([rows, ends], 2).flatten(1))

    def logits(self, state: Any, where: Where, phi: Any = None) -> Tensor:
        """See `Denoiser.logits`."""
        rows, cols = where
        return self.inner.logits(state, (rows, cols + cols // self.side), phi)

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """See `Denoiser.new_adapter`."""
        return self.inner.new_adapter(config, noise)
