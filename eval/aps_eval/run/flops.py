"""Floating point operations of everything that runs inside, matrix products only.

Counted where they are dispatched, backward passes too, by torch's own formulas. Rewards that
answer from another process or thread (a server, a timeout) are not seen.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from aps_text.planning.counting import Operations

__all__ = ["FlopCounter"]


class FlopCounter:
    """`with FlopCounter() as flops: ...; flops.total`; with `active=False` it counts nothing."""

    def __init__(self, active: bool = True) -> None:
        self.active, self._mode, self._stack = active, Operations(), ExitStack()

    def __enter__(self) -> FlopCounter:
        if self.active:
            self._stack.enter_context(self._mode)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    @property
    def total(self) -> int:
        """Multiplications and additions, one each."""
        return self._mode.flops
