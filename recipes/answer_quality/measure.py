"""Held-out accuracy of an answer-quality reward, per kind of wrong answer.

Measured with the exported folder, loaded as a reward, on these sets:

- `validation`: words of no training pair, with the kinds of wrong answers used in training;
- `other faults`: the same words with the phrasings, sentences and faults of form of the OTHER
  reward;
- `bundled A | B | C`: a sample of the bundled test questions, gold answer against wrong ones; no
  training pair has these questions, or any word of B and C.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from aps_eval.report.statistics import mean_interval

from recipes.answer_quality.pairs import Pair, PairMaker, item_pairs, shortcuts
from recipes.word_knowledge.wordnet_qa import KnowledgeData

__all__ = ["accuracies", "held_out_sets", "measure"]

Score = Callable[[Any, Any], Sequence[float]]


def held_out_sets(
    data: KnowledgeData, judge: PairMaker, other: PairMaker, count: int, seed: int = 7
) -> dict[str, list[Pair]]:
    """The sets named above; `judge` and `other` make pairs about the validation words."""
    bundled = {f"bundled {s}": [i for i in data.items["test"] if i.stratum == s] for s in "ABC"}
    sets = {"validation": judge.pairs(count, seed), "other faults": other.pairs(count, seed)}
    for name, items in bundled.items():
        pairs = item_pairs(items, judge.which)
        sets[name] = random.Random(seed).sample(pairs, min(count // 4, len(pairs)))
    return sets


def accuracies(score: Score, pairs: list[Pair]) -> dict[str, dict[str, float]]:
    """Accuracy with its 95% bootstrap interval, overall, per kind and per type of question.

    A pair counts 1 where the chosen answer scores higher, 1/2 at a tie.
    """
    questions = [p.question for p in pairs]
    right = score(questions, [p.chosen for p in pairs])
    wrong = score(questions, [p.rejected for p in pairs])
    groups: dict[str, list[float]] = defaultdict(list)
    for pair, a, b in zip(pairs, right, wrong, strict=True):
        won = 0.5 if a == b else float(a > b)
        for name in ("all", pair.kind, f"type {pair.type}"):
            groups[name].append(won)
    found = {}
    for name in sorted(groups):
        interval = mean_interval(groups[name], draws=2000)
        figures = {"accuracy": interval.mean, "low": interval.low, "high": interval.high}
        found[name] = {k: round(v, 4) for k, v in figures.items()} | {"n": len(groups[name])}
    return found


def measure(score: Score, sets: dict[str, list[Pair]]) -> dict[str, Any]:
    """`accuracies` of every set, the accuracy of `shortcuts` on it, and quantiles of the scores."""
    found: dict[str, Any] = {}
    for name, pairs in sets.items():
        reached = {rule: round(value, 4) for rule, value in shortcuts(pairs).items()}
        found[name] = {"accuracy": accuracies(score, pairs), "shortcuts": reached}
    pairs = sets["validation"]
    for side in ("chosen", "rejected"):
        texts = [getattr(p, side) for p in pairs]
        values = sorted(score([p.question for p in pairs], texts))
        at = {"5%": 0.05, "50%": 0.5, "95%": 0.95}
        found[f"{side} scores"] = {
            k: round(values[int(q * (len(values) - 1))], 3) for k, q in at.items()
        }
    return found
