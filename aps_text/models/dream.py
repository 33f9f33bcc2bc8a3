"""Dream, Dream-Coder and DiffuCoder: the stock Qwen2 in both directions, its output shifted by one.

    x_theta(z)_i = softmax(head(h_{i-1}))        position 0 of the row uses its own h_0

(Ye et al. 2025, Dream 7B; Gong et al. 2025, DiffuCoder.) Weights and names are Qwen2's, so nothing
is renamed. The shift is undone in one place, `TransformerDenoiser.logits`.
"""

from __future__ import annotations

from .causal import wrap_causal
from .checkpoint import Checkpoint
from .checkpoint_files import check_sizes
from .text_model import TextModel

__all__ = ["load_dream"]

SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
)


def load_dream(checkpoint: Checkpoint) -> TextModel:
    """A checkpoint of `model_type` Dream.

    Raises:
        ValueError: fields this layout needs are missing, or features that Qwen2 does not have.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sizes = dict(zip(SIZES, checkpoint.need(*SIZES), strict=True))
    check_sizes(checkpoint.config, SIZES[:7], checkpoint.name)
    if checkpoint.config.get("use_sliding_window"):
        raise ValueError(
            f"{checkpoint.name!r} sets use_sliding_window, which no published Dream does, and "
            "attention is full here; set it to false if that is how the model was trained"
        )
    fields = {
        **sizes,
        "hidden_act": checkpoint.config.get("hidden_act", "silu"),
        "rope_scaling": checkpoint.config.get("rope_scaling"),
        "tie_word_embeddings": bool(checkpoint.config.get("tie_word_embeddings", False)),
        "pad_token_id": checkpoint.config.get("pad_token_id"),
        "use_cache": False,
    }
    config = checkpoint.network_config(Qwen2Config, fields)
    tokenizer = checkpoint.tokenizer()
    model = checkpoint.model(Qwen2ForCausalLM, config)
    return wrap_causal(model, tokenizer, checkpoint.name, shift=1, checkpoint=checkpoint)
