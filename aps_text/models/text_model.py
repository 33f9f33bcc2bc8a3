"""`TextModel`: a text model as a pipeline uses it: parts, tokenizer, encoding, stops, sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

from torch import Tensor

from ..text.prompts import Prompt
from ..text.vocabulary import Vocabulary
from .parts import ModelParts
from .transformer import TransformerDenoiser

__all__ = ["TextModel"]


@dataclass(frozen=True)
class TextModel:
    """A text model and its tokenizer, as a pipeline uses them.

    Attributes:
        name: for reports.
        parts: the transformer's parts.
        tokenizer: a Hugging Face fast tokenizer.
        encode: maps a prompt (text or chat messages) to token ids, chat template included.
        stop_ids: tokens that end an answer.
        fill_id: written after a stop token.
        max_new_tokens: default length of the canvas, in tokens.
        block_length: of decoding in blocks, where the configuration has none; None is one block.
        settings: of a call that does not state them (`core.own_settings`).
        context: maximal number of tokens of prompt and canvas together.
        finish: post-processing of decoded text (capitals by rule, for lower-casing tokenizers).
        special_tokens_in_text: whether control tokens that users type are parsed.
    """

    name: str
    parts: ModelParts
    tokenizer: Any
    encode: Callable[[Prompt], list[int]]
    stop_ids: tuple[int, ...]
    fill_id: int
    max_new_tokens: int
    context: int
    finish: Callable[[str], str] = str
    special_tokens_in_text: bool = False
    block_length: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lock(self) -> RLock:
        """Held while computing with the network, so that one call's hooks never run in another.

        Reentrant; two pipelines around one network share it.
        """
        return self.parts.lock

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer's vocabulary, mapped to text."""
        return Vocabulary(
            tokenizer=self.tokenizer,
            size=self.parts.vocab_size,
            mask_id=self.parts.mask_id,
            pad_id=self.parts.pad_id,
            fill_id=self.fill_id,
            stop_ids=self.stop_ids,
            finish=self.finish,
            special_tokens_in_text=self.special_tokens_in_text,
        )

    @property
    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing of this model, and why."""
        if not self.parts.causal_prompt:
            return {}
        return {"prefix_reuse": f"{self.name} always reuses the states of its prompt"}

    def bind(
        self,
        prompts: Sequence[Sequence[int]],
        lengths: Sequence[int],
        adapted_layers: int | None,
        prefix_reuse: int | None = None,
        blocks: Tensor | None = None,
    ) -> TransformerDenoiser:
        """A denoiser for these prompts (token ids) and canvas lengths; see its `bind`."""
        return TransformerDenoiser.bind(
            self.parts, prompts, lengths, adapted_layers, prefix_reuse, blocks=blocks
        )
