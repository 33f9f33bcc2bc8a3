"""Pattern: whether the answer matches a regular expression (Python's `re`).

    whole: r = 1 for a full match, else half the fraction of the answer covered by matches
    part:  r = 1 if it matches anywhere, else 0

A black box; `whole` is graded, so that answers that match in part get different scores.
"""

from __future__ import annotations

import re
from typing import Any

from .protocol import Prompt, last_text, row_values

__all__ = ["Pattern"]


class Pattern:
    r"""How much of the answer matches a regular expression, in [0, 1].

    How to game it: anything that the expression allows; `.*\d+.*` matches any digit. Matching an
    expression with nested repetitions can take exponential time; avoid those.

    Args:
        pattern: the expression; None = the dataset column `pattern`.
        whole: the whole answer must match, apart from white space around it; False: any part of it.
        ignore_case: ignore the difference between upper and lower case.

    Raises:
        ValueError: not a regular expression, or none given.
    """

    name = "pattern"
    measures = "answer has the form of a regular expression"
    range = (0.0, 1.0)
    differentiable = False

    def __init__(
        self, pattern: str | None = None, whole: bool = True, ignore_case: bool = False
    ) -> None:
        self.whole = whole
        self._flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
        self.pattern = pattern
        if pattern is not None:
            self._compile(pattern)

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]."""
        patterns = row_values(self.name, "pattern", self.pattern, columns, len(completions))
        return [
            self._score(self._compile(pattern), last_text(completion).strip())
            for pattern, completion in zip(patterns, completions, strict=True)
        ]

    def _score(self, pattern: re.Pattern[str], text: str) -> float:
        if not self.whole:
            return float(pattern.search(text) is not None)
        if pattern.fullmatch(text):
            return 1.0
        covered = sum(len(match.group()) for match in pattern.finditer(text))
        return 0.5 * covered / max(1, len(text))

    def _compile(self, pattern: str) -> re.Pattern[str]:
        try:
            return re.compile(pattern, self._flags)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
