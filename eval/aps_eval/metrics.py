"""Metrics of answers, and paired statistics over prompts. Plain functions on strings and arrays."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "Interval",
    "distinct_n",
    "mean_interval",
    "normalise_answer",
    "repeated_ngrams",
    "token_f1",
]

_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise_answer(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single spaces."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", text).split())


def token_f1(answer: str, golds: Sequence[str]) -> float:
    """SQuAD-style token F1 in [0, 1] against the best of several gold answers.

    Raises:
        ValueError: no gold answer.
    """
    if not golds:
        raise ValueError("token_f1 needs at least one gold answer, got none")
    words = Counter(normalise_answer(answer).split())
    best = 0.0
    for gold in golds:
        wanted = Counter(normalise_answer(gold).split())
        common = sum((words & wanted).values())
        if common:
            best = max(best, 2 * common / (words.total() + wanted.total()))
        elif not words and not wanted:
            best = 1.0
    return best


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.lower().split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def distinct_n(texts: Sequence[str], n: int = 2) -> float:
    """Share of different n-grams among all n-grams of the texts, in [0, 1]; 0 without any."""
    grams = [gram for text in texts for gram in _ngrams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repeated_ngrams(texts: Sequence[str], n: int = 3) -> float:
    """Share of n-grams that occurred earlier in their own text, in [0, 1]; 0 without any."""
    total = repeated = 0
    for text in texts:
        grams = _ngrams(text, n)
        total += len(grams)
        repeated += len(grams) - len(set(grams))
    return repeated / total if total else 0.0


@dataclass(frozen=True)
class Interval:
    """A mean and its 95% bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def mean_interval(values: Sequence[float], *, draws: int = 10_000, seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean; of paired DIFFERENCES it is the paired bootstrap.

    Raises:
        ValueError: no values.
    """
    array = np.asarray(values, dtype=float)
    if array.size == 0:
        raise ValueError("an interval needs at least one value, got none")
    picks = np.random.default_rng(seed).integers(array.size, size=(draws, array.size))
    low, high = np.percentile(array[picks].mean(1), [2.5, 97.5])
    return Interval(float(array.mean()), float(low), float(high))
