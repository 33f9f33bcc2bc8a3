"""Counters around a run: operations, bytes autograd keeps, most bytes alive at a time.

Bytes are those of tensors, each storage once, not of the process: exact, and the same anywhere.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import (
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

__all__ = ["CPU_ATTENTION", "Counter", "Operations", "saved_bytes"]


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


class _Saved:
    """What autograd holds instead of a saved tensor: gone when its node of the graph is."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def saved_bytes(job: Callable[[], Any], exclude: Iterable[Tensor] = ()) -> int:
    """Bytes of the distinct storages autograd keeps for the way back from `job()`'s result;
    `exclude` are not kept because of it (weights)."""
    known = {tensor.untyped_storage().data_ptr() for tensor in exclude}
    held: list[weakref.ref[_Saved]] = []

    def pack(tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        held.append(weakref.ref(saved))
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        result = job()
    alive = [saved.tensor.untyped_storage() for ref in held if (saved := ref()) is not None]
    del result
    sizes = {storage.data_ptr(): storage.nbytes() for storage in alive}
    return sum(size for at, size in sizes.items() if at not in known)


class Operations(TorchDispatchMode):
    """Adds up the operations of matrix products and attention where they are dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.flops, self.formulas = 0, {**flop_registry, **CPU_ATTENTION}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = self.formulas.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **(kwargs or {}), out_val=out))
        return out


class Counter(Operations):
    """Follows storages from their making to their end, and adds up operations."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        given = {
            leaf.untyped_storage()._cdata
            for leaf in tree_leaves((args, kwargs or {}))
            if isinstance(leaf, Tensor)
        }
        for leaf in tree_leaves(out):
            if not isinstance(leaf, Tensor):
                continue
            storage = leaf.untyped_storage()
            at = storage._cdata
            if at in given or at in self.sizes:  # a view, or an argument written in place
                continue
            self.sizes[at] = storage.nbytes()
            self.now += storage.nbytes()
            weakref.finalize(storage, self._end, at)
        self.peak = max(self.peak, self.now)
        return out

    def _end(self, at: int) -> None:
        self.now -= self.sizes.pop(at, 0)
