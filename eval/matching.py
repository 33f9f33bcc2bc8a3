"""Equal cost: N, k or M of every method, such that a prompt costs each of them the same.

Cost is measured on tuning prompts, one batch at a time, after a call that is not counted. From the
cost at 1 the setting is guessed in proportion, measured, and corrected along the line through the
two nearest measurements, four times at most; the measured setting nearest to the budget (by ratio)
is taken. Every measurement is a line of `calibration.jsonl` and is read back by a later run: one
that goes on has the settings it began with.

What cannot be matched (a method that costs more at 1 than the budget) keeps 1, and the table says
by how much it is off.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .answering import Answerer
from .cells import Cell, Match
from .rows import digest
from .task import Item

__all__ = ["Calibration", "Matched", "match_cells", "nearest_setting"]

LARGEST = 512
TRIES = 4
NEAR = 1.25
"""A cost within this factor of the budget is called matched."""


@dataclass(frozen=True)
class Matched:
    """What matching chose for a cell.

    Attributes:
        task, guide, label: of the cell; knob and value: what was turned, and to what (None, "" of
            the method the budget comes from, and of one without a knob).
        unit, budget, cost: per prompt, the cost as measured at that value.
        tried: value -> measured cost.
    """

    task: str
    guide: str
    label: str
    knob: str
    value: int | None
    unit: str
    budget: float
    cost: float
    tried: dict[int, float]

    @property
    def ratio(self) -> float:
        """Cost over budget."""
        return self.cost / self.budget

    @property
    def matched(self) -> bool:
        """Is it within a factor of `NEAR`?"""
        return 1 / NEAR <= self.ratio <= NEAR

    def as_dict(self) -> dict[str, Any]:
        """For `run.json`."""
        return {**asdict(self), "ratio": self.ratio, "matched": self.matched}


class Calibration:
    """Measured costs, kept in a file of JSON lines.

    Args:
        path: of the file.
        answerer: measures; its flops are counted for the unit `flops`.
        unit: `seconds` or `flops`.
    """

    def __init__(self, path: Path, answerer: Answerer, unit: str) -> None:
        self.path, self.unit = path, unit
        self.answerer = Answerer(
            answerer.pipe, "tune", None, unit == "flops", answerer.fingerprint, answerer._rewards
        )
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole, end, torn = text.rpartition("\n")
        if torn:
            path.write_text(whole + end, encoding="utf-8")
        self.known: dict[str, float] = {}
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                one = json.loads(line)
                self.known[one["key"]] = float(one["cost"])
            except (json.JSONDecodeError, KeyError, TypeError):
                raise ValueError(f"{path} line {number} is no measurement; remove it") from None

    def cost(self, cell: Cell, items: Sequence[Item]) -> float:
        """Cost per prompt of a cell on these items.

        Raises:
            ValueError: the cell fails on one of them.
        """
        size = self.answerer.pipe.batch_size
        units = [self.answerer.unit(cell, item, 0) for item in items]
        key = digest([self.unit, size, [unit.key for unit in units]])
        if key in self.known:
            return self.known[key]
        batches = [units[first : first + size] for first in range(0, len(units), size)]
        self.answerer.call(batches[0])  # caches, allocators and lazy imports
        total = 0.0
        for batch in batches:
            out, share = self.answerer.call(batch)
            if out.failures:
                raise ValueError(
                    f"matching: {cell.label} failed on {out.failures[0].prompt!r}: "
                    f"{out.failures[0].error}"
                )
            total += share[self.unit] * len(batch)
        found = total / len(units)
        line = {
            "key": key,
            "task": cell.task.name,
            "guide": cell.block[1],
            "label": cell.label,
            "settings": cell.options,
            "inner_steps": cell.config.inner_steps,
            "unit": self.unit,
            "cost": found,
            "prompts": len(units),
            "batch_size": size,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.known[key] = found
        return found


def match_cells(
    cells: Sequence[Cell],
    match: Match,
    items: Callable[[Cell], Sequence[Item]],
    calibration: Calibration,
) -> tuple[list[Cell], list[Matched]]:
    """The cells with their knobs set, and how well each is matched.

    Args:
        items: the tuning prompts of a cell's task.
    """
    settled, report = [], []
    for cell in cells:
        asked = items(cell)
        budget = match.budget
        if isinstance(budget, str):
            rival = next(c for c in cells if c.block == cell.block and c.label == budget)
            amount = calibration.cost(rival, asked)
        else:
            amount = float(budget)
        knob = "" if cell.label == budget else cell.knob or ""
        value: int | None = None
        tried: dict[int, float] = {}
        if knob:

            def cost(at: int, cell: Cell = cell, asked: Sequence[Item] = asked) -> float:
                return calibration.cost(cell.turned(at), asked)

            value, tried = nearest_setting(cost, amount)
            cell = cell.turned(value)
        spent = tried[value] if value is not None else calibration.cost(cell, asked)
        settled.append(cell)
        block = (*cell.block, cell.label)
        report.append(Matched(*block, knob, value, match.unit, amount, spent, tried))
    return settled, report


def nearest_setting(cost: Callable[[int], float], budget: float) -> tuple[int, dict[int, float]]:
    """The whole number whose measured cost is nearest to the budget, and all that was measured.

    Args:
        cost: of a number from 1; rises about linearly.
        budget: positive.

    Raises:
        ValueError: a budget that is not positive.
    """
    if not budget > 0:
        raise ValueError(f"a budget is positive, got {budget}")
    tried = {1: cost(1)}
    if tried[1] < budget:
        guess = round(budget / tried[1])
        for _ in range(TRIES):
            guess = min(max(1, guess), LARGEST)
            if guess in tried:
                break
            tried[guess] = cost(guess)
            guess = _along_the_line(tried, budget)
    best = min(tried, key=lambda value: abs(math.log(tried[value] / budget)))
    return best, tried


def _along_the_line(tried: dict[int, float], budget: float) -> int:
    """Where the line through the two nearest measurements meets the budget."""
    one, two = sorted(tried, key=lambda value: abs(tried[value] - budget))[:2]
    slope = (tried[two] - tried[one]) / (two - one)
    return one if slope <= 0 else round(one + (budget - tried[one]) / slope)
