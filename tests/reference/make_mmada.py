"""How the reference tensors of MAGVIT-v2 and MMaDA were made: the published code at tiny size.

    python tests/reference/make_mmada.py FOLDER

FOLDER is a checkout of Gen-Verse/MMaDA (models/ and training/ are read); nothing of it is part of
this repository. It was run at commit 3cdb870, with transformers 4.46.2, diffusers 0.32.2 and torch
2.13.0, on a CPU in float32. The weights are those of `checkpoints_mmada`; only their hash is
stored.

magvit.safetensors, of 64 x 64 and of 32 x 48 pixels (SIZE is `64x64` or `32x48`):

    SIZE/images                 `(2, 3, H, W)` in [-1, 1]
    SIZE/z                      `(2, bits, H / 16, W / 16)`, the encoder's output before the sign
    SIZE/ids                    `(2, L)` int64, `get_code` of the images
    SIZE/tokens                 `(2, L)` int64, random
    SIZE/decoded                `(2, 3, H, W)`, `decode_code` of them
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))
from checkpoints_mmada import DECODER, ENCODER, magvit_tensors

HERE = Path(__file__).parent


def hash_of(tensors):
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def save(name, tensors, weights):
    meta = {"weights": hash_of(weights), "torch": torch.__version__, "dtype": "float32"}
    stored = {key: value.contiguous() for key, value in tensors.items()}
    save_file(stored, HERE / f"{name}.safetensors", meta)


def tiny_magvit(theirs, bits=13):
    """Their class with small parts in place of the fixed ones."""
    model = theirs.MAGVITv2()
    for name, (ch, mult, blocks) in (("encoder", ENCODER), ("decoder", DECODER)):
        kind = getattr(theirs, f"VQGAN{name.capitalize()}")
        part = kind(ch=ch, ch_mult=list(mult), num_res_blocks=list(blocks), z_channels=bits)
        setattr(model, name, part)
    model.quantize = theirs.LFQuantizer(codebook_dim=bits)
    weights = magvit_tensors(bits=bits)
    nn.Module.load_state_dict(model, weights, strict=True)
    return model.eval(), weights


@torch.no_grad()
def make_magvit() -> None:
    model, weights = tiny_magvit(importlib.import_module("models.modeling_magvitv2"))
    out = {}
    for number, (height, width) in enumerate(((64, 64), (32, 48))):
        g = torch.Generator().manual_seed(number)
        images = torch.rand(2, 3, height, width, generator=g) * 2 - 1
        cells = (height // 16, width // 16)
        tokens = torch.randint(2**13, (2, cells[0] * cells[1]), generator=g)
        found = {
            "images": images,
            "z": model.encoder(images),
            "ids": model.get_code(images),
            "tokens": tokens,
            "decoded": model.decode_code(tokens, shape=cells),
        }
        out |= {f"{height}x{width}/{name}": value for name, value in found.items()}
    save("magvit", out, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description="make the reference tensors")
    parser.add_argument("folder", type=Path, help="a checkout of Gen-Verse/MMaDA")
    sys.path.insert(0, str(parser.parse_args().folder))
    make_magvit()


if __name__ == "__main__":
    main()
