"""Distinctness: 1 minus the share of n-grams that occurred before in the same answer.

    r = mean over n of  #different n-grams / #n-grams        (distinct-n, Li et al. 2016)

A black box, graded. n-grams run over words without punctuation and case; an n for which the answer
is too short is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .protocol import Prompt, last_text
from .words import ngrams, words

__all__ = ["Distinctness"]


class Distinctness:
    """How little the answer repeats itself, in [0, 1]; 0 for an answer without words.

    How to game it: a single word, or any list of different words; whether they make sense does not
    count.

    Args:
        sizes: the n whose distinct-n are averaged.

    Raises:
        ValueError: no sizes, or one below 1.
    """

    name = "distinctness"
    measures = "share of n-grams that do not repeat earlier ones (distinct-n)"
    range = (0.0, 1.0)
    differentiable = False
    steering_beta = 0.1

    def __init__(self, sizes: Sequence[int] = (1, 2, 3)) -> None:
        if not sizes or min(sizes) < 1:
            raise ValueError(f"sizes are whole numbers of at least 1, got {sizes!r}")
        self.sizes = tuple(sizes)

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]."""
        return [self._score(words(last_text(c))) for c in completions]

    def _score(self, found: list[str]) -> float:
        grams = [g for n in self.sizes if (g := ngrams(found, n))]
        return sum(len(set(g)) / len(g) for g in grams) / len(grams) if grams else 0.0
