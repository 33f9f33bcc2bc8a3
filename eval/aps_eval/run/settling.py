"""What a grid leaves open is settled before it is answered: trials are chosen, costs are matched.

Both are measured on tuning prompts and kept in the run's folder; a run that goes on finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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

__all__ = ["Settling"]

Found = TypeVar("Found")


@dataclass(frozen=True)
class Settling:
    """Trials and costs of one run.

    Attributes:
        items: by task, those that will be answered.
        folder: the run's.
        me: this process; the first one measures costs and prints.
    """

    answerer: Answerer
    items: Mapping[str, Sequence[Item]]
    folder: Path
    me: Workers
    console: Console

    def trials_at_budgets(self, grid: Grid) -> Grid:
        """The grid with one cell per budget where trials are chosen there, turned to meet it."""
        if grid.match is None or not grid.tuning.at_budget:
            return grid
        return replace(grid, cells=self._measured(grid, grid.match, at_budgets))

    def trials_chosen(self, grid: Grid, retry: bool) -> tuple[Grid, list[dict[str, Any]]]:
        """The grid with one of each method's trials, and what they came to.

        Args:
            retry: try failed answers to tuning prompts again.
        """
        tasks = {cell.task.name: cell.task for cell in grid.cells if cell.trials}
        if not tasks:
            return grid, []
        tuning, me = grid.tuning, self.me
        asked = {
            name: task.items("tune", tuning.prompts, grid.data) for name, task in tasks.items()
        }
        if me.first:
            count = f"at most {tuning.prompts} tuning prompts"
            self.console.print(f"trials on {', '.join(tasks)}, {count}")
        with Answers(self.console, me.first) as on_batch:
            cells, found = choose_trials(
                grid.cells,
                tuning,
                self.answerer,
                asked,
                self.folder,
                me,
                retry=retry,
                on_batch=on_batch,
            )
        trials = [one.as_dict() for one in found]
        if me.first:
            show_trials(trials, self.console)
        return replace(grid, cells=cells), trials

    def equal_cost(self, grid: Grid) -> tuple[list[Cell], list[Matched]]:
        """Cells at matched cost."""
        if grid.match is None:
            return grid.cells, []
        return self._measured(grid, grid.match, match_cells)

    def _measured(self, grid: Grid, match: Match, use: Callable[..., Found]) -> Found:
        """What `use` makes of the cells by measured costs; the first process measures, the others
        read its file."""

        def count(name: str) -> int:
            """The number of tuning prompts of a task: a batch of the run's size (for flops, which
            do not depend on the number of processes, of a run of one process)."""
            processes = self.me.size if match.unit == "seconds" else 1
            share = -(-len(self.items[name]) * len(grid.seeds) // processes)
            return match.prompts or even(share, grid.batch_size)

        def work() -> Found:
            tasks = {cell.task.name: cell.task for cell in grid.cells}
            asked = {n: task.items("tune", count(n), grid.data) for n, task in tasks.items()}
            with waiting(self.console, "measuring costs", self.me.first) as on_try:
                file = self.folder / "calibration.jsonl"
                calibration = Calibration(file, self.answerer, match.unit, match.repeats, on_try)
                return use(grid.cells, match, lambda cell: asked[cell.task.name], calibration)

        return self.me.in_turn(work)
