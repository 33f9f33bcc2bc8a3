"""Exact match of answers to the bundled questions."""

from __future__ import annotations

from collections.abc import Sequence

from aps_eval.word_knowledge import Question

from recipes.word_knowledge.phrases import KEYED, key_of, normalise

__all__ = ["exact_match", "group_name", "is_exact"]


def is_exact(item: Question, answer: str) -> bool:
    """Whether an answer is exact.

    Types with a key (kind, example, opposite, synonym, choice, yes/no): the key phrase of the
    answer is one of the accepted ones. Others: the sentence equals a gold one after lower-casing
    and dropping punctuation.
    """
    if item.type in KEYED:
        return key_of(item.type, answer) in {normalise(key) for key in item.key}
    return normalise(answer) in {normalise(gold) for gold in item.gold}


def group_name(item: Question) -> str:
    """Stratum and type, e.g. "A kind"."""
    return f"{item.stratum} {item.type}"


def exact_match(items: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Fraction of exact answers per stratum and type."""
    hits: dict[str, list[bool]] = {}
    for item, answer in zip(items, answers, strict=True):
        hits.setdefault(group_name(item), []).append(is_exact(item, answer))
    return {name: sum(h) / len(h) for name, h in sorted(hits.items())}
