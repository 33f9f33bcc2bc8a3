"""Tiny MMaDA and MAGVIT-v2 checkpoints in exactly the published layouts, with random weights.

The files, their names, the fields of config.json and the tensors' names are those of
`Gen-Verse/MMaDA-8B-MixCoT` and `showlab/magvitv2`; the token ids too, so the vocabulary has its
published size and only the widths are small.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import torch
from checkpoints import (
    HEADERS,
    TRAP,
    added,
    bpe,
    llada_config,
    llada_shapes,
    random_tensors,
    write,
    write_weights,
)
from safetensors.torch import save_file

# (ch, multipliers and residual blocks of each level), of the encoder and the decoder; published:
# 128, (1, 2, 2, 4, 4), (4, 3, 4, 3, 4) and 128, (1, 1, 2, 2, 4), (4, 4, 3, 4, 3).
ENCODER = (32, (1, 2, 2, 1, 2), (2, 1, 1, 1, 1))
DECODER = (32, (1, 1, 2, 2, 2), (1, 2, 1, 1, 1))


def conv(name, after, before, kernel):
    return {f"{name}.weight": (after, before, kernel, kernel), f"{name}.bias": (after,)}


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def residual(name, before, after):
    shapes = norm(f"{name}.norm1", before) | conv(f"{name}.conv1", after, before, 3)
    shapes |= norm(f"{name}.norm2", after) | conv(f"{name}.conv2", after, after, 3)
    return shapes | (conv(f"{name}.nin_shortcut", after, before, 1) if before != after else {})


def middle(name, width):
    shapes = residual(f"{name}.block_1", width, width) | residual(f"{name}.block_2", width, width)
    shapes |= norm(f"{name}.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        shapes |= conv(f"{name}.attn_1.{part}", width, width, 1)
    return shapes


def magvit_shapes(encoder=ENCODER, decoder=DECODER, bits=13):
    """Names and shapes of the floating tensors of a published file."""
    ch, mult, blocks = encoder
    before, top = ch, len(mult) - 1
    shapes = conv("encoder.conv_in", ch, 3, 3)
    for level, (m, count) in enumerate(zip(mult, blocks, strict=True)):
        for block in range(count):
            shapes |= residual(f"encoder.down.{level}.block.{block}", before, ch * m)
            before = ch * m
        if level < top:
            shapes |= conv(f"encoder.down.{level}.downsample.conv", before, before, 3)
    shapes |= middle("encoder.mid", before) | norm("encoder.norm_out", before)
    shapes |= conv("encoder.conv_out", bits, before, 3) | conv("encoder.quant_conv", bits, bits, 1)
    ch, mult, blocks = decoder
    before = ch * mult[-1]
    shapes |= conv("decoder.post_quant_conv", bits, bits, 1)
    shapes |= conv("decoder.conv_in", before, bits, 3) | middle("decoder.mid", before)
    for level in reversed(range(len(mult))):
        for block in range(blocks[level]):
            shapes |= residual(f"decoder.up.{level}.block.{block}", before, ch * mult[level])
            before = ch * mult[level]
        if level:
            shapes |= conv(f"decoder.up.{level}.upsample.conv", before, before, 3)
    return shapes | norm("decoder.norm_out", before) | conv("decoder.conv_out", 3, before, 3)


def magvit_tensors(encoder=ENCODER, decoder=DECODER, bits=13, seed=0):
    """Random weights, about of unit gain, and the two buffers of the codes."""
    g = torch.Generator().manual_seed(seed)
    drawn = {}
    for name, shape in magvit_shapes(encoder, decoder, bits).items():
        value = torch.randn(shape, generator=g)
        if len(shape) == 4:
            drawn[name] = value / (shape[1] * shape[2] * shape[3]) ** 0.5
        else:
            drawn[name] = 0.1 * value + (1.0 if "norm" in name and "weight" in name else 0.0)
    powers = 2 ** torch.arange(bits - 1, -1, -1)
    table = (torch.arange(2**bits)[:, None] // powers % 2) * 2.0 - 1
    return drawn | {"quantize.embedding": table, "quantize.power_vals": powers}


def write_magvit(folder: Path, tensors=None, **sizes) -> Path:
    """A folder as `showlab/magvitv2`: the published config.json has no sizes in it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"_class_name": "MAGVITv2", "_version": "0.0.1"}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = magvit_tensors(**sizes) if tensors is None else tensors
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    save_file(tensors, folder / "pytorch_model.safetensors", {"format": "pt"})
    return folder


TEXT_SIZE, LLM_SIZE, SIZE = 126349, 126464, 134656  # the tokenizer's, the padded and the whole one
FIRST_ADDED, MASK = 126080, 126336
LATE = {
    126336: "<|mdm_mask|>",
    126340: "<role>",
    126341: "</role>",
    126342: "<|arithmetic_start|>",
    126343: "<|arithmetic_end|>",
    126344: "<|number_start|>",
    126345: "<|number_end|>",
    126346: "<|start_header_id|>",
    126347: "<|end_header_id|>",
    126348: "<|eot_id|>",
}


@lru_cache
def tokenizer_files(size: int = TEXT_SIZE) -> dict[str, str]:
    """LLaDA's tokenizer: its special ids and its number of tokens, with few real words.

    Args:
        size: tokens; 126346 is a tokenizer that lacks the three of the headers.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocab, merges = bpe()
    words = dict(vocab) | {f"\u00b7{number}": number for number in range(len(vocab), FIRST_ADDED)}
    names = ["<|startoftext|>", "<|endoftext|>", "[CLS]", "[gMASK]"]
    for token in range(FIRST_ADDED + len(names), size):
        names.append(LATE.get(token, f"<|reserved_token_{token - 126084}|>"))
    core = Tokenizer(models.BPE(words, [tuple(pair) for pair in merges]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    assert core.get_vocab_size() == size
    decoder, _ = added(words, names)
    named = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    settings = {
        "add_bos_token": False,
        "add_eos_token": False,
        "added_tokens_decoder": decoder,
        "additional_special_tokens": [],
        "chat_template": HEADERS,
        "clean_up_tokenization_spaces": False,
        "fast_tokenizer": True,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 1000000000000000019884624838656,
        "padding_side": "left",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "trust_remote_code": True,
        **named,
    }
    return {
        "tokenizer.json": core.to_str(),
        "tokenizer_config.json": json.dumps(settings, indent=2),
        "special_tokens_map.json": json.dumps(named, indent=2),
    }


def mmada_config(layers=2, **changes):
    """config.json with the fields of the published one: LLaDA's and MMaDA's own."""
    ids = {"<|endoftext|>": 126081, "<|mdm_mask|>": MASK}
    config = llada_config(ids, layers=layers, vocab=SIZE)
    return config | {
        "architectures": ["MMadaModelLM"],
        "codebook_size": 8192,
        "gradient_checkpointing": True,
        "llm_vocab_size": LLM_SIZE,
        "model_type": "mmada",
        "new_vocab_size": SIZE,
        "num_new_special_tokens": 0,
        "num_vq_tokens": 16,  # published: 1024 at 512 pixels, 256 at 256
        "auto_map": {
            "AutoConfig": "configuration_llada.LLaDAConfig",
            "AutoModelForCausalLM": "modeling_mmada.MMadaModelLM",
        },
        **changes,
    }


def mmada_tensors(config, seed=0):
    return random_tensors(llada_shapes(config), seed)


def write_mmada(folder: Path, *, seed=0, size=TEXT_SIZE, tensors=None, **changes) -> Path:
    """A folder as `Gen-Verse/MMaDA-8B-MixCoT`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tokenizer_files(size).items():
        write(folder, name, text)
    config = mmada_config(**changes)
    write(folder, "config.json", config)
    generation = {"_from_model_config": True, "bos_token_id": 126080, "eos_token_id": 126081}
    write(folder, "generation_config.json", generation)
    for name in ("configuration_llada.py", "modeling_llada.py", "modeling_mmada.py"):
        write(folder, name, TRAP)
    write_weights(folder, mmada_tensors(config, seed) if tensors is None else tensors, 2)
    return folder
