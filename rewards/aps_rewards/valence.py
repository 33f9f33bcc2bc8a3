"""Valence: the sum of AFINN's word scores, mapped to (-1, 1); a second measure of sentiment.

    r = s / sqrt(s^2 + 15),   s = sum of the valences (-5..5) of the answer's words

Source: Nielsen 2011, "A new ANEW: evaluation of a word list for sentiment analysis in microblogs".
A black box. The word list is independent of VADER's; the formula is VADER's, so that both rewards
have the same scale.
"""

from __future__ import annotations

import math
from typing import Any

from .protocol import Prompt, last_text

__all__ = ["Valence"]


class Valence:
    """How positive the answer's words are, in (-1, 1); 0 for neutral and for empty text.

    How to game it: a positive word of the list raises the score of any sentence, and negation is
    hardly recognised ("never great" counts as "great"). It counts English words only.

    Raises:
        ModuleNotFoundError: afinn is not installed.
    """

    name = "valence"
    measures = "positive against negative words (AFINN word list)"
    range = (-1.0, 1.0)
    differentiable = False
    licence = "Apache-2.0 (afinn)"
    steering_beta = 0.05

    def __init__(self) -> None:
        try:
            from afinn import Afinn
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the valence reward needs AFINN: pip install afinn"
            ) from error
        self._list = Afinn()

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """Scores, B floats in (-1, 1); the prompts are not used."""
        sums = [float(self._list.score(last_text(c))) for c in completions]
        return [s / math.sqrt(s * s + 15) for s in sums]
