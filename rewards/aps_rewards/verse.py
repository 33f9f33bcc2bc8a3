"""Verse: rhyme and the number of syllables, line by line.

    rhyme      r = mean over the pairs of line ends that should rhyme:  1 for a perfect rhyme
               (different words, equal from the last stressed vowel on), else half the fraction of
               phones that their endings have in common
    syllables  r = mean over lines of min(n, wanted) / max(n, wanted);  0 for a missing or surplus
               line

Black boxes, graded. Pronunciations from the CMU dictionary (`pronunciation.py`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from .pronunciation import pronunciations, rhyme_part, syllables
from .protocol import Prompt, last_text
from .words import words

__all__ = ["Rhyme", "Syllables", "rhyme_grade"]

BREAKS = r"[\n/]"
"""Regular expression of the end of a line of verse: a line break, or a slash as in quotations."""


class Rhyme:
    """How well line ends rhyme, in [0, 1].

    A word never rhymes with itself, and a word that the dictionary lacks rhymes with nothing.

    How to game it: only the last word of a line counts; the rest may be anything or missing.

    Args:
        word: the answer's last word must rhyme with this one; None = the column `rhyme_with` if
            there is one, else the line ends must rhyme by `scheme`.
        scheme: one letter per line, equal letters rhyme; further lines are ignored.
        breaks: regular expression of the end of a line.

    Raises:
        ModuleNotFoundError: the dictionary is not installed.
        ValueError: a scheme in which nothing rhymes.
    """

    name = "rhyme"
    measures = "line ends rhyme, AABB: a couplet alone has 0.5 (CMU dictionary)"
    range = (0.0, 1.0)
    differentiable = False
    licence = "BSD-2-Clause (CMU dictionary)"
    steering_beta = 0.1

    def __init__(self, word: str | None = None, scheme: str = "AABB", breaks: str = BREAKS) -> None:
        pronunciations("")  # raises here if the dictionary is missing
        self._pairs = [
            (i, j)
            for i, j in itertools.combinations(range(len(scheme)), 2)
            if scheme[i] == scheme[j]
        ]
        if not self._pairs:
            raise ValueError(f"no two lines rhyme in the scheme {scheme!r}; write e.g. 'AABB'")
        self.word, self._breaks = word, re.compile(breaks)

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]."""
        texts = [last_text(c) for c in completions]
        targets = [self.word] * len(texts)
        if self.word is None and "rhyme_with" in columns:
            targets = columns["rhyme_with"]
        return [self._score(*row) for row in zip(texts, targets, strict=True)]

    def _score(self, text: str, target: str | None) -> float:
        if target is not None:
            return rhyme_grade((words(text) or [""])[-1], target.lower())
        ends = [found[-1] for line in self._breaks.split(text) if (found := words(line))]
        grades = [rhyme_grade(ends[i], ends[j]) if j < len(ends) else 0.0 for i, j in self._pairs]
        return sum(grades) / len(grades)


class Syllables:
    """How near the lines are to a pattern of syllable counts, in [0, 1].

    Counted by the CMU dictionary, by rule for words it lacks.

    How to game it: any words of the right length; meaning and stress do not count.

    Args:
        pattern: syllables wanted per line, e.g. `(5, 7, 5)`.
        breaks: regular expression of the end of a line.

    Raises:
        ModuleNotFoundError: the dictionary is not installed.
        ValueError: an empty pattern, or a line of no syllables.
    """

    name = "syllables"
    measures = "syllables per line as wanted (CMU dictionary)"
    range = (0.0, 1.0)
    differentiable = False
    licence = "BSD-2-Clause (CMU dictionary)"

    def __init__(self, pattern: Sequence[int] = (10,), breaks: str = BREAKS) -> None:
        pronunciations("")
        if not pattern or min(pattern) < 1:
            raise ValueError(f"pattern is syllables per line, each at least 1; got {pattern!r}")
        self.pattern, self._breaks = tuple(pattern), re.compile(breaks)

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
        lines = [found for line in self._breaks.split(text) if (found := words(line))]
        counts = [sum(map(syllables, line)) for line in lines]
        fits = [
            min(n, wanted) / max(n, wanted) for n, wanted in zip(counts, self.pattern, strict=False)
        ]
        return sum(fits) / max(len(counts), len(self.pattern))


def rhyme_grade(one: str, two: str) -> float:
    """1 for a perfect rhyme of two lower-case words, else at most 1/2; the best of all
    pronunciations."""
    if one == two:
        return 0.0
    best = 0.0
    for a, b in itertools.product(pronunciations(one), pronunciations(two)):
        x, y = rhyme_part(a), rhyme_part(b)
        if x == y and a != b:
            return 1.0
        same = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(x[::-1], y[::-1], strict=False)
        )
        best = max(best, 0.5 * sum(1 for _ in same) / max(len(x), len(y)) * (a != b))
    return best
