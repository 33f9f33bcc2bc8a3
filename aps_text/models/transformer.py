"""A denoiser around any Hugging Face transformer with a token head.

    trunk    embeddings and layers 0 .. N-n-1, once per denoising step, without gradient
    logits   layers N-n .. N-1, norm and head, replayed under phi; the head and the last layer only
             where asked, but for its keys and values
             (checkpointing: each replayed layer is computed again in the backward pass)

The trunk is the model's own forward, stopped by a hook in front of layer N-n that keeps the hidden
state and that layer's arguments (mask, rotary embeddings), so masks and positions are exactly the
model's; where layers take different ones (ModernBERT), the upper layers run once to tell.
Shapes: prompts `(B, P)` left-padded, canvas `(B, L)`, positions `(N,)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..adapter import SUPPRESSED, Adapter, LogitsAdapter, Where
from ..config import APSConfig
from ..noise import Noise
from .anatomy import Anatomy
from .lora import LoraAdapter
from .partial import first_of, gathered, run_at
from .prefix import Prefix

__all__ = ["TransformerDenoiser"]


@dataclass
class TrunkState:
    """The hidden state in front of layer N-n, and how the layers from there are called.

    `own` holds each layer's keyword arguments where they differ; None where `kwargs` serves all.
    """

    hidden: Tensor
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    offset: int
    own: list[dict[str, Any]] | None = None


class _Reached(Exception):
    """Ends the model's forward where the last arguments looked for are known."""


@contextmanager
def _listening(layers: Sequence[nn.Module], calls: list[Any]) -> Iterator[None]:
    """Notes the arguments `layers` are called with; the call of the last one stops the model."""

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((args, kwargs))
        if module is layers[-1]:
            raise _Reached

    handles = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class TransformerDenoiser:
    """`x_theta` with B prompts bound; build with `bind`.

    Attributes:
        anatomy: the model's parts.
        prompt, prompt_mask: `(B, P)` ids, left-padded, and where they are real.
        lengths: `(B,)` canvas positions of each row; the rest is padding.
        split: how many layers the trunk holds, N - n.
        prefix: what is kept of the prompts between steps; None computes them at each.
    """

    anatomy: Anatomy
    prompt: Tensor
    prompt_mask: Tensor
    lengths: Tensor
    split: int
    prefix: Prefix | None = None

    @classmethod
    def bind(
        cls,
        anatomy: Anatomy,
        prompts: Sequence[Sequence[int]],
        lengths: Sequence[int],
        adapted_layers: int | None = None,
        prefix_reuse: int | None = None,
    ) -> TransformerDenoiser:
        """Bind prompts (token ids) and canvas lengths, one of each per row.

        With `prefix_reuse` the denoiser serves one run (see `Prefix`).

        Raises:
            ValueError: more adapted layers than the model has, or nothing to reuse a prefix in.
        """
        depth = len(anatomy.layers)
        top = depth if adapted_layers is None else adapted_layers
        if top > depth:
            raise ValueError(f"lora_layers={top}, but the model has {depth} layers; use <= {depth}")
        if prefix_reuse is not None and top == depth:
            raise ValueError(
                f"prefix_reuse={prefix_reuse} works below the adapted layers, and all {depth} are "
                "adapted; use a smaller lora_layers (1 reuses most)"
            )
        if prefix_reuse is not None and anatomy.compiled:
            raise ValueError(
                f"prefix_reuse={prefix_reuse} and compile exclude each other; use one of them"
            )
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), anatomy.pad_id)
        real = torch.zeros_like(ids, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            start = width - len(prompt)
            ids[row, start:] = torch.tensor(prompt, dtype=torch.long)
            real[row, start:] = True
        device = anatomy.device
        return cls(
            anatomy,
            ids.to(device),
            real.to(device),
            torch.tensor(list(lengths), device=device),
            depth - top,
            None if prefix_reuse is None else Prefix(prefix_reuse),
        )

    @property
    def mask_id(self) -> int:
        """See `Denoiser`."""
        return self.anatomy.mask_id

    @property
    def vocab_size(self) -> int:
        """See `Denoiser`."""
        return self.anatomy.vocab_size

    def take(self, rows: Tensor) -> TransformerDenoiser:
        """See `Denoiser.take`; columns that no remaining prompt uses are dropped."""
        mask = self.prompt_mask[rows]
        first = int(mask.any(0).long().argmax()) if mask.shape[1] else 0
        return replace(
            self,
            prompt=self.prompt[rows, first:],
            prompt_mask=mask[:, first:],
            lengths=self.lengths[rows],
            prefix=self.prefix and self.prefix.take(rows, first),
        )

    @torch.no_grad()
    def trunk(self, z: Tensor) -> TrunkState:
        """See `Denoiser.trunk`; trailing columns that no row attends to are not computed."""
        within = torch.arange(z.shape[1], device=z.device)[None, :] < self.lengths[:, None]
        if not self.anatomy.attend_fill:
            within = within & (z != self.anatomy.pad_id)
        width = int(within.any(0).nonzero().max()) + 1
        ids = torch.cat([self.prompt, z[:, :width]], 1)
        mask = torch.cat([self.prompt_mask, within[:, :width]], 1)
        positions = (mask.long().cumsum(-1) - 1).clamp_min(0) + self.anatomy.first_position
        # Kept prompts enter at every block, so then the model is stopped in front of the first.
        upper = list(self.anatomy.layers[self.split if self.prefix is None else 0 :])
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        try:
            with _listening(upper[:1] if self.anatomy.alike else upper, calls):
                self.anatomy.model(
                    input_ids=ids,
                    attention_mask=self.attention(mask),
                    position_ids=positions,
                    **self.anatomy.options,
                )
        except _Reached:
            (hidden, *rest), kwargs = calls[0]
            own = None if self.anatomy.alike else [call for _, call in calls]
            if self.prefix is not None:
                # A shifted model predicts the first canvas position at the prompt's last.
                width = max(0, self.prompt.shape[1] - self.anatomy.shift)
                trunk = upper[: self.split]
                hidden = self.prefix.through(trunk, hidden, tuple(rest), kwargs, width)
            return TrunkState(hidden, tuple(rest), kwargs, self.prompt.shape[1], own)
        raise RuntimeError(
            f"layer {self.split} of {type(self.anatomy.model).__name__} was never called; "
            "Anatomy.layers must be the blocks its forward runs"
        )

    def attention(self, mask: Tensor) -> Tensor | None:
        """The mask as the model takes it, from the `(B, S)` bool of real positions."""
        return self.anatomy.attention(mask)

    def logits(self, state: TrunkState, where: Where, phi: Any = None) -> Tensor:
        """See `Denoiser.logits`; float32 (or float64), suppressed ids at `SUPPRESSED`."""
        rows, cols = where
        # A row whose prompt is empty has nothing in front of its first position.
        first = state.offset - self.prompt_mask.sum(-1)[rows]
        at = (state.offset + cols - self.anatomy.shift).maximum(first)
        count = rows.bincount(minlength=len(self.prompt))
        slot = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[rows]
        index = at.new_zeros(len(count), int(count.max().clamp_min(1))).index_put((rows, slot), at)
        hidden = self._replayed(state, phi, index)
        picked = hidden[rows.to(hidden.device), slot.to(hidden.device)]
        logits = self.anatomy.head(self.anatomy.final(picked)).to(rows.device)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.anatomy.suppressed:
            ids = torch.tensor(self.anatomy.suppressed, device=logits.device)
            logits = logits.index_fill_(-1, ids, SUPPRESSED)
        return logits

    def _replayed(self, state: TrunkState, phi: Any, index: Tensor) -> Tensor:
        """The last block's output under phi at positions `index (B, Q)`: `(B, Q, d)`."""
        layers = list(self.anatomy.layers[self.split :])
        keywords = state.own or [state.kwargs] * len(layers)
        everywhere = self.anatomy.compiled and phi is None

        def run(hidden: Tensor, number: int) -> Tensor:
            layer, kwargs = layers[number], keywords[number]
            if number + 1 < len(layers):
                return first_of(layer(hidden, *state.args, **kwargs))
            if everywhere:  # compiled for one width, and other widths would be compiled again
                return gathered(first_of(layer(hidden, *state.args, **kwargs)), index)
            return run_at(layer, hidden, state.args, kwargs, index)

        hidden = state.hidden
        if phi is not None and self.anatomy.checkpointing and torch.is_grad_enabled():
            leaf = phi.open()

            def adapted(hidden: Tensor, number: int) -> Tensor:
                with self._eager(), phi.hooked(leaf):
                    return run(hidden, number)

            for number in range(len(layers)):
                hidden = checkpoint(adapted, hidden, number, use_reentrant=False)
            return hidden
        with nullcontext() if phi is None else self._eager(), _attached(phi):
            for number in range(len(layers)):
                hidden = run(hidden, number)
        return hidden

    def _eager(self) -> AbstractContextManager[Any]:
        """Compiled code does not see hooks that come and go, so under phi it is not used."""
        if not self.anatomy.compiled:
            return nullcontext()
        return torch.compiler.set_stance("force_eager")

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """See `Denoiser.new_adapter`: LoRA on every linear map of the layers above the trunk."""
        lr = config.adapter_learning_rate
        if config.adapter == "logits":
            return LogitsAdapter(len(self.prompt), lr, config.adam_eps)
        modules = {
            f"{self.anatomy.layers_path}.{index}.{name}": module
            for index, layer in enumerate(self.anatomy.layers)
            if index >= self.split
            for name, module in layer.named_modules()
            if isinstance(module, nn.Linear)
        }
        return LoraAdapter.fresh(
            modules,
            noise,
            rank=config.lora_rank,
            alpha=config.lora_alpha,
            lr=lr,
            eps=config.adam_eps,
            carry_over=config.carry_over,
        )


def _attached(phi: Any) -> AbstractContextManager[Any]:
    return nullcontext() if phi is None else phi.attached()
