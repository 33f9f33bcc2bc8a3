"""A table of each embedded reward's effect when it guides: plain against APS, held-out questions.

    python benchmarks/reward_table.py [--rewards flesch length ...] [--questions 50] [--steps 16]
                                      [--tuning-questions 12] [--out results/reward_table.jsonl]
                                      [--settings '{"inner_steps": 3, "pool_size": None}']

For each reward, beta is chosen on tuning questions (other words than the test set, see
`comparison.choose_beta`); then the held-out questions are answered plainly and by APS with the same
seeds, relaxed if the reward is differentiable and by RLOO otherwise. Prints a Markdown table: means
of both, the paired difference of the reward with its 95% bootstrap interval, other measures
(fluency by SmolLM2, NLL per token, lower is better; words; token F1), and seconds per question.

Resumable: an answer is a line of `--out` with a key made of everything it depends on; delete the
file after changing the library or the weights. (The file is not called rewards.py, which scripts
beside it would import instead of the package `rewards`.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aps_eval.report.statistics import mean_interval
from aps_eval.word_knowledge import Question
from aps_rewards import call_reward, is_differentiable, load_reward
from comparison import Found, choose_beta, measures, rows_of

from aps_text import APSConfig, APSPipeline


@dataclass(frozen=True)
class Setting:
    """The use of a reward on word questions.

    Attributes:
        options: of the reward, chosen so that plain answers do not already have the best score.
        columns: makes the dataset columns of a question.
        betas: candidate values, from the largest; about the reward's range and smaller.
    """

    options: dict[str, Any] = field(default_factory=dict)
    columns: Callable[[Question], dict[str, Any]] = lambda item: {}
    betas: Sequence[float] = (0.3, 0.1, 0.03, 0.01)


SETTINGS = {
    "answer-quality": Setting(betas=(3, 1, 0.3, 0.1)),
    "dale-chall": Setting(),
    "distinctness": Setting(),
    "exact-match": Setting(columns=lambda item: {"reference": item.gold}),  # the key: a control
    "flesch": Setting(),
    "fluency": Setting(betas=(3, 1, 0.3, 0.1)),
    "grammar": Setting(),
    "keywords": Setting(columns=lambda item: {"present": [item.lemma], "absent": ["kind"]}),
    "length": Setting({"low": 10, "high": 14}),
    "lint": Setting(),
    "pattern": Setting({"pattern": r"(It|They|This) .*[.]"}),
    "relevance": Setting(betas=(0.1, 0.03, 0.01, 0.003)),
    "rhyme": Setting({"word": "day"}),
    "sentiment": Setting(),
    "syllables": Setting({"pattern": (10,)}),
    "toxicity": Setting(),
    "valence": Setting(),
}
LEFT_OUT = {
    "countdown": "asks for expressions, and the embedded model answers in words",
    "json-schema": "asks for JSON, and the embedded model answers in words",
    "numeric-match": "needs questions with a number for an answer",
    "sudoku-4x4": "needs puzzles",
}


class Answers:
    """Answers kept in a JSONL file, one line each, by what they depend on."""

    def __init__(self, pipe: APSPipeline, model: str, file: Path) -> None:
        self.pipe, self.model, self.file = pipe, model, file
        file.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        whole, newline, broken = text.rpartition("\n")
        if broken:  # an incomplete line of a killed run
            file.write_text(whole + newline, encoding="utf-8")
        self.rows = {row["key"]: row for row in map(json.loads, whole.splitlines())}

    def __call__(
        self, items: Sequence[Question], config: APSConfig, name: str = "", reward: Any = None
    ) -> Found:
        """Texts and seconds per question, steered by `reward`, or plain if it is None."""
        setting = SETTINGS.get(name, Setting())
        about = [self.model, name, setting.options, json.loads(config.to_json())]
        keys = {
            item.id: _key([*about, item.id, item.question, setting.columns(item) if name else {}])
            for item in items
        }
        new = [item for item in items if keys[item.id] not in self.rows]
        for first in range(0, len(new), self.pipe.batch_size):
            part = new[first : first + self.pipe.batch_size]
            start = time.perf_counter()
            out = self.pipe(
                [item.question for item in part],
                reward,
                method="aps" if name else "plain",
                config=config,
                columns=columns_of(name, part) if name else None,
            )
            seconds = (time.perf_counter() - start) / len(part)
            with self.file.open("a", encoding="utf-8") as file:
                for item, text in zip(part, out.text, strict=True):
                    row = {
                        "key": keys[item.id],
                        "reward": name or "plain",
                        "beta": config.sampler.beta if name else None,
                        "question": item.id,
                        "text": text,
                        "seconds": round(seconds, 4),
                    }
                    self.rows[row["key"]] = row
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        rows = [self.rows[keys[item.id]] for item in items]
        return {key: [row[key] for row in rows] for key in ("text", "seconds")}


def columns_of(name: str, items: Sequence[Question]) -> dict[str, list[Any]]:
    rows = [SETTINGS.get(name, Setting()).columns(item) for item in items]
    return {key: [row[key] for row in rows] for key in (rows[0] if rows else {})}


def compare(
    name: str,
    answers: Answers,
    base: APSConfig,
    tune: list[Question],
    test: list[Question],
    judge: Any,
) -> str:
    """One line of the table."""
    setting = SETTINGS.get(name, Setting())
    reward = load_reward(name, **setting.options)

    def scored(items: list[Question], config: APSConfig, steered: bool) -> Found:
        found = answers(items, config, name, reward) if steered else answers(items, config)
        questions, columns = [item.question for item in items], columns_of(name, items)
        return {**found, "reward": call_reward(reward, questions, found["text"], columns)}

    def tuned(beta: float | None) -> Found:
        config = base if beta is None else base.replace(beta=beta)
        return scored(tune, config, beta is not None)

    beta = choose_beta(setting.betas, tuned, tune)
    plain, aps = scored(test, base, False), scored(test, base.replace(beta=beta), True)
    before, after = (measures(found, test, judge) for found in (plain, aps))
    moved = {
        metric: mean_interval([b - a for a, b in zip(before[metric], after[metric], strict=True)])
        for metric in before
    }
    relaxed = is_differentiable(reward) and getattr(reward, "estimator", "relaxed") == "relaxed"
    side = "relaxed" if relaxed else "RLOO"
    cells = [
        f"`{name}`",
        side,
        f"{beta:g}",
        f"{_mean(before['reward']):.3f}",
        f"{_mean(after['reward']):.3f}",
        *(
            str(moved[metric])
            for metric in ("reward", "NLL", "words", "token F1")
            if metric in moved
        ),
        f"{_mean(plain['seconds']):.2f} / {_mean(aps['seconds']):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rewards", nargs="+", default=sorted(SETTINGS), metavar="NAME")
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--tuning-questions", type=int, default=12)
    parser.add_argument("--steps", type=int, help="denoising steps (default: the preset's)")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument(
        "--settings", type=json.loads, default={}, metavar="JSON", help="changes to the preset"
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("results/reward_table.jsonl"))
    parser.add_argument("--no-fluency", action="store_true", help="skip the SmolLM2 judge")
    args = parser.parse_args()
    for name in set(args.rewards) & set(LEFT_OUT):
        parser.error(f"{name} is left out: {LEFT_OUT[name]}")
    base = APSConfig.make(args.preset, **args.settings)
    if args.steps is not None:
        base = base.replace(steps=args.steps)
    pipe = APSPipeline.from_pretrained(args.model, batch_size=args.batch_size)
    answers = Answers(pipe, args.model, args.out)
    tune, test = rows_of("tune", args.tuning_questions), rows_of("test", args.questions)
    judge = None
    if not args.no_fluency:
        from aps_eval.judge import FluencyJudge

        judge = FluencyJudge()
    lines = []
    for name in args.rewards:
        print(f"{name}: {len(test)} held-out questions", flush=True)
        lines.append(compare(name, answers, base, tune, test, judge))
        print(lines[-1], flush=True)
    head = ["reward", "side", "beta", "plain", "APS", "reward moved", "NLL moved", "words moved"]
    head += ["token F1 moved", "s per question, plain / APS"]
    if judge is None:
        head.remove("NLL moved")
    changed = f" with {json.dumps(args.settings)}" if args.settings else ""
    about = f"preset {args.preset}{changed}, {base.sampler.steps} steps, seed {base.call.seed}"
    print(f"\n{len(test)} questions, {about}:\n")
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    print("\n".join(lines))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _key(about: Any) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:20]


if __name__ == "__main__":
    main()
