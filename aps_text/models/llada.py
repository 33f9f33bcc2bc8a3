"""LLaDA Base, Instruct and 1.5: the stock Llama in both directions under other names.

    model.transformer.{wte, ln_f, ff_out}           model.{embed_tokens, norm}, lm_head
    blocks.N.{q,k,v}_proj, attn_out                 layers.N.self_attn.{q,k,v,o}_proj
    blocks.N.ff_proj, up_proj, ff_out               layers.N.mlp.{gate,up,down}_proj
    blocks.N.attn_norm, ff_norm                     layers.N.{input,post_attention}_layernorm

(Nie et al. 2025.) Position i is predicted by the head's output at i: no shift.
"""

from __future__ import annotations

from typing import Any

from .causal import wrap_causal
from .checkpoint import Checkpoint
from .checkpoint_files import check_sizes, read_headers
from .text_model import TextModel

__all__ = ["RENAMED", "llada_config", "load_llada"]

# LLaDA's weight names to Llama's, as patterns for `from_pretrained(key_mapping=)`.
RENAMED = {
    r"^model\.transformer\.wte\.": "model.embed_tokens.",
    r"^model\.transformer\.ln_f\.": "model.norm.",
    r"^model\.transformer\.ff_out\.": "lm_head.",
    **{
        rf"^model\.transformer\.blocks\.(\d+)\.{theirs}\.": rf"model.layers.\1.{ours}."
        for theirs, ours in {
            "q_proj": "self_attn.q_proj",
            "k_proj": "self_attn.k_proj",
            "v_proj": "self_attn.v_proj",
            "attn_out": "self_attn.o_proj",
            "ff_proj": "mlp.gate_proj",
            "up_proj": "mlp.up_proj",
            "ff_out": "mlp.down_proj",
            "attn_norm": "input_layernorm",
            "ff_norm": "post_attention_layernorm",
        }.items()
    },
}

HEAD = "model.transformer.ff_out.weight"

SIZES = {
    "d_model": "hidden_size",
    "mlp_hidden_size": "intermediate_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "max_sequence_length": "max_position_embeddings",
    "rms_norm_eps": "rms_norm_eps",
    "rope_theta": "rope_theta",
}

# The published models' values, which Llama implements; with others the outputs would be wrong.
FIXED: dict[str, Any] = {
    "block_type": "llama",
    "activation_type": "silu",
    "layer_norm_type": "rms",
    "rope": True,
    "alibi": False,
    "include_bias": False,
    "include_qkv_bias": False,
    "attention_layer_norm": False,
    "layer_norm_with_affine": True,
    "bias_for_layer_norm": False,
    "multi_query_attention": False,
    "rope_full_precision": True,
    "input_emb_norm": False,
    "scale_logits": False,
    "block_group_size": 1,
}


def load_llada(checkpoint: Checkpoint) -> TextModel:
    """A checkpoint of `model_type` llada.

    Raises:
        ValueError: see `llada_config`.
    """
    from transformers import LlamaForCausalLM

    config = llada_config(checkpoint)
    tokenizer = checkpoint.tokenizer()
    model = checkpoint.model(LlamaForCausalLM, config, RENAMED, exact=True)
    return wrap_causal(model, tokenizer, checkpoint.name, checkpoint=checkpoint)


def llada_config(checkpoint: Checkpoint, **own: Any) -> Any:
    """The `LlamaConfig` of a checkpoint in LLaDA's layout, with fields of the model's own.

    Raises:
        ValueError: fields this layout needs are missing, or have values Llama does not implement.
    """
    from transformers import LlamaConfig

    given = checkpoint.config
    sizes = dict(zip(SIZES.values(), checkpoint.need(*SIZES), strict=True))
    counts = (*list(SIZES)[:5], "n_kv_heads", "embedding_size", "vocab_size")
    check_sizes(given, counts, checkpoint.name)
    for key, value in FIXED.items():
        stated = given.get(key, value)
        if stated != value and not (stated is None and value is False):  # null is False there
            raise ValueError(
                f"{checkpoint.name!r} sets {key}={stated!r}; the published LLaDA models set "
                f"{value!r}, and only that layout is supported"
            )
    for key in ("rope_theta", "rms_norm_eps"):
        value = given[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
            raise ValueError(
                f"config.json of {checkpoint.name!r} has {key}={value!r}, and it is a number above "
                "0; compare it with the published file"
            )
    if given.get("weight_tying") and HEAD in read_headers(checkpoint.folder, checkpoint.name):
        raise ValueError(
            f"config.json of {checkpoint.name!r} has weight_tying=true, and its files hold the "
            f"head's own weights, {HEAD!r}; they do not belong together"
        )
    fields = {
        **sizes,
        "vocab_size": given.get("embedding_size") or checkpoint.need("vocab_size")[0],
        "num_key_value_heads": given.get("n_kv_heads") or given["n_heads"],
        "tie_word_embeddings": bool(given.get("weight_tying", False)),
        "pad_token_id": given.get("pad_token_id"),
        "bos_token_id": given.get("bos_token_id"),
        "eos_token_id": given.get("eos_token_id"),
        "use_cache": False,
        **own,
    }
    return checkpoint.network_config(LlamaConfig, fields)
