"""Matching of cost: chooses N, k or M of every method so that all cost the same per prompt.

Cost is measured on tuning prompts, in batches as large as those of the run, after one uncounted
call of each method. The first guess is proportional to the cost at 1; it is measured and corrected
along the line through the two nearest measurements until the cost is within 5% of the budget, four
times at most. The measured setting nearest to the budget (by ratio) is taken.

With `tuning: {at_budget: true}` every trial of a method is turned so before one is chosen, for each
budget anew (`at_budgets`): few choices among many candidates may be the best at one price, many
among few at another.

A method that costs more at 1 than the budget keeps 1, and the table shows the ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..items import Item
from .calibration import Calibration
from .cells import Cell, Match

__all__ = ["Matched", "at_budgets", "match_cells", "nearest_setting"]

LARGEST = 512
TRIES = 4
CLOSE = 1.05
"""The search stops at a cost within this factor of the budget."""
NEAR = 1.25
"""A cost within this factor of the budget counts as matched."""


@dataclass(frozen=True)
class Matched:
    """The result of matching for a cell.

    Attributes:
        task, guide, label: of the cell.
        knob, value: the setting and its chosen value ("" and None for the method that defines the
            budget, and for one without a knob).
        unit, budget, cost: per prompt; the cost is measured at that value.
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
        """Whether the cost is within the factor `NEAR` of the budget."""
        return 1 / NEAR <= self.ratio <= NEAR

    def as_dict(self) -> dict[str, Any]:
        """The fields as a dict for `run.json`."""
        return {**asdict(self), "ratio": self.ratio, "matched": self.matched}


def at_budgets(
    cells: Sequence[Cell],
    match: Match,
    items: Callable[[Cell], Sequence[Item]],
    calibration: Calibration,
) -> list[Cell]:
    """The cells; of each with trials and a knob one for every budget, its trials turned to meet it.

    Arguments as of `match_cells`.

    Raises:
        ValueError: a budget is the cost of a method that has trials itself.
    """
    found: list[Cell] = []
    for cell in cells:
        if not cell.trials or cell.knob is None:
            found.append(cell)
            continue
        asked = items(cell)
        tried: list[dict[int, float]] = [{} for _ in cell.trials]
        for budget in match.budgets:
            amount = _amount(budget, cell, cells, asked, calibration)
            met = _at(cell, match, budget)
            trials = []
            for trial, known in zip(cell.trials, tried, strict=True):
                value = _nearest(trial, amount, known, asked, calibration)
                trials.append(replace(_at(trial, match, budget).turned(value), settled=value))
            found.append(replace(met, trials=tuple(trials)))
    return found


def _at(cell: Cell, match: Match, budget: float | str) -> Cell:
    """The cell under the name of one of several budgets."""
    if len(match.budgets) == 1:
        return cell
    name = match.called(budget)
    return replace(cell, label=f"{cell.label} @{name}", budget=name)


def _nearest(
    cell: Cell,
    amount: float,
    tried: dict[int, float],
    asked: Sequence[Item],
    calibration: Calibration,
) -> int:
    """`nearest_setting` of the cell's knob."""
    return nearest_setting(
        lambda at: calibration.cost(cell.turned(at), asked), amount, tried, cell.least
    )


def match_cells(
    cells: Sequence[Cell],
    match: Match,
    items: Callable[[Cell], Sequence[Item]],
    calibration: Calibration,
) -> tuple[list[Cell], list[Matched]]:
    """The cells with their knobs set, and how well each is matched.

    With several budgets a cell with a knob becomes one cell per budget, `label @budget`; one
    without a knob stays as it is, and the report compares its cost with every budget.

    Args:
        items: gives the tuning prompts of a cell's task.
        calibration: measures costs.
    """
    settled: list[Cell] = []
    report: list[Matched] = []
    for cell in cells:
        asked = items(cell)
        tried: dict[int, float] = {}
        if cell.knob is None:
            settled.append(cell)
        for budget in match.budgets:
            if cell.settled is not None and cell.budget not in ("", match.called(budget)):
                continue
            amount = _amount(budget, cell, cells, asked, calibration)
            own = cell
            if cell.knob is not None and cell.settled is None:
                own = _at(cell, match, budget)
            itself = isinstance(budget, str) and match.rival(budget) == (1.0, cell.label)
            knob = "" if itself else cell.knob or ""
            value: int | None = None
            if cell.settled is not None:
                value = cell.settled
                tried[value] = calibration.cost(cell, asked)
            elif knob:
                value = _nearest(cell, amount, tried, asked, calibration)
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
    """A budget as a number; for a label, the measured cost of that method in the cell's block."""
    if not isinstance(budget, str):
        return float(budget)
    times, label = Match.rival(budget)
    rival = next(one for one in cells if one.block == cell.block and one.label == label)
    if rival.trials:
        raise ValueError(
            f"tuning: at_budget chooses among the trials of {label!r} at a budget, and the budget "
            "is its own cost; name a method without trials (5 x plain), or a number"
        )
    return times * calibration.cost(rival, asked)


def nearest_setting(
    cost: Callable[[int], float], budget: float, tried: dict[int, float], least: int = 1
) -> int:
    """The integer whose measured cost is nearest to the budget.

    Args:
        cost: measures the cost at an integer >= `least`; assumed to rise about linearly.
        budget: > 0.
        tried: earlier measurements, by integer; new ones are added.

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
    """The value at which the line through the two nearest measurements (or one measurement and 0)
    reaches the budget."""
    one, *more = sorted(tried, key=lambda value: abs(tried[value] - budget))
    if not more:
        return max(one + 1, round(one * budget / tried[one]))  # most of the cost may be fixed
    slope = (tried[more[0]] - tried[one]) / (more[0] - one)
    if slope <= 0:  # no measurable effect on the cost
        return 2 * max(tried) if tried[one] < budget else one
    return round(one + (budget - tried[one]) / slope)
