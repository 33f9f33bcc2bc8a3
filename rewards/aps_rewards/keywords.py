"""Keywords: words that the answer must contain, and words that it must not.

    r = (#present that occur + #absent that do not) / (#present + #absent)

A black box, graded: the fraction of constraints that hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from .protocol import Prompt, last_text
from .words import ngrams, words

__all__ = ["Keywords"]


class Keywords:
    """Fraction of the wanted words present and the unwanted ones absent, in [0, 1].

    Whole words or phrases are matched, ignoring case: `heart` does not contain `art`, and `violins`
    is not `violin`.

    How to game it: list the words. With `absent` words only, an empty answer gets 1.

    Args:
        present: words or phrases the answer must contain; None = the dataset column `present`, a
            list per prompt (or no such words, if `absent` is given).
        absent: those it must not contain; None = the column `absent`, likewise.

    Raises:
        ValueError: from a call without any words, from either source.
        TypeError: words that are not a list of strings.
    """

    name = "keywords"
    measures = "share of wanted words present and unwanted words absent"
    range = (0.0, 1.0)
    differentiable = False
    steering_beta = 0.075

    def __init__(
        self, present: Sequence[str] | None = None, absent: Sequence[str] | None = None
    ) -> None:
        self.present = None if present is None else _phrases(present, "the option present")
        self.absent = None if absent is None else _phrases(absent, "the option absent")

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]."""
        wanted = self._rows("present", self.present, columns, len(completions))
        unwanted = self._rows("absent", self.absent, columns, len(completions))
        scores = []
        for completion, yes, no in zip(completions, wanted, unwanted, strict=True):
            if not yes and not no:
                raise ValueError(
                    "reward 'keywords' has no words to look for: give the option present or "
                    "absent, e.g. 'keywords:present=king,queen', or columns of these names with a "
                    "list of words per prompt; "
                    f"got columns {sorted(columns) or 'none'}"
                )
            found = words(last_text(completion))
            kept = sum(_stands(p, found) for p in yes) + sum(not _stands(p, found) for p in no)
            scores.append(kept / (len(yes) + len(no)))
        return scores

    def _rows(
        self, name: str, fixed: Any, columns: dict[str, list[Any]], count: int
    ) -> list[list[tuple[str, ...]]]:
        if fixed is not None:
            return [fixed] * count
        if name not in columns:
            return [[]] * count
        where = f"the column {name!r}"
        return [[] if _is_missing(value) else _phrases(value, where) for value in columns[name]]


def _is_missing(value: Any) -> bool:
    """Whether a table has no value there: None, an empty text, NaN."""
    return (
        value is None
        or (isinstance(value, str) and not value)
        or (isinstance(value, float) and math.isnan(value))
    )


def _phrases(value: Sequence[str], where: str) -> list[tuple[str, ...]]:
    """Each word or phrase as a tuple of its words."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(
            f"keywords are a list of words, got {value!r} in {where}; write [{str(value)!r}]"
        )
    value = list(value)
    if wrong := [v for v in value if not isinstance(v, str)]:
        raise TypeError(
            f"keywords are a list of words, got {wrong[0]!r} among those in {where}; write "
            f"{str(wrong[0])!r}"
        )
    phrases = [tuple(words(v)) for v in value]
    if () in phrases:
        raise ValueError(f"a keyword holds a letter or digit, got {value[phrases.index(())]!r}")
    return phrases


def _stands(phrase: tuple[str, ...], found: list[str]) -> bool:
    return phrase in ngrams(found, len(phrase))
