"""Comparison of the embedded text model's writing with its teacher's, on test subjects.

    python -m recipes.mini_text.measure --model mini --wordnet DICT [--json] [--prompts 120]

The prompts are drawn from the test subjects of the corpus, alternating between kinds, so that the
teacher's own good answers to the same prompts can be compared. Fluency is SmolLM2's NLL per token,
and **SmolLM2 is the teacher**; Harper's lints and the grammar tagger were not used in training.
Variety is that of eight answers to each prompt at temperature 0.8. Figures are means with 95%
bootstrap intervals.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from aps_eval.subjects import named, whole, words

from recipes.mini_text.corpus import read_corpus
from recipes.mini_text.filters import key
from recipes.mini_text.generate import asked
from recipes.mini_text.prompts import KINDS
from recipes.mini_text.subjects import Subject, split_of
from recipes.mini_text.train import DATA

__all__ = ["Prompt", "choose_prompts", "form", "report", "self_bleu", "variety"]

Judge = Callable[[Sequence[str]], list[float]]


@dataclass(frozen=True)
class Prompt:
    """A question about a test subject, and the teacher's good answers to it."""

    kind: str
    subject: str
    question: str
    gold: tuple[str, ...]


def choose_prompts(
    rows: Sequence[tuple[str, str, str]],
    categories: dict[str, str],
    count: int,
    split: str = "test",
    seed: int = 0,
) -> list[Prompt]:
    """`count` prompts of a split, alternating between kinds, in random phrasings."""
    rng = random.Random(f"{split} {seed}")
    answers: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for kind, subject, text in sorted(rows):
        if split_of(subject) == split:
            answers[kind][subject].append(text)
    waiting = {kind: rng.sample(sorted(own), len(own)) for kind, own in sorted(answers.items())}
    chosen: list[Prompt] = []
    while len(chosen) < count and any(waiting.values()):
        for asks in (k for k in KINDS if waiting.get(k.name)):
            word = waiting[asks.name].pop()
            shown = Subject(word, asks.pos[0], categories.get(word.split()[-1], ""))
            text = asked(asks, shown, rng.choice(asks.phrasings))
            chosen.append(Prompt(asks.name, word, text, tuple(answers[asks.name][word])))
    return chosen[:count]


def repeated_pairs(text: str) -> float:
    """Fraction of pairs of adjacent words that repeat an earlier one of the text."""
    pairs = list(pairwise(words(text)))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def form(prompts: Sequence[Prompt], answers: Sequence[str]) -> dict[str, list[float]]:
    """Per answer: repeated pairs, whether its subject is named, whether it is whole, its words."""
    return {
        "repeated bigrams %": [100 * repeated_pairs(a) for a in answers],
        "subject named %": [
            100.0 * named(p.subject, a) for p, a in zip(prompts, answers, strict=True)
        ],
        "whole sentences %": [100.0 * whole(a) for a in answers],
        "words": [float(len(words(a))) for a in answers],
    }


def self_bleu(texts: Sequence[str], most: int = 4) -> float:
    """Mean BLEU-4 of each text against the others, add-one smoothed beyond one word; in [0, 1]."""
    lists = [words(text) for text in texts]
    scores = []
    for i, own in enumerate(lists):
        others = lists[:i] + lists[i + 1 :]
        if not own or not others:
            continue
        total = 0.0
        for n in range(1, most + 1):
            grams = Counter(zip(*(own[k:] for k in range(n)), strict=False))
            known: Counter[tuple[str, ...]] = Counter()
            for other in others:
                known |= Counter(zip(*(other[k:] for k in range(n)), strict=False))
            hits, size = (grams & known).total(), grams.total()
            add = float(n > 1)
            if hits + add == 0:
                total = -math.inf
                break
            total += math.log((hits + add) / max(size + add, 1.0))
        near = min((len(o) for o in others), key=lambda size: (abs(size - len(own)), size))
        scores.append(math.exp(total / most) * min(1.0, math.exp(1 - near / len(own))))
    return sum(scores) / len(scores) if scores else 0.0


def variety(groups: Sequence[Sequence[str]]) -> dict[str, list[float]]:
    """Per prompt: the number of distinct answers, and their self-BLEU."""
    return {
        "distinct of 8": [float(len({key(text) for text in group})) for group in groups],
        "self-BLEU": [self_bleu(group) for group in groups],
    }


def judged(
    prompts: Sequence[Prompt], answers: Sequence[str], judges: dict[str, Judge]
) -> dict[str, list[float]]:
    """All measures of one answer to each prompt."""
    found = form(prompts, answers)
    found |= {name: judge(answers) for name, judge in judges.items()}
    return found


def default_judges() -> dict[str, Judge]:
    """The teacher's NLL, lints per sentence and the grammar tagger's P(keep)."""
    from aps_eval.judge import FluencyJudge
    from aps_rewards.grammar import Grammar
    from harper import Linter

    fluency, grammar, linter = FluencyJudge(), Grammar(), Linter()

    def lints(texts: Sequence[str]) -> list[float]:
        return [float(len(linter.lint(text, language="plaintext"))) for text in texts]

    def kept(texts: Sequence[str]) -> list[float]:
        scores: list[float] = grammar(prompts=[""] * len(texts), completions=list(texts))
        return scores

    return {"teacher's NLL a token": fluency, "lints": lints, "tagger keeps": kept}


def measure(
    pipe: Any,
    prompts: Sequence[Prompt],
    judges: dict[str, Judge],
    steps: Sequence[int | None],
    drawn_in: int = 16,
    **settings: Any,
) -> dict[str, Any]:
    """Measures of the teacher and of the model at each number of steps (None: one per position).

    `settings` are those of decoding, for all of the model's runs; `drawn_in` is the number of steps
    of the samples whose variety is measured.
    """
    settings = {"seed": 0, "temperature": 0.0, **settings}
    questions = [p.question for p in prompts]
    gold = [p.gold[0] for p in prompts]
    runs = {"teacher": judged(prompts, gold, judges)}
    texts = {"teacher": gold}
    for count in steps:
        name = "T = L" if count is None else f"T = {count}"
        used = pipe.model.max_new_tokens if count is None else count
        texts[name] = list(pipe.generate(questions, steps=used, **settings).text)
        runs[name] = judged(prompts, texts[name], judges)
        nll = "teacher's NLL a token"
        if nll in judges:
            runs[name]["NLL beyond the teacher's"] = [
                a - b for a, b in zip(runs[name][nll], runs["teacher"][nll], strict=True)
            ]
    sampling = {
        **settings,
        "steps": drawn_in,
        "temperature": 0.8,
        "seed": 1,
        "num_return_sequences": 8,
    }
    drawn = pipe.generate(questions, **sampling).text
    groups = [drawn[i : i + 8] for i in range(0, len(drawn), 8)]
    runs[f"T = {drawn_in}, 0.8"] = judged(prompts, [group[0] for group in groups], judges)
    return {
        "prompts": len(prompts),
        "runs": {name: {k: mean(v) for k, v in run.items()} for name, run in runs.items()},
        "variety": {k: mean(v) for k, v in variety(groups).items()},
        "teacher's variety": {
            k: mean(v) for k, v in variety([p.gold for p in prompts if len(p.gold) > 3]).items()
        },
        "answers": texts,
        "drawn": groups,
    }


def mean(values: Sequence[float]) -> list[float]:
    """Mean and 95% interval, ignoring NaN."""
    from aps_eval.report.statistics import mean_interval

    kept = [v for v in values if not math.isnan(v)]
    if not kept:
        return []
    found = mean_interval(kept, draws=2000)
    return [round(v, 3) for v in (found.mean, found.low, found.high)]


def cell(value: Sequence[float] | None) -> str:
    """A mean and its interval as text, like `1.23 [1.10, 1.36]`."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(*value) if value else "-"


def report(results: dict[str, Any], prompts: Sequence[Prompt], shown: int = 50) -> str:
    """The figures and the first answers as Markdown."""
    runs = results["runs"]
    names = list(dict.fromkeys(k for run in runs.values() for k in run))
    lines = [f"{results['prompts']} prompts.", "", "| | " + " | ".join(runs) + " |"]
    lines.append("|---" * (len(runs) + 1) + "|")
    for name in names:
        cells = [cell(run.get(name)) for run in runs.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| variety | model | teacher's kept answers |", "|---|---|---|"]
    taught = results["teacher's variety"]
    for name, value in results["variety"].items():
        lines.append(f"| {name} | {cell(value)} | {cell(taught.get(name))} |")
    last = list(results["answers"])[-1]
    lines += ["", f"The first {shown} answers, {last}, unselected:", ""]
    for prompt, answer in list(zip(prompts, results["answers"][last], strict=True))[:shown]:
        lines.append(f"- {prompt.question} → {answer.replace(chr(10), ' / ')}")
    return "\n".join(lines)


def main() -> None:
    """Compare a model with its teacher."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", default="mini", help="'mini', 'smol' or a folder")
    parser.add_argument("--corpus", type=Path, default=DATA, help="folder of answers.jsonl.gz")
    parser.add_argument("--wordnet", default=None, help="folder of the WordNet 3.1 files")
    parser.add_argument("--split", choices=("tune", "test"), default="test")
    parser.add_argument("--prompts", type=int, default=120)
    parser.add_argument("--steps", type=int, nargs="*", default=[16], help="beside one a position")
    parser.add_argument("--block-length", type=int, help="decode in blocks of this length")
    parser.add_argument("--drawn-in", type=int, default=16, help="steps of the varied samples")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from aps_text import APSPipeline
    from recipes.mini_text.subjects import subjects
    from recipes.word_knowledge.wordnet import find_wordnet, read_wordnet

    categories = {s.word: s.category for s in subjects(read_wordnet(find_wordnet(args.wordnet)))}
    prompts = choose_prompts(read_corpus(args.corpus), categories, args.prompts, args.split)
    pipe = APSPipeline.from_pretrained(args.model, batch_size=32)
    blocks = {"block_length": args.block_length} if args.block_length else {}
    steps = [*args.steps, None]
    results = measure(pipe, prompts, default_judges(), steps, args.drawn_in, **blocks)
    print(json.dumps(results, indent=1) if args.json else report(results, prompts))


if __name__ == "__main__":
    main()
