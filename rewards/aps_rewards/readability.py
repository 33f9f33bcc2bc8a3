"""Readability: Flesch's reading ease and Dale-Chall's difficulty, from counts alone.

    Flesch       206.835 - 1.015 words/sentences - 84.6 syllables/words            (Flesch 1948)
    Dale-Chall   0.1579 D + 0.0496 words/sentences  (+ 3.6365 if D > 5)       (Dale and Chall 1948)
                 D = percentage of words not on a list of about 3,000 easy ones

Black boxes, graded. Both were designed for passages of a hundred words and are inaccurate for a
single sentence.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from .paths import package_folder
from .pronunciation import pronunciations, syllables
from .protocol import Prompt, last_text
from .words import sentences, words

__all__ = ["DaleChall", "Flesch", "dale_chall_score", "flesch_reading_ease"]


class Flesch:
    """Flesch reading ease / 100, in [-1, 1.22]: higher is easier; -1 for an empty answer.

    Plain English is 0.6 to 0.7. Values below -1 (one very long word) are clipped to -1.

    How to game it: short words in short sentences, in any order; "A a. A a." has the highest score.

    Args:
        counting: `"cmu"`: syllables by the CMU dictionary, by rule for words it lacks; `"rule"`:
            always by rule; `"auto"`: by the dictionary if it is installed.

    Raises:
        ModuleNotFoundError: `counting="cmu"` and the dictionary is not installed.
        ValueError: another `counting`.
    """

    name = "flesch"
    measures = "reading ease (Flesch, 1 = very easy)"
    range = (-1.0, 1.2122)
    differentiable = False
    licence = "BSD-2-Clause (CMU dictionary, where installed)"
    steering_beta = 0.05

    def __init__(self, counting: str = "auto") -> None:
        if counting not in ("auto", "cmu", "rule"):
            raise ValueError(f"counting is 'auto', 'cmu' or 'rule', got {counting!r}")
        self.dictionary = counting != "rule"
        try:
            pronunciations("") if self.dictionary else None
        except ModuleNotFoundError:
            if counting == "cmu":
                raise
            self.dictionary = False

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [-1, 1.2122]."""
        return [self._score(last_text(c)) for c in completions]

    def _score(self, text: str) -> float:
        if not words(text):
            return -1.0
        return max(-1.0, flesch_reading_ease(text, self.dictionary) / 100)


class DaleChall:
    """1 - Dale-Chall score / 10, in [-1, 1]: higher is easier; -1 for an empty answer.

    A Dale-Chall score up to 4.9 (r >= 0.51) suits ten-year-olds, 9 and more (r <= 0.1) university
    students. Regular forms (-s, -ed, -ing, ...) of a listed word count as listed.

    How to game it: easy words in any order. In a short answer one unlisted word costs much, even if
    it is the answer's subject ("violin").

    Raises:
        ModuleNotFoundError: the word list is not installed.
    """

    name = "dale-chall"
    measures = "share of easy words, short sentences (Dale-Chall)"
    range = (-1.0, 1.0)
    differentiable = False
    licence = "MIT (word list in textstat)"
    steering_beta = 0.05

    def __init__(self) -> None:
        _easy_words()

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [-1, 1]."""
        return [self._score(last_text(c)) for c in completions]

    def _score(self, text: str) -> float:
        return max(-1.0, 1 - dale_chall_score(text) / 10) if words(text) else -1.0


def flesch_reading_ease(text: str, dictionary: bool = True) -> float:
    """Flesch's reading ease of a text with at least one word: at most 121.22, 60 for plain English.

    Raises:
        ValueError: no words.
        ModuleNotFoundError: `dictionary` is True and the CMU dictionary is not installed.
    """
    found = _some(text)
    spoken = sum(syllables(word, dictionary) for word in found)
    return 206.835 - 1.015 * len(found) / len(sentences(text)) - 84.6 * spoken / len(found)


def dale_chall_score(text: str) -> float:
    """Dale and Chall's score of a text with at least one word: from 0.05 (easiest) upwards.

    Raises:
        ValueError: no words.
        ModuleNotFoundError: the word list is not installed.
    """
    found = _some(text)
    hard = 100 * sum(not _is_easy(word) for word in found) / len(found)
    score = 0.1579 * hard + 0.0496 * len(found) / len(sentences(text))
    return score + 3.6365 if hard > 5 else score


def _some(text: str) -> list[str]:
    found = words(text)
    if not found:
        raise ValueError(f"readability of a text without words: {text!r}")
    return found


def _is_easy(word: str) -> bool:
    easy = _easy_words()
    if word in easy or word.isdigit():
        return True
    stem = re.sub(r"('s|s|es|d|ed|ing|ly|er|est)$", "", word)
    doubled = stem[:-1] if len(stem) > 2 and stem[-1] == stem[-2] else stem
    y = re.sub(r"i(es|ed|er|est|ly)$", "y", word)
    return bool({stem, stem + "e", doubled, y} & easy)


@functools.cache
def _easy_words() -> frozenset[str]:
    mend = (
        "the dale-chall reward needs its word list: pip install --no-deps textstat "
        "(only its data file is read)"
    )
    file = package_folder("textstat", mend) / "resources" / "en" / "easy_words.txt"
    return frozenset(file.read_text(encoding="utf-8").lower().split())
