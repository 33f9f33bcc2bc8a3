"""Blocks run at some of their positions while attending to all: nothing else is needed there.

    run_at(layer, hidden, ..., index)      (B, S, d) -> (B, Q, d)    at positions index (B, Q)
    recorded(layer, hidden, ..., width)    (B, S, d) -> (B, S, d)    and the first keys, to be kept
    run_after(layer, hidden, ..., known)   (B, C, d) -> (B, C, d)    after positions with known keys

Between its projections and its attention a stock block asks the cache it is given which keys and
values to attend to, `cache.update(k, v, layer_index, ...)`. A stand-in that answers otherwise makes
the block attend to keys it did not compute itself, with the block's own code for all the rest
(norms, rotary embedding, hooks of an adapter, MLP). Keys and values are `(B, H, S, d_h)`.
`run_at` runs a block twice: once for keys and values, once for the rest. Each run skips the linear
maps that only the other one reads (`Block`); the maps are known by their names.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["KEYS", "QUERIES", "Block", "Keys", "first_of", "gathered", "recorded"]
__all__ += ["run_after", "run_at", "takes_cache"]

Keys = tuple[Tensor, Tensor]
CACHE = "past_key_values"
QUERIES = ("q_proj", "query")
KEYS = ("k_proj", "v_proj", "key", "value")


@dataclass(frozen=True)
class Block:
    """A transformer block, and it without one part of its projections.

    Attributes:
        layer: the block itself.
        keys_only: the block with query maps that answer nothing: it makes keys and values.
        queries_only: the block with key and value maps that answer nothing: it makes the rest.

    Both stand-ins share every tensor, hook and untouched submodule with the block, and nothing of
    the block is changed: they are made of copied module objects along the way to the maps.
    """

    layer: nn.Module
    keys_only: nn.Module
    queries_only: nn.Module

    @classmethod
    def of(cls, layer: nn.Module) -> Block:
        """Maps are found by name; where names are others nothing is left out."""
        return cls(layer, _without(layer, QUERIES), _without(layer, KEYS))


def _without(module: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """`module` with the linear maps of these names replaced; itself where it has none."""
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
    """Stands in for a linear map whose output nobody reads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Uninitialised numbers of the right shape."""
        return x.new_empty(*x.shape[:-1], self.width)


class _Known(Exception):
    """Ends a block's forward once its keys and values are known."""


class _Cache:
    """Stands in for a cache: answers `update` by a function of the block's own keys and values."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Keys]) -> None:
        self.answer = answer

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> Keys:
        """What the block will attend to."""
        return self.answer(keys, values)


def takes_cache(kwargs: Mapping[str, Any]) -> bool:
    """Whether a block called with these keyword arguments asks a cache (ModernBERT's do not)."""
    return CACHE in kwargs


def first_of(output: Any) -> Tensor:
    """The hidden state of what a block returns (older transformers return a tuple)."""
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def gathered(value: Any, index: Tensor) -> Any:
    """An argument of a block at query positions `index (B, Q)`.

    Masks `(B, 1, S, S)`, rotary embeddings `((B, S, d_h), ...)`, ids `(B, S)`; anything else, and
    what is one for all positions, stays as it is.
    """
    if isinstance(value, tuple):
        return tuple(gathered(part, index) for part in value)
    if not isinstance(value, Tensor) or value.ndim < 2:
        return value
    axis = 2 if value.ndim == 4 else 1
    if value.shape[axis] == 1:
        return value
    index = index.to(value.device)
    if len(index) == 1 and len(value) == 1:  # the same, by a faster kernel
        return value.index_select(axis, index[0])
    rows = torch.arange(len(index), device=value.device)[:, None]
    value = value.expand(len(index), *value.shape[1:])
    if axis == 1:
        return value[rows, index]
    return value.transpose(1, 2)[rows, index].transpose(1, 2)


def run_at(
    layer: nn.Module,
    hidden: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    index: Tensor,
    block: Block | None = None,
) -> Tensor:
    """The block's output `(B, Q, d)` at `index (B, Q)`: keys and values everywhere, the rest there.

    A block without a cache runs everywhere. `block` is `Block.of(layer)`, made once.
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
        block.keys_only(hidden, *args, **{**kwargs, CACHE: _Cache(stop)})
    if not known:  # it never asked
        return gathered(first_of(layer(hidden, *args, **kwargs)), index)
    here = {name: gathered(value, index) for name, value in kwargs.items()}
    here[CACHE] = _Cache(lambda keys, values: known[0])
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
        ValueError: a block that asks no cache.
    """
    known: list[Keys] = []

    def note(keys: Tensor, values: Tensor) -> Keys:
        known.append((keys[:, :, :width].clone(), values[:, :, :width].clone()))
        return keys, values

    if takes_cache(kwargs):
        output = first_of(layer(hidden, *args, **{**kwargs, CACHE: _Cache(note)}))
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

    def joined(keys: Tensor, values: Tensor) -> Keys:
        return torch.cat([known[0], keys], 2), torch.cat([known[1], values], 2)

    return first_of(layer(hidden, *args, **{**kwargs, CACHE: _Cache(joined)}))
