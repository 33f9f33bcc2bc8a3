"""The layers above the trunk, run under phi at the positions that are asked for.

With checkpointing each of these layers is computed again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .partial_forward import Block, first_of, gathered, run_at
from .parts import ModelParts

__all__ = ["TrunkState", "replayed"]


@dataclass
class TrunkState:
    """The input of layer N-n, and the arguments of the layers from there on.

    Attributes:
        hidden: `(B, S, d)`, the input of layer N-n.
        args, kwargs: the other arguments of these layers.
        offset: columns of the prompt, P.
        own: keyword arguments per layer if they differ; None if `kwargs` serves all.
    """

    hidden: Tensor
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    offset: int
    own: list[dict[str, Any]] | None = None


def replayed(
    parts: ModelParts,
    layers: Sequence[nn.Module],
    last: Block,
    state: TrunkState,
    phi: Any,
    index: Tensor,
) -> Tensor:
    """The last layer's output under phi at positions `index (B, Q)`: `(B, Q, d)`.

    Args:
        layers: those above the trunk; `last` is the last of them, with its copies.
        phi: an adapter of these layers, or None.
    """
    keywords = state.own or [state.kwargs] * len(layers)
    everywhere = parts.compiled and phi is None

    def run(hidden: Tensor, number: int) -> Tensor:
        layer, kwargs = layers[number], keywords[number]
        if number + 1 < len(layers):
            return first_of(layer(hidden, *state.args, **kwargs))
        if everywhere:  # run_at has varying widths, which would be compiled again
            return gathered(first_of(layer(hidden, *state.args, **kwargs)), index)
        return run_at(layer, hidden, state.args, kwargs, index, last)

    hidden = state.hidden
    if phi is not None and parts.checkpointing and torch.is_grad_enabled():
        leaf = phi.open()

        def adapted(hidden: Tensor, number: int) -> Tensor:
            with _eager(parts), phi.hooked(leaf):
                return run(hidden, number)

        for number in range(len(layers)):
            hidden = checkpoint(adapted, hidden, number, use_reentrant=False)
        return hidden
    with nullcontext() if phi is None else _eager(parts), _attached(phi):
        for number in range(len(layers)):
            hidden = run(hidden, number)
    return hidden


def _eager(parts: ModelParts) -> AbstractContextManager[Any]:
    """Context that disables compiled code, which ignores the hooks of phi."""
    if not parts.compiled:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


def _attached(phi: Any) -> AbstractContextManager[Any]:
    return nullcontext() if phi is None else phi.attached()
