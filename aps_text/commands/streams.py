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
def prints_aside(json: bool) -> Iterator[None]:
    """Context in which what a reward or a model's code prints goes to stderr, for `--json`.

    Then stdout is the JSON alone, which a program reads. It is `sys.stdout` of the whole process
    that is turned; what writes to the file descriptor (C code, a subprocess) is not.
    """
    if not json:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield
