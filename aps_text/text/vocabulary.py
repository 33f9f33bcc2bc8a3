"""`Vocabulary`: a generator's tokenizer and special tokens; every text model has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .prompt_encoding import encode_text

__all__ = ["Vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    """What is needed to turn text into a canvas of token ids and back.

    Attributes:
        tokenizer: a Hugging Face fast tokenizer.
        size: K, the width of the generator's distributions.
        mask_id: the token at open positions.
        pad_id: pads prompts.
        fill_id: written after a stop token.
        stop_ids: tokens that end an answer.
        finish: post-processing of decoded text (capitals by rule, for lower-casing tokenizers).
        special_tokens_in_text: whether control tokens that users type are parsed.
    """

    tokenizer: Any
    size: int
    mask_id: int
    pad_id: int
    fill_id: int
    stop_ids: tuple[int, ...]
    finish: Callable[[str], str] = str
    special_tokens_in_text: bool = False

    def encode(self, text: str) -> list[int]:
        """The token ids of a text; control tokens in it are parsed if `special_tokens_in_text`."""
        return encode_text(self.tokenizer, text, special_tokens=self.special_tokens_in_text)
