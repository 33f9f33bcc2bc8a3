"""Several processes, one run: `accelerate launch --num_processes 2 -m aps_eval ...`, or `torchrun`.

Each process takes every so many items of each cell and appends to the same locked file; the first
one matches budgets before the others begin, and reports when all are done. All of them must see the
same folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Workers", "workers"]

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """This process among its fellows.

    Attributes:
        number, size: from 0, and how many there are.
        device: where its model goes; None leaves it to the model.
        wait: returns when all have called it.
    """

    number: int = 0
    size: int = 1
    device: str | None = None
    wait: Callable[[], Any] = lambda: None

    @property
    def first(self) -> bool:
        """Is it the one that speaks?"""
        return self.number == 0

    def in_turn(self, work: Callable[[], T]) -> T:
        """`work()`, first of the first process, then of the others, who find what that left."""
        if self.first:
            found = work()
            self.wait()
            return found
        self.wait()
        return work()


def workers() -> Workers:
    """The processes `accelerate launch` (or torchrun) began; alone without them."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Workers()
    from datetime import timedelta

    import torch
    from accelerate import PartialState  # type: ignore[import-untyped]

    # A fast process waits for a slow one as long as that takes.
    on_cpu = not torch.accelerator.is_available()
    state = PartialState(cpu=on_cpu, timeout=timedelta(days=30))
    return Workers(
        state.process_index, state.num_processes, str(state.device), state.wait_for_everyone
    )
