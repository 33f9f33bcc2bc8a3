"""The bundled word-knowledge questions (`data/word_knowledge.jsonl`), and a tuning split.

Strata: A, a training fact in phrasings not used in training; B, a training fact asked in the
opposite direction; C, a word without training facts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

__all__ = ["Question", "read_questions", "word_knowledge"]


@dataclass(frozen=True)
class Question:
    """One item.

    Attributes:
        id, stratum, type, lemma: its id, A | B | C, the kind of question, the word asked about.
        question: the question.
        gold: acceptable answers, full sentences.
        key: acceptable short answers; empty for open types.
    """

    id: str
    stratum: str
    type: str
    question: str
    gold: list[str]
    key: list[str]
    lemma: str


def word_knowledge(split: str = "test", count: int | None = None) -> list[Question]:
    """The items of `test` (to report) or `tune` (to choose settings), on disjoint words.

    Args:
        count: how many, spread evenly (the items are ordered by stratum and type); None is all,
            and so is a number above their number.

    Raises:
        ValueError: another split.
    """
    names = {"test": "word_knowledge.jsonl", "tune": "word_knowledge_tune.jsonl"}
    if split not in names:
        raise ValueError(f"split is 'test' or 'tune', got {split!r}")
    items = read_questions(Path(str(files("aps_eval"))) / "data" / names[split])
    count = len(items) if count is None else min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def read_questions(path: str | Path) -> list[Question]:
    """The questions of a JSON-lines file."""
    text = Path(path).read_text(encoding="utf-8")
    return [Question(**json.loads(line)) for line in text.splitlines()]
