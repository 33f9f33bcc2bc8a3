"""A denoiser around any Hugging Face transformer with a token head.

    trunk    embeddings and layers 0 .. N-n-1, once per denoising step, without gradient
    logits   layers N-n .. N-1, norm and head, under phi; the head and the last layer only at the
             positions asked for (the last layer's keys and values everywhere)
             (checkpointing: each of these layers is computed again in the backward pass)

The layers are called with the arguments that the model itself passes to them (`forward_inputs`).
If these differ between layers (ModernBERT), the trunk is the model's own forward, in which the
upper layers run once so that their arguments can be recorded.
Shapes: prompts `(B, P)` left-padded, canvas `(B, L)`, given tokens behind it `(B, R)`, positions
`(N,)`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.protocols import SUPPRESSED, Adapter, Where
from .bound_columns import BoundColumns
from .call_hooks import sweep
from .forward_inputs import ForwardInputs, layer_calls, left_padded
from .frozen import refuse_training
from .lora import new_adapter
from .modes import ordinary, outside_modes
from .partial_forward import Block, by_row, first_of
from .parts import ModelParts
from .prefix import Prefix
from .text_states import UNSETTLED, TextStates, settled_columns
from .upper_layers import TrunkState, replayed

__all__ = ["TransformerDenoiser"]

MASK = "attention_mask"


@dataclass(frozen=True, kw_only=True)
class TransformerDenoiser(BoundColumns):
    """`x_theta` with B prompts bound; build with `bind`.

    Attributes:
        split: number of layers in the trunk, N - n.
        prefix: states of the prompts kept between steps; None recomputes them at every step.
        texts: states of text kept between forwards; None recomputes them.
        owner: `(B,)` the bound row that each row was taken from.
        dropped: columns of padding that were dropped since.
    """

    split: int
    prefix: Prefix | None = None
    texts: TextStates | None = None
    owner: Tensor | None = None
    dropped: int = 0

    @classmethod
    @outside_modes
    def bind(
        cls,
        parts: ModelParts,
        prompts: Sequence[Sequence[int]],
        lengths: Sequence[int],
        adapted_layers: int | None = None,
        prefix_reuse: int | None = None,
        suffixes: Sequence[Sequence[int]] = (),
        blocks: Tensor | None = None,
    ) -> TransformerDenoiser:
        """Bind prompts (token ids) and canvas lengths, one of each per row.

        With `prefix_reuse` the denoiser serves one run (see `Prefix`). A causal prompt is kept for
        good whatever `prefix_reuse` is, as nothing behind it changes its states, and serves any
        number of runs. `suffixes` are token ids that stand behind the canvases, one of the same
        length per row (the end of an image). `blocks (B, W)` int64, ascending from 0 in each row,
        are read by block-causal models only: a row of a single block is attended as a whole.

        Raises:
            ValueError: more adapted layers than the model has, `prefix_reuse` without a trunk or
                with compiled layers, suffixes of another number or of unequal lengths, blocks that
                do not ascend from 0, a network in training mode.
        """
        refuse_training(parts.model)
        depth = len(parts.layers)
        top = depth if adapted_layers is None else adapted_layers
        if top > depth:
            raise ValueError(f"lora_layers={top}, but the model has {depth} layers; use <= {depth}")
        if prefix_reuse is not None and top == depth:
            raise ValueError(
                f"prefix_reuse={prefix_reuse} works below the adapted layers, and all {depth} are "
                "adapted; use a smaller lora_layers (1 reuses most)"
            )
        if prefix_reuse is not None and parts.compiled:
            raise ValueError(
                f"prefix_reuse={prefix_reuse} and compile exclude each other; use one of them"
            )
        block_causal = parts.block_causal and blocks is not None and not suffixes
        if blocks is not None and (
            bool((blocks[:, :1] != 0).any()) or bool((blocks.diff(dim=1) < 0).any())
        ):
            raise ValueError(f"blocks ascend from 0 in each row; got {blocks.tolist()!r:.200}")
        texts = None
        if parts.causal_prompt and top < depth and not parts.compiled:
            prefix_reuse = None if block_causal else sys.maxsize
            texts = TextStates() if block_causal else None
        if suffixes and (len(suffixes) != len(prompts) or len(set(map(len, suffixes))) > 1):
            raise ValueError(
                f"{len(prompts)} prompts and suffixes of lengths {[len(s) for s in suffixes]}; "
                "give one for each prompt, all of one length"
            )
        ids, real = left_padded(prompts, parts.pad_id)
        device = parts.device
        with parts.lock:
            sweep(parts.model.modules())
        return cls(
            parts,
            ids.to(device),
            real.to(device),
            torch.tensor(list(lengths), device=device),
            suffix=torch.tensor([list(s) for s in suffixes], device=device) if suffixes else None,
            blocks=blocks.to(device) if blocks is not None and block_causal else None,
            split=depth - top,
            prefix=None if prefix_reuse is None else Prefix(prefix_reuse),
            texts=texts,
            owner=torch.arange(len(prompts), device=device),
        )

    @property
    def mask_id(self) -> int:
        """See `Denoiser`."""
        return self.parts.mask_id

    @property
    def vocab_size(self) -> int:
        """See `Denoiser`."""
        return self.parts.vocab_size

    @property
    def masks_unseen(self) -> bool:
        """See `Denoiser`; with a suffix, whose positions would move, they are seen."""
        return not (self.parts.attend_masks or self.parts.attend_fill) and self.suffix is None

    @outside_modes
    def take(self, rows: Tensor) -> TransformerDenoiser:
        """See `Denoiser.take`; drops the prompt columns that are padding in all remaining rows."""
        unread = self.prefix is not None and self.prefix.hidden is None
        if self.parts.causal_prompt and (unread or (self.texts and self.texts.prompts is None)):
            # Any canvas will do: filled here, the prompts' states serve all that is taken.
            z = self.prompt.new_full((len(self.prompt), int(self.lengths.max())), self.parts.pad_id)
            z[:, 0] = self.mask_id
            self.trunk(z)
        mask = self.prompt_mask[rows]
        first = int(mask.any(0).long().argmax()) if mask.shape[1] else 0
        return replace(
            self,
            prompt=self.prompt[rows, first:],
            prompt_mask=mask[:, first:],
            lengths=self.lengths[rows],
            prefix=self.prefix and self.prefix.take(rows, first),
            suffix=None if self.suffix is None else self.suffix[rows],
            blocks=None if self.blocks is None else self.blocks[rows],
            owner=None if self.owner is None else self.owner[rows],
            dropped=self.dropped + first,
        )

    @cached_property
    def _layers(self) -> list[nn.Module]:
        return list(self.parts.layers)

    @cached_property
    def _last(self) -> Block:
        return Block.of(self._layers[-1])

    @cached_property
    def _suppressed(self) -> Tensor:
        return torch.tensor(self.parts.suppressed, device=self.prompt.device)

    @outside_modes
    @torch.no_grad()
    def trunk(self, z: Tensor) -> TrunkState:
        """See `Denoiser.trunk`; trailing columns that no row attends to are not computed."""
        parts, within = self.parts, self.within
        seen = z[:, : within.shape[1]]
        if parts.attend_fill and parts.attend_masks:  # the mask does not depend on the tokens
            inputs = self.whole
        else:
            real = within if parts.attend_fill else within & (seen != parts.pad_id)
            inputs = self.inputs(real, *self.unseen(seen, real))
        behind = [] if self.suffix is None else [self.suffix]
        ids = torch.cat([self.prompt, z[:, : inputs.width], *behind], 1)
        with self.parts.lock:
            return self._below(ids, inputs)

    def _below(self, ids: Tensor, inputs: ForwardInputs) -> TrunkState:
        """The layers of the trunk on `ids (B, S)`."""
        if not self.parts.alike and self.prefix is None:  # `recorded` refuses such layers
            calls = layer_calls(self.parts, ids, inputs, self._layers[self.split :])
            (hidden, *args), kwargs = calls[0]
            own = [call for _, call in calls]
            return TrunkState(hidden, tuple(args), kwargs, self.prompt.shape[1], own)
        if inputs.known is None or self.parts.embed is None:
            ((hidden, *args), kwargs) = layer_calls(self.parts, ids, inputs, self._layers[:1])[0]
            if inputs.mask is None and MASK in kwargs:
                kwargs = {**kwargs, MASK: None}  # drop a causal mask that the model may have built
            inputs.known = tuple(args), kwargs
        else:
            hidden = self.parts.embed(ids)
        hidden = self._through(hidden, *inputs.known, ids)
        return TrunkState(hidden, *inputs.known, self.prompt.shape[1])

    def _through(
        self, hidden: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], ids: Tensor
    ) -> Tensor:
        """The embeddings `hidden (B, S, d)` of `ids (B, S)` through the layers of the trunk."""
        trunk = self._layers[: self.split]
        if self.texts is not None and self.owner is not None:
            size = ids.shape[1]
            blocks = self.blocks_of(size + 1 - self.prompt.shape[1])
            canvas = ids.clone()
            canvas[:, : self.prompt.shape[1]] = self.parts.pad_id  # a prompt may hold the mask
            settled = settled_columns(canvas == self.mask_id, blocks[:, :size])
            known = torch.where(settled, ids, UNSETTLED)
            return self.texts.through(
                trunk, hidden, args, kwargs, self.owner, known, blocks, self.dropped
            )
        if self.prefix is not None:
            return self.prefix.through(trunk, hidden, args, kwargs, self.ahead)
        for layer in trunk:
            hidden = first_of(layer(hidden, *args, **kwargs))
        return hidden

    @outside_modes
    def logits(self, state: TrunkState, where: Where, phi: Any = None) -> Tensor:
        """See `Denoiser.logits`; float32 (or float64), suppressed ids at `SUPPRESSED`."""
        rows, cols = (ordinary(index) for index in where)
        index, slot = by_row(rows, cols + (state.offset - self.parts.shift), len(self.prompt))
        # With an empty prompt, a shift would lead to the column before the row's first.
        with self.parts.lock:
            at = index.maximum(self.starts[:, None])
            hidden = replayed(self.parts, self._layers[self.split :], self._last, state, phi, at)
        if slot is None:
            picked = hidden.flatten(0, 1)
        else:
            picked = hidden[rows.to(hidden.device), slot.to(hidden.device)]
        logits = self.parts.head(self.parts.final(picked)).to(rows.device)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.parts.suppressed:
            logits = logits.index_fill_(-1, self._suppressed.to(logits.device), SUPPRESSED)
        return logits

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """See `Denoiser.new_adapter`: LoRA on the linear layers above the trunk, or logits."""
        path = self.parts.layers_path
        own = {f"{path}.{i}": self._layers[i] for i in range(self.split, len(self._layers))}
        return new_adapter(config, noise, own, len(self.prompt))
