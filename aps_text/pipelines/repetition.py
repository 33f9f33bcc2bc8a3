"""Answers that repeat themselves: pairs of words, doubled words, runs of dots, one word often.

Words that may be doubled are English ones: an answer in another language may be told of wrongly.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

__all__ = ["broken", "repetition", "repetitive"]

MUCH_REPETITION = 0.3  # warn if an answer repeats a larger fraction of its word pairs
OFTEN = 0.25  # warn if one long word is a larger fraction of an answer's words
FEWEST = 3  # times that a word stands in an answer of which it is too much
LONG = 4  # letters; shorter words are mostly those that every sentence has

DOUBLED = re.compile(r"\b([^\W\d_]+)[ \t]+(\1)\b", re.IGNORECASE)
DOTS = re.compile(r"(?<![./])(?:\.\.|\.{4,})(?![./\d])")  # three are an ellipsis
ALLOWED = frozenset(
    [
        "that",
        "had",
        "very",
        "so",
        "no",
        "ha",
        "bye",
        "really",
        "far",
        "many",
        "long",
        "now",
        "there",
        "knock",
        "yes",
    ]
)
"""Words that English doubles: "that that", "had had", "very very"."""


def repetition(text: str) -> float:
    """Fraction of an answer's word pairs that repeat an earlier one, in [0, 1]; 0 if below two."""
    words = text.lower().split()
    pairs = list(itertools.pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if len(pairs) > 1 else 0.0


def repetitive(texts: Sequence[str]) -> int:
    """The number of answers that repeat more than `MUCH_REPETITION` of their word pairs."""
    return sum(repetition(text) > MUCH_REPETITION for text in texts)


def broken(text: str) -> str | None:
    """The first place where an answer stammers, as a phrase for a warning; None if nowhere.

    A word twice in a row (the second in small letters: names may be doubled), two dots or more than
    three, or a word of four letters or more that is over a quarter of the words.
    """
    for found in DOUBLED.finditer(text):
        if found[2].islower() and found[2] not in ALLOWED:
            return f"{found[0]!r}, a word twice in a row"
    dots = DOTS.search(text)
    if dots:
        return f"{dots[0][:8]!r}, a run of dots"
    words = re.findall(r"[^\W\d_]+", text.lower())
    counts = Counter(word for word in words if len(word) >= LONG)
    for word, count in counts.most_common(1):
        if count >= FEWEST and count > OFTEN * len(words):
            return f"{word!r} {count} times in {len(words)} words"
    return None
