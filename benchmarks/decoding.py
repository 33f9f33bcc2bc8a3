"""Measures the speed of plain decoding against Dream's own code and a lower bound.

    python benchmarks/decoding.py [--dream-code FOLDER] [--sizes tiny small medium big]
                                  [--steps 64 128] [--repeats 3]
                                  [--parts speed origin threshold prefix]

Random weights, prompt 64, answer 128, temperature 0, Dream's reveal rule: all programs make the
same tokens, so seconds are comparable. `FOLDER` has Dream's published `modeling_dream.py`,
`configuration_dream.py` and `generation_utils.py`; without it the opponent is a plain loop. The
floor is the time of the computations that no exact decoder can avoid, measured in the same run;
`limit` is the opponent's time over the floor. Programs alternate, and the fastest of the repeats
counts. Then accelerations that are not exact are measured with their loss: `decoding_inexact.py`.
Run it on an idle machine (about a quarter of an hour on two cores).
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import torch
from aps_eval.word_knowledge import word_knowledge
from decoding_inexact import prefix_report, threshold_report
from decoding_opponents import floor, plain_loop, published
from measured import random_model

from aps_text import APSConfig, APSPipeline
from aps_text.core.canvas import Canvas
from aps_text.core.noise import Noise
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.core.schedule import dream_count
from aps_text.core.step import Step
from aps_text.methods.ancestral import Ancestral
from aps_text.models.causal import both_directions
from aps_text.models.parts import ModelParts
from aps_text.models.transformer import TransformerDenoiser
from aps_text.planning.shape import ModelShape

PROMPT, ANSWER = 64, 128
# layers, width, heads, heads of keys, inner width, vocabulary; big is Qwen2.5-0.5B
SIZES = {
    "tiny": (4, 128, 4, 2, 512, 2000),
    "small": (6, 384, 6, 2, 1536, 16000),
    "medium": (12, 768, 12, 2, 3072, 32000),
    "big": (24, 896, 14, 2, 4864, 151936),
}


def shape_of(size: str) -> ModelShape:
    layers, hidden, heads, kv_heads, ffn, vocab = SIZES[size]
    return ModelShape(
        name=size,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=hidden // heads,
        ffn=ffn,
        vocab=vocab,
        tied=True,
        attention_bias=True,
        shift=1,
    )


def parts_of_model(model, vocab: int) -> ModelParts:
    return ModelParts(
        model=model,
        layers_path="model.layers",
        final=model.model.norm,
        head=model.lm_head,
        mask_id=vocab - 1,
        pad_id=0,
        vocab_size=vocab,
        suppressed=(vocab - 1,),
        attend_fill=True,
        shift=1,
        attention=both_directions(model),
        options={"use_cache": False},
        embed=model.model.embed_tokens,
    )


def ours(parts: ModelParts):
    """`generate` by the library's own loop."""

    def generate(prompt, length, steps, alg, temperature=0.0, top_p=None):
        config = APSConfig(
            steps=steps,
            alg=alg,
            temperature=temperature,
            top_p=top_p or 1.0,
            reveal_rule="dream",
            remasking="standard",
        )
        denoiser = TransformerDenoiser.bind(parts, prompt.tolist(), [length] * len(prompt), 1)
        canvas = Canvas.open([length] * len(prompt), mask_id=parts.mask_id, fill_id=0)
        rows = torch.arange(len(prompt))
        noise = Noise(rows, torch.zeros_like(rows))
        return run(Ancestral(), denoiser, ZeroOperator(), canvas, config, noise).z

    return generate


def floor_of(model, prompt, steps: int, alg: str):
    """The floor over a whole run: the masks left at each step of Dream's counting."""
    step = floor(model, alg)
    z = torch.cat([prompt, prompt[:, :1].expand(-1, ANSWER)], 1)
    left, canvases = ANSWER, []
    for index in range(steps):
        masked = torch.zeros_like(z, dtype=torch.bool)
        masked[:, -left:] = True
        canvases.append(masked)
        left -= int(dream_count(torch.tensor([left]), index, steps))

    def whole():
        for masked in canvases:
            step(z, masked)

    return whole


def timed(jobs: dict, repeats: int, clock) -> tuple[dict[str, float], dict]:
    """The fastest seconds of each job (the jobs alternate), and its last result."""
    best, found = dict.fromkeys(jobs, float("inf")), {}
    for _ in range(repeats):
        for name, job in jobs.items():
            start = clock()
            found[name] = job()
            best[name] = min(best[name], clock() - start)
    return best, found


def clock_of(args):
    return time.process_time if args.cpu_time else time.perf_counter


def speed_report(args) -> None:
    clock = clock_of(args)
    name = "Dream's diffusion_generate" if args.dream_code else "a plain loop"
    print(f"plain decoding, {PROMPT} + {ANSWER} tokens, one row; theirs is {name}")
    print(
        f"{'size':<8}{'params':>9}{'T':>5}  {'alg':<13}{'theirs s':>10}{'ours s':>9}{'floor s':>9}"
        f"{'ratio':>8}{'limit':>8}{'reached':>9}  tokens"
    )
    for size in args.sizes:
        shape = shape_of(size)
        model = random_model(shape)
        mask_id = shape.vocab - 1
        make = published if args.dream_code else plain_loop
        opponent = make(*([args.dream_code] if args.dream_code else []), model, mask_id)
        mine = ours(parts_of_model(model, shape.vocab))
        g = torch.Generator().manual_seed(0)
        prompt = torch.randint(shape.vocab - 1, (1, PROMPT), generator=g)
        repeats = 1 if size == "big" else args.repeats
        algs = args.alg if size != "big" else args.alg[:1]
        opponent(prompt, 8, 2, "maskgit_plus")  # warm
        mine(prompt, 8, 2, "maskgit_plus")
        for steps in args.steps:
            for alg in algs:
                seconds, found = timed(
                    {
                        "theirs": partial(opponent, prompt, ANSWER, steps, alg),
                        "ours": partial(mine, prompt, ANSWER, steps, alg),
                        "floor": floor_of(model, prompt, steps, alg),
                    },
                    repeats,
                    clock,
                )
                same = int((found["theirs"] == found["ours"]).sum())
                ratio, limit = (seconds["theirs"] / seconds[k] for k in ("ours", "floor"))
                print(
                    f"{size:<8}{shape.parameters / 1e6:>8.1f}M{steps:>5}  {alg:<13}"
                    f"{seconds['theirs']:>10.2f}{seconds['ours']:>9.2f}{seconds['floor']:>9.2f}"
                    f"{ratio:>8.3f}{limit:>8.3f}{ratio / limit:>9.1%}  "
                    + ("the same" if same == ANSWER else f"{same} of {ANSWER} the same"),
                    flush=True,
                )
        steps = min(args.steps)
        drawn = prompt, ANSWER, steps, "maskgit_plus", 0.7, 0.95
        jobs = {"theirs": partial(opponent, *drawn), "ours": partial(mine, *drawn)}
        seconds, _ = timed(jobs, 1, clock)
        print(
            f"{size:<8}{'':>9}{steps:>5}  top-p 0.95   {seconds['theirs']:>10.2f}"
            f"{seconds['ours']:>9.2f}{'':>9}{seconds['theirs'] / seconds['ours']:>8.3f}"
            f"{'':>17}  drawn (temperature 0.7)",
            flush=True,
        )


def origin_report(name: str, steps: list[int], count: int = 12) -> None:
    """Ancestral sampling of single rows: processor seconds with logits only at the positions to
    reveal, against logits at every masked position."""
    pipe = APSPipeline.from_pretrained(name, batch_size=1)
    questions = [item.question for item in word_knowledge("tune", count)]
    asked = Step.open

    def everywhere(*args, **_):
        return asked(*args, everywhere=True)

    print(f"\norigin, {count} questions one by one: every mask, and where a coin fell")
    for number in steps:
        found = []
        for how in (everywhere, asked):
            Step.open = how
            start = time.process_time()
            out = pipe.generate(questions, alg="origin", steps=number)
            seconds = time.process_time() - start
            found.append((out.text, out.cost.denoiser_forwards, seconds))
        (before, many, slow), (after, few, fast) = found
        print(
            f"T={number:<4} {many} and {few} forwards, {slow / fast:.2f} times faster, "
            f"{'the same answers' if before == after else 'OTHER ANSWERS'}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dream-code", type=Path, help="folder of Dream's published code")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--steps", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--alg", nargs="+", default=["maskgit_plus", "topk_margin"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="processor seconds, one thread: for a machine that does other things as well",
    )
    parts = ["speed", "origin", "threshold", "prefix"]
    parser.add_argument("--parts", nargs="+", default=parts, choices=parts)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--prefix-prompts", nargs="+", type=int, default=[64, 512, 1024])
    parser.add_argument("--questions", type=int, default=200)
    args = parser.parse_args()
    if args.cpu_time:
        torch.set_num_threads(1)
    if "speed" in args.parts:
        speed_report(args)
    if "origin" in args.parts:
        origin_report(args.model, [16, 24, 96])
    if "threshold" in args.parts:
        threshold_report(args.model, args.questions)
    if "prefix" in args.parts:
        shape = shape_of("small")
        prefix_report(
            args.model, args.questions, shape, parts_of_model, args.prefix_prompts, clock_of(args)
        )


if __name__ == "__main__":
    main()
