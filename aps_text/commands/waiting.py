"""What a command is waiting for, on stderr: a spinner on a terminal, else a plain line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

__all__ = ["importing", "said", "waiting"]


def said(what: str) -> None:
    """Print `aps: WHAT ...` on stderr, unless that is a terminal."""
    if not sys.stderr.isatty():
        print(f"aps: {what} ...", file=sys.stderr, flush=True)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Context that shows what is being waited for: a spinner on a terminal, else a line."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        said(what)
        yield
        return
    with console.status(f"{what} ..."):
        yield


def importing(module: str) -> AbstractContextManager[None]:
    """`waiting`, unless the module, whose import takes seconds, is there already."""
    return nullcontext() if module in sys.modules else waiting(f"loading {module}")
