"""A context that counts floating point operations of matrix products.

They are counted by torch's own formulas when they are dispatched, backward passes included. Rewards
that run in another process or thread (a server, a timeout) are not counted.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import (
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

__all__ = ["CPU_ATTENTION", "FlopCounter"]


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _attention_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
) -> int:
    return int(sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape))


_attention._get_raw = _attention_backward._get_raw = True  # type: ignore[attr-defined]
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Formulas that `FlopCounterMode(custom_mapping=...)` lacks."""


class Operations(TorchDispatchMode):
    """Adds up the operations of matrix products and attention where they are dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.flops, self.formulas = 0, {**flop_registry, **CPU_ATTENTION}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and importing the compiler takes seconds

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = self.formulas.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **(kwargs or {}), out_val=out))
        return out


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
        """The count; a multiplication and an addition count as one operation each."""
        return self._mode.flops
