"""Measures of one answer, by name; a task lists those that apply to it.

    exact        1 if the answer equals a gold answer after SQuAD's normalisation: lower case, no
                 ASCII punctuation, no a, an, the, single spaces. Stricter than the published script
                 where that drops what counts: numbers, the signs in "C++" and "x < y" and an
                 article at the end ("vitamin A") must be equal, too; a text of which nothing is
                 left ("(A)", ".") is compared as it is
    f1           token F1 against the nearest gold answer: the published SQuAD script's, except
                 where nothing is left of a text: 1 if both are equal as they are, else 0
    rouge_l      F of the longest common subsequence of words, nearest gold answer (Lin 2004)
    accuracy     1 if the extracted answer is a gold answer (letters without their brackets, numbers
                 by their value: 5.0 is 5, 7/2 is 3.5)
    numeric      1 if the extracted number equals the gold one; within 1e-9 of it if not whole. A
                 gold text states one number, or its last by "####" or "the answer is"
    contains     1 if the answer contains a gold answer, word for word: words that `exact` takes for
                 the gold answer (3.5 does not contain 35, nor C++ C)
    solved       1 for an expression of the item's `numbers` that hits its `target` (Countdown)
    nll          by SmolLM2, nats per token, lower is more fluent; None for an empty answer
    distinct_2   different word pairs / word pairs of the answer; None without a pair
    repetition   fraction of word triples that repeat an earlier one, lower is better
    entropy      of the answer's word frequencies, nats: low if few words are repeated often
    words        number of words
    empty        1 for an empty answer, lower is better
    named        1 if the answer contains every word of the item's `subject`, in any regular form
    whole        1 for a text of three words or more from a capital to . ! or ?
    kl           KL(x_phi || x_theta) in nats per masked position, mean over the guided steps: how
                 far the answer was steered from the model, lower is nearer; None without guidance
    not found    1 if the task's extraction found nothing; measured for every task that extracts

The package `evaluate` is not used: it downloads its metrics as scripts.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .gold import agree, equal, gold_number
from .items import Item
from .metrics import (
    distinct_n,
    normalise_answer,
    repeated_ngrams,
    rouge_l,
    same_answer,
    token_f1,
    word_entropy,
)
from .numeral import as_number
from .stated_number import number
from .subjects import named, whole, words

__all__ = [
    "KL",
    "LOWER_IS_BETTER",
    "MEASURES",
    "NOT_FOUND",
    "check_item",
    "check_measures",
    "measure",
]

NOT_FOUND = "not found"
KL = "kl"
LOWER_IS_BETTER = frozenset({"nll", "repetition", "empty", KL, NOT_FOUND})


@dataclass(frozen=True)
class Answer:
    """The input of a measure: the text, the answer extracted from it (or None), and the item."""

    text: str
    extracted: str | None
    item: Item


def _accuracy(one: Answer) -> float:
    if one.extracted is None:
        return 0.0
    return float(any(agree(one.extracted, gold) for gold in one.item.gold))


def _numeric(one: Answer) -> float:
    found = None if one.extracted is None else as_number(number(one.extracted) or "")
    wanted = [as_number(gold_number(gold) or "") for gold in one.item.gold]
    if None in wanted or not wanted:
        raise ValueError(f"numeric needs gold answers that are numbers, got {one.item.gold}")
    if found is None:
        return 0.0
    return float(any(equal(found, w) for w in wanted if w is not None))


def _contains(one: Answer) -> float:
    return float(any(_stands_in(gold, one.text) for gold in one.item.gold))


_PARTED = re.compile(r"(?<!\d)[—–/:;“”„«»…]|[—–/:;“”„«»…](?!\d)|[“”„«»]")
"""Signs between words that SQuAD's normalisation keeps, or by whose removal it joins two words."""
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


def _stands_in(gold: str, text: str) -> bool:
    """Whether `text` contains `gold`: words that are the same answer (`metrics.same_answer`).

    Where nothing is left of `gold` after normalisation it is looked for as it is. In a script
    without spaces it may be a part of a word.
    """
    gold, text = (unicodedata.normalize("NFC", one) for one in (gold, text))
    parted = _PARTED.sub(" ", gold)
    normal = normalise_answer(parted).split()
    if normal and _UNSPACED.search(gold):
        return "".join(normal) in "".join(normalise_answer(_PARTED.sub(" ", text)).split())
    if normal:
        return any(same_answer(span, parted) for span in _spans(normal, text))
    bare = gold.strip().lower()
    edges = [r"(?<!\w)" if bare[:1].isalnum() else "", r"(?!\w)" if bare[-1:].isalnum() else ""]
    return bool(bare) and re.search(edges[0] + re.escape(bare) + edges[1], text.lower()) is not None


def _spans(normal: Sequence[str], text: str) -> Iterator[str]:
    """The parts of `text` whose normalised words are `normal`, with and without the words beside
    them of which normalisation leaves nothing (signs, articles)."""
    words = _PARTED.sub(" ", text).split()
    kept = [(at, normalise_answer(word)) for at, word in enumerate(words)]
    kept = [(at, word) for at, word in kept if word]
    size = len(normal)
    for first in range(len(kept) - size + 1):
        part = kept[first : first + size]
        if [word for _, word in part] != list(normal):
            continue
        begin, end = part[0][0], part[-1][0] + 1
        least = kept[first - 1][0] + 1 if first else 0
        most = kept[first + size][0] if first + size < len(kept) else len(words)
        for start, stop in dict.fromkeys(itertools.product((begin, least), (end, most))):
            yield " ".join(words[start:stop])


def _solved(one: Answer) -> float:
    from aps_rewards.countdown import Countdown

    if missing := {"numbers", "target"} - one.item.columns.keys():
        raise ValueError(f"solved needs the column {min(missing)!r}")
    columns = {name: [one.item.columns[name]] for name in ("numbers", "target")}
    return float(Countdown()([one.item.question], [one.text], **columns)[0] == 1.0)


def _named(one: Answer) -> float:
    subject = one.item.columns.get("subject")
    if not isinstance(subject, str) or not words(subject):
        raise ValueError(f"named needs the column 'subject', a text; got {subject!r}")
    return float(named(subject, one.text))


MEASURES: dict[str, Callable[[Answer], float | None]] = {
    "exact": lambda a: float(any(same_answer(a.text, gold) for gold in a.item.gold)),
    "f1": lambda a: token_f1(a.text, a.item.gold),
    "rouge_l": lambda a: rouge_l(a.text, a.item.gold),
    "accuracy": _accuracy,
    "numeric": _numeric,
    "contains": _contains,
    "solved": _solved,
    "distinct_2": lambda a: distinct_n([a.text]) if len(a.text.split()) > 1 else None,
    "repetition": lambda a: repeated_ngrams([a.text]),
    "entropy": lambda a: word_entropy(a.text),
    "words": lambda a: float(len(a.text.split())),
    "empty": lambda a: float(not a.text.strip()),
    "named": _named,
    "whole": lambda a: float(whole(a.text)),
}
JUDGED = ("nll",)
"""Measures that are computed for a whole batch, by a judge that is loaded once."""
TRACED = (KL,)
"""Measures that are read from the answer's denoising steps (`aps_eval.run.trace`)."""


def check_measures(names: Iterable[str]) -> None:
    """Raise `ValueError` for an unknown measure."""
    for name in names:
        if name not in (known := [*MEASURES, *TRACED, *JUDGED]):
            raise ValueError(f"metrics are {', '.join(known)}; got {name!r}")


def check_item(names: Iterable[str], item: Item) -> None:
    """Raise `ValueError` unless each named measure can judge answers to this item.

    An empty answer is measured: what fails on it is the item's gold answer or columns.
    """
    for name in names:
        if name in MEASURES:
            MEASURES[name](Answer("", None, item))


def measure(
    names: Sequence[str],
    answers: Sequence[str],
    extracted: Sequence[str | None],
    items: Sequence[Item],
    judge: Callable[[Sequence[str]], list[float]] | None = None,
) -> list[dict[str, float | None]]:
    """The named measures of each answer; `nll` only if a judge is given, and without `kl`."""
    rows = []
    for text, found, item in zip(answers, extracted, items, strict=True):
        one = Answer(text, found, item)
        rows.append({name: MEASURES[name](one) for name in names if name in MEASURES})
    if "nll" in names and judge is not None:
        for row, value in zip(rows, judge(answers), strict=True):
            row["nll"] = None if math.isnan(value) else value
    return rows
