"""Equal cost: N, k or M of every method, such that a prompt costs each of them the same.

Cost is measured on tuning prompts, in batches as large as those of the run, after a call of each
method that is not counted. From the cost at 1 the setting is guessed in proportion, measured, and
corrected along the line through the two nearest measurements, until it is within a twentieth of
the budget, four times at most; the measured setting nearest to the budget (by ratio) is taken.

What cannot be matched (a method that costs more at 1 than the budget) keeps 1, and the table says
by how much it is off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..items import Item
from .calibration import Calibration
from .cells import Cell, Match

__all__ = ["Matched", "match_cells", "nearest_setting"]

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
        return max(one + 1, round(one * budget / tried[one]))  # much of its cost may be fixed
    slope = (tried[more[0]] - tried[one]) / (more[0] - one)
    if slope <= 0:  # a setting that costs nothing, as far as can be measured
        return 2 * max(tried) if tried[one] < budget else one
    return round(one + (budget - tried[one]) / slope)
