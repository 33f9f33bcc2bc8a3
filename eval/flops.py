"""Floating point operations of everything that runs inside, matrix products only.

Counted where they are dispatched, backward passes too, by torch's own formulas. Rewards that
answer from another process or thread (a server, a timeout) are not seen.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from aps_text.planning.counting import CPU_ATTENTION

__all__ = ["FlopCounter"]


class FlopCounter:
    """`with FlopCounter() as flops: ...; flops.total`; with `active=False` it counts nothing."""

    def __init__(self, active: bool = True) -> None:
        self.active, self._mode, self._stack = active, _Count(), ExitStack()

    def __enter__(self) -> FlopCounter:
        if self.active:
            self._stack.enter_context(self._mode)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    @property
    def total(self) -> int:
        """Multiplications and additions, one each."""
        return self._mode.total


class _Count(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total, self.formulas = 0, {**flop_registry, **CPU_ATTENTION}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = self.formulas.get(func._overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=out))
        return out
