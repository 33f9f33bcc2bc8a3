"""Measures on a GPU what `aps plan` predicts: seconds of a step, and the peak of memory.

    python benchmarks/gpu.py [--dream-code FOLDER] [--out results/gpu] [--minutes 8]
    python benchmarks/gpu.py --device cpu --models tiny            # a trial of this program

Dream-7B's and LLaDA-8B's shapes with random bfloat16 weights (nothing is downloaded), a prompt of
64 tokens, answers of 128, 8 steps; Skywork-Reward-V2-Qwen3-0.6B's shape as the reward. Each call is
made twice and the second one counts. Rows are appended to rows.jsonl in the folder of `--out`; the
same command goes on with those that are missing, and prints the table (also table.md).

seconds     of a step, in the mean over the call
predicted   by `aps_text.planning` for this GPU ("-" if it isn't in the list of `gpus.py`)
GiB         peak of the allocated tensors; `aps plan`'s beside it (goal: within 10%)
tokens/s    of the whole batch with as many steps as tokens (T = 128), from the step's seconds

With `--dream-code`, the folder of Dream's published files (see `decoding_opponents.py`), its own
loop runs on the same weights beside our plain one.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from decoding_opponents import published
from measured import Setting, random_model
from planning import TINY
from torch import nn

from aps_text import APSConfig
from aps_text.planning.call import Call, PlannedReward
from aps_text.planning.gpus import GPUS, Gpu, call_seconds
from aps_text.planning.memory import plan_memory
from aps_text.planning.rehearsal import DTYPES, Moments
from aps_text.planning.shape import PRESETS, ModelShape

PROMPT, TOKENS, STEPS = 64, 128, 8
PLAIN: dict[str, Any] = {"inner_steps": 0, "pool_size": 1}
LORA: dict[str, Any] = {"inner_steps": 1, "pool_size": 1, "trust_region": 1e9}
POOL: dict[str, Any] = {"inner_steps": 0, "pool_size": 16, "pool_rollout": 1, "top_p": 0.9}
BALANCED: dict[str, Any] = {"trust_region": 1e9}  # a LoRA and rollouts, in the second half
CALLS: list[tuple[str, int, dict[str, Any]]] = [
    # Name, batch, settings; the most telling first, for a run may end before the last.
    ("plain", 1, PLAIN),
    ("LoRA, top 4, M=1", 1, LORA | {"lora_layers": 4}),
    ("LoRA, top 4, M=3", 1, LORA | {"lora_layers": 4, "inner_steps": 3}),
    ("LoRA, all layers, M=1", 1, LORA | {"lora_layers": None}),
    ("balanced", 1, BALANCED),
    ("pool of 16", 1, POOL),
    ("plain", 4, PLAIN),
    ("LoRA, top 4, M=3", 4, LORA | {"lora_layers": 4, "inner_steps": 3}),
    ("plain", 16, PLAIN),
    ("LoRA, top 4, M=1", 16, LORA | {"lora_layers": 4}),
    ("LoRA, top 2, M=1", 1, LORA | {"lora_layers": 2}),
    ("LoRA, top 2, M=1", 16, LORA | {"lora_layers": 2}),
    ("LoRA, top 4, M=1", 4, LORA | {"lora_layers": 4}),
    ("LoRA, all layers, M=3", 1, LORA | {"lora_layers": None, "inner_steps": 3}),
    ("LoRA, all layers, M=1", 4, LORA | {"lora_layers": None}),
    ("pool of 16", 4, POOL),
    ("balanced", 4, BALANCED),
    ("LoRA, top 4, M=3", 16, LORA | {"lora_layers": 4, "inner_steps": 3}),
]
OWN_LOOP = "Dream's own loop"
MODELS = {"dream-7b": PRESETS["dream-7b"], "llada-8b": PRESETS["llada-8b"], "tiny": TINY[0]}


def this_gpu(device: torch.device) -> Gpu | None:
    """The entry of `GPUS` for the GPU at hand, or None."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device).lower()
    if "h200" in name:  # an H100 with more and faster memory
        return replace(GPUS["h100"], name="h200", memory=141, bandwidth=4800)
    gib = torch.cuda.get_device_properties(device).total_memory / 2**30
    words = set(name.replace("-", " ").split())
    fitting = [gpu for gpu in GPUS.values() if gpu.name.removeprefix("rtx-").split("-")[0] in words]
    return min(fitting, key=lambda gpu: abs(gpu.memory - gib), default=None)


def call_of(shape: ModelShape, batch: int, settings: dict[str, Any]) -> Call:
    """The planned call of one row of `CALLS`."""
    small = shape is MODELS["tiny"]
    guide = replace(shape, token_head=False, name="reward") if small else PRESETS["skywork-0.6b"]
    number = 4 if small else 2
    steers = settings is not PLAIN
    config = APSConfig(max_new_tokens=32 if small else TOKENS, steps=STEPS, **settings)
    return Call(
        shape=shape,
        config=config,
        prompt=16 if small else PROMPT,
        batch=batch,
        dtype_bytes=number,
        reward=PlannedReward(shape=guide, frame=20, dtype_bytes=number) if steers else None,
    )


def peak_of(job: Callable[[], Any], device: torch.device, weights: float) -> tuple[float, float]:
    """(seconds, peak bytes of tensors) of `job`, run twice; the second time counts."""
    job()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        began = time.perf_counter()
        job()
        torch.cuda.synchronize(device)
        return time.perf_counter() - began, float(torch.cuda.max_memory_allocated(device))
    began = time.perf_counter()
    job()
    seconds = time.perf_counter() - began
    with Moments() as held:
        job()
    return seconds, max(held.most.values()) + weights


def measure(
    call: Call, model: nn.Module, reward: nn.Module | None, gpu: Gpu | None
) -> dict[str, Any]:
    """Seconds of a step and peak bytes of a call, with the plan's numbers."""
    device = next(model.parameters()).device
    plan, steps = plan_memory(call), len(call.steps)
    weights = plan.parts["weights"] + plan.parts["reward weights"]
    row: dict[str, Any] = {
        "batch": call.batch,
        "tokens": call.tokens,
        "predicted_bytes": plan.total,
        "predicted_seconds": None if gpu is None else call_seconds(call, [gpu])[gpu.name] / steps,
    }
    guide = reward if call.reward is not None else None
    settings = iter([Setting(call, model, guide) for _ in range(3)])
    try:
        seconds, peak = peak_of(lambda: next(settings).run(), device, weights)
    except torch.cuda.OutOfMemoryError:
        return row | {"out_of_memory": True}
    return row | {"seconds": seconds / steps, "bytes": peak}


def own_loop(folder: Path, call: Call, model: nn.Module) -> dict[str, Any]:
    """Dream's published loop on the same weights, as a row."""
    device = next(model.parameters()).device
    generate = published(folder, model, call.shape.vocab - 1)
    prompt = torch.ones(call.batch, call.prompt, dtype=torch.long, device=device)

    def job() -> None:
        generate(prompt, call.tokens, STEPS, "entropy")

    seconds, peak = peak_of(job, device, plan_memory(call).parts["weights"])
    return {"batch": call.batch, "tokens": call.tokens, "seconds": seconds / STEPS, "bytes": peak}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""

    def beside(row: dict[str, Any], name: str, unit: float, digits: int) -> str:
        if row.get("out_of_memory"):
            real = "out of memory" if name == "bytes" else "-"
        else:
            real = f"{row[name] / unit:.{digits}f}"
        plan = row.get(f"predicted_{name}")
        ratio = plan / row[name] if plan and name in row else math.nan
        return f"{real} | {'-' if not plan else f'{plan / unit:.{digits}f}'} | " + (
            "-" if math.isnan(ratio) else f"{ratio:.2f}"
        )

    head = (
        "model | call | batch | s / step | predicted | ratio | GiB | predicted | ratio | tokens/s"
    )
    lines = [f"| {head} |", "|---|" + "---|" * head.count("|")]
    for row in rows:
        rate = f"{row['batch'] / row['seconds']:.1f}" if "seconds" in row else "-"
        lines.append(
            f"| {row['model']} | {row['call']} | {row['batch']} | {beside(row, 'seconds', 1, 3)} | "
            f"{beside(row, 'bytes', 2**30, 2 if row['model'] != 'tiny' else 4)} | {rate} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the rows that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["dream-7b", "llada-8b"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="begin no row after this time")
    parser.add_argument("--first", type=int, help="only the first so many calls; all if not given")
    parser.add_argument("--dream-code", type=Path, help="folder of Dream's published code")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error(
            "no CUDA device here; --device cpu --models tiny tries this program without one"
        )
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    began, gpu = time.monotonic(), this_gpu(device)
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "rows.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    rows = [row for row in rows if row["hardware"] == hardware]
    done = {(row["model"], row["call"], row["batch"]) for row in rows}

    def late() -> bool:
        return time.monotonic() - began > 60 * args.minutes

    share = args.minutes * 60 / len(args.models)
    for number, name in enumerate(args.models):
        shape = MODELS[name]
        wanted = list(CALLS[: args.first])
        if args.dream_code and shape.shift:
            wanted += [(OWN_LOOP, batch, PLAIN) for batch in (1, 4, 16)]
        wanted = [row for row in wanted if (name, *row[:2]) not in done]
        if not wanted:
            continue
        first = call_of(shape, 1, LORA)
        assert first.reward is not None
        model = random_model(shape, DTYPES[first.number_bytes], device)
        reward = random_model(first.reward.shape, DTYPES[first.reward.dtype_bytes], device)
        for what, batch, settings in wanted:
            if late() or time.monotonic() - began > share * (number + 1):
                print(f"{name}, {what}, batch {batch}: no time left; the same command goes on")
                continue
            row = {"hardware": hardware, "torch": torch.__version__, "model": name, "call": what}
            call = call_of(shape, batch, settings)
            if what == OWN_LOOP:
                row |= own_loop(args.dream_code, call, model)
            else:
                row |= measure(call, model, reward, gpu)
            rows.append(row)
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")
            print(f"{time.monotonic() - began:5.0f} s  {name}, {what}, batch {batch}", flush=True)
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
        del model, reward
        gc.collect()
    found = f"{hardware}, torch {torch.__version__}\n\n{table(rows)}\n"
    (args.out / "table.md").write_text(found, encoding="utf-8")
    print(found)
    errors = [abs(row["predicted_bytes"] / row["bytes"] - 1) for row in rows
              if "bytes" in row and "predicted_bytes" in row]  # fmt: skip
    if errors:
        print(f"worst error of the planned memory {max(errors):.1%} (goal <= 10%)")


if __name__ == "__main__":
    main()
