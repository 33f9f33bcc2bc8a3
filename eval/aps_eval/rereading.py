"""A stored answer read and measured by the rules of today; nothing is generated."""

from __future__ import annotations

from dataclasses import replace

from .extraction import RULES, extract
from .items import Item
from .measures import MEASURES, NOT_FOUND, measure
from .rows import Row
from .task import Task

__all__ = ["read_again"]


def read_again(row: Row, task: Task, item: Item) -> Row:
    """The row with `extracted` and what is measured from the text alone as of today's rules.

    Fluency, KL, rewards and cost stay as they are. Metrics that were measured after the run are
    among those measured again.
    """
    found = extract(task.extract, row.answer, item.choices)
    names = dict.fromkeys([*task.metrics, *(name for name in row.metrics if name in MEASURES)])
    metrics = {**row.metrics, **measure(list(names), [row.answer], [found], [item])[0]}
    if task.extract != "text":
        metrics[NOT_FOUND] = float(found is None)
    return replace(row, extracted=found, metrics=metrics, rules=RULES)
