"""`ModelParts`: where a Hugging Face model keeps what `TransformerDenoiser` uses of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

__all__ = ["ModelParts", "lock_of", "padding_mask"]


# One lock per network, shared by all its wrappers. The locks are not attributes of the networks, so
# that a network can still be copied and pickled.
_LOCKS: WeakKeyDictionary[nn.Module, RLock] = WeakKeyDictionary()
_LOCKS_LOCK = Lock()


def _after_fork() -> None:
    """Drop all locks in a forked child: the threads that may hold them do not exist there."""
    global _LOCKS_LOCK
    _LOCKS_LOCK = Lock()
    _LOCKS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def lock_of(network: nn.Module) -> RLock:
    """Held while a network computes, so that one call's hooks never run in another call.

    Reentrant; all wrappers of one network share it.
    """
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(network, RLock())


def padding_mask(real: Tensor) -> Tensor | None:
    """The mask encoders take, from `(B, S)` bool; None (faster fused kernels) without padding."""
    return None if bool(real.all()) else real.long()


@dataclass(frozen=True)
class ModelParts:
    """A model's network, the location of its blocks and head, and its special tokens.

    Attributes:
        model: called as `model(input_ids=, attention_mask=, position_ids=, **options)`.
        layers_path: dotted name of the transformer blocks, e.g. `bert.encoder.layer`.
        final: `(N, d) -> (N, d)`, applied after the last block (a norm, or the identity).
        head: `(N, d) -> (N, K)`.
        mask_id, pad_id: the mask token, and the id written at positions that are not attended.
        vocab_size: K, the head's width.
        suppressed: ids that are never drawn (mask, padding, ids beyond the tokenizer).
        attend_fill: whether positions after a stop token are attended (Dream, LLaDA) or not.
        attend_masks: whether masked positions are attended by others than themselves.
        causal_prompt: whether the prompt is read by the rule of a causal model, but for the `shift`
            columns that predict the canvas. Its states are then the same at every step.
        block_causal: whether text attends to nothing behind its block, where a canvas is written
            in blocks from left to right; the prompt then to nothing of the canvas. The states of
            finished blocks are then kept (`text_states`). Only without `attend_fill` and
            `attend_masks`.
        shift: 1 if the prediction for position i is the head's output at i - 1 (Dream), else 0.
        attention: maps the `(B, S)` bool of real positions, or the `(B, S, S)` bool of the keys of
            each query, to the model's attention mask.
        options: further arguments of `model`, e.g. `use_cache=False`.
        first_position: position id of a row's first token.
        alike: whether all blocks are called with the same arguments.
        embed: maps ids `(B, S)` to the first block's hidden state. Give it only if no other
            argument of that block depends on the ids: those are then computed once for all steps.
        checkpointing: in the backward pass, recompute the layers above the trunk from their inputs.
        compiled: whether the blocks' forwards are compiled; under phi they run eagerly.
    """

    model: nn.Module
    layers_path: str
    final: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
    mask_id: int
    pad_id: int
    vocab_size: int
    suppressed: tuple[int, ...] = ()
    attend_fill: bool = False
    attend_masks: bool = True
    causal_prompt: bool = False
    block_causal: bool = False
    shift: int = 0
    attention: Callable[[Tensor], Tensor | None] = padding_mask
    options: Mapping[str, Any] = field(default_factory=dict)
    first_position: int = 0
    alike: bool = True
    embed: Callable[[Tensor], Tensor] | None = None
    checkpointing: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` for a block-causal model that attends to masks or to what follows."""
        if self.block_causal and (self.attend_fill or self.attend_masks or not self.causal_prompt):
            raise ValueError(
                "block_causal=True needs causal_prompt=True, attend_masks=False and "
                f"attend_fill=False; got {self.causal_prompt}, {self.attend_masks} and "
                f"{self.attend_fill}"
            )

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer blocks, in order."""
        layers = self.model.get_submodule(self.layers_path)
        if not isinstance(layers, nn.ModuleList):
            raise TypeError(f"{self.layers_path} is a {type(layers).__name__}, not a ModuleList")
        return layers

    @property
    def device(self) -> torch.device:
        """The device of the input embeddings, on which token ids are expected."""
        return next(self.model.parameters()).device

    @property
    def lock(self) -> RLock:
        """See `lock_of`."""
        return lock_of(self.model)
