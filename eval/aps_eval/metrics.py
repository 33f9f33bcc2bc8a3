"""Metrics of answers: plain functions on strings."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from .normal_text import normal_text
from .numbers import numerals
from .numeral import as_number

__all__ = [
    "distinct_n",
    "normalise_answer",
    "repeated_ngrams",
    "rouge_l",
    "same_answer",
    "token_f1",
    "word_entropy",
]

_PUNCTUATION = frozenset(string.punctuation + "’‘ʼ′“”„«»")
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise_answer(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single spaces.

    Its punctuation is ASCII's; apostrophes and quotation marks of print (’ “) are taken for those.
    An accent that is a character of its own is taken for its letter's.
    """
    text = unicodedata.normalize("NFC", text.lower())
    text = "".join(c for c in text if c not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def same_answer(one: str, other: str) -> bool:
    """Whether two answers are equal after SQuAD's normalisation.

    A text of which it leaves nothing ("(A)", "the", ".") is compared as it is, ignoring case and
    outer spaces. Parts that it drops although they have a meaning must be equal, too: numbers
    ("-5", "3.5"), the signs in "C++" and "x < y", an article at the end ("vitamin A").
    """
    forms = normalise_answer(one), normalise_answer(other)
    if all(forms):
        return forms[0] == forms[1] and _normal_form(one) == _normal_form(other)
    return one.strip().lower() == other.strip().lower()


def _normal_form(text: str) -> tuple[list[Fraction | None], str, bool]:
    found = [as_number(numeral.text or "") for numeral in numerals(normal_text(text))]
    signs = "".join(c for c in text if c in "+#<>=") if not found else ""
    last = re.search(r"\s(a|an|the)\W*$", text, re.I)
    return found, signs, last is not None


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
        elif (not words or not wanted) and same_answer(answer, gold):
            best = 1.0
    return best


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.lower().split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def distinct_n(texts: Sequence[str], n: int = 2) -> float:
    """Distinct n-grams divided by all n-grams of the texts, in [0, 1]; 0 without any."""
    grams = [gram for text in texts for gram in _ngrams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repeated_ngrams(texts: Sequence[str], n: int = 3) -> float:
    """Fraction of n-grams that repeat an earlier one of their text, in [0, 1]; 0 without any."""
    total = repeated = 0
    for text in texts:
        grams = _ngrams(text, n)
        total += len(grams)
        repeated += len(grams) - len(set(grams))
    return repeated / total if total else 0.0


def rouge_l(answer: str, golds: Sequence[str]) -> float:
    """ROUGE-L F1 in [0, 1] of lower-cased words and numbers, against the nearest gold answer.

    Raises:
        ValueError: no gold answer.
    """
    if not golds:
        raise ValueError("rouge_l needs at least one gold answer, got none")
    said = _words(answer)
    best = 0.0
    for gold in golds:
        wanted = _words(gold)
        if common := _common(said, wanted):
            best = max(best, 2 * common / (len(said) + len(wanted)))
        elif not wanted and same_answer(answer, gold):
            best = 1.0
    return best


def word_entropy(text: str) -> float | None:
    """Entropy in nats of the answer's own word frequencies; None without words."""
    counts = Counter(_words(text))
    total = counts.total()
    if not total:
        return None
    return max(0.0, -sum(n / total * math.log(n / total) for n in counts.values()))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _common(one: Sequence[str], two: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(two) + 1)
    for word in one:
        before = 0
        for j, other in enumerate(two, 1):
            above = row[j]
            row[j] = before + 1 if word == other else max(above, row[j - 1])
            before = above
    return row[-1]
