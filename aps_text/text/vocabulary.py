"""A generator's tokens, as far as text needs to know them; every text model has a `Vocabulary`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .prompt_encoding import encode_text

__all__ = ["Vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    """What turns text into a canvas of token ids and back.

    Attributes:
        tokenizer: a Hugging Face fast tokenizer.
        size: K, the width of the generator's distributions.
        mask_id: stands at open positions.
        pad_id: pads prompts.
        fill_id: written after a stop token.
        stop_ids: tokens that end an answer.
        finish: last change to decoded text (capitals by rule, for lower-casing tokenizers).
        special_tokens_in_text: whether control tokens that users type are read as such.
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
        """The tokens of a text; what looks like a control token in it is text."""
        return encode_text(self.tokenizer, text, special_tokens=self.special_tokens_in_text)
