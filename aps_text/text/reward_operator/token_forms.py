"""The form of a tokenizer's pieces: their text, and whether they begin a word.

Tokenizers mark words in three ways: `Ġ` (byte-level BPE: the mark is a space, every character a
byte), `▁` (SentencePiece, unigram or BPE) and `##` (WordPiece: the mark is on pieces that CONTINUE
a word).
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, NamedTuple

__all__ = ["Form", "TokenForms", "stands_alone"]


class Form(NamedTuple):
    """The text of a piece, and whether it begins a word (`initial`)."""

    text: str
    initial: bool


def stands_alone(text: str) -> bool:
    """Whether `text` is one punctuation mark, symbol or Chinese character: a word in BERT."""
    return len(text) == 1 and (
        unicodedata.category(text)[0] in "PS" or "\u4e00" <= text <= "\u9fff"
    )


class TokenForms:
    """The text pieces of a Hugging Face fast tokenizer.

    Attributes:
        text: pieces by id, without special tokens.
        marks: how the tokenizer marks words: `Ġ`, `▁` or `##`.

    Raises:
        ValueError: not a fast tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"{type(tokenizer).__name__} is not a fast tokenizer; load it with use_fast=True "
                "or choose policy='rloo'"
            )
        self._backend = tokenizer.backend_tokenizer
        state = json.loads(self._backend.to_str())
        model, described = state["model"], json.dumps([state["pre_tokenizer"], state["decoder"]])
        self._prefix = model.get("continuing_subword_prefix") or ""
        if model["type"] == "WordPiece":
            self.marks, self._prefix = "##", self._prefix or "##"
        elif '"ByteLevel"' in described:
            self.marks = "Ġ"
        else:
            self.marks = "▁"
        special = set(tokenizer.all_special_ids)
        special |= {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        vocabulary = sorted((i, piece) for piece, i in tokenizer.get_vocab().items())
        self.text = {i: piece for i, piece in vocabulary if i not in special}

    def form(self, piece: str) -> Form | None:
        """The form of a piece; None for white space (other than a line feed or a tab) and for
        parts of characters."""
        if self.marks == "##":
            text = piece.removeprefix(self._prefix)
            initial = text == piece
        elif self.marks == "Ġ":
            decoded = _decode_bytes(piece)
            if decoded is None:
                return None
            text = decoded.removeprefix(" ")
            initial = text != decoded
        else:
            text = _byte_piece(piece) or piece
            text, initial = text.removeprefix("▁"), text.startswith("▁")
        return Form(text, initial) if text.strip() or text in ("\n", "\t") else None

    def normalised(self, text: str) -> str:
        """`text` after this tokenizer's normaliser, without word marks."""
        if self._backend.normalizer is None:
            return text
        changed = self._backend.normalizer.normalize_str(text).replace("▁", " ")
        return changed.strip(" ") or (text if text.isspace() else "")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable characters for the 256 bytes, and the byte of each."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_BYTES = _byte_alphabet()


def _decode_bytes(piece: str) -> str | None:
    """The text of a byte-level piece, or None if it is not made of whole characters."""
    try:
        return bytes(_BYTES[c] for c in piece).decode("utf-8")
    except (KeyError, UnicodeDecodeError):
        return None


def _byte_piece(piece: str) -> str | None:
    """The character of a SentencePiece byte-fallback piece (`<0x0A>`: line feed); ASCII only."""
    match = re.fullmatch("<0x([0-7][0-9A-F])>", piece)
    return chr(int(match[1], 16)) if match else None
