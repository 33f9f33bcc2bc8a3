"""Simple words: how common an answer's words are in English.

    r = mean over words of  clip((z - 2) / (4.5 - 2), 0, 1)
    z = log10 of a word's frequency per billion words ("Zipf value"; van Heuven et al. 2014)

The 3,000 commonest words have z >= 4.5 and count 1; "violin" (3.7) counts .7, "ameliorate" (2.6)
.2, a word that the list lacks 0. A black box, graded. Frequencies: wordfreq (Speer 2022).
"""

from __future__ import annotations

from typing import Any

from .protocol import Prompt, last_text
from .words import words

__all__ = ["COMMON", "RARE", "SimpleWords"]

COMMON = 4.5
"""Zipf value of the 3,000th commonest English word."""
RARE = 2.0
"""Zipf value (once in ten million words) from which on a word counts 0."""


class SimpleWords:
    """Mean commonness of the answer's words, in [0, 1]; 0 for an answer without words.

    Words of the question count as common, so that an answer may name its subject. Numbers count by
    their frequency, as words do.

    How to game it: repeating the question, or common words in any order.

    Args:
        question: whether words of the question count as common.

    Raises:
        ModuleNotFoundError: wordfreq is not installed.
        TypeError: `question` is no bool.
    """

    name = "simple-words"
    measures = "common English words (wordfreq)"
    range = (0.0, 1.0)
    differentiable = False
    licence = "Apache-2.0 (wordfreq), CC BY-SA 4.0 (its frequencies)"

    def __init__(self, question: bool = True) -> None:
        try:
            from wordfreq import zipf_frequency
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the simple-words reward needs its list of frequencies: pip install wordfreq"
            ) from error
        if not isinstance(question, bool):
            raise TypeError(f"question is True or False, got {question!r}")
        self._zipf, self.question = zipf_frequency, question

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]."""
        asked = [set(words(last_text(p))) if self.question else set() for p in prompts]
        found = [words(last_text(c)) for c in completions]
        return [self._score(*row) for row in zip(found, asked, strict=True)]

    def _score(self, found: list[str], asked: set[str]) -> float:
        grades = [1.0 if word in asked else self._grade(word) for word in found]
        return sum(grades) / len(grades) if grades else 0.0

    def _grade(self, word: str) -> float:
        return min(1.0, max(0.0, (self._zipf(word, "en") - RARE) / (COMMON - RARE)))
