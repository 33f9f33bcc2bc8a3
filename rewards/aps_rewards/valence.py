"""Valence: AFINN's word scores, summed and squeezed; a second opinion on sentiment. A black box.

    r = s / sqrt(s^2 + 15),   s = sum of the valences (-5..5) of the answer's words

Source: Nielsen 2011, "A new ANEW: evaluation of a word list for sentiment analysis in microblogs".
The list and its author are not VADER's; the squeezing is, so that both stand on one scale.
"""

from __future__ import annotations

import math
from typing import Any

from .protocol import Prompt, last_text

__all__ = ["Valence"]


class Valence:
    """How positive the answer's words are, in (-1, 1); 0 for neutral and for empty text.

    How to game it: any word of the list lifts any sentence, and it hears hardly any negation
    ("never great" is great). It reads words, not meaning, and only English.

    Raises:
        ModuleNotFoundError: afinn is not installed.
    """

    name = "valence"
    measures = "positive against negative words (AFINN word list)"
    range = (-1.0, 1.0)
    differentiable = False
    licence = "Apache-2.0 (afinn)"

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
        """Scores, B floats in (-1, 1); the prompts play no part."""
        sums = [float(self._list.score(last_text(c))) for c in completions]
        return [s / math.sqrt(s * s + 15) for s in sums]
