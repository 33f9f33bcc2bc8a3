"""Transformer blocks run at a subset of positions, which attend to all positions.

    run_at(layer, hidden, ..., index)      (B, S, d) -> (B, Q, d)    at positions index (B, Q)
    recorded(layer, hidden, ..., width)    (B, S, d) -> (B, S, d)    returns the first keys, too
    run_after(layer, hidden, ..., known)   (B, C, d) -> (B, C, d)    after positions with known keys
    extended(layer, hidden, ..., known)    (B, C, d) -> (B, C, d)    returns these and its own keys

Between its projections and its attention a stock block calls `cache.update(k, v, layer_index, ...)`
of the cache it is given and attends to the keys and values returned. We pass a replacement cache
(`_Cache`) that returns other keys and values; everything else (norms, rotary embedding, hooks of an
adapter, MLP) is the block's own code. Keys and values are `(B, H, S, d_h)`. `run_at` runs a block
twice: once for keys and values, once for the output. Each run skips the linear layers that only the
other one needs (`Block`); these layers are recognised by name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["KEYS", "QUERIES", "Block", "Keys", "by_row", "extended", "first_of", "gathered"]
__all__ += ["recorded", "run_after", "run_at", "takes_cache"]

Keys = tuple[Tensor, Tensor]
CACHES = ("cache", "past_key_values")
"""The name of a block's cache, in transformers 5.24 and newer, and in older ones."""
QUERIES = ("q_proj", "query")
KEYS = ("k_proj", "v_proj", "key", "value")


@dataclass(frozen=True)
class Block:
    """A transformer block, and two copies that skip part of its projections.

    Attributes:
        layer: the block itself.
        keys_only: a copy without the query projection: it computes keys and values.
        queries_only: a copy without the key and value projections: it computes the output.

    The copies share every tensor, hook and unchanged submodule with the block; only the module
    objects on the path to a replaced projection are copied. The block itself is not changed.
    """

    layer: nn.Module
    keys_only: nn.Module
    queries_only: nn.Module

    @classmethod
    def of(cls, layer: nn.Module) -> Block:
        """The copies of `layer`; projections with unknown names are not skipped."""
        return cls(layer, _without(layer, QUERIES), _without(layer, KEYS))


def _without(module: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """`module` with the linear layers of these names replaced; the module itself if it has none."""
    replaced: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        width = getattr(child, "out_features", None)
        other = _Nothing(width) if name in names and width else _without(child, names)
        if other is not child:
            replaced[name] = other
    if not replaced:
        return module
    twin = copy.copy(module)  # shares the dictionaries of parameters, buffers and hooks
    twin._modules = {**module._modules, **replaced}
    return twin


class _Nothing(nn.Module):
    """Replaces a linear layer whose output is not used."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Uninitialised numbers of the right shape."""
        return x.new_empty(*x.shape[:-1], self.width)


class _Known(Exception):
    """Raised to end a block's forward once its keys and values are computed."""


class _Cache:
    """Replaces a cache: `update` returns `answer` of the block's own keys and values."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Keys]) -> None:
        self.answer = answer

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> Keys:
        """The keys and values that the block attends to."""
        return self.answer(keys, values)


def takes_cache(kwargs: Mapping[str, Any]) -> bool:
    """Whether a block with these keyword arguments uses a cache (ModernBERT's do not)."""
    return any(name in kwargs for name in CACHES)


def _with_cache(kwargs: Mapping[str, Any], cache: _Cache) -> dict[str, Any]:
    """The keyword arguments of a block with this cache, under the name that it knows."""
    return {**kwargs, **{name: cache for name in CACHES if name in kwargs}}


def first_of(output: Any) -> Tensor:
    """The hidden state in a block's return value (a tuple in older versions of transformers)."""
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def gathered(value: Any, index: Tensor) -> Any:
    """A block's argument restricted to query positions `index (B, Q)`.

    Masks `(B, 1, S, S)`, rotary embeddings `((B, S, d_h), ...)` and ids `(B, S)` are indexed;
    anything else, and a size of 1 for all positions, is returned unchanged.
    """
    if isinstance(value, tuple):
        return tuple(gathered(part, index) for part in value)
    if not isinstance(value, Tensor) or value.ndim < 2:
        return value
    axis = 2 if value.ndim == 4 else 1
    if value.shape[axis] == 1:
        return value
    index = index.to(value.device)
    if len(index) == 1 and len(value) == 1:  # the same result from a faster kernel
        return value.index_select(axis, index[0])
    rows = torch.arange(len(index), device=value.device)[:, None]
    value = value.expand(len(index), *value.shape[1:])
    if axis == 1:
        return value[rows, index]
    return value.transpose(1, 2)[rows, index].transpose(1, 2)


def by_row(rows: Tensor, index: Tensor, batch: int) -> tuple[Tensor, Tensor | None]:
    """Positions `(N,)` that are ordered by row, as `(B, Q)`; rows that have fewer are filled by 0.

    Returns:
        The positions, and the column `(N,)` of each in them; None where every row has Q, so that
        they lie in their order.
    """
    if batch == 1 and len(index):
        return index[None], None
    count = rows.bincount(minlength=batch)
    most = max(1, int(count.max()))
    if most * len(count) == len(rows):  # the same number in every row
        return index.view(-1, most), None
    slot = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[rows]
    return index.new_zeros(len(count), most).index_put((rows, slot), index), slot


def run_at(
    layer: nn.Module,
    hidden: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    index: Tensor,
    block: Block | None = None,
) -> Tensor:
    """The block's output `(B, Q, d)` at `index (B, Q)`; keys and values are computed everywhere.

    A block without a cache is run at all positions. `block` is `Block.of(layer)`, if it was made
    before.
    """
    block = block or Block.of(layer)
    index = index.to(hidden.device)
    if not takes_cache(kwargs) or index.shape[1] >= hidden.shape[1]:
        return gathered(first_of(layer(hidden, *args, **kwargs)), index)
    known: list[Keys] = []

    def stop(keys: Tensor, values: Tensor) -> Keys:
        known.append((keys, values))
        raise _Known

    with suppress(_Known):
        block.keys_only(hidden, *args, **_with_cache(kwargs, _Cache(stop)))
    if not known:  # the block did not use the cache
        return gathered(first_of(layer(hidden, *args, **kwargs)), index)
    here = {name: gathered(value, index) for name, value in kwargs.items()}
    here = _with_cache(here, _Cache(lambda keys, values: known[0]))
    return first_of(block.queries_only(gathered(hidden, index), *gathered(args, index), **here))


def recorded(
    layer: nn.Module,
    hidden: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    width: int,
) -> tuple[Tensor, Keys]:
    """The block's output everywhere, and its keys and values at the first `width` positions.

    Raises:
        ValueError: a block that does not use a cache.
    """
    known: list[Keys] = []

    def note(keys: Tensor, values: Tensor) -> Keys:
        known.append((keys[:, :, :width].clone(), values[:, :, :width].clone()))
        return keys, values

    if takes_cache(kwargs):
        output = first_of(layer(hidden, *args, **_with_cache(kwargs, _Cache(note))))
    if not known:
        raise ValueError(
            f"prefix_reuse needs layers that take a cache of keys; {type(layer).__name__} does "
            "not. Use prefix_reuse=None"
        )
    return output, known[0]


def run_after(
    layer: nn.Module,
    hidden: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    known: Keys,
) -> Tensor:
    """The block's output at the positions of `hidden`, which follow those of the keys `known`.

    `args` and `kwargs` are already those of these positions (`gathered`).
    """
    return extended(layer, hidden, args, kwargs, known)[0]


def extended(
    layer: nn.Module,
    hidden: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    known: Keys | None,
) -> tuple[Tensor, Keys]:
    """`run_after`, and the keys and values that it attended to, `known` (None: none) first.

    Raises:
        ValueError: a block that does not use a cache.
    """
    found: list[Keys] = []

    def joined(keys: Tensor, values: Tensor) -> Keys:
        if known is not None:
            keys, values = torch.cat([known[0], keys], 2), torch.cat([known[1], values], 2)
        found.append((keys, values))
        return keys, values

    output = first_of(layer(hidden, *args, **_with_cache(kwargs, _Cache(joined))))
    if not found:
        raise ValueError(
            f"states of the text are kept in a cache of keys, and {type(layer).__name__} takes none"
        )
    return output, found[0]
