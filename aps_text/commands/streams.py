"""The standard streams of a process that was started without some (`>&-`, `2>&-`, `<&-`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

__all__ = ["open_streams", "prints_aside"]


def open_streams() -> bool:
    """Open the missing standard streams; False if stdout, which results go to, is missing.

    A missing stdin is empty, and what is written to a missing stderr is dropped. Opened in this
    order they take the free descriptors 0 to 2, which no other file then gets.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    there = sys.stdout is not None
    if not there:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    return there


@contextmanager
def prints_aside(aside: bool) -> Iterator[None]:
    """Context in which what a reward or a model's code prints goes to stderr, for `--json`.

    Then stdout holds the results alone, which a program reads. It is turned for the whole process,
    and so is descriptor 1, which C code and subprocesses write to.
    """
    if not aside:
        yield
        return
    with redirect_stdout(sys.stderr), _descriptor_aside():
        yield


@contextmanager
def _descriptor_aside() -> Iterator[None]:
    """Context in which descriptor 1 is stderr; nothing where stdout or stderr are no files."""
    try:
        streams = (sys.__stdout__, sys.__stderr__)
        out, err = (stream.fileno() if stream is not None else -1 for stream in streams)
    except (OSError, ValueError):
        out, err = -1, -1
    if (out, err) != (1, 2) or sys.__stdout__ is None:
        yield
        return
    sys.__stdout__.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.__stdout__.flush()
        os.dup2(saved, 1)
        os.close(saved)
