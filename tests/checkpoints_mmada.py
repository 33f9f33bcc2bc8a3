"""Tiny MMaDA and MAGVIT-v2 checkpoints in exactly the published layouts, with random weights.

The files, their names, the fields of config.json and the tensors' names are those of
`Gen-Verse/MMaDA-8B-MixCoT` and `showlab/magvitv2`; the token ids too, so the vocabulary has its
published size and only the widths are small.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
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
