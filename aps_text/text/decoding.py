"""Decoding of a canvas of ids to text: one function, so that the text scored is the text shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from ..core.canvas import Canvas, is_stop
from .vocabulary import Vocabulary

__all__ = ["answer_ids", "cut_off", "decode_canvas", "finished", "open_text", "token_pieces"]


_ENDED = re.compile(r"[.!?…。！？؟।\])}>\"'”’»」』】）*`]\s*$|^\s*$")


def answer_ids(ids: Tensor, stop_ids: Iterable[int], drop: Iterable[int] = ()) -> list[list[int]]:
    """Ids before each row's first stop token, without those in `drop`: `(B, L)` -> B lists."""
    stops, dropped = set(stop_ids), set(drop)
    answers = []
    for row in ids.tolist():
        end = next((i for i, token in enumerate(row) if token in stops), len(row))
        answers.append([token for token in row[:end] if token not in dropped])
    return answers


def decode_canvas(
    tokenizer: Any, ids: Tensor, stop_ids: Iterable[int], drop: Iterable[int] = ()
) -> list[str]:
    """Text of each row up to its first stop token.

    Special tokens, ids in `drop` and ids the tokenizer does not know are left out; white space is
    trimmed at both ends. A row that starts with a stop token is the empty string.

    Args:
        tokenizer: the generator's, with `decode(ids, skip_special_tokens=True)`.
        ids: `(B, L)` int64.
        stop_ids: tokens that end a row.
        drop: further ids that are never text, e.g. the fill token after a stop.

    Raises:
        ValueError: `ids` is not a matrix.
    """
    if ids.ndim != 2:
        raise ValueError(f"a canvas is (B, L) ids, got shape {tuple(ids.shape)}")
    return [
        tokenizer.decode(answer, skip_special_tokens=True).strip()
        for answer in answer_ids(ids, stop_ids, drop)
    ]


def cut_off(canvas: Canvas, z: Tensor, texts: Sequence[str]) -> list[bool]:
    """Whether each answer may have been cut off by the end of its canvas.

    So it is if its last position was open and holds no stop token nor what follows one, and the
    text does not end like a sentence: with . ! ? or an ellipsis (of any script), or with a closing
    bracket or quotation mark.

    Args:
        canvas: the initial canvas of the B rows.
        z: `(B, L)` the final ids.
        texts: the B answers, as decoded.
    """
    last = (canvas.lengths - 1)[:, None]
    ended = is_stop(z, canvas.stop_ids) | (z == canvas.fill_id) | ~canvas.editable
    full = (~ended.gather(1, last)).squeeze(1).tolist()
    return [one and not _ENDED.search(text) for one, text in zip(full, texts, strict=True)]


def finished(vocabulary: Vocabulary, text: str, begun: str = "") -> str:
    """The decoded text, post-processed; after `begun`, the given beginning of the answer, it gets
    a capital only if that ends a sentence."""
    if not begun.strip() or vocabulary.finish is str:
        return vocabulary.finish(text)
    ending = begun.rstrip()[-1]
    before = f"x{ending}" if ending in ".!?" else "x"
    return vocabulary.finish(f"{before} {text}")[len(before) :].lstrip()


def open_text(vocabulary: Vocabulary, row: Tensor, begun: str = "") -> str:
    """A row `(L,)` as text, with `_` at each mask; a row without masks as the answer's text.

    `begun` is the given beginning of the answer, see `finished`.
    """
    tokenizer, mask_id = vocabulary.tokenizer, vocabulary.mask_id
    if not bool((row == mask_id).any()):
        (text,) = decode_canvas(tokenizer, row[None], vocabulary.stop_ids, (vocabulary.fill_id,))
        return finished(vocabulary, text, begun)
    hidden = {vocabulary.pad_id, vocabulary.fill_id, *vocabulary.stop_ids} - {mask_id}
    text = str(tokenizer.decode([token for token in row.tolist() if token not in hidden]))
    text = text.replace(tokenizer.convert_ids_to_tokens(mask_id), "_")
    return finished(vocabulary, text, begun)


def token_pieces(tokenizer: Any, ids: Iterable[int]) -> dict[int, str]:
    """The text of single tokens, as they read inside a sentence: with the space before a word.

    Tokens without a text of their own (control tokens, part of a character) get the tokenizer's
    name for them.

    Args:
        tokenizer: a Hugging Face fast tokenizer.
        ids: tokens, each once or more.
    """
    return {token: _piece(tokenizer, token) for token in dict.fromkeys(ids)}


def _piece(tokenizer: Any, token: int) -> str:
    """What a token adds after itself: decoders drop the space at the start of a text."""
    once = str(tokenizer.decode([token], skip_special_tokens=True))
    twice = str(tokenizer.decode([token, token], skip_special_tokens=True))
    if once and twice.startswith(once) and "\ufffd" not in twice:
        return twice[len(once) :]
    return str(tokenizer.convert_ids_to_tokens(token) or f"<{token}>")
