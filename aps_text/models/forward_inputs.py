"""The inputs of a forward, and the arguments that a model passes to its blocks for them.

The model's own forward runs until a hook stops it before the last block asked for. Stopped before
block 0 it yields the embeddings and their companions (mask, rotary embeddings), so masks and
positions are exactly the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .call_hooks import CallHook, attached
from .parts import ModelParts

__all__ = ["Call", "ForwardInputs", "inputs_of", "keys_of", "layer_calls", "left_padded"]

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass
class ForwardInputs:
    """Mask and positions of a forward.

    Attributes:
        width: canvas columns that some row attends to; the others are not computed.
        mask: as the model takes it; None without padding, if the model accepts None.
        positions: `(B, P + width)` position ids.
        known: the arguments of layer 0 other than its hidden state; None until they are recorded.
    """

    width: int
    mask: Tensor | None
    positions: Tensor
    known: Call | None = None


def left_padded(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """The ids of prompts `(B, P)`, padded on the left, and bool, True where not padding."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad_id)
    real = torch.zeros_like(ids, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        start = width - len(prompt)
        ids[row, start:] = torch.tensor(prompt, dtype=torch.long)
        real[row, start:] = True
    return ids, real


def inputs_of(
    parts: ModelParts,
    prompt: Tensor,
    shown: Tensor,
    real: Tensor,
    hidden: Tensor | None = None,
    behind: int = 0,
    causal: int = 0,
    needed: Tensor | None = None,
    blocks: Tensor | None = None,
) -> ForwardInputs:
    """Mask and positions of a forward of prompts, canvases and what stands behind them.

    Args:
        prompt: `(B, P)` bool, True where not padding.
        shown: `(B, P)` bool, the positions of the prompt that others attend to.
        real: `(B, W)` bool, the positions of each canvas.
        hidden: `(B, W)` bool, canvas positions that only they themselves attend to; None is none.
        behind: tokens behind each canvas, R.
        causal: so many columns of the prompt attend to nothing behind themselves.
        needed: `(B, W)` bool, the canvas positions whose states have a use; None is all real ones.
        blocks: `(B, P + W)` int64; a position attends to none of a later block. Only with `hidden`
            or `causal`.
    """
    columns = (real if needed is None else needed).any(0).nonzero()
    width = int(columns.max()) + 1 if len(columns) else 0
    width = max(width, 0 if prompt.shape[1] else 1)
    suffix = real.new_ones(len(real), behind)
    mask = torch.cat([prompt, real[:, :width], suffix], 1)
    positions = (mask.long().cumsum(-1) - 1).clamp_min(0) + parts.first_position
    if hidden is not None:
        mask = keys_of(mask & torch.cat([shown, ~hidden[:, :width], suffix], 1), causal)
    elif causal:
        mask = keys_of(mask, causal)
    if blocks is not None:
        blocks = blocks[:, : mask.shape[-1]]
        mask = mask & (blocks[:, None, :] <= blocks[:, :, None])
    return ForwardInputs(width, parts.attention(mask), positions)


def keys_of(shown: Tensor, causal: int) -> Tensor:
    """The keys of each query, `(B, S, S)` bool.

    Args:
        shown: `(B, S)` bool, positions that others attend to; every position attends to itself.
        causal: so many columns attend to nothing behind themselves.
    """
    size = shown.shape[1]
    itself = torch.eye(size, dtype=torch.bool, device=shown.device)
    keys = shown[:, None, :] | itself
    keys[:, :causal] &= itself.new_ones(size, size).tril()[:causal]
    return keys


def layer_calls(
    parts: ModelParts, ids: Tensor, inputs: ForwardInputs, layers: Sequence[nn.Module]
) -> list[Call]:
    """The arguments with which the model calls these layers for `ids (B, S)`; the last never runs.

    Raises:
        RuntimeError: the model's forward does not call them.
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
    """Raised to end the model's forward once the last arguments are recorded."""


class _Listener(CallHook):
    """Records the arguments a layer is called with; at the last layer it stops the model."""

    before = True

    def __init__(self, calls: list[Call], last: bool) -> None:
        self.calls, self.last = calls, last

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.calls.append((args, kwargs))
        if self.last:
            raise _Reached
