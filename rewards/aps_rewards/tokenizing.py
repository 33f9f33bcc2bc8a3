"""Calls of fast tokenizers, one after another: each stores its options as state of the tokenizer.

Threads that call one at the same moment with other values of `split_special_tokens` would read
control tokens as text or text as control tokens; transformers 4.57 ends in "Already borrowed".
"""

from __future__ import annotations

import os
from threading import Lock
from typing import Any

__all__ = ["plain_ids", "token_ids", "tokenized"]

_LOCK = Lock()
if hasattr(os, "register_at_fork"):  # another thread may hold it, and is not in the child
    os.register_at_fork(after_in_child=lambda: globals().update(_LOCK=Lock()))


def tokenized(tokenizer: Any, *texts: Any, **options: Any) -> Any:
    """`tokenizer(*texts, **options)`, while no other call of this function runs."""
    with _LOCK:
        return tokenizer(*texts, **options)


def token_ids(tokenizer: Any, text: Any, **options: Any) -> Any:
    """The `input_ids` of `tokenized`: a list of ids, or one for each text of a list."""
    return tokenized(tokenizer, text, **options)["input_ids"]


def plain_ids(tokenizer: Any, texts: list[str], most: int) -> list[list[int]]:
    """At most `most` ids of each text, with the tokenizer's frame; control tokens are text."""
    found: list[list[int]] = token_ids(
        tokenizer, texts, truncation=True, max_length=most, split_special_tokens=True
    )
    return found
