"""Compares APS with other methods at equal seconds, tuned with equal trials.

    python benchmarks/text_methods.py [--rewards answer-quality sentiment] [--prompts 40]
        [--offset 0] [--budgets 4 12] [--methods NAME ...] [--out results/text_methods] [--full]

1. Every method is tried with three settings on tuning prompts (`trials`; best-of-N has none). The
   one with the highest GUIDING reward among those whose token F1 is at most 0.02 below plain
   decoding's is taken, by the same rule for all methods. Reported rewards and test items are not
   used.
2. The cost of a prompt in plain decoding is measured; the budgets are multiples of it. N, k, M or
   the number of candidates of every method is matched to each budget (`aps_eval.run.matching`).
3. Held-out prompts are answered by each method at each budget. Reported are paired differences to
   APS at the same budget, with 95% intervals, Holm-adjusted over judges.

Writes `summary-PROMPTS.md`, the evaluation's own files and `report.html` in `--out`. Resumable:
measurements and answers are read back. Measuring needs an idle machine, answering does not.
`torchrun --nproc_per_node 2 benchmarks/text_methods.py ...` answers with two processes; one
measures. `--full` is four rewards, three budgets and 200 prompts.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aps_eval.report.statistics import difference, holm, mean_interval
from aps_eval.report.summary import values_of
from aps_eval.rows import Row
from aps_eval.run.answering import Answerer
from aps_eval.run.cells import Grid
from aps_eval.run.evaluate import evaluate
from aps_eval.run.grid import read_grid
from aps_eval.run.matching import Calibration
from aps_eval.run.processes import Workers, workers
from aps_eval.store import RowStore
from comparison import tuning_rows

from aps_text import APSPipeline

JUDGES = {
    "answer-quality": ["answer-quality-report"],
    "sentiment": ["valence", "answer-quality-report"],
    "relevance": ["answer-quality-report"],
    "flesch": ["dale-chall", "answer-quality-report"],
}
SPREAD = {"answer-quality": 1.0, "sentiment": 0.3, "relevance": 0.1, "flesch": 0.3}
"""The scale of each reward's betas: about its standard deviation among plain answers."""
GRADIENT = ("answer-quality", "relevance")
LOSS = 0.02
METRICS = ["f1", "exact", "nll", "words", "repetition"]


def trials(reward: str) -> dict[str, list[dict[str, Any]]]:
    """Method -> settings to choose from, as methods of a grid."""
    unit, graded = SPREAD[reward], reward in GRADIENT

    def betas(method: str, *shares: float, **config: Any) -> list[dict[str, Any]]:
        return [
            {"method": method, "config": {**config, "beta": round(share * unit, 6)}}
            for share in shares
        ]

    def logits(relaxation: str, estimator: str) -> list[dict[str, Any]]:
        """EntRGi and its variants, which ignore beta. With RLOO (not in their papers, but the only
        gradient of a black box) the three are identical, and have one entry of its own name."""
        return [
            {
                "method": "entrgi",
                "options": {"relaxation": relaxation, "learning_rate": rate},
                "config": {"estimator": estimator},
            }
            for rate in (0.5, 0.1, 0.03)
        ]

    def best_of(n: int, methods: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**one, "options": {"best_of": n}} for one in methods]

    pool: dict[str, Any] = {"inner_steps": 0, "pool_size": 16}
    both = {**pool, "inner_steps": 1, "num_samples": 4}
    late = {"guidance_start": 0.5}
    found = {
        "APS": [
            *best_of(2, betas("aps", 0.1, 0.3, **both, **late)),
            *best_of(2, betas("aps", 0.1, **{**both, "learning_rate": 0.003}, **late)),
        ],
        "APS, all steps": best_of(1, betas("aps", 0.1, 0.3, 1, **both)),
        "APS, pool": [
            *betas("aps", 0.1, **pool),
            *betas("aps", 0.1, **pool, **late),
            *best_of(4, betas("aps", 0.1, **pool, **late)),
        ],
        "APS, LoRA": betas("aps", 0.3, 1, 3),
        "best-of-N": [{"method": "best-of-n"}],
        "SVDD": [
            {"method": "svdd", "options": {"alpha": round(share * unit, 6)}}
            for share in (0, 0.1, 0.3)
        ],
        "FK": betas("fk", 0.1, 0.3, 1),
        "APS-SMC": betas("aps-smc", 0.1, 0.3, 1, inner_steps=1),
        "logits by RLOO": logits("entropy", "rloo"),
    }
    if graded:
        found["EntRGi"] = logits("entropy", "relaxed")
        found["Expectation"] = logits("expectation", "relaxed")
        found["APS-logits"] = logits("quantized", "relaxed")
        found["twisted SMC"] = betas("twisted-smc", 0.1, 0.3, 1, estimator="relaxed")
    for label, methods in found.items():
        for n, method in enumerate(methods):
            method["label"] = f"{label} {n}"
            if "pool_size" in method.get("config", {}) and "options" not in method:
                method["knob"] = "config.pool_size"
            elif "best_of" in method.get("options", {}):
                method["knob"] = "options.best_of"
    return found


def grid_of(reward: str, methods: Sequence[dict[str, Any]], args, **more: Any) -> Grid:
    return read_grid(
        {
            "model": args.model,
            "tasks": [{"task": "word-knowledge", "metrics": METRICS}],
            "rewards": [{"guide": [reward], "report": JUDGES[reward]}],
            "methods": list(methods),
            "config": {"inner_steps": 3, "pool_size": 1},
            "batch_size": 16,
            **more,
        }
    )


def tuned(reward: str, answerer: Answerer, args, store: RowStore) -> list[dict[str, Any]]:
    """The setting of each method; prints every trial."""
    offered = {k: v for k, v in trials(reward).items() if k in (args.methods or [k])}
    methods = [one for ones in offered.values() for one in ones]
    cells = grid_of(reward, [{"method": "plain"}, *methods], args).cells
    rows = tuning_rows(answerer, cells, args.tuning_prompts, store)
    found = {}
    for cell in cells:
        values = values_of([row for row in rows if row.label == cell.label])
        found[cell.label] = tuple(
            float(np.mean(list(values[name].values()))) for name in (f"guide:{reward}", "f1")
        )
    floor = found["plain"][1] - LOSS
    lines, chosen = [f"{reward}: token F1 must stay above {floor:.3f}", ""], []
    lines += ["| trial | settings | guide | token F1 | |", "|---|---|---|---|---|"]
    for label, settings in offered.items():
        tried = [found[one["label"]] for one in settings]
        fit = [n for n, (_, f1) in enumerate(tried) if f1 >= floor]
        best = max(fit or range(len(tried)), key=lambda n: tried[n][0] if fit else tried[n][1])
        for n, (value, f1) in enumerate(tried):
            what = {**settings[n].get("options", {}), **settings[n].get("config", {})}
            shown = " ".join(f"{k}={v}" for k, v in what.items())
            mark = "taken" if n == best else ""
            lines.append(f"| {label} | {shown} | {value:+.3f} | {f1:.3f} | {mark} |")
        chosen.append({**settings[best], "label": label})
    if workers().first:
        print("\n".join(lines), flush=True)
        (args.out / f"tuning-{reward}.md").write_text("\n".join(lines) + "\n")
    return chosen


def plain_seconds(answerer: Answerer, args, me: Workers) -> float:
    """Seconds of plain decoding per prompt; measured by the first process, read by the others."""
    cell = grid_of(args.rewards[0], [{"method": "plain"}], args).cells[0]

    def work() -> float:
        calibration = Calibration(args.out / "plain.jsonl", answerer, "seconds", 3)
        return calibration.cost(cell, cell.task.items("tune", 16))

    return me.in_turn(work)


def measured_costs(folder: Path) -> dict[tuple[str, str], float]:
    """Calibrated seconds per prompt by (guide, label), of the last run."""
    found = json.loads((folder / "run.json").read_text())[-1]["matching"]
    return {(one["guide"], one["label"]): one["cost"] for one in found}


def table(rows: Sequence[Row], reward: str, budget: str, costs) -> list[str]:
    """A markdown table of one reward and budget: each judge, and APS minus the method."""
    own = [row for row in rows if row.rewards["guide"][0]["name"] == reward]
    own = [row for row in own if row.budget in ("", budget)]
    judges = [f"report:{name}" for name in JUDGES[reward]] + ["f1", "exact", "nll"]
    judges = [name for name in judges if name in values_of(own)]  # nll needs its judge installed
    by_label = {
        label: values_of([row for row in own if row.label == label])
        for label in dict.fromkeys(row.label for row in own)
    }
    aps = next(label for label in by_label if label.partition(" @")[0] == "APS")
    names = [f"guide:{reward}", *judges]
    head = ["method", "seconds", *(f"{n.partition(':')[2] or n}" for n in names)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for label, values in by_label.items():
        cells = [label.partition(" @")[0], f"{costs[reward, label]:.2f}"]
        gaps = {
            name: difference(by_label[aps][name], values[name], higher_is_better=name != "nll")
            for name in judges
        }
        adjusted = dict(zip(gaps, holm(list(gaps.values())), strict=True))
        for name in names:
            mean = mean_interval(list(values[name].values())).mean
            text = f"{mean:.3f}"
            if name in adjusted and label != aps:
                one = adjusted[name]
                text += f" (APS {one.mean:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
                sign = {"better": " **+**", "worse": " **-**"}.get(one.verdict, "")
                text += f"{sign})"
            cells.append(text)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rewards", nargs="+", default=["answer-quality", "sentiment"])
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--offset", type=int, default=0, help="the questions N places behind those")
    parser.add_argument("--tuning-prompts", type=int, default=24)
    parser.add_argument("--budgets", nargs="+", type=float, default=[4, 12], help="times plain")
    parser.add_argument("--methods", nargs="+", help="labels; default: all")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/text_methods"))
    parser.add_argument("--full", action="store_true")
    args = parser.parse_args()
    if args.full:
        args.rewards, args.prompts, args.budgets = list(JUDGES), 200, [4, 12, 36]
    me = workers()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    pipe = APSPipeline.from_pretrained(args.model, batch_size=16)
    answerer = Answerer(pipe, "tune")
    store = RowStore(args.out / "tuning.jsonl")
    chosen = {reward: tuned(reward, answerer, args, store) for reward in args.rewards}
    second = plain_seconds(answerer, args, me)
    budgets = [round(times * second, 3) for times in args.budgets]
    if me.first:
        print(f"plain decoding: {second:.3f} s a prompt; budgets {budgets} s", flush=True)
    grids = [
        grid_of(
            reward,
            [{"method": "plain"}, *methods],
            args,
            limit=args.prompts,
            offset=args.offset,
            match={"unit": "seconds", "budget": budgets},
        )
        for reward, methods in chosen.items()
    ]
    cells = [cell for grid in grids for cell in grid.cells]
    grid = dataclasses.replace(grids[0], cells=cells)
    rows = evaluate(grid, args.out, command=sys.argv, pipe=pipe, baseline="APS")
    if not me.first:
        return
    lines, costs = [], measured_costs(args.out)
    for reward in args.rewards:
        for budget in dict.fromkeys(row.budget for row in rows if row.budget):
            lines += [
                f"### {reward}, {budget} a prompt",
                "",
                *table(rows, reward, budget, costs),
                "",
            ]
    (args.out / f"summary-{args.prompts}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
