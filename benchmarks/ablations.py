"""Ablations of APS: one change at a time, on tuning prompts, with a figure for each group.

    python benchmarks/ablations.py [--groups prior inner_steps ...] [--prompts 24]
        [--rewards relevance answer-quality] [--out results/ablations] [--figures docs/figures]

Every point is the paired difference to plain decoding on the same prompts and seeds, with its 95%
interval, in the guiding reward and token F1, and the ratio of operations (matrix products, which do
not depend on the machine's load). Other settings are `BASE`, with the beta of the reward (`BETA`).
Resumable; about 40 minutes on one core. The figures need matplotlib.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aps_eval.report.statistics import difference
from aps_eval.report.summary import values_of
from aps_eval.rows import Row
from aps_eval.run.answering import Answerer
from aps_eval.run.grid import read_grid
from aps_eval.store import RowStore
from comparison import tuning_rows

from aps_text import APSPipeline

BASE = {"inner_steps": 3, "pool_size": 1}  # a fitted LoRA and no pool
BETA = {"relevance": 0.01, "answer-quality": 1.0, "sentiment": 0.03}

GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "prior": {name: {"prior": name} for name in ("kl", "overlap", "none")},
    "likelihood_weight": {
        "posterior (c)": {"likelihood_weight": "posterior"},
        "1": {"likelihood_weight": 1.0},
        "slides (L)": {"likelihood_weight": "length"},
    },
    "relaxation": {
        "expectation": {"estimator": "relaxed", "relaxation": "expectation"},
        "entropy": {"estimator": "relaxed", "relaxation": "entropy"},
        "quantized, sample": {
            "estimator": "relaxed",
            "relaxation": "quantized",
            "quantizer": "sample",
        },
        "quantized, nearest": {
            "estimator": "relaxed",
            "relaxation": "quantized",
            "quantizer": "nearest",
        },
        "gumbel": {"estimator": "relaxed", "relaxation": "gumbel"},
        "none: RLOO": {"estimator": "rloo"},
    },
    "adapter": {
        "LoRA, top 2 layers": {"lora_layers": 2},
        "LoRA, all layers": {"lora_layers": None},
        "LoRA, anew each step": {"carry_over": False},
        "logits": {"adapter": "logits"},
    },
    "remasking": {
        "anchored": {"remasking": "anchored"},
        "standard, by prior": {"remasking": "standard"},
        "anchored, remask": {"remask": True},
        "random": {"remasking": "random"},
    },
    "inner_steps": {f"M = {m}": {"inner_steps": m} for m in (1, 3, 10)},
    "steps": {f"T = {t}": {"steps": t} for t in (8, 16, 32)},
    "window": {
        "all steps": {},
        "first half": {"guidance_end": 0.5},
        "second half": {"guidance_start": 0.5},
        "every other": {"guidance_interval": 2},
    },
    "pool": {
        "LoRA, no pool": {},
        "no LoRA, 4": {"inner_steps": 0, "pool_size": 4},
        "no LoRA, 16": {"inner_steps": 0, "pool_size": 16},
        "no LoRA, 64": {"inner_steps": 0, "pool_size": 64},
        "LoRA M = 1, 16": {"inner_steps": 1, "pool_size": 16},
    },
}


def cells_of(reward: str, groups: Sequence[str]):
    """Plain decoding and every variant once, by its settings."""
    settings = {json.dumps(change, sort_keys=True) for g in groups for change in GROUPS[g].values()}
    methods = [{"method": "plain"}]
    methods += [{"method": "aps", "label": key, "config": json.loads(key)} for key in settings]
    return read_grid(
        {
            "tasks": [{"task": "word-knowledge", "metrics": ["f1", "exact"]}],
            "rewards": [{"guide": [reward], "config": {"beta": BETA[reward]}}],
            "methods": methods,
            "config": BASE,
        }
    ).cells


def compared(rows: Sequence[Row], reward: str, group: str) -> list[dict[str, Any]]:
    """A record for each variant."""

    def of(label: str) -> dict[str, dict[str, float]]:
        return values_of([r for r in rows if r.label == label])

    plain, found = of("plain"), []
    for name, change in GROUPS[group].items():
        values = of(json.dumps(change, sort_keys=True))
        record: dict[str, Any] = {"reward": reward, "group": group, "variant": name}
        for value, key in ((f"guide:{reward}", "guide"), ("f1", "f1"), ("exact", "exact")):
            gap = difference(values[value], plain[value])
            assert gap is not None
            record[key] = [gap.mean, gap.low, gap.high]
        spent = [np.mean(list(one["flops"].values())) for one in (values, plain)]
        record["times plain"] = float(spent[0] / spent[1])
        found.append(record)
    return found


def table(records: Sequence[dict[str, Any]]) -> str:
    lines = ["| | guide | reward | token F1 | exact | operations |", "|---|---|---|---|---|---|"]
    for one in records:
        gaps = ["{:+.3f} [{:+.3f}, {:+.3f}]".format(*one[k]) for k in ("guide", "f1", "exact")]
        cells = [one["variant"], one["reward"], *gaps, f"{one['times plain']:.1f}x"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(records: Sequence[dict[str, Any]], group: str, path: Path) -> None:
    """Dots with intervals: a panel for each value, a colour for each guiding reward."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.hashsalt": "aps_text", "font.size": 9})
    rewards = list(dict.fromkeys(one["reward"] for one in records))
    names = list(GROUPS[group])
    wide = len(rewards) + 2
    figure, panels = pyplot.subplots(
        1, wide, figsize=(2.4 * wide + 1, 0.42 * len(names) + 1.1), sharey=True
    )
    colours = dict(zip(rewards, ("#1b6ca8", "#c8553d", "#3a7d44"), strict=False))
    for one in records:
        shift = 0.12 * (2 * rewards.index(one["reward"]) - len(rewards) + 1)
        y, colour = names.index(one["variant"]) + shift, colours[one["reward"]]
        for key, panel in (("guide", panels[rewards.index(one["reward"])]), ("f1", panels[-2])):
            mean, low, high = one[key]
            at = y if key == "f1" else names.index(one["variant"])
            panel.plot([low, high], [at, at], color=colour, lw=1.5)
            panel.plot([mean], [at], "o", color=colour, ms=4)
        panels[-1].plot([one["times plain"]], [y], "o", color=colour, ms=4)
    for reward, panel in zip(rewards, panels, strict=False):
        panel.set_title(f"{reward}\n(the guide) minus plain", color=colours[reward], fontsize=9)
    panels[-2].set_title("token F1\nminus plain", fontsize=9)
    panels[-1].set_title("operations,\ntimes plain", fontsize=9)
    for panel in panels[:-1]:
        panel.axvline(0, color="#888", lw=0.8)
    panels[-1].set_xlim(left=0)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="x", color="#ddd", lw=0.5)
        panel.locator_params(axis="x", nbins=4)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--rewards", nargs="+", default=["relevance", "answer-quality"])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/ablations"))
    parser.add_argument("--figures", type=Path, default=Path("docs/figures"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    answerer = Answerer(
        APSPipeline.from_pretrained(args.model, batch_size=16), "tune", count_flops=True
    )
    store = RowStore(args.out / "rows.jsonl")
    lines = []
    for group in args.groups:
        records = []
        for reward in args.rewards:
            rows = tuning_rows(answerer, cells_of(reward, [group]), args.prompts, store)
            records += compared(rows, reward, group)
        lines += [f"## {group}", "", table(records), ""]
        print("\n".join(lines[-4:]), flush=True)
        draw(records, group, args.figures / f"ablation-{group}.svg")
    (args.out / "summary.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
