"""Equal cost: N, k or M of every method, such that a prompt costs each of them the same.

Cost is measured on tuning prompts, in batches as large as those of the run, after a call of each
method that is not counted. From the cost at 1 the setting is guessed in proportion, measured, and
corrected along the line through the two nearest measurements, until it is within a twentieth of
the budget, four times at most; the measured setting nearest to the budget (by ratio) is taken.
Every measurement is a line of `calibration.jsonl` and is read back by a later run: one that goes on
has the settings it began with.

What cannot be matched (a method that costs more at 1 than the budget) keeps 1, and the table says
by how much it is off.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .answering import Answerer, Unit
from .cells import Cell, Match
from .files import explained
from .rows import digest
from .task import Item

__all__ = ["Calibration", "Matched", "match_cells", "nearest_setting"]

LARGEST = 512
TRIES = 4
CLOSE = 1.05
"""A cost within this factor of the budget is not bettered."""
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
        repeats: measurements of each setting; the least counts.
        on_try: called with what is measured next.
    """

    def __init__(
        self,
        path: Path,
        answerer: Answerer,
        unit: str,
        repeats: int = 1,
        on_try: Callable[[str], None] | None = None,
    ) -> None:
        self.path, self.unit, self.on_try = path, unit, on_try
        self.repeats = repeats if unit == "seconds" else 1
        self.answerer = Answerer(
            answerer.pipe, "tune", None, unit == "flops", answerer.fingerprint, answerer._rewards
        )
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole, end, torn = text.rpartition("\n")
        if torn:
            path.write_text(whole + end, encoding="utf-8")
        self.known: dict[str, float] = {}
        self._warm: set[str] = set()
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
        key = digest([self.unit, size, self.repeats, [unit.key for unit in units]])
        if key in self.known:
            return self.known[key]
        if self.on_try is not None:
            kind, _, name = (cell.knob or "").partition(".")
            at = getattr(cell.config, name) if kind == "config" else cell.options.get(name)
            turned = "" if at is None else f", {name}={at}"
            self.on_try(f"{cell.task.name}, {cell.block[1] or 'no guide'}: {cell.label}{turned}")
        batches = [units[first : first + size] for first in range(0, len(units), size)]
        kind = digest([cell.method, cell.rewards, cell.config.adapter])
        if self.unit == "seconds" and kind not in self._warm:
            cuda = self.answerer.pipe.model.anatomy.device.type == "cuda"
            self.answerer.call(batches[0] if cuda else batches[0][:1])  # caches, lazy imports
            self._warm.add(kind)
        found = min(self._once(cell, batches) for _ in range(self.repeats)) / len(units)
        line = {
            "key": key,
            "task": cell.task.name,
            "guide": cell.block[1],
            "label": cell.label,
            "settings": cell.options,
            "config": cell.config_fields(),
            "unit": self.unit,
            "cost": found,
            "repeats": self.repeats,
            "prompts": len(units),
            "batch_size": min(size, len(units)),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise explained(
                error, self.path, "write a measurement; those before are safe"
            ) from error
        self.known[key] = found
        return found

    def _once(self, cell: Cell, batches: Sequence[Sequence[Unit]]) -> float:
        """Cost of all of them."""
        total = 0.0
        for batch in batches:
            out, share = self.answerer.call(batch)
            if out.failures:
                raise ValueError(
                    f"matching: {cell.label} failed on {out.failures[0].prompt!r}: "
                    f"{out.failures[0].error}"
                )
            total += share[self.unit] * len(batch)
        return total


def match_cells(
    cells: Sequence[Cell],
    match: Match,
    items: Callable[[Cell], Sequence[Item]],
    calibration: Calibration,
) -> tuple[list[Cell], list[Matched]]:
    """The cells with their knobs set, and how well each is matched.

    At several budgets a cell with a knob becomes one at each, `label @budget`; one without stays as
    it is, and the report compares its cost with every budget.

    Args:
        items: the tuning prompts of a cell's task.
    """
    settled: list[Cell] = []
    report: list[Matched] = []
    for cell in cells:
        asked = items(cell)
        tried: dict[int, float] = {}
        if cell.knob is None:
            settled.append(cell)
        for budget in match.budgets:
            amount = _amount(budget, cell, cells, asked, calibration)
            own = cell
            if len(match.budgets) > 1 and cell.knob is not None:
                name = match.called(budget)
                own = replace(cell, label=f"{cell.label} @{name}", budget=name)
            knob = "" if cell.label == budget else cell.knob or ""
            value: int | None = None
            if knob:

                def cost(at: int, cell: Cell = cell, asked: Sequence[Item] = asked) -> float:
                    return calibration.cost(cell.turned(at), asked)

                value = nearest_setting(cost, amount, tried, cell.least)
                own = own.turned(value)
            spent = tried[value] if value is not None else calibration.cost(cell, asked)
            if cell.knob is not None:
                settled.append(own)
            block = (*cell.block, own.label)
            report.append(Matched(*block, knob, value, match.unit, amount, spent, dict(tried)))
    return settled, report


def _amount(
    budget: float | str,
    cell: Cell,
    cells: Sequence[Cell],
    asked: Sequence[Item],
    calibration: Calibration,
) -> float:
    """A budget as a number: of a label, what that method costs in the cell's block."""
    if not isinstance(budget, str):
        return float(budget)
    rival = next(one for one in cells if one.block == cell.block and one.label == budget)
    return calibration.cost(rival, asked)


def nearest_setting(
    cost: Callable[[int], float], budget: float, tried: dict[int, float], least: int = 1
) -> int:
    """The whole number whose measured cost is nearest to the budget.

    Args:
        cost: of a number from `least`; rises about linearly.
        budget: positive.
        tried: what was measured before (at another budget); what is measured now is added.

    Raises:
        ValueError: a budget that is not positive.
    """
    if not budget > 0:
        raise ValueError(f"a budget is positive, got {budget}")
    if least not in tried:
        tried[least] = cost(least)
    if tried[least] < budget:
        guess = _guess(tried, budget)
        for _ in range(TRIES):
            guess = min(max(least, guess), LARGEST)
            if guess in tried:
                break
            tried[guess] = cost(guess)
            if abs(math.log(tried[guess] / budget)) < math.log(CLOSE):
                break
            guess = _guess(tried, budget)
    return min(tried, key=lambda value: abs(math.log(tried[value] / budget)))


def _guess(tried: dict[int, float], budget: float) -> int:
    """Where the line through the two nearest measurements, or through 0, meets the budget."""
    one, *more = sorted(tried, key=lambda value: abs(tried[value] - budget))
    if not more:
        return round(one * budget / tried[one])
    slope = (tried[more[0]] - tried[one]) / (more[0] - one)
    return one if slope <= 0 else round(one + (budget - tried[one]) / slope)
