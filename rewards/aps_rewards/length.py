"""Length: how well the answer's number of words or characters fits a window.

    r = 1 in [low, high];   n / low below;   high / n above

A black box; outside the window it is strictly monotonic, so that samples of different lengths get
different scores. TRL's `get_soft_overlong_punishment` is the one-sided version in tokens.
"""

from __future__ import annotations

from typing import Any

from .protocol import Prompt, last_text

__all__ = ["Length"]


class Length:
    """How well the answer's length fits a window, in [0, 1]; 1 inside.

    How to game it: any words will do; padding (`very very very`) is as good as content.

    Args:
        low, high: the window, both ends included.
        unit: `"words"` (separated by white space) or `"characters"`.

    Raises:
        ValueError: an empty window, a negative end, or another unit.
    """

    name = "length"
    measures = "answer length inside a window (words or characters)"
    range = (0.0, 1.0)
    differentiable = False

    def __init__(self, low: int = 5, high: int = 12, unit: str = "words") -> None:
        if not 0 <= low <= high or high < 1:
            raise ValueError(
                "length: the window needs 0 <= low <= high and high >= 1, got "
                f"low={low}, high={high} (5 and 12 where not given); give both, e.g. "
                "length:low=0:high=4"
            )
        if unit not in ("words", "characters"):
            raise ValueError(f"unit is 'words' or 'characters', got {unit!r}")
        self.low, self.high, self.unit = low, high, unit

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]."""
        return [self._score(last_text(c)) for c in completions]

    def _score(self, text: str) -> float:
        n = len(text.split()) if self.unit == "words" else len(text)
        if n < self.low:
            return n / self.low
        return 1.0 if n <= self.high else self.high / n
