"""Measures the quality of a text model on the bundled questions.

    python -m recipes.word_knowledge.quality --model mini --wordnet DICT [--json]

Masked NLL at 15 / 50 / 90%; for each number of steps and temperature: exact match and token F1
per stratum and type, fluency (SmolLM2-135M NLL per token, gold beside it, both lower-cased),
repeated trigrams, distinct-2, empty answers; controls; 95% bootstrap intervals. Answers come from
the library's own pipeline. Without `--wordnet` the two controls that need the training questions
are left out, and the report says so.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from aps_eval.word_knowledge import Question, read_questions

from aps_text.core.canvas import positions_of
from recipes.word_knowledge.masking import TokenIds, canvas_of, cut_after_stop
from recipes.word_knowledge.scoring import group_name, is_exact

__all__ = ["control_answers", "masked_nll", "measure", "paired", "report", "score"]

CANVAS = 24


def _interval(values: Sequence[float]) -> list[float]:
    from aps_eval.report.statistics import mean_interval

    found = mean_interval(values, draws=2000)
    return [round(v, 4) for v in (found.mean, found.low, found.high)]


@torch.no_grad()
def masked_nll(
    pipe: Any, items: Sequence[Question], rate: float, *, seed: int = 0, batch_size: int = 64
) -> dict[str, list[float]]:
    """NLL per masked token (nats), answer and stop token, at a mask rate; per stratum.

    The first gold answer of each item; items whose answer does not fit the canvas are skipped.
    Everything after the first revealed stop token is cut, as in training and sampling.
    """
    model, tokenizer = pipe.model, pipe.model.tokenizer
    ids = TokenIds(pad=model.fill_id, stop=model.stop_ids[0], mask=model.parts.mask_id)
    generator = torch.Generator().manual_seed(seed)
    rows = [(i, tokenizer(i.gold[0], add_special_tokens=False)["input_ids"]) for i in items]
    rows = [(i, answer) for i, answer in rows if len(answer) < CANVAS]
    found: dict[str, list[float]] = {"all": []}
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        canvas = canvas_of([answer for _, answer in part], CANVAS, ids)
        stop_at = torch.tensor([len(answer) for _, answer in part])
        hidden = torch.rand(canvas.shape, generator=generator) < rate
        hidden |= torch.arange(CANVAS) > stop_at[:, None]
        hidden[torch.arange(len(part)), stop_at // 2] |= ~hidden.gather(1, stop_at[:, None])[:, 0]
        z = cut_after_stop(canvas.masked_fill(hidden, ids.mask), ids)
        judged = (z == ids.mask) & (torch.arange(CANVAS) <= stop_at[:, None])
        where = positions_of(judged)
        denoiser = model.bind(
            [model.encode(item.question) for item, _ in part], [CANVAS] * len(part), None
        )
        nll = F.cross_entropy(
            denoiser.logits(denoiser.trunk(z), where), canvas[where], reduction="none"
        )
        for n, (item, _) in enumerate(part):
            values = nll[where[0] == n].tolist()
            found["all"] += values
            found.setdefault(item.stratum, []).extend(values)
    return {name: _interval(values) for name, values in sorted(found.items())}


def score(
    items: Sequence[Question], answers: Sequence[str], judge: Any = None, judged: int = 200
) -> dict[str, Any]:
    """All measures of one set of answers; fluency on the definitions and the first `judged`."""
    from aps_eval.metrics import distinct_n, repeated_ngrams, token_f1

    groups: dict[str, list[int]] = {}
    for n, item in enumerate(items):
        for name in (item.stratum, group_name(item), "all"):
            groups.setdefault(name, []).append(n)
    exact = [float(is_exact(i, a)) for i, a in zip(items, answers, strict=True)]
    f1 = [token_f1(a, i.gold) for i, a in zip(items, answers, strict=True)]
    result: dict[str, Any] = {
        "exact": {
            k: [*_interval([exact[n] for n in v]), len(v)] for k, v in sorted(groups.items())
        },
        "f1": {k: _interval([f1[n] for n in v]) for k, v in sorted(groups.items())},
        "repeated_trigrams": round(repeated_ngrams(answers, 3), 4),
        "distinct_2": round(distinct_n(answers, 2), 4),
        "empty": sum(not a.strip() for a in answers) / len(answers),
    }
    if judge is not None:
        defined = [n for n, item in enumerate(items) if item.type == "definition"][:judged]
        for name, rows in (("definitions", defined), ("mixed", list(range(len(items)))[:judged])):
            ours = judge([answers[n] for n in rows])
            gold = judge([items[n].gold[0] for n in rows])
            gaps = [a - b for a, b in zip(ours, gold, strict=True) if not math.isnan(a)]
            mean = [sum(v for v in side if not math.isnan(v)) / len(rows) for side in (ours, gold)]
            result[f"fluency_{name}"] = {
                "answer": round(mean[0], 3), "gold": round(mean[1], 3),
                "gap": _interval(gaps), "n": len(rows),
            }  # fmt: skip
    return result


def measure(
    pipe: Any,
    items: Sequence[Question],
    steps: Sequence[int],
    temperatures: Sequence[float],
    judge: Any = None,
    judged: int = 200,
) -> dict[str, Any]:
    """Scores per setting; more steps than the canvas has positions are clipped to their number."""
    results = {}
    for t in steps:
        for temperature in temperatures:
            used = min(t, pipe.model.max_new_tokens)
            questions = [item.question for item in items]
            output = pipe.generate(questions, steps=used, temperature=temperature, seed=0)
            name = f"T={t} temperature={temperature:g}"
            results[name] = {"steps_used": used, **score(items, output.text, judge, judged)}
            results[name]["answers"] = list(output.text)
            print(f"# {name}: exact {results[name]['exact']['all'][0]:.3f}", file=sys.stderr)
    return results


def control_answers(items: Sequence[Question], wordnet: str | None) -> dict[str, list[str]]:
    """Answers of each control (`controls.py`); two need the training questions, so `wordnet`."""
    from recipes.word_knowledge.controls import majority, nearest, shuffled, training_pairs
    from recipes.word_knowledge.wordnet_qa import build_data

    answers = {"gold shuffled": shuffled(items)}
    if wordnet is not None:
        pairs = training_pairs(build_data(wordnet))
        answers["majority answer"] = majority(items, pairs)
        answers["nearest training question"] = nearest(items, pairs)
    return answers


def paired(
    items: Sequence[Question], answers: Sequence[str], others: Sequence[str]
) -> dict[str, list[float]]:
    """Exact match of `answers` minus that of `others`, per group: mean and 95% interval."""
    differences: dict[str, list[float]] = {}
    for item, one, two in zip(items, answers, others, strict=True):
        value = float(is_exact(item, one)) - float(is_exact(item, two))
        for name in (item.stratum, group_name(item)):
            differences.setdefault(name, []).append(value)
    return {name: _interval(values) for name, values in sorted(differences.items())}


def report(results: dict[str, Any]) -> str:
    """The measures as Markdown."""
    lines = ["| masked | all | A | B | C |", "|---|---|---|---|---|"]
    for rate, row in results["masked_nll"].items():
        cells = [f"{row[s][0]:.2f}" if s in row else "-" for s in ("all", "A", "B", "C")]
        lines.append(f"| {rate} | {' | '.join(cells)} |")
    runs = {**results["runs"], **results["controls"]}
    names = sorted(
        {name for run in runs.values() for name in run["exact"]}, key=lambda n: (n == "all", n)
    )
    lines += ["", "Exact match % [95% interval] / token F1 %", ""]
    lines += ["| | " + " | ".join(runs) + " |", "|---" * (len(runs) + 1) + "|"]
    for name in names:
        cells = []
        for run in runs.values():
            mean, low, high, _ = (100 * v for v in run["exact"][name])
            cells.append(f"{mean:.0f} [{low:.0f}, {high:.0f}] / {100 * run['f1'][name][0]:.0f}")
        count = next(iter(runs.values()))["exact"][name][3]
        lines.append(f"| {name} (n={count}) | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Fluency: nats per token, answer / gold / gap.",
        "",
        "| | steps used | repeated trigrams % | distinct-2 | empty % | definitions | mixed |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        cells = [str(run.get("steps_used", "-")), f"{100 * run['repeated_trigrams']:.1f}",
                 f"{run['distinct_2']:.2f}", f"{100 * run['empty']:.1f}"]  # fmt: skip
        for part in ("fluency_definitions", "fluency_mixed"):
            f = run.get(part)
            gap = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*f["gap"]) if f else ""
            cells.append(f"{f['answer']:.2f} / {f['gold']:.2f} / {gap}" if f else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    tables = results.get("paired", {})
    lines += ["", "Exact match of the first setting minus a control's, points, paired.", ""]
    lines += ["| | " + " | ".join(tables) + " |", "|---" * (len(tables) + 1) + "|"]
    for name in next(iter(tables.values()), {}):
        cells = ["{:+.0f} [{:+.0f}, {:+.0f}]".format(*(100 * v for v in table[name]))
                 for table in tables.values()]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure a model on the bundled questions."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", default="mini", help="'mini' or a folder")
    parser.add_argument(
        "--data", type=Path, default=Path("eval/aps_eval/data/word_knowledge.jsonl")
    )
    parser.add_argument("--wordnet", default=None, help="folder of the WordNet 3.1 files")
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.0, 0.7])
    parser.add_argument("--limit", type=int, default=None, help="first N of the shuffled items")
    parser.add_argument(
        "--judged", type=int, default=200, help="answers judged for fluency; 0: none"
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="print JSON, answers included")
    args = parser.parse_args()
    from aps_text import APSPipeline

    items = read_questions(args.data)
    random.Random(0).shuffle(items)
    items = items[: args.limit]
    pipe = APSPipeline.from_pretrained(args.model, batch_size=args.batch_size)
    judge = None
    if args.judged:
        from aps_eval.judge import FluencyJudge

        judge = FluencyJudge()
    controls = control_answers(items, args.wordnet)
    results: dict[str, Any] = {
        "items": len(items),
        "masked_nll": {f"{r:.0%}": masked_nll(pipe, items, r) for r in (0.15, 0.5, 0.9)},
        "runs": measure(pipe, items, args.steps, args.temperature, judge, args.judged),
        "controls": {name: score(items, answers) for name, answers in controls.items()},
    }
    first = next(iter(results["runs"].values()))
    results["paired"] = {
        name: paired(items, first["answers"], answers) for name, answers in controls.items()
    }
    if args.wordnet is None:
        print("# no --wordnet: controls 'majority' and 'nearest' left out", file=sys.stderr)
    if args.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
        return
    print(report(results))
    print("\nFirst twenty of the seed-0 shuffled questions:\n")
    for item, answer in list(zip(items, first["answers"], strict=True))[:20]:
        print(f"- ({group_name(item)}) {item.question} → {answer}")


if __name__ == "__main__":
    main()
