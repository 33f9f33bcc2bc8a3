"""Lint: how few grammar and spelling mistakes a rule-based checker finds.

    r = max(0, 1 - #lints / #words);   0 for an answer without words

Uses Harper (Apache-2.0, Rust, offline) through the package `harper-py`. A black box, graded; about
1 ms per sentence after a second of loading.
"""

from __future__ import annotations

from typing import Any

from .protocol import Prompt, last_text
from .words import words

__all__ = ["Lint"]


class Lint:
    """1 minus the mistakes per word that a rule-based checker finds, in [0, 1].

    How to game it: words in any order that no rule forbids; it finds misspellings and a few hundred
    fixed mistakes, not nonsense. In long answers a mistake costs less.

    Raises:
        ModuleNotFoundError: harper-py is not installed.
    """

    name = "lint"
    measures = "few grammar and spelling mistakes (Harper)"
    range = (0.0, 1.0)
    differentiable = False
    licence = "Apache-2.0 (Harper)"

    def __init__(self) -> None:
        try:
            from harper import Linter
        except ImportError as error:  # also the unrelated package `harper`, which has no Linter
            raise ModuleNotFoundError(
                "the lint reward needs Harper: pip install harper-py"
            ) from error
        self._linter = Linter()

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
        found = words(text)
        if not found:
            return 0.0
        return max(0.0, 1 - len(self._linter.lint(text, language="plaintext")) / len(found))
