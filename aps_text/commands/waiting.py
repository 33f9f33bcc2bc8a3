"""What a command is waiting for, on stderr: a spinner on a terminal, else a plain line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.states import StepState

__all__ = ["importing", "said", "steps_said", "waiting"]

BETWEEN = 5.0
"""Seconds between two lines of `steps_said`."""


def said(what: str) -> None:
    """Print `aps: WHAT ...` on stderr, unless that is a terminal."""
    if not sys.stderr.isatty():
        print(f"aps: {what} ...", file=sys.stderr, flush=True)


def steps_said(title: str | Callable[[], str]) -> Callable[[int, StepState], None] | None:
    """An `on_step` that prints `aps: TITLE, step 4 of 16 ...` every few seconds; None on a
    terminal, which has a bar."""
    if sys.stderr.isatty():
        return None
    last = time.monotonic()

    def step(number: int, state: StepState) -> None:
        nonlocal last
        if time.monotonic() - last >= BETWEEN:
            last = time.monotonic()
            shown = title if isinstance(title, str) else title()
            said(f"{shown}, step {state.step + 1} of {state.steps}")

    return step


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
