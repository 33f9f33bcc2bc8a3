"""From a canvas of ids back to text, in one place, so that what is scored is what is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

__all__ = ["answer_ids", "decode_canvas"]


def answer_ids(ids: Tensor, stop_ids: Iterable[int], fill_id: int | None = None) -> list[list[int]]:
    """Ids before each row's first stop token, `fill_id` left out: `(B, L)` -> B lists."""
    stops = set(stop_ids)
    answers = []
    for row in ids.tolist():
        end = next((i for i, token in enumerate(row) if token in stops), len(row))
        answers.append([token for token in row[:end] if token != fill_id])
    return answers


def decode_canvas(
    tokenizer: Any, ids: Tensor, stop_ids: Iterable[int], fill_id: int | None = None
) -> list[str]:
    """Text of each row up to its first stop token.

    Special tokens, `fill_id` and ids the tokenizer does not know are left out; white space is
    trimmed at both ends. A row that starts with a stop token is the empty string.

    Args:
        tokenizer: the generator's, with `decode(ids, skip_special_tokens=True)`.
        ids: `(B, L)` int64.
        stop_ids: tokens that end a row.
        fill_id: stands after a stop token and past a row's length; never text.
    """
    if ids.ndim != 2:
        raise ValueError(f"a canvas is (B, L) ids, got shape {tuple(ids.shape)}")
    return [
        tokenizer.decode(answer, skip_special_tokens=True).strip()
        for answer in answer_ids(ids, stop_ids, fill_id)
    ]
