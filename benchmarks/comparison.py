"""Functions shared by the benchmarks of steering: questions, tuning rows, measures, beta."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from aps_eval.metrics import token_f1
from aps_eval.report.statistics import mean_interval
from aps_eval.rows import Row
from aps_eval.run.answering import Answerer
from aps_eval.run.cells import Cell
from aps_eval.run.processes import workers
from aps_eval.run.runner import planned, run, shown
from aps_eval.store import RowStore
from aps_eval.word_knowledge import Question, word_knowledge

from recipes.word_knowledge.scoring import is_exact

Found = dict[str, Any]
"""Answers of one method: `text`, `reward` and other columns, with a value per question."""


def rows_of(split: str, count: int) -> list[Question]:
    """`count` items or all, spread evenly over the split (it is ordered by stratum and type)."""
    items = word_knowledge(split)
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def tuning_rows(
    answerer: Answerer, cells: Sequence[Cell], prompts: int, store: RowStore
) -> list[Row]:
    """Answers of all cells to tuning prompts, made or read back; processes share the work."""
    items = {cell.task.name: cell.task.items("tune", prompts) for cell in cells}
    plan = planned(answerer, cells, items, [0])
    me = workers()
    run(answerer, plan, store, shard=(me.number, me.size))
    me.wait()
    store.refresh()
    return shown(plan, store)


def f1_of(found: Found, items: Sequence[Question]) -> list[float]:
    return [token_f1(t, item.gold) for t, item in zip(found["text"], items, strict=True)]


def measures(found: Found, items: Sequence[Question], judge) -> dict[str, list[float]]:
    """Columns per question; an empty answer has no fluency and counts as the judge's worst."""
    columns = {
        "reward": found["reward"],
        "token F1": f1_of(found, items),
        "exact": [float(is_exact(item, t)) for t, item in zip(found["text"], items, strict=True)],
        "words": [float(len(text.split())) for text in found["text"]],
    }
    if judge is not None:
        nll = judge(found["text"])
        worst = max((v for v in nll if not math.isnan(v)), default=0.0)
        columns["NLL"] = [worst if math.isnan(v) else v for v in nll]
    return columns


def choose_beta(
    betas: Sequence[float],
    run: Callable[[float | None], Found],
    items: Sequence[Question],
    f1_loss: float = 0.02,
) -> float:
    """The beta with the highest reward whose token F1 stays within `f1_loss` of plain decoding's.

    Args:
        betas: from the mildest; the first is taken if none keeps the F1.
        run: answers on the tuning questions `items` with a beta, or plainly with None.
    """
    floor = mean_interval(f1_of(run(None), items)).mean - f1_loss
    best, chosen = -math.inf, betas[0]
    for beta in betas:
        found = run(beta)
        value = sum(found["reward"]) / len(items)
        f1 = sum(f1_of(found, items)) / len(items)
        print(f"  tuning beta={beta:<5g} reward {value:+.3f}  token F1 {f1:.3f}", flush=True)
        if value > best and f1 >= floor:
            best, chosen = value, beta
    return chosen
