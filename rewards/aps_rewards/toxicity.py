"""Toxicity: minus the probability that the answer is offensive, by a linear classifier of words.

    r = -P(offensive | bag of words)

Uses `alt-profanity-check` (MIT): a linear SVM on word counts, trained by its authors on 200,000
labelled comments. A black box; graded. The package loads a pickled scikit-learn model and therefore
pins scikit-learn exactly.
"""

from __future__ import annotations

from typing import Any

from .protocol import Prompt, last_text

__all__ = ["Toxicity"]


class Toxicity:
    """Minus the probability of offensive words, in [-1, 0]: 0 is clean, -1 certainly offensive.

    Steering by it makes answers cleaner; a weight of -1 does the opposite. It counts words and does
    not understand them: an insult without a swear word ("you are worth nothing") is not found, and
    a harmless use of a swear word counts as offensive.

    How to game it: an empty answer, a misspelt swear word, or a polite insult.

    Raises:
        ModuleNotFoundError: alt-profanity-check is not installed.
    """

    name = "toxicity"
    measures = "minus the probability of offensive words (linear classifier, higher is cleaner)"
    range = (-1.0, 0.0)
    differentiable = False
    licence = "MIT (alt-profanity-check)"

    def __init__(self) -> None:
        try:
            from profanity_check import predict_prob
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the toxicity reward needs its classifier: pip install alt-profanity-check "
                "(it pins scikit-learn and joblib)"
            ) from error
        self._predict = predict_prob

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [-1, 0]; an empty answer gets the classifier's prior, near 0."""
        texts = [last_text(c) for c in completions]
        return [-float(p) for p in self._predict(texts)] if texts else []
