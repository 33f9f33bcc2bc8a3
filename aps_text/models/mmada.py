"""MMaDA (Base, MixCoT, Parallel-M): LLaDA with 8,192 image tokens behind its text tokens.

    text     as LLaDA, with the turns MMaDA was trained on
    images   [iPAD]* <t2i> <bos> text <eos> <soi>  L image tokens  <eoi>

(Yang et al. 2025, https://arxiv.org/abs/2505.15809.) Image token k has the id `len(tokenizer) + k`,
where the tokenizer has the three header tokens; `llm_vocab_size` of config.json, the padded width
of the text embedding, is a larger number. The tokens of the layout are reserved ids of LLaDA's
tokenizer. Padding is not attended. A text longer than `MAX_TEXT` tokens is cut, its last token is
<eos>. Without a text the layout is `<t2i> <bos> <eos> <soi> ... <eoi>`, which gives the
unconditional logits of classifier-free guidance, `(1 + w) cond - w uncond`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from ..core.protocols import Denoiser
from ..text.prompt_encoding import encode_text
from .causal import wrap_causal
from .checkpoint import Checkpoint
from .checkpoint_files import check_sizes, read_headers
from .guided import guided_by_texts
from .llada import RENAMED, llada_config
from .parts import ModelParts
from .text_model import TextModel
from .transformer import TransformerDenoiser
from .window import WindowDenoiser, window_parts

__all__ = ["IDS", "MAX_TEXT", "MmadaPrior", "image_sizes", "load_mmada"]

# Reserved ids of LLaDA's tokenizer, as MMaDA uses them.
IDS = {"soi": 126084, "eoi": 126085, "t2i": 126088, "iPAD": 126093}

MASK = 126336
HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
PUBLISHED = 134656, 126349  # vocabulary of the weights, and len(tokenizer): its first image token
MAX_TEXT = 512  # tokens of <bos> text <eos>
CODES = 8192
TOKENS = 1024  # of 512 x 512 pixels, the published default

# One newline after a header, where LLaDA has two.
TURNS = (
    "{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n{{ m['content'] | trim }}<|eot_id|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n{% endif %}"
)

log = logging.getLogger(__name__)


def image_sizes(config: Mapping[str, Any], name: str) -> tuple[int, int]:
    """K, the image tokens, and L, those of an image, by config.json or as published.

    Args:
        config: the contents of config.json.
        name: of the checkpoint, for errors.

    Raises:
        ValueError: a model without image tokens, or a field that is no size.
    """
    if config.get("model_type") != "mmada":
        raise ValueError(f"{name!r} has no image tokens; it is a model of text")
    check_sizes(config, ("codebook_size", "num_vq_tokens"), name)
    return config.get("codebook_size") or CODES, config.get("num_vq_tokens") or TOKENS


def load_mmada(checkpoint: Checkpoint) -> TextModel:
    """A checkpoint of `model_type` mmada, as a text model; `MmadaPrior.of` makes images of it.

    Raises:
        ValueError: see `llada_config`; another mask token, a window of image tokens beyond the
            model's vocabulary, or new special tokens, whose place among the ids is not known.
    """
    from transformers import LlamaForCausalLM

    given = checkpoint.config
    codes, tokens = image_sizes(given, checkpoint.name)
    if given.get("num_new_special_tokens"):
        raise ValueError(
            f"{checkpoint.name!r} sets num_new_special_tokens="
            f"{given['num_new_special_tokens']!r}; the published models set 0, and where others "
            "would put their image tokens is not known"
        )
    if given.get("mask_token_id", MASK) != MASK:
        raise ValueError(
            f"config.json of {checkpoint.name!r} has mask_token_id={given['mask_token_id']!r}; "
            f"published is {MASK}"
        )
    own = {"codebook_size": codes, "num_vq_tokens": tokens}
    stored = read_headers(checkpoint.folder, checkpoint.name).get("model.transformer.wte.weight")
    if stored is not None:  # embedding_size and new_vocab_size both state it, if both are right
        own["vocab_size"] = stored.shape[0]
    config = llada_config(checkpoint, **own)
    tokenizer = checkpoint.tokenizer()
    if HEADERS[1] not in tokenizer.get_vocab():
        tokenizer.add_tokens(list(HEADERS), special_tokens=True)
    tokenizer.chat_template = TURNS
    first, size = len(tokenizer), own["codebook_size"]
    if first <= max(IDS.values()):
        raise ValueError(
            f"the tokenizer of {checkpoint.name!r} has {first} tokens, and the layout of images "
            f"needs its reserved ids {min(IDS.values())} .. {max(IDS.values())}; copy the "
            "published tokenizer files next to config.json"
        )
    if config.vocab_size == PUBLISHED[0] and first != PUBLISHED[1]:
        raise ValueError(
            f"the tokenizer of {checkpoint.name!r} has {first} tokens; with a vocabulary of "
            f"{PUBLISHED[0]} image tokens begin at {PUBLISHED[1]}, behind the published tokenizer; "
            "copy its files, or other tokens would be read as an image"
        )
    if first + size > config.vocab_size:
        raise ValueError(
            f"the image tokens of {checkpoint.name!r} would be {first} .. {first + size - 1} "
            f"(behind the {first} tokens of its tokenizer, codebook_size={size}), and the model "
            f"has {config.vocab_size}; config.json, tokenizer and weights do not belong together"
        )
    model = checkpoint.model(LlamaForCausalLM, config, RENAMED, exact=True)
    return wrap_causal(model, tokenizer, checkpoint.name, checkpoint=checkpoint)


@dataclass(frozen=True)
class MmadaPrior:
    """The image side of a loaded MMaDA.

    Attributes:
        text: the model, as `registry.load` returns it.
        first, size: the window of image tokens in its vocabulary.
        tokens: L, image tokens of the size it was made for.
    """

    text: TextModel
    first: int
    size: int
    tokens: int

    @classmethod
    def of(cls, text: TextModel) -> MmadaPrior:
        """The image side of a text model.

        Raises:
            ValueError: a model without image tokens, or whose tokenizer names no beginning or end
                of text.
        """
        config: Any = text.parts.model.config
        size, tokens = (getattr(config, key, None) for key in ("codebook_size", "num_vq_tokens"))
        if not isinstance(size, int) or not isinstance(tokens, int):
            raise ValueError(f"{text.name!r} has no image tokens; it is a model of text")
        for key in ("bos_token_id", "eos_token_id"):
            if getattr(text.tokenizer, key) is None:
                raise ValueError(
                    f"the tokenizer of {text.name!r} has no {key.removesuffix('_id')}, which "
                    "stands in the prompt of an image; copy the published tokenizer files"
                )
        return cls(text, len(text.tokenizer), size, tokens)

    @property
    def device(self) -> torch.device:
        """Of the input embeddings."""
        return self.text.parts.device

    @cached_property
    def parts(self) -> ModelParts:
        """The model's parts with the head cut to the window, and [iPAD] as padding."""
        window = window_parts(self.text.parts, self.first, self.size)
        return replace(window, pad_id=IDS["iPAD"])

    def prompt(self, text: str) -> list[int]:
        """The ids in front of an image's tokens: `<t2i> <bos> text <eos> <soi>`, unpadded."""
        tokenizer = self.text.tokenizer
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        special = self.text.special_tokens_in_text
        ids = encode_text(tokenizer, text, special_tokens=special, framed=True)
        ids = ids if ids[:1] == [bos] else [bos, *ids]
        head = [IDS["t2i"], *ids, eos]
        if len(head) > MAX_TEXT + 1:
            log.warning(
                "the text has %d tokens and %s reads %d; the rest is cut: %.60s",
                len(ids) - 1,
                self.text.name,
                MAX_TEXT - 2,
                text,
            )
            head = [*head[:MAX_TEXT], eos]
        return [*head, IDS["soi"]]

    def denoiser(
        self,
        texts: Sequence[str],
        tokens: int | None = None,
        cfg_scale: float = 0.0,
        adapted_layers: int | None = None,
    ) -> Denoiser:
        """`x_theta` over the image tokens of one image per text; an empty text is no condition.

        Args:
            tokens: L, tokens per image; None is `tokens` of the class.
            cfg_scale: w >= 0 of classifier-free guidance by the empty text.
            adapted_layers: see `TransformerDenoiser.bind`.

        Raises:
            ValueError: a negative scale, or see `TransformerDenoiser.bind`.
        """
        length = self.tokens if tokens is None else tokens

        def bound(texts: Sequence[str]) -> WindowDenoiser:
            inner = TransformerDenoiser.bind(
                self.parts,
                [self.prompt(text) for text in texts],
                [length] * len(texts),
                adapted_layers,
                suffixes=[[IDS["eoi"]]] * len(texts),
            )
            return WindowDenoiser(inner, self.first)

        return guided_by_texts(bound, texts, cfg_scale)
