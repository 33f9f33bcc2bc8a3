"""Words, sentences and n-grams of a text, by rule; shared by the counting rewards."""

from __future__ import annotations

import re

__all__ = ["ngrams", "sentences", "words"]

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")


def words(text: str) -> list[str]:
    """Runs of letters and digits, lower case; `don't` and `well-known` are one word each."""
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def sentences(text: str) -> list[str]:
    """Parts that end in `.`, `!` or `?` before a space, and the rest; parts without words are left
    out."""
    return [part for part in _SENTENCE_END.split(text) if _WORD.search(part)]


def ngrams(items: list[str], n: int) -> list[tuple[str, ...]]:
    """The runs of `n` adjacent items, in order; none if there are fewer items."""
    return [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]
