"""Sentiment: the answer's compound score by VADER, a word list with rules. A black box.

Source: Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
Media Text", 2014. About 0.1 ms a sentence.
"""

from __future__ import annotations

from typing import Any

from .protocol import Prompt, last_text

__all__ = ["Sentiment"]


class Sentiment:
    """How positive the answer's words are, in [-1, 1]; 0 for neutral and for empty text.

    How to game it: a single "great" or a row of exclamation marks raises the score of any sentence.
    It counts English words and does not understand their meaning.

    Raises:
        ModuleNotFoundError: vaderSentiment is not installed.
    """

    name = "sentiment"
    measures = "positive against negative words (VADER lexicon)"
    range = (-1.0, 1.0)
    differentiable = False
    licence = "MIT (VADER lexicon)"
    steering_beta = 0.05

    def __init__(self) -> None:
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the sentiment reward needs VADER: pip install vaderSentiment"
            ) from error
        self._analyzer = SentimentIntensityAnalyzer()

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """Compound scores, B floats in [-1, 1]; the prompts are not used."""
        return [self._analyzer.polarity_scores(last_text(c))["compound"] for c in completions]
