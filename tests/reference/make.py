"""How the reference tensors were made: the published modelling and decoding code at tiny size.

    python tests/reference/make.py --dream FOLDER --llada FOLDER --generate FILE
    python tests/reference/make.py --generate FILE          # llada_blocks alone: no model code

FOLDER --dream holds configuration_dream.py, modeling_dream.py and generation_utils.py, FOLDER
--llada configuration_llada.py and modeling_llada.py, FILE is generate.py of ML-GSAI/LLaDA. None of
them is part of this repository. What was run, with transformers 4.46.2, on a CPU in float32:

    modeling_dream, configuration_dream, modeling_llada, configuration_llada
                            the copies in ZHZisZZ/dllm (dllm/pipelines/{dream,llada}/models)
    generation_utils        the copy in NVlabs/Fast-dLLM (dream/model), which adds an `alg` of its
                            own and leaves the published ones as they are
    generate.py             ML-GSAI/LLaDA

Copies, because the files next to the weights on the hub were out of reach. The weights are
`checkpoints.random_tensors(..., seed=0)`: only their hash is stored.

Each case has left-padded prompts `(B, P)` (`lengths` tells what is real) and a partly filled canvas
`(B, L)`. Stored:

    CASE/prompt, CASE/lengths, CASE/canvas
    CASE/logits                 `(B, L, K)` float32 at the canvas, Dream's shifted as it decodes
    CASE/tokens/ALG             `(B, L)` int64, decoded from an all-mask canvas at temperature 0,
                                with what we suppress (mask, unknown ids, stops) suppressed
    CASE/published/ALG          the same without suppression, as published

Dream's, of the cases with several rows, whose canvases are infills with unequal numbers of masks
(suppressed as above: a mask in these was not drawn, it comes from the counting):

    CASE/infill/ALG             `(B, P + L)` int64, the canvas completed by one call for all rows,
                                with the prompt before it as it came back
    CASE/alone/ALG              `(B, L)` int64, by one call a row, without padding

llada_blocks.safetensors holds what generate.py answers in every way it lets 8 to 64 tokens be split
into blocks and steps, with `worlds.NeighbourDenoiser` (its tables are stored) in the model's place:

    embed, place, head          the denoiser
    LENGTH/BLOCK/STEPS          `(LENGTH,)` int64, at temperature 0
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent.parent))
from checkpoints import write_dream, write_llada
from worlds import NeighbourDenoiser

HERE = Path(__file__).parent
# name: (prompt lengths, canvas length, steps)
CASES = {
    "one": ([6], 8, 8),
    "short": ([1], 8, 3),
    "uneven": ([3, 11, 6], 8, 8),
    "steps": ([9, 4], 12, 5),
}
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 30, 32, 48, 64)
ALGS = ("maskgit_plus", "topk_margin", "entropy")
SUPPRESSED = -1e9


def case_inputs(lengths, canvas, text, mask_id, seed):
    """Random prompts, left-padded, and a canvas with a third of it filled."""
    g = torch.Generator().manual_seed(seed)
    width = max(lengths)
    prompt = torch.randint(text, (len(lengths), width), generator=g)
    z = torch.randint(text, (len(lengths), canvas), generator=g)
    open_ = torch.rand(z.shape, generator=g) < 2 / 3
    open_[:, -1] = True
    real = torch.arange(width) >= width - torch.tensor(lengths)[:, None]
    return prompt, real, torch.where(open_, mask_id, z)


def tensors_of(folder):
    """All weights of a checkpoint, and their hash."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + found[name].numpy().tobytes())
    return found, digest.hexdigest()


def save(name, tensors, weights):
    meta = {"weights": weights, "torch": torch.__version__, "dtype": "float32"}
    stored = {key: value.contiguous() for key, value in tensors.items()}
    save_file(stored, HERE / f"{name}.safetensors", meta)


def package(folder):
    """Their folder as a package, whatever it is called: the files import each other relatively."""
    spec = importlib.util.spec_from_file_location(
        "published", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["published"] = module
    for name in [n for n in sys.modules if n.startswith("published.")]:
        del sys.modules[name]


def make_dream(folder: Path) -> None:
    package(folder)
    config_class = importlib.import_module("published.configuration_dream").DreamConfig
    model_class = importlib.import_module("published.modeling_dream").DreamModel
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary)
        ids = write_dream(path)
        config = json.loads((path / "config.json").read_text())
        weights, digest = tensors_of(path)
    size, mask_id = config["vocab_size"], ids["<|mask|>"]
    drop = ("auto_map", "architectures", "model_type", "torch_dtype", "transformers_version")
    model = model_class(config_class(**{k: v for k, v in config.items() if k not in drop})).eval()
    model.load_state_dict(weights)
    pad_id = ids["<|endoftext|>"]
    never = [mask_id, pad_id, ids["<|im_end|>"], *range(max(ids.values()) + 1, size)]

    def suppress(step, x, logits):
        return logits.index_fill(-1, torch.tensor(never), SUPPRESSED)

    out = {}
    for number, (name, (lengths, canvas, steps)) in enumerate(CASES.items()):
        prompt, real, z = case_inputs(lengths, canvas, min(ids.values()), mask_id, number)
        mask = torch.cat([real, torch.ones_like(z, dtype=torch.bool)], 1)
        both, positions = "full", None
        if not real.all():
            both = mask[:, None, None, :] & mask[:, None, :, None]
            positions = (mask.long().cumsum(-1) - 1).masked_fill(~mask, 1)
        with torch.no_grad():
            logits = model(torch.cat([prompt, z], 1), both, positions).logits
        logits = torch.cat([logits[:, :1], logits[:, :-1]], 1)

        def generate(ids, real, new, alg, steps=steps, **hook):
            """The prompt as it came back and `new` more positions."""
            filled = model.diffusion_generate(
                ids,
                attention_mask=real.long(),
                max_new_tokens=new,
                steps=steps,
                temperature=0.0,
                top_p=None,
                top_k=None,
                alg=alg,
                alg_temp=0.0,
                mask_token_id=mask_id,
                pad_token_id=pad_id,
                **hook,
            )
            return filled if torch.is_tensor(filled) else filled.sequences

        out |= {f"{name}/prompt": prompt, f"{name}/lengths": torch.tensor(lengths)}
        out |= {f"{name}/canvas": z, f"{name}/logits": logits[:, -canvas:]}
        for alg in ALGS:
            filled = generate(prompt, real, canvas, alg, generation_logits_hook_func=suppress)
            out[f"{name}/tokens/{alg}"] = filled[:, -canvas:].clone()
            filled = generate(prompt, real, canvas, alg)
            out[f"{name}/published/{alg}"] = filled[:, -canvas:].clone()
            if len(lengths) == 1:
                continue
            # They append masks to what is given, at least one: every canvas here ends in one.
            given = torch.cat([prompt, z[:, :-1]], 1)
            filled = generate(given, mask[:, :-1], 1, alg, generation_logits_hook_func=suppress)
            out[f"{name}/infill/{alg}"] = filled
            alone = [
                generate(ids[on][None], on[on][None], 1, alg, generation_logits_hook_func=suppress)
                for ids, on in zip(given, mask[:, :-1], strict=True)
            ]
            out[f"{name}/alone/{alg}"] = torch.cat([row[:, -canvas:] for row in alone])
    save("dream", out, digest)


def make_llada(folder: Path, generate: Path) -> None:
    package(folder)
    config_module = importlib.import_module("published.configuration_llada")
    modeling = importlib.import_module("published.modeling_llada")
    spec = importlib.util.spec_from_file_location("published_generate", generate)
    decoding = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(decoding)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary)
        ids = write_llada(path)
        config = json.loads((path / "config.json").read_text())
        weights, digest = tensors_of(path)
    size, mask_id = config["embedding_size"], ids["<|mdm_mask|>"]
    drop = ("auto_map", "model_type", "transformers_version")
    settings = config_module.LLaDAConfig(**{k: v for k, v in config.items() if k not in drop})
    body = modeling.create_model_config_from_pretrained_config(settings)
    body.init_device = "cpu"
    model = modeling.LLaDAModelLM(settings, model=modeling.LLaDAModel(body, init_params=False))
    model.load_state_dict(weights)
    model.eval()
    stops = [ids["<|endoftext|>"], ids["<|eot_id|>"]]
    never = torch.tensor([mask_id, *stops, *range(max(ids.values()) + 1, size)])

    class Suppressing:
        device = torch.device("cpu")

        def __call__(self, x, attention_mask=None):
            answer = model(x, attention_mask=attention_mask)
            answer.logits = answer.logits.index_fill(-1, never, SUPPRESSED)
            return answer

    out = {}
    for number, (name, (lengths, canvas, steps)) in enumerate(CASES.items()):
        prompt, real, z = case_inputs(lengths, canvas, min(ids.values()), mask_id, number)
        mask = torch.cat([real, torch.ones_like(z, dtype=torch.bool)], 1)
        with torch.no_grad():
            logits = model(torch.cat([prompt, z], 1), attention_mask=mask.long()).logits
        out |= {f"{name}/prompt": prompt, f"{name}/lengths": torch.tensor(lengths)}
        out |= {f"{name}/canvas": z, f"{name}/logits": logits[:, -canvas:]}
        for kind, what in (("tokens", Suppressing()), ("published", model)):
            for blocks in (1, 2):
                steps_ = steps - steps % blocks
                filled = decoding.generate(
                    what,
                    prompt,
                    attention_mask=real.long(),
                    steps=steps_,
                    gen_length=canvas,
                    block_length=canvas // blocks,
                    temperature=0.0,
                    mask_id=mask_id,
                )
                out[f"{name}/{kind}/low_confidence/{blocks}"] = filled[:, -canvas:].clone()
    save("llada", out, digest)


def make_blocks(generate: Path) -> None:
    spec = importlib.util.spec_from_file_location("published_generate", generate)
    decoding = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(decoding)
    toy = NeighbourDenoiser.draw(64, 12, seed=0)

    class Model:
        device = torch.device("cpu")

        def __call__(self, x, attention_mask=None):
            return SimpleNamespace(logits=toy.of_ids(x))

    out = {"embed": toy.embed, "place": toy.place, "head": toy.head}
    for length in (8, 16, 24, 32, 64):
        for block in (b for b in range(1, length + 1) if length % b == 0):
            for steps in (s for s in STEPS if s <= length and s % (length // block) == 0):
                filled = decoding.generate(
                    Model(),
                    torch.zeros(1, 1, dtype=torch.long),
                    steps=steps,
                    gen_length=length,
                    block_length=block,
                    temperature=0.0,
                    mask_id=toy.mask_id,
                )
                out[f"{length}/{block}/{steps}"] = filled[0, 1:].clone()
    save("llada_blocks", out, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dream", type=Path)
    parser.add_argument("--llada", type=Path)
    parser.add_argument("--generate", type=Path)
    args = parser.parse_args()
    if args.dream:
        make_dream(args.dream)
    if args.llada:
        make_llada(args.llada, args.generate)
    if args.generate:
        make_blocks(args.generate)


if __name__ == "__main__":
    main()
