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

mmada.safetensors, `t2i_generate` of 16 tokens, deterministic (CASE is one of `CASES`): the most
probable token instead of a drawn one, temperature 0 of the re-masking. T is the number of steps:

    CASE/prompt                 `(B, 514)` int64, in front of the image: padding, text, soi
    CASE/mask                   `(B, 514)` int64, 0 on padding
    CASE/canvas                 `(T, B, 16)` int64 image tokens at the beginning of each step, mask
                                8192
    CASE/best                   `(T, B, 16)` int64, the most probable of 8192
    CASE/log_probs              `(T, B, 16, 128)`, of every 64th token, after guidance
    CASE/ids                    `(B, 16)` int64, the result
    long/prompt                 `(1, 514)` of `LONG`, which is cut
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))
from checkpoints_mmada import (
    DECODER,
    ENCODER,
    MASK,
    TEXT_SIZE,
    magvit_tensors,
    mmada_config,
    mmada_tensors,
    write_mmada,
)

HERE = Path(__file__).parent
TEXTS = ["The red violin", "Who? A big dog"]
LONG = "the big red dog " * 300
# name: (texts, w, steps, share of the image tokens that is given)
CASES = {
    "plain": (TEXTS, 0.0, 3, 0.0),
    "guided": (TEXTS, 3.5, 3, 0.0),
    "slow": (TEXTS[:1], 1.5, 8, 0.0),
    "given": (TEXTS[1:], 1.5, 3, 0.5),
}


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


@torch.no_grad()
def make_mmada() -> None:
    from transformers import PreTrainedTokenizerFast

    theirs = importlib.import_module("models.modeling_mmada")
    settings = importlib.import_module("models.configuration_llada").LLaDAConfig
    prompting = importlib.import_module("training.prompting_utils").UniversalPrompting
    config = mmada_config()
    weights = mmada_tensors(config)
    with tempfile.TemporaryDirectory() as folder:
        write_mmada(Path(folder))
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
    drop = ("auto_map", "model_type", "transformers_version", "architectures")
    model = theirs.MMadaModelLM(settings(**{k: v for k, v in config.items() if k not in drop}))
    model.load_state_dict(weights, strict=True)
    model.eval()
    prompts = prompting(tokenizer, max_text_len=512, ignore_id=-100, use_reserved_token=True)
    assert len(tokenizer) == TEXT_SIZE

    out, probabilities, inputs = {}, [], []
    forward = type(model).forward

    def recorded(self, input_ids, *args, **kwargs):
        inputs.append(input_ids.clone())
        return forward(self, input_ids, *args, **kwargs)

    def most_probable(probs, *args, **kwargs):
        probabilities.append(probs.clone())
        return probs.argmax(-1, keepdim=True)

    type(model).forward = recorded
    theirs.torch.multinomial = most_probable
    for number, (name, (texts, scale, steps, share)) in enumerate(CASES.items()):
        rows = len(texts)
        g = torch.Generator().manual_seed(number)
        image = torch.randint(8192, (rows, 16), generator=g) + TEXT_SIZE
        image[torch.rand(rows, 16, generator=g) >= share] = MASK
        ids, mask = prompts((list(texts), image), "t2i_gen")
        other, other_mask = prompts(([""] * rows, image), "t2i_gen")
        prompt = ids[:, :-17].clone()
        probabilities.clear(), inputs.clear()
        found = model.t2i_generate(
            input_ids=ids,
            uncond_input_ids=other if scale else None,
            attention_mask=mask,
            uncond_attention_mask=other_mask if scale else None,
            temperature=0.0,
            timesteps=steps,
            guidance_scale=scale,
            seq_len=16,
            uni_prompting=prompts,
        )
        canvas = torch.stack([step[:rows, -17:-1] for step in inputs])
        logs = torch.stack([p.view(rows, 16, 8192) for p in probabilities]).log()
        out |= {
            f"{name}/prompt": prompt,
            f"{name}/mask": mask[:, :-17],
            f"{name}/canvas": torch.where(canvas == MASK, 8192, canvas - TEXT_SIZE),
            f"{name}/best": logs.argmax(-1),
            f"{name}/log_probs": logs[..., ::64],
            f"{name}/ids": found,
        }
    out["long/prompt"] = prompts(([LONG], image[:1]), "t2i_gen")[0][:, :-17]
    save("mmada", out, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description="make the reference tensors")
    parser.add_argument("folder", type=Path, help="a checkout of Gen-Verse/MMaDA")
    sys.path.insert(0, str(parser.parse_args().folder))
    make_magvit()
    make_mmada()


if __name__ == "__main__":
    main()
