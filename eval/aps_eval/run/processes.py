"""Runs of several processes: `accelerate launch --num_processes 2 -m aps_eval ...`, or `torchrun`.

Process i of n takes every n-th unit of each cell and appends to the same locked file. The first
process matches budgets before the others start, and reports when all are done. All need access to
the same folder.
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
    """This process and the number of processes.

    Attributes:
        number, size: this process's number from 0, and the number of processes.
        device: of its model; None is the model's default.
        wait: a barrier: returns when all processes have called it.
    """

    number: int = 0
    size: int = 1
    device: str | None = None
    wait: Callable[[], Any] = lambda: None

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and reports."""
        return self.number == 0

    def in_turn(self, work: Callable[[], T]) -> T:
        """The result of `work()`, run by the first process before the others, which may then read
        the files it wrote."""
        if self.first:
            found = work()
            self.wait()
            return found
        self.wait()
        return work()


def workers() -> Workers:
    """The processes started by `accelerate launch` or torchrun; a single one otherwise."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Workers()
    from datetime import timedelta

    import torch
    from accelerate import PartialState  # type: ignore[import-untyped]

    # A fast process must be able to wait for a slow one, so the timeout is long.
    on_cpu = not torch.accelerator.is_available()
    state = PartialState(cpu=on_cpu, timeout=timedelta(days=30))
    return Workers(
        state.process_index, state.num_processes, str(state.device), state.wait_for_everyone
    )
