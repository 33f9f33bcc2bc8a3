"""A causal language model's layout (Qwen2, Qwen3, Llama) read in both directions.

    A[b, 0, q, k] = 1 iff query q of row b attends to key k          (B, 1, S, S)
        key k is real                                                for every q, usually
        as `forward_inputs.keys_of` says                             where queries differ (`smol`)

The stock classes use a 4-D mask as it is and add no causal one. Padded keys are masked; padded
queries attend like all others, and their output is not used. Where every query attends to every key
we pass no mask: fused attention kernels are faster that way. The attention modules are then marked
as not causal, and the blocks get no mask even where the model would have built a causal one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..text.prompt_encoding import prompt_encoder
from .answer_tokens import answer_tokens
from .checkpoint import Checkpoint
from .checkpoint_files import check_sizes
from .frozen import compile_layers, frozen
from .parts import ModelParts
from .text_model import TextModel

__all__ = ["both_directions", "load_causal", "wrap_causal"]

MAX_NEW_TOKENS = 128
SIZES = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"),
)


def load_causal(checkpoint: Checkpoint) -> TextModel:
    """A Qwen2, Qwen3 or Llama checkpoint as a bidirectional denoiser, without a shift.

    Raises:
        ValueError: its files name no mask token, or it sets `use_sliding_window`.
    """
    import transformers

    kind = str(checkpoint.config["model_type"]).removeprefix("a2d-")
    prefix = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama"}[kind]
    foreign = ("auto_map", "architectures", "model_type")
    fields = {key: value for key, value in checkpoint.config.items() if key not in foreign}
    if fields.get("use_sliding_window"):
        raise ValueError(
            f"{checkpoint.name!r} sets use_sliding_window; attention in both directions is full "
            "here, so set it to false if that is how the model was trained"
        )
    check_sizes(fields, SIZES, checkpoint.name)
    config = checkpoint.network_config(
        getattr(transformers, f"{prefix}Config"), {**fields, "use_cache": False}
    )
    tokenizer = checkpoint.tokenizer()
    # Checked before the weights are loaded: an ordinary causal model has no mask token.
    answer_tokens(
        tokenizer, config.vocab_size, checkpoint.config, checkpoint.generation(), checkpoint.name
    )
    model = checkpoint.model(getattr(transformers, f"{prefix}ForCausalLM"), config)
    return wrap_causal(model, tokenizer, checkpoint.name, checkpoint=checkpoint)


def both_directions(model: Any) -> Callable[[Tensor], Tensor | None]:
    """Make `model` bidirectional.

    Returns:
        A function of the real positions `(B, S)`, or of the keys of each query `(B, S, S)`, both
        bool. It returns the mask that the model's attention takes, None where all attend to all; it
        raises `ValueError` where a mask is needed and the attention is a flash one.

    Raises:
        ValueError: an implementation that is not `sdpa`, `eager` or a flash attention.
    """
    kind = model.config._attn_implementation
    if kind not in ("sdpa", "eager") and "flash" not in kind:
        raise ValueError(
            f"attn_implementation={kind!r} takes no mask of keys; use 'sdpa', 'eager' "
            "or 'flash_attention_2' (unpadded batches only)"
        )
    if kind != "eager":  # without a mask these kernels read is_causal; eager attention does not
        for module in model.modules():
            if hasattr(module, "is_causal"):
                module.is_causal = False
        model.config.is_causal = False

    return _AttentionMask(kind, model.dtype)


@dataclass(frozen=True)
class _AttentionMask:
    """Maps real positions `(B, S)`, or the keys of each query `(B, S, S)`, both bool, to the mask
    that an attention implementation takes."""

    kind: str
    dtype: torch.dtype

    def __call__(self, real: Tensor) -> Tensor | None:
        if self.kind != "eager" and bool(real.all()):
            return None
        if self.kind not in ("sdpa", "eager"):
            raise ValueError(
                f"attn_implementation={self.kind!r} takes no padded batches; load with 'sdpa', "
                "or use batch_size=1"
            )
        if real.ndim == 2:
            real = real[:, None, :].expand(-1, real.shape[1], -1)
        keys = real[:, None]
        if self.kind == "sdpa":
            return keys
        zero = torch.zeros((), dtype=self.dtype, device=real.device)  # eager adds the mask
        return torch.where(keys, zero, torch.finfo(self.dtype).min)


def wrap_causal(
    model: nn.Module,
    tokenizer: Any,
    name: str = "causal",
    *,
    shift: int = 0,
    special_tokens_in_text: bool = False,
    checkpoint: Checkpoint | None = None,
) -> TextModel:
    """A `Qwen2ForCausalLM`, `Qwen3ForCausalLM` or `LlamaForCausalLM` trained to fill in masks.

    Args:
        model: put in eval mode and frozen.
        tokenizer: a fast tokenizer.
        name: for reports and errors.
        shift: 1 if position i is predicted by the head's output at i - 1 (Dream), else 0.
        special_tokens_in_text: parse control tokens that users type, instead of reading them as
            text.
        checkpoint: the one it was loaded from; the token ids in its files take precedence.
    """
    frozen(model)
    network: Any = model
    config = {**network.config.to_dict(), **(checkpoint.config if checkpoint else {})}
    vocab_size = network.lm_head.out_features
    tokens = answer_tokens(
        tokenizer, vocab_size, config, checkpoint.generation() if checkpoint else None, name
    )
    parts = ModelParts(
        model=model,
        layers_path="model.layers",
        final=network.model.norm,
        head=network.lm_head,
        mask_id=tokens.mask_id,
        pad_id=tokens.fill_id,
        vocab_size=vocab_size,
        suppressed=tokens.suppressed,
        attend_fill=True,
        shift=shift,
        attention=both_directions(model),
        options={"use_cache": False},
        embed=network.model.embed_tokens,
        checkpointing=checkpoint.checkpointing if checkpoint else False,
        compiled=compile_layers(network.model.layers, checkpoint.compiled if checkpoint else False),
    )
    special_tokens = checkpoint.special_tokens_in_text if checkpoint else special_tokens_in_text
    longest = min(network.config.max_position_embeddings, tokenizer.model_max_length)
    return TextModel(
        name=name,
        parts=parts,
        tokenizer=tokenizer,
        encode=prompt_encoder(tokenizer, checkpoint.chat if checkpoint else None, special_tokens),
        special_tokens_in_text=special_tokens,
        stop_ids=tokens.stop_ids,
        fill_id=tokens.fill_id,
        max_new_tokens=min(MAX_NEW_TOKENS, longest // 2),
        context=longest,
    )
