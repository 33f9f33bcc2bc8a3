"""Progress displays: a spinner or a bar on a terminal, single lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Answers", "waiting"]

LINES = 10
"""Number of progress lines of a run without a terminal."""


@contextmanager
def waiting(console: Console, what: str, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Context that shows what is being done; yields a function that shows a further step.

    Args:
        shown: False shows nothing (of several processes only one prints).
    """
    from rich.markup import escape

    if not shown:
        yield lambda step: None
    elif console.is_terminal:
        with console.status(f"{escape(what)} ...", refresh_per_second=1) as status:
            yield lambda step: status.update(f"{escape(what)}: {escape(step)}")
    else:
        console.print(f"{what} ...", markup=False, soft_wrap=True)
        yield lambda step: console.print(f"{what}: {step}", markup=False, soft_wrap=True)


class Answers:
    """A bar with the time left on a terminal, else a line per tenth; yields `run`'s `on_batch`."""

    def __init__(self, console: Console, shown: bool = True) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            *(TextColumn("answers"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
            *(TextColumn("left"), TimeRemainingColumn()),
        )
        self.console, self.lines = console, shown and not console.is_terminal
        # Cells differ in speed and alternate, so the time left is computed from the mean speed.
        self.bar = Progress(
            *columns,
            console=console,
            disable=not shown or self.lines,
            speed_estimate_period=1e6,
        )
        self.task = self.bar.add_task("answers", total=None)
        self._tenth = -1

    def __enter__(self) -> Callable[[int, int], None]:
        self.bar.start()
        return self._done

    def __exit__(self, *error: Any) -> None:
        self.bar.stop()

    def _done(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total)
        tenth = LINES * done // total if total else 0
        if self.lines and total and tenth > self._tenth:
            self._tenth = tenth
            self.console.print(f"answers {done}/{total}", markup=False)
