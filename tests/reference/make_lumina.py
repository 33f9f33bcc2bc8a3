"""How the reference tensors of Lumina-DiMOO were made: the published code at tiny size.

    python tests/reference/make_lumina.py FOLDER

FOLDER is a checkout of Alpha-VLLM/Lumina-DiMOO (model/, generators/ and utils/ are read); nothing
of it is part of this repository. It was run at commit 81344e6, with transformers 4.46.2, diffusers
0.32.2 and torch 2.13.0, on a CPU in float32. The weights are those of `checkpoints_lumina`; only
their hash is stored.

lumina.safetensors, one step of `generate_image` on 4 x 4 tokens, most of them given (CASE is one of
`CASES`, N its masks):

    CASE/prompt, CASE/uncond    int64, in front of the image: text, boa, boi
    CASE/canvas                 `(16,)` int64 image tokens, mask 8192
    CASE/best                   `(N,)` int64, the most probable of 8192, after guidance
    CASE/log_probs              `(N, 128)`, of every 64th token
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent.parent))
from checkpoints_lumina import write_lumina
from checkpoints_mmada import MASK
from reference.make_mmada import save

# name: (text, w)
CASES = {"plain": ("a red violin", 0.0), "guided": ("Who? A big dog", 4.0)}


def canvas(number):
    """Image tokens `(16,)`, every third one masked."""
    g = torch.Generator().manual_seed(number)
    z = torch.randint(8192, (16,), generator=g)
    z[::3] = 8192
    return z


@torch.no_grad()
def make(folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    theirs = importlib.import_module("model")
    settings = importlib.import_module("model.configuration_llada").LLaDAConfig
    decoding = importlib.import_module("generators.image_generation_generator")
    texts = importlib.import_module("utils.prompt_utils").generate_text_to_image_prompt
    rows_of = importlib.import_module("utils.image_utils").add_break_line
    write_lumina(folder)
    config = json.loads((folder / "config.json").read_text())
    drop = ("auto_map", "model_type", "transformers_version", "architectures")
    kept = {key: value for key, value in config.items() if key not in drop}
    model = theirs.LLaDAForMultiModalGeneration(settings(**kept))
    weights = {}
    for shard in sorted(folder.glob("*.safetensors")):
        weights |= load_file(shard)
    model.load_state_dict(weights, strict=True)
    model.eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    seen = []

    def most_probable(logits, *args, **kwargs):
        seen.append(logits.clone())
        return logits.argmax(-1)

    decoding.gumbel_max_sample = most_probable
    out = {}
    for number, (name, (text, scale)) in enumerate(CASES.items()):
        prompt, empty = (tokenizer(said).input_ids for said in texts(text))
        z = canvas(number)
        image = [MASK if token == 8192 else 126356 + token for token in z.tolist()]
        image = rows_of(image, 4, 4, new_number=126084)
        ids = torch.tensor([[*prompt, 126354, 126349, *image, 126350, 126355]])
        seen.clear()
        decoding.generate_image(
            model,
            ids,
            seq_len=16,
            newline_every=4,
            timesteps=1,
            temperature=0.0,
            cfg_scale=scale,
            uncon_ids=torch.tensor([empty]),
            code_start=len(prompt) + 2,
        )
        logs = seen[0][0].log_softmax(-1)
        out |= {
            f"{name}/prompt": torch.tensor([*prompt, 126354, 126349]),
            f"{name}/uncond": torch.tensor([*empty, 126354, 126349]),
            f"{name}/canvas": z,
            f"{name}/best": logs.argmax(-1),
            f"{name}/log_probs": logs[:, ::64],
        }
    save("lumina", out, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description="make the reference tensors")
    parser.add_argument("folder", type=Path, help="a checkout of Alpha-VLLM/Lumina-DiMOO")
    sys.path.insert(0, str(parser.parse_args().folder))
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))


if __name__ == "__main__":
    main()
