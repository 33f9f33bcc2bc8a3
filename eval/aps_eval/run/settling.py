"""What a grid leaves open is settled before it is answered: trials are chosen, costs are matched.

Both are measured on tuning prompts and kept in the run's folder; a run that goes on finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..items import Item
from ..report.tables import show_trials
from .answering import Answerer
from .calibration import Calibration
from .cells import Cell, Grid, Match
from .matching import Matched, at_budgets, match_cells
from .processes import Workers
from .progress import Answers, waiting
from .runner import even
from .trials import choose_trials

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["cells_at_equal_cost", "with_trials_at_budgets", "with_trials_chosen"]

Found = TypeVar("Found")


def with_trials_at_budgets(
    grid: Grid,
    answerer: Answerer,
    items: Mapping[str, Sequence[Item]],
    folder: Path,
    me: Workers,
    console: Console,
) -> Grid:
    """The grid with one cell per budget where trials are chosen there, turned to meet it."""
    if grid.match is None or not grid.tuning.at_budget:
        return grid
    cells = _measured(grid, grid.match, answerer, items, folder, me, console, at_budgets)
    return replace(grid, cells=cells)


def with_trials_chosen(
    grid: Grid, answerer: Answerer, folder: Path, me: Workers, console: Console, retry: bool
) -> tuple[Grid, list[dict[str, Any]]]:
    """The grid with one of each method's trials, and what they came to.

    Args:
        retry: try failed answers to tuning prompts again.
    """
    tasks = {cell.task.name: cell.task for cell in grid.cells if cell.trials}
    if not tasks:
        return grid, []
    tuning = grid.tuning
    asked = {name: task.items("tune", tuning.prompts, grid.data) for name, task in tasks.items()}
    if me.first:
        console.print(f"trials on {', '.join(tasks)}, at most {tuning.prompts} tuning prompts")
    with Answers(console, me.first) as on_batch:
        cells, found = choose_trials(
            grid.cells, tuning, answerer, asked, folder, me, retry=retry, on_batch=on_batch
        )
    trials = [one.as_dict() for one in found]
    if me.first:
        show_trials(trials, console)
    return replace(grid, cells=cells), trials


def cells_at_equal_cost(
    grid: Grid,
    answerer: Answerer,
    items: Mapping[str, Sequence[Item]],
    folder: Path,
    me: Workers,
    console: Console,
) -> tuple[list[Cell], list[Matched]]:
    """Cells at matched cost."""
    if grid.match is None:
        return grid.cells, []
    return _measured(grid, grid.match, answerer, items, folder, me, console, match_cells)


def _measured(
    grid: Grid,
    match: Match,
    answerer: Answerer,
    items: Mapping[str, Sequence[Item]],
    folder: Path,
    me: Workers,
    console: Console,
    use: Callable[[Sequence[Cell], Match, Callable[[Cell], Sequence[Item]], Calibration], Found],
) -> Found:
    """What `use` makes of the cells by measured costs; the first process measures, the others read
    its file."""

    def count(name: str) -> int:
        """The number of tuning prompts of a task: a batch of the run's size (for flops, which do
        not depend on the number of processes, of a run of one process)."""
        processes = me.size if match.unit == "seconds" else 1
        share = -(-len(items[name]) * len(grid.seeds) // processes)
        return match.prompts or even(share, grid.batch_size)

    def work() -> Found:
        tasks = {cell.task.name: cell.task for cell in grid.cells}
        asked = {name: task.items("tune", count(name), grid.data) for name, task in tasks.items()}
        with waiting(console, "measuring costs", me.first) as on_try:
            calibration = Calibration(
                folder / "calibration.jsonl", answerer, match.unit, match.repeats, on_try
            )
            return use(grid.cells, match, lambda cell: asked[cell.task.name], calibration)

    return me.in_turn(work)
