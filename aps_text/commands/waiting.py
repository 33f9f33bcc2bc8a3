"""What a command is waiting for, on stderr: a spinner on a terminal, else a plain line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.states import StepState
    from ..pipelines.step_progress import StepProgress

__all__ = ["StepLines", "importing", "said", "steps_said", "waiting"]

BETWEEN = 5.0
"""Seconds between two lines of `StepLines`."""


def said(what: str) -> None:
    """Print `aps: WHAT ...` on stderr, unless that is a terminal."""
    if not sys.stderr.isatty():
        print(f"aps: {what} ...", file=sys.stderr, flush=True)


class StepLines:
    """An `on_step` that prints `aps: TITLE, step 4 of 16 ...` every few seconds; its method
    `passed` is an `on_pass` that does so within a step that compares answers."""

    def __init__(self, title: str | Callable[[], str]) -> None:
        self.title, self._last = title, time.monotonic()

    def __call__(self, number: int, state: StepState) -> None:
        """After a step."""
        self._say(f"step {state.step + 1} of {state.steps}")

    def passed(self, progress: StepProgress) -> None:
        """As a pass of the denoiser begins."""
        if progress.answers:
            self._say(str(progress))

    def _say(self, what: str) -> None:
        if time.monotonic() - self._last >= BETWEEN:
            self._last = time.monotonic()
            said(f"{self.title if isinstance(self.title, str) else self.title()}, {what}")


def steps_said(title: str | Callable[[], str]) -> StepLines | None:
    """The lines of a call's steps on stderr; None on a terminal, which has a bar."""
    return None if sys.stderr.isatty() else StepLines(title)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Context that shows what is being waited for: a spinner on a terminal, else a line."""
    from rich.markup import escape

    from ..text.text_console import TextConsole

    console = TextConsole(stderr=True)
    if not console.is_terminal:
        said(what)
        yield
        return
    with console.status(f"{escape(what)} ..."):
        yield


def importing(module: str) -> AbstractContextManager[None]:
    """`waiting`, unless the module, whose import takes seconds, is there already."""
    return nullcontext() if module in sys.modules else waiting(f"loading {module}")
