"""Blocks run at some of their positions while attending to all: nothing else is needed there.

    run_at(layer, hidden, ..., index)      (B, S, d) -> (B, Q, d)    at positions index (B, Q)
    recorded(layer, hidden, ..., width)    (B, S, d) -> (B, S, d)    and the first keys, to be kept
    run_after(layer, hidden, ..., known)   (B, C, d) -> (B, C, d)    after positions with known keys

Between its projections and its attention a stock block asks the cache it is given which keys and
values to attend to, `cache.update(k, v, layer_index, ...)`. A stand-in that answers otherwise makes
the block attend to keys it did not compute itself, with the block's own code for all the rest
(norms, rotary embedding, hooks of an adapter, MLP). Keys and values are `(B, H, S, d_h)`.
`run_at` runs a block twice, for keys and values and for the rest; maps of which one run reads
nothing (queries, then keys and values) are known by their names and not computed in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Keys", "Maps", "first_of", "gathered", "recorded", "run_after", "run_at", "takes_cache"]

Keys = tuple[Tensor, Tensor]
CACHE = "past_key_values"


@dataclass(frozen=True)
class Maps:
    """The linear maps of a block that make its queries, and those of its keys and values."""

    queries: Sequence[nn.Module]
    keys: Sequence[nn.Module]

    @classmethod
    def of(cls, layer: nn.Module) -> Maps:
        """By name; none where the names are others, and then nothing is left out."""
        maps = {name.rpartition(".")[2]: m for name, m in layer.named_modules()}
        queries, keys = (
            [maps[name] for name in names if name in maps]
            for names in (("q_proj", "query"), ("k_proj", "v_proj", "key", "value"))
        )
        return cls(queries, keys)


@contextmanager
def _unread(maps: Sequence[nn.Module]) -> Iterator[None]:
    """While open these linear maps return numbers that nobody reads, for nothing."""
    own = [m.__dict__.get("forward") for m in maps]  # accelerate's, where a module is placed
    for m in maps:
        m.forward = _anything_of(m)
    try:
        yield
    finally:
        for m, forward in zip(maps, own, strict=True):
            if forward is None:
                del m.forward
            else:
                m.forward = forward


def _anything_of(linear: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: x.new_empty(*x.shape[:-1], linear.out_features)


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
    maps: Maps,
) -> Tensor:
    """The block's output `(B, Q, d)` at `index (B, Q)`: keys and values everywhere, the rest there.

    A block without a cache runs everywhere. `maps` are `Maps.of(layer)`.
    """
    index = index.to(hidden.device)
    if not takes_cache(kwargs) or index.shape[1] >= hidden.shape[1]:
        return gathered(first_of(layer(hidden, *args, **kwargs)), index)
    known: list[Keys] = []

    def stop(keys: Tensor, values: Tensor) -> Keys:
        known.append((keys, values))
        raise _Known

    try:
        with _unread(maps.queries):
            layer(hidden, *args, **{**kwargs, CACHE: _Cache(stop)})
    except _Known:
        pass
    if not known:  # it never asked
        return gathered(first_of(layer(hidden, *args, **kwargs)), index)
    here = {name: gathered(value, index) for name, value in kwargs.items()}
    here[CACHE] = _Cache(lambda keys, values: known[0])
    with _unread(maps.keys):
        return first_of(layer(gathered(hidden, index), *gathered(args, index), **here))


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
