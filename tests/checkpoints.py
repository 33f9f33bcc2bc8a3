"""Tiny random checkpoints in exactly the published layouts: files, keys, config fields, tokenizers.

Field names and file names are those of Dream-org/Dream-v0-*, GSAI-ML/LLaDA-* and of models made
bidirectional from Qwen2, Qwen3 and Llama; sizes are tiny and weights random. Every folder holds an
`auto_map` and a module that fails when imported: nothing may run it.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

QUESTIONS = [
    "What is a violin?",
    "Who?",
    "Why is the big dog happy, and what does that say about the cat in the red house?",
]
TEXT = " ".join(QUESTIONS) + " A violin is a string instrument. The tree is blue. Yes, no, good."

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
    "{% endif %}"
)
TRAP = "raise SystemExit('a checkpoint brought code along and it was run')\n"


def bpe(merges: int = 60):
    """A byte-level BPE over TEXT: (vocabulary, merges)."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([TEXT], trainer)
    state = json.loads(core.to_str())["model"]
    pairs = [m if isinstance(m, list) else m.split(" ") for m in state["merges"]]
    return state["vocab"], pairs


def write(folder: Path, name: str, content) -> None:
    text = content if isinstance(content, str) else json.dumps(content, indent=2)
    (folder / name).write_text(text, encoding="utf-8")


def added(vocab, names, special=True):
    """`added_tokens_decoder` of names that follow the vocabulary, and their ids."""
    ids = {name: len(vocab) + i for i, name in enumerate(names)}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {str(i): {"content": n, **flags, "special": special} for n, i in ids.items()}, ids


def write_weights(folder: Path, tensors, shards: int) -> None:
    """Safetensors, in one file or in shards with their index."""
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    names, where = sorted(tensors), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, folder / file, {"format": "pt"})
        where |= dict.fromkeys(part, file)
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    write(folder, "model.safetensors.index.json", index)


def qwen_tokenizer(folder: Path, *, chat: bool = True, kind: str = "DreamTokenizer"):
    """vocab.json, merges.txt and tokenizer_config.json as Dream has them; ids by name."""
    vocab, merges = bpe()
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|beginoftext|>", "<|mask|>"]
    decoder, ids = added(vocab, names)
    write(folder, "vocab.json", vocab)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    write(folder, "merges.txt", "\n".join(lines) + "\n")
    write(
        folder,
        "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": decoder,
            "additional_special_tokens": ["<|beginoftext|>", "<|mask|>"],
            "auto_map": {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", None]},
            "bos_token": "<|beginoftext|>",
            **({"chat_template": CHATML} if chat else {}),
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|endoftext|>",
            "errors": "replace",
            "mask_token": "<|mask|>",
            "model_max_length": 131072,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": kind,
            "unk_token": None,
        },
    )
    write(
        folder,
        "special_tokens_map.json",
        {
            "bos_token": "<|beginoftext|>",
            "eos_token": "<|endoftext|>",
            "mask_token": "<|mask|>",
            "pad_token": "<|endoftext|>",
        },
    )
    write(folder, "added_tokens.json", ids)
    write(folder, "tokenization_dream.py", TRAP)
    return ids


def dream_config(ids, *, layers=3, vocab=None, **changes):
    """config.json with every field the published one has."""
    return {
        "architectures": ["DreamModel"],
        "attention_dropout": 0.0,
        "auto_map": {
            "AutoConfig": "configuration_dream.DreamConfig",
            "AutoModel": "modeling_dream.DreamModel",
        },
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|endoftext|>"],
        "hidden_act": "silu",
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 48,
        "mask_token_id": ids["<|mask|>"],
        "max_position_embeddings": 131072,
        "max_window_layers": layers,
        "model_type": "Dream",
        "num_attention_heads": 4,
        "num_hidden_layers": layers,
        "num_key_value_heads": 2,
        "pad_token_id": ids["<|endoftext|>"],
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.46.2",
        "use_cache": False,
        "use_sliding_window": False,
        "vocab_size": vocab or max(ids.values()) + 12,
        **changes,
    }


def random_tensors(shapes, seed: int, std: float = 0.4, dtype=torch.float32):
    """Normal weights in a fixed order; norms near one, no two logits nearly tied."""
    g = torch.Generator().manual_seed(seed)
    drawn = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=g) * std
        drawn[name] = ((1 + 0.3 * value) if "norm" in name or "ln_f" in name else value).to(dtype)
    return drawn


def dream_shapes(config):
    """State-dict names and shapes as DreamModel saves them (Qwen2's)."""
    d, ffn, vocab = (config[k] for k in ("hidden_size", "intermediate_size", "vocab_size"))
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    kv = d // heads * groups
    shapes = {"model.embed_tokens.weight": (vocab, d)}
    for n in range(config["num_hidden_layers"]):
        at = f"model.layers.{n}."
        for part, width in (("q", d), ("k", kv), ("v", kv)):
            shapes[f"{at}self_attn.{part}_proj.weight"] = (width, d)
            shapes[f"{at}self_attn.{part}_proj.bias"] = (width,)
        shapes[f"{at}self_attn.o_proj.weight"] = (d, d)
        shapes[f"{at}mlp.gate_proj.weight"] = shapes[f"{at}mlp.up_proj.weight"] = (ffn, d)
        shapes[f"{at}mlp.down_proj.weight"] = (d, ffn)
        shapes[f"{at}input_layernorm.weight"] = (d,)
        shapes[f"{at}post_attention_layernorm.weight"] = (d,)
    return shapes | {"model.norm.weight": (d,), "lm_head.weight": (vocab, d)}


def write_dream(folder: Path, *, seed=0, shards=2, chat=True, dtype=torch.float32, **changes):
    """A Dream checkpoint; returns the ids of its special tokens by name."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = qwen_tokenizer(folder, chat=chat)
    config = dream_config(ids, **changes)
    write(folder, "config.json", config)
    generation = {
        "_from_model_config": True,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|endoftext|>"],
        "mask_token_id": ids["<|mask|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "transformers_version": "4.46.2",
    }
    write(folder, "generation_config.json", generation)
    for name in ("configuration_dream.py", "modeling_dream.py", "generation_utils.py"):
        write(folder, name, TRAP)
    write_weights(folder, random_tensors(dream_shapes(config), seed, dtype=dtype), shards)
    return ids


def llada_config(ids, *, layers=3, vocab=None, **changes):
    """config.json with every field the published one has."""
    size = vocab or max(ids.values()) + 12
    return {
        "activation_type": "silu",
        "alibi": False,
        "alibi_bias_max": 8.0,
        "architectures": ["LLaDAModelLM"],
        "attention_dropout": 0.0,
        "attention_layer_norm": False,
        "attention_layer_norm_with_affine": True,
        "auto_map": {
            "AutoConfig": "configuration_llada.LLaDAConfig",
            "AutoModelForCausalLM": "modeling_llada.LLaDAModelLM",
            "AutoModel": "modeling_llada.LLaDAModelLM",
        },
        "bias_for_layer_norm": False,
        "block_group_size": 1,
        "block_type": "llama",
        "d_model": 32,
        "embedding_dropout": 0.0,
        "embedding_size": size,
        "eos_token_id": ids["<|endoftext|>"],
        "flash_attention": False,
        "include_bias": False,
        "include_qkv_bias": False,
        "init_cutoff_factor": None,
        "init_device": "meta",
        "init_fn": "mitchell",
        "init_std": 0.02,
        "input_emb_norm": False,
        "layer_norm_type": "rms",
        "layer_norm_with_affine": True,
        "mask_token_id": ids["<|mdm_mask|>"],
        "max_sequence_length": 4096,
        "mlp_hidden_size": 48,
        "mlp_ratio": 4,
        "model_type": "llada",
        "multi_query_attention": None,
        "n_heads": 4,
        "n_kv_heads": 4,
        "n_layers": layers,
        "pad_token_id": ids["<|endoftext|>"],
        "precision": "amp_bf16",
        "residual_dropout": 0.0,
        "rms_norm_eps": 1e-05,
        "rope": True,
        "rope_full_precision": True,
        "rope_theta": 500000.0,
        "scale_logits": False,
        "transformers_version": "4.46.3",
        "use_cache": False,
        "vocab_size": size,
        "weight_tying": False,
        **changes,
    }


def llada_shapes(config):
    """State-dict names and shapes as LLaDAModelLM saves them."""
    d, ffn, vocab = (config[k] for k in ("d_model", "mlp_hidden_size", "embedding_size"))
    kv = d // config["n_heads"] * config["n_kv_heads"]
    shapes = {"model.transformer.wte.weight": (vocab, d)}
    for n in range(config["n_layers"]):
        at = f"model.transformer.blocks.{n}."
        shapes[f"{at}q_proj.weight"] = shapes[f"{at}attn_out.weight"] = (d, d)
        shapes[f"{at}k_proj.weight"] = shapes[f"{at}v_proj.weight"] = (kv, d)
        shapes[f"{at}ff_proj.weight"] = shapes[f"{at}up_proj.weight"] = (ffn, d)
        shapes[f"{at}ff_out.weight"] = (d, ffn)
        shapes[f"{at}attn_norm.weight"] = shapes[f"{at}ff_norm.weight"] = (d,)
    return shapes | {
        "model.transformer.ln_f.weight": (d,),
        "model.transformer.ff_out.weight": (vocab, d),
    }


def write_llada(folder: Path, *, seed=0, shards=2, chat=True, dtype=torch.float32, **changes):
    """A LLaDA checkpoint (the tokenizer names no mask token: only config.json knows it)."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = fast_tokenizer(folder, chat=chat)
    config = llada_config(ids, **changes)
    write(folder, "config.json", config)
    for name in ("configuration_llada.py", "modeling_llada.py"):
        write(folder, name, TRAP)
    write_weights(folder, random_tensors(llada_shapes(config), seed, dtype=dtype), shards)
    return ids


def fast_tokenizer(folder: Path, *, chat: bool = True):
    """tokenizer.json and its companions as LLaDA has them; ids by name."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocab, merges = bpe()
    names = ["<|startoftext|>", "<|endoftext|>", "<|mdm_mask|>"]
    names += ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    decoder, ids = added(vocab, names)
    core = Tokenizer(models.BPE(vocab, [tuple(pair) for pair in merges]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    core.save(str(folder / "tokenizer.json"))
    named = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    write(folder, "special_tokens_map.json", named)
    write(
        folder,
        "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_eos_token": False,
            "added_tokens_decoder": decoder,
            "additional_special_tokens": [],
            **({"chat_template": HEADERS} if chat else {}),
            "clean_up_tokenization_spaces": False,
            "fast_tokenizer": True,
            "merges_file": None,
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": 1000000000000000019884624838656,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "trust_remote_code": True,
            **named,
        },
    )
    return ids


def write_causal(folder: Path, kind: str = "qwen3", *, seed=0, chat=True, prefix="", **changes):
    """A Qwen2, Qwen3 or Llama made bidirectional; the tokenizer knows the mask, config.json not."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    ids = qwen_tokenizer(folder, chat=chat, kind="Qwen2Tokenizer")
    size = max(ids.values()) + 12
    name = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama"}[kind]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        initializer_range=0.4,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ids["<|im_end|>"],
        **changes,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, f"{name}ForCausalLM")(config)
        model.save_pretrained(folder)
    stored = json.loads((folder / "config.json").read_text())
    own = {"auto_map": {"AutoModel": "modeling_own.Own"}, "architectures": ["OwnForMaskedLM"]}
    write(folder, "config.json", {**stored, **own, "model_type": prefix + kind})
    write(folder, "modeling_own.py", TRAP)
    return ids


def write_smol(folder: Path, base: Path, *, seed=0):
    """A random LoRA in the layout of `smol`, for a random Llama in `base`."""
    from safetensors.torch import save_file

    from aps_text.models.smol import JOINED, pack

    write_causal(base, "llama", seed=seed)
    model, tokenizer = small_base(base)
    mask = tokenizer.convert_tokens_to_ids("<|mask|>")
    g = torch.Generator().manual_seed(seed)
    lora = {"mask": torch.randn(32, generator=g)}
    for number, layer in enumerate(model.model.layers):
        for name, paths in JOINED.items():
            weights = [layer.get_submodule(path).weight for path in paths]
            rows, columns = sum(map(len, weights)), weights[0].shape[1]
            lora[f"{number}_{name}_a"] = torch.randn(4, columns, generator=g)
            lora[f"{number}_{name}_b"] = 0.1 * torch.randn(rows, 4, generator=g)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(pack(lora), folder / "lora.safetensors")
    write(folder, "aps.json", {"max_new_tokens": 16, "context": 128, "block_length": 4})
    config = {**model.config.to_dict(), "model_type": "smol", "mask_token_id": mask}
    pad = tokenizer.convert_tokens_to_ids("<|beginoftext|>")  # not the tokenizer's own
    write(folder, "config.json", config | {"pad_token_id": pad})


@contextmanager
def smol_folder(root: Path):
    """The folder of a tiny `smol` under `root`; `smollm2` gives its base."""
    from aps_text.models import smol

    write_smol(root / "model", root / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smol, "smollm2", lambda what: small_base(root / "base"))
        yield root / "model"


def small_base(folder: Path):
    """What `smollm2` returns, but small and random."""
    from transformers import LlamaForCausalLM, Qwen2TokenizerFast

    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, Qwen2TokenizerFast.from_pretrained(folder)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
