"""How a model calls its blocks: what a forward attends to, and the arguments each block gets then.

The model's own forward is stopped by a hook in front of the last block asked about. In front of
block 0 that keeps the embeddings and what comes with them (mask, rotary embeddings), so masks and
positions are exactly the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .call_hooks import CallHook, attached
from .parts import ModelParts

__all__ = ["Call", "ForwardInputs", "layer_calls"]

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass
class ForwardInputs:
    """What a forward attends to.

    Attributes:
        width: canvas columns that some row attends to; the others are not computed.
        mask: as the model takes it; None where nothing is padded, if the model can be told so.
        positions: `(B, P + width)` position ids.
        known: the arguments of layer 0 beside its hidden state, once they are.
    """

    width: int
    mask: Tensor | None
    positions: Tensor
    known: Call | None = None


def layer_calls(
    parts: ModelParts, ids: Tensor, inputs: ForwardInputs, layers: Sequence[nn.Module]
) -> list[Call]:
    """The arguments the model calls these layers with for `ids (B, S)`; the last is never run.

    Raises:
        RuntimeError: the model's forward does not reach them.
    """
    calls: list[Call] = []
    listening = [(layer, _Listener(calls, last=layer is layers[-1])) for layer in layers]
    try:
        with attached(listening):
            parts.model(
                input_ids=ids,
                attention_mask=inputs.mask,
                position_ids=inputs.positions,
                **parts.options,
            )
    except _Reached:
        return calls
    raise RuntimeError(
        f"a layer of {type(parts.model).__name__} was never called; "
        "ModelParts.layers must be the blocks its forward runs"
    )


class _Reached(Exception):
    """Ends the model's forward where the last arguments looked for are known."""


class _Listener(CallHook):
    """Notes the arguments a layer is called with; the call of the last one stops the model."""

    before = True

    def __init__(self, calls: list[Call], last: bool) -> None:
        self.calls, self.last = calls, last

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.calls.append((args, kwargs))
        if self.last:
            raise _Reached
