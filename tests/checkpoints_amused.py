"""Tiny aMUSEd checkpoints in exactly the published layout, with random weights.

Files, folders and fields are those of `amused/amused-256` and `amused/amused-512`; the number of
image tokens, the vocabulary and the mask id too. Sizes are small: 4 or 8 tokens per side.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import torch
from checkpoints import bpe, write
from safetensors.torch import save_file

PARTS = {
    "scheduler": ["diffusers", "AmusedScheduler"],
    "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "transformer": ["diffusers", "UVit2DModel"],
    "vqvae": ["diffusers", "VQModel"],
}
VERSION = {"_diffusers_version": "0.25.0.dev0"}


def transformer_config(downsample=False, **changes):
    """As published; `downsample` is that of the 512-pixel model."""
    return {
        "_class_name": "UVit2DModel",
        **VERSION,
        "attention_dropout": 0.0,
        "block_num_heads": 2,
        "block_out_channels": 32,
        "codebook_size": 8192,
        "cond_embed_dim": 16,
        "downsample": downsample,
        "encoder_hidden_size": 24,
        "hidden_dropout": 0.0,
        "hidden_size": 32,
        "in_channels": 32,
        "intermediate_size": 48,
        "layer_norm_eps": 1e-06,
        "ln_elementwise_affine": True,
        "micro_cond_embed_dim": 40,
        "micro_cond_encode_dim": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "num_res_blocks": 2,
        "sample_size": 4,
        "upsample": downsample,
        "use_bias": False,
        "vocab_size": 8256,
        **changes,
    }


def vqvae_config(**changes):
    blocks = 5
    return {
        "_class_name": "VQModel",
        **VERSION,
        "act_fn": "silu",
        "block_out_channels": [32, 32, 32, 32, 64],
        "down_block_types": ["DownEncoderBlock2D"] * blocks,
        "force_upcast": True,
        "in_channels": 3,
        "latent_channels": 8,
        "layers_per_block": 1,
        "lookup_from_codebook": True,
        "mid_block_add_attention": False,
        "norm_num_groups": 32,
        "norm_type": "group",
        "num_vq_embeddings": 8192,
        "out_channels": 3,
        "sample_size": 32,
        "scaling_factor": 0.18215,
        "up_block_types": ["UpDecoderBlock2D"] * blocks,
        "vq_embed_dim": None,
        **changes,
    }


def text_config(**changes):
    return {
        "architectures": ["CLIPTextModelWithProjection"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "dropout": 0.0,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_size": 24,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 48,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "pad_token_id": 1,
        "projection_dim": 16,
        "torch_dtype": "float32",
        "transformers_version": "4.34.1",
        "vocab_size": 49408,
        **changes,
    }


@lru_cache
def tokenizer_files(pad: str = "!", model_max_length: int = 77) -> dict[str, str]:
    """CLIP's tokenizer: its ids of beginning and end and its number of tokens, few real words."""
    vocab, _ = bpe()
    # CLIP's alphabet comes twice, the second time as the ends of words; `!` is 0.
    letters = [token for token in vocab if len(token) == 1]
    letters.sort(key=lambda letter: letter != "!")
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    pairs = [("v", "i"), ("vi", "o"), ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>")]
    words += ["".join(pair) for pair in pairs]
    words += [f"\u00b7{number}</w>" for number in range(len(words), 49406)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    ids = {word: number for number, word in enumerate(words)}
    assert len(ids) == 49408
    assert ids["!"] == 0
    named = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": pad,
        "unk_token": "<|endoftext|>",
    }
    settings = {
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": model_max_length,
        "tokenizer_class": "CLIPTokenizer",
        **named,
    }
    return {
        "vocab.json": json.dumps(ids, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *(" ".join(pair) for pair in pairs)]) + "\n",
        "special_tokens_map.json": json.dumps(named),
        "tokenizer_config.json": json.dumps(settings),
    }


def drawn(shapes, seed, spread=1.0):
    """Random tensors of these shapes, about of unit gain; norms near 1."""
    g = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in sorted(shapes.items()):
        value = torch.randn(tuple(shape), generator=g)
        if len(shape) > 1:
            size = 1 if "embedding" in name else shape[1:].numel()
            found[name] = spread * value / size**0.5
        else:
            found[name] = 0.1 * value + (1.0 if "norm" in name and "weight" in name else 0.0)
    return found


def shapes_of(kind, config):
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    with torch.device("meta"):
        if kind == "CLIPTextModelWithProjection":
            net = CLIPTextModelWithProjection(CLIPTextConfig(**config))
        else:
            net = getattr(diffusers, kind).from_config(config)
    return {name: value.shape for name, value in net.state_dict().items()}


def write_amused(folder: Path, *, downsample=False, seed=0, unit=0.05, changes=None) -> Path:
    """A folder as `amused/amused-256` (`downsample`: as `amused/amused-512`).

    Args:
        unit: the spread of the code vectors.
        changes: fields of a part's configuration, by part.
    """
    changes = changes or {}
    write_index = {"_class_name": "AmusedPipeline", **VERSION, **PARTS}
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, "model_index.json", write_index)
    for part in PARTS:
        (folder / part).mkdir(exist_ok=True)
    scheduler = {
        "_class_name": "AmusedScheduler",
        **VERSION,
        "mask_token_id": 8255,
        "masking_schedule": "cosine",
    }
    write(folder / "scheduler", "scheduler_config.json", scheduler | changes.get("scheduler", {}))
    for name, text in tokenizer_files(**changes.get("tokenizer", {})).items():
        write(folder / "tokenizer", name, text)
    for part, made, file in (
        ("transformer", transformer_config(downsample), "diffusion_pytorch_model.safetensors"),
        ("vqvae", vqvae_config(), "diffusion_pytorch_model.safetensors"),
        ("text_encoder", text_config(), "model.safetensors"),
    ):
        config = made | changes.get(part, {})
        write(folder / part, "config.json", config)
        tensors = drawn(shapes_of(PARTS[part][1], config), seed)
        if part == "vqvae":
            tensors["quantize.embedding.weight"] *= unit
            # The latent of a code is of its own size, whatever the unit.
            tensors["post_quant_conv.weight"] /= unit
        if part == "transformer":  # distributions that differ
            tensors["mlm_layer.conv2.weight"] *= 3
        save_file(tensors, folder / part / file, {"format": "pt"})
    return folder
