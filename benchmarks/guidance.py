"""Compares plain decoding, APS and best-of-N at equal time: reward, cost and side effects.

    python benchmarks/guidance.py [--reward relevance sentiment] [--questions 100]
                                  [--preset balanced] [--set '{"estimator": "rloo"}']
                                  [--report answer-quality-report] [--f1-loss 0.02]
                                  [--out results/guidance]

For each reward, beta is chosen on tuning questions (other words than the test set): the value with
the highest reward, with `--f1-loss` among those whose token F1 on the tuning questions is at most
that much below plain decoding's. Then held-out questions are answered by plain decoding, APS, and
best-of-N, where N is the measured ratio of seconds, all with the same seeds. Prints paired 95%
bootstrap intervals of the reward and of other measures: reported rewards, fluency (SmolLM2, NLL per
token, lower is better), exact match, token F1 (both also per stratum), length, repetition.
Resumable: finished answers are kept in `--out` and read back; delete it to start over.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

from aps_eval.metrics import distinct_n, repeated_ngrams
from aps_eval.report.statistics import Interval, mean_interval
from aps_eval.word_knowledge import Question
from aps_rewards import call_reward, load_reward
from comparison import choose_beta, measures, rows_of

from aps_text import APSConfig, APSPipeline

BETAS = {
    "answer-quality": (3, 1, 0.3, 0.1),
    "relevance": (0.1, 0.03, 0.01, 0.003),
    "sentiment": (0.3, 0.1, 0.03, 0.01),
}


class Runs:
    """Answers by (name, config, questions), kept in a folder."""

    def __init__(self, pipe: APSPipeline, folder: Path) -> None:
        self.pipe, self.folder = pipe, folder
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, name: str, items: list[Question], reward, config: APSConfig, method: str):
        key = json.dumps([name, method, config.to_json(), [item.id for item in items]])
        path = self.folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
        if path.is_file():
            return json.loads(path.read_text())
        start = time.perf_counter()
        out = self.pipe([item.question for item in items], reward, method=method, config=config)
        found = {
            "text": out.text,
            "reward": out.rewards["total"],
            "seconds": time.perf_counter() - start,
            "cost": out.cost.as_dict(),
        }
        path.with_suffix(".new").write_text(json.dumps(found))
        path.with_suffix(".new").replace(path)
        return found


def best_of(found: dict, count: int, n: int) -> dict:
    """The answer with the highest reward among each question's n."""
    picks = [max(range(i * n, (i + 1) * n), key=lambda j: found["reward"][j]) for i in range(count)]
    return {**found, **{k: [found[k][j] for j in picks] for k in ("text", "reward")}}


def paired(values: list[float], base: list[float]) -> Interval:
    return mean_interval([a - b for a, b in zip(values, base, strict=True)])


def by_stratum(items: list[Question], values: dict, base: dict) -> str:
    """Exact match and token F1 of every stratum, each with its difference to plain."""
    lines = []
    for stratum in sorted({item.stratum for item in items}):
        rows = [i for i, item in enumerate(items) if item.stratum == stratum]
        line = f"    stratum {stratum} ({len(rows)})"
        for metric in ("exact", "token F1"):
            now, before = ([column[metric][i] for i in rows] for column in (values, base))
            line += f"  {metric} {sum(now) / len(rows):.3f} ({paired(now, before)})"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reward", nargs="+", default=["relevance", "sentiment"])
    parser.add_argument("--report", nargs="+", default=[], help="rewards that only report")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--tuning-questions", type=int, default=40)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--set", type=json.loads, default={}, help="fields of APSConfig, as JSON")
    parser.add_argument("--f1-loss", type=float, default=1.0, help="most token F1 beta may cost")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", type=Path, default=Path("results/guidance"))
    parser.add_argument("--no-fluency", action="store_true", help="skip the SmolLM2 judge")
    args = parser.parse_args()
    pipe = APSPipeline.from_pretrained(args.model, batch_size=16)
    runs, base = Runs(pipe, args.out), APSConfig.make(args.preset, **args.set)
    tune, test = rows_of("tune", args.tuning_questions), rows_of("test", args.questions)
    judge = None
    if not args.no_fluency:
        from aps_eval.judge import FluencyJudge

        judge = FluencyJudge()
    for name in args.reward:
        reward = load_reward(name)
        print(
            f"\n{name}: {len(test)} held-out questions, preset {args.preset} {args.set}", flush=True
        )

        def tuned(beta: float | None, name: str = name, reward=reward):
            if beta is None:
                return runs(f"tune-{name}-plain", tune, reward, base, "plain")
            return runs(f"tune-{name}-aps", tune, reward, base.replace(beta=beta), "aps")

        beta = choose_beta(BETAS[name], tuned, tune, args.f1_loss)
        config = base.replace(beta=beta)
        plain = runs(f"{name}-plain", test, reward, config, "plain")
        aps = runs(f"{name}-aps", test, reward, config, "aps")
        n = max(1, round(aps["seconds"] / plain["seconds"]))
        many = runs(f"{name}-best", test, reward, config.replace(num_return_sequences=n), "plain")
        methods = {"plain": plain, "aps": aps, f"best-of-{n}": best_of(many, len(test), n)}
        reports = {other: load_reward(other) for other in args.report}

        def columns(found: dict, reports=reports) -> dict[str, list[float]]:
            asked = [item.question for item in test]
            own = {n: call_reward(r, asked, found["text"], {}) for n, r in reports.items()}
            return {**measures(found, test, judge), **own}

        judged = {method: columns(found) for method, found in methods.items()}
        base_values = judged["plain"]
        print(f"  beta {beta:g}; difference to plain, paired, mean [95% interval]")
        for method, found in methods.items():
            values = judged[method]
            line = f"  {method:<11} {found['seconds']:6.0f} s"
            for metric, column in values.items():
                mean = sum(column) / len(column)
                line += f"  {metric} {mean:.3f}"
                if method != "plain":
                    line += f" ({paired(column, base_values[metric])})"
            extra = f"  repeated-3 {repeated_ngrams(found['text']):.3f}"
            print(line + extra + f"  distinct-2 {distinct_n(found['text']):.3f}")
            print(by_stratum(test, values, base_values), flush=True)
        for metric, column in judged["aps"].items():
            print(f"  APS - best-of-{n}: {metric} {paired(column, judged[f'best-of-{n}'][metric])}")


if __name__ == "__main__":
    main()
