"""Match: the answer against a reference, as words or as a number.

    exact     1 if the normalised texts are equal (lower case, no punctuation, no articles), else
              half the F1 of their words (Rajpurkar et al. 2016)
    numeric   1 within the tolerance, else half of 1 / (1 + |a - b| / max(|b|, 1)); a is the last
              number of the answer

Black boxes, graded: an answer that does not match scores at most 1/2.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from numbers import Real
from typing import Any

from .guard import described
from .protocol import Prompt, last_text, row_values
from .words import words

__all__ = ["ExactMatch", "NumericMatch", "last_number"]

_NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d+)?"
)


class ExactMatch:
    """Agreement of the answer's words with a reference, in [0, 1]; 1 only for equal texts.

    How to game it: it uses the correct answer, so steering by it only shows that steering works.
    Below 1 it counts words of the reference in any order.

    Args:
        reference: the text to match, or a list of acceptable ones; None = the dataset column
            `reference`, with a text or a list per prompt. A number is taken as its text.

    Raises:
        ValueError: no reference.
    """

    name = "exact-match"
    measures = "answer equals a reference text (graded by token F1)"
    range = (0.0, 1.0)
    differentiable = False

    def __init__(self, reference: str | list[str] | None = None) -> None:
        self.reference = reference

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]."""
        rows = row_values(self.name, "reference", self.reference, columns, len(completions))
        scores = []
        for prompt, completion, reference in zip(prompts, completions, rows, strict=True):
            said = _content(last_text(completion))
            golds = _golds(reference)
            if not golds:
                raise ValueError(f"reward 'exact-match' got no reference for {prompt!r}")
            scores.append(max(_agreement(said, _content(str(gold))) for gold in golds))
        return scores


class NumericMatch:
    """Agreement of the answer's last number with a reference, in [0, 1]; 1 only within tolerance.

    How to game it: the number alone or after wrong reasoning; the rest of the text does not count.

    Args:
        reference: a number, or text whose last number counts; None = the dataset column
            `reference`.
        tolerance: largest difference that still counts as equal, relative to max(|reference|, 1).

    Raises:
        ValueError: no reference, one without a number, or a negative tolerance.
    """

    name = "numeric-match"
    measures = "last number in the answer equals a reference"
    range = (0.0, 1.0)
    differentiable = False

    def __init__(self, reference: float | str | None = None, tolerance: float = 1e-6) -> None:
        if not tolerance >= 0:
            raise ValueError(f"tolerance must be >= 0, got {tolerance!r}")
        self.reference, self.tolerance = reference, tolerance

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]; 0 for an answer without a number."""
        rows = row_values(self.name, "reference", self.reference, columns, len(completions))
        return [
            self._score(last_number(last_text(completion)), reference)
            for completion, reference in zip(completions, rows, strict=True)
        ]

    def _score(self, found: float | None, reference: Any) -> float:
        wanted = last_number(str(reference))
        if wanted is None:
            raise ValueError(f"reward 'numeric-match': no number in the reference {reference!r}")
        if found is None:
            return 0.0
        error = abs(found - wanted) / max(abs(wanted), 1.0)
        return 1.0 if error <= self.tolerance else 0.5 / (1 + error)


def last_number(text: str) -> float | None:
    """The last finite number in a text (`1,234.5`, `-3`, `2e6`), or None."""
    found = [float(match.replace(",", "")) for match in _NUMBER.findall(text)]
    return next((value for value in reversed(found) if math.isfinite(value)), None)


def _golds(reference: Any) -> list[Any]:
    """The acceptable texts of a row; none for None and for a table's NaN."""
    if isinstance(reference, Real):
        return [_number(reference)] if math.isfinite(reference) else []
    if reference is None or isinstance(reference, str):
        return [] if reference is None else [reference]
    if not isinstance(reference, Iterable):
        raise TypeError(
            f"the reference is a text or a list of texts, got {described(reference)}; write it as "
            "a text"
        )
    return [_number(one) if isinstance(one, Real) else one for one in reference]


def _number(value: Real) -> Any:
    """A whole number without a fraction: a column of them with a gap comes as floats (42.0)."""
    number = float(value)
    return int(number) if math.isfinite(number) and number.is_integer() else value


def _content(text: str) -> list[str]:
    return [word for word in words(text) if word not in ("a", "an", "the")]


def _agreement(said: list[str], gold: list[str]) -> float:
    if said == gold:
        return 1.0
    common = sum((Counter(said) & Counter(gold)).values())
    return 0.5 * 2 * common / (len(said) + len(gold)) if common else 0.0
