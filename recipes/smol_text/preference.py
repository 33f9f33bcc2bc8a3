"""Train `smol` on which of two answers to a question is the better one (DPO).

    python -m recipes.smol_text.preference --work DIR --wordnet DICT --start EXPORT --steps 400

    loss = mean over the good answers' tokens of -log p(w_i | q, w_<i)
           + weight * mean over pairs of -log sigmoid(beta * (margin(w) - margin(l)))
    margin(a) = log p(a | q) - log p_0(a | q)              p_0: the weights of EXPORT, fixed

w is the better answer, l the other, p reads from left to right, as the model decodes. Direct
preference optimisation (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290) with the likelihood
of the better answer beside it (Pang et al. 2024, https://arxiv.org/abs/2404.19733). Questions of
which only good answers are known take part in the first term. Every `--filled`-th step is one of
`recipes.smol_text.train` on canvases in blocks, so that gaps can still be filled.

The same command starts or resumes, and exports.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aps_text.models.smollm2 import smollm2
from recipes.logs import log_to
from recipes.mini_text.corpus import read_rows
from recipes.mini_text.subjects import split_of
from recipes.mini_text.train import MiniTextData
from recipes.precision import half_precision
from recipes.smol_text.network import LoraLlama
from recipes.smol_text.rows import Rows, attention_bias
from recipes.smol_text.train import TEMPLATE, Run, add_options, smol_data
from recipes.word_knowledge.masking import TokenIds
from recipes.word_knowledge.text_model import keep_heap

__all__ = ["Choice", "Choices", "PreferenceRun", "choices", "left_to_right"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """A question, a good answer to it and, where one is known, a poor one."""

    question: str
    good: str
    poor: str | None = None


@dataclass
class Choices:
    """Rows of answers, the good ones first; `pair (P,)` are the good rows of the poor ones, and
    `reference (P, 2)` what the first weights said of (good, poor), in nats."""

    rows: Rows
    pair: Tensor
    reference: Tensor | None = None

    @property
    def good(self) -> int:
        """The number of good rows."""
        return len(self.rows.ids) - len(self.pair)


def left_to_right(rows: list[tuple[list[int], list[int]]], ids: TokenIds) -> Rows:
    """Rows of (prompt, answer): each token of the answer and the stop token has a loss of 1."""
    width = max(len(q) + len(a) for q, a in rows) + 1
    found = torch.full((len(rows), width), ids.pad)
    weight = torch.zeros(len(rows), width)
    for row, (q, a) in enumerate(rows):
        found[row, : len(q) + len(a) + 1] = torch.tensor([*q, *a, ids.stop])
        weight[row, len(q) - 1 : len(q) + len(a)] = 1.0
    target = torch.full_like(found, ids.pad)
    target[:, :-1] = found[:, 1:]
    real = found != ids.pad
    at = torch.arange(width).expand_as(found).masked_fill(~real, 0)
    return Rows(found, at, target, weight, real)


def choices(corpus: Path, data: MiniTextData, seed: int) -> list[Choice]:
    """Every good answer of the corpus, with an answer of `smol` to the same question that a reader
    marked half or nonsense, if there is one."""
    rng = random.Random(f"{seed} choices")
    poor: dict[tuple[str, str], list[str]] = defaultdict(list)
    good: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, subject, answer in data.answers:
        good[kind, subject].append(answer)
    for kind, subject, answer, mark in read_rows(corpus / "own.jsonl.gz"):
        if split_of(subject) == "train":
            (good if mark == "S" else poor)[kind, subject].append(answer)
    found = []
    for (kind, subject), answers in good.items():
        others = poor.get((kind, subject), [])
        rounds = max(len(answers), min(len(others), 2 * len(answers)))
        for number in range(rounds):
            question = data.question(kind, subject, rng)
            other = others[number % len(others)] if others else None
            found.append(Choice(question, answers[number % len(answers)], other))
    file = corpus / "asked.jsonl.gz"
    if file.exists():
        found += [Choice(*row) for row in read_rows(file)]
    return found


class PreferenceRun(Run):
    """A run whose batches are choices between answers."""

    def __init__(self, model: Any, tokenizer: Any, args: argparse.Namespace) -> None:
        super().__init__(model, tokenizer, args)
        self.reference: dict[tuple[str, str], float] = {}

    def encoded(self, found: list[Choice]) -> list[tuple[Choice, list[list[int]]]]:
        """The choices that fit a canvas, with the ids of question, good and poor answer."""

        def ids(texts: list[str]) -> list[list[int]]:
            lines = [text.replace(" / ", "\n") for text in texts]
            found: list[list[int]] = self.tokenizer(lines, add_special_tokens=False)["input_ids"]
            return found

        questions = ids([TEMPLATE.format(c.question) for c in found])
        good, poor = ids([c.good for c in found]), ids([c.poor or "" for c in found])
        together = zip(found, map(list, zip(questions, good, poor, strict=True)), strict=True)
        return [(c, x) for c, x in together if max(map(len, x[1:])) < 48 and len(x[0]) < 128]

    def collate(self, part: list[tuple[Choice, list[list[int]]]]) -> Choices:
        """The rows of some choices."""
        pair = [n for n, (choice, _) in enumerate(part) if choice.poor is not None]
        rows = [(x[0], x[1]) for _, x in part] + [(part[n][1][0], part[n][1][2]) for n in pair]
        known = [
            [self.reference.get((part[n][0].question, text or ""), 0.0) for text in
             (part[n][0].good, part[n][0].poor)]
            for n in pair
        ]  # fmt: skip
        return Choices(
            left_to_right(rows, self.ids).to(self.device),
            torch.tensor(pair, dtype=torch.long, device=self.device),
            torch.tensor(known, device=self.device).view(-1, 2),
        )

    def log_probs(self, network: LoraLlama, rows: Rows) -> Tensor:
        """`(B,)`, of each row's answer and stop token, in nats."""
        with half_precision(self.device):
            hidden = network(rows.ids, rows.at, attention_bias(rows, self.ids))
            asked = rows.weight > 0
            logits = F.linear(hidden[asked], network.table)
        loss = F.cross_entropy(logits.float(), rows.target[asked], reduction="none")
        row = torch.arange(len(asked), device=asked.device)[:, None].expand_as(asked)[asked]
        return loss.new_zeros(len(asked)).index_add(0, row, -loss)

    def choice_loss(self, network: LoraLlama, part: Choices, tokens: float, pairs: int) -> Tensor:
        """The part's share of the loss of a batch with so many good tokens and pairs."""
        said = self.log_probs(network, part.rows)
        loss = -said[: part.good].sum() / tokens
        if len(part.pair):
            margin = torch.stack([said[part.pair], said[part.good :]], 1) - part.reference
            beta = self.args.beta
            choose = F.logsigmoid(beta * (margin[:, 0] - margin[:, 1]))
            loss = loss - self.args.weight * choose.sum() / pairs
        return loss

    def step_on(self, parts: list[Choices]) -> float:
        """One optimiser step on a batch in parts; returns the loss."""
        tokens = sum(float(p.rows.weight[: p.good].sum()) for p in parts)
        pairs = sum(len(p.pair) for p in parts)

        def loss(network: LoraLlama, part: Choices) -> Tensor:
            return self.choice_loss(network, part, tokens, pairs)

        found = self.spread(parts, loss)
        self.finish(sum(int((p.rows.ids != self.ids.pad).sum()) for p in parts))
        return found

    def steps_of(
        self, known: list[tuple[Choice, list[list[int]]]], data: MiniTextData
    ) -> Iterator[list[Choices] | Rows]:
        """Batches of the epoch, choices in parts for the workers, from the position on; every
        `filled`-th is of rows in blocks. A function of epoch and seed."""
        rng = random.Random(f"{self.args.seed} {self.epoch} order")
        order = rng.sample(known, len(known))
        batches: list[list[tuple[Choice, list[list[int]]]]] = []
        for start in range(0, len(order), 1024):
            near = sorted(order[start : start + 1024], key=lambda one: len(one[1][0] + one[1][1]))
            size, batch = 0, []
            own = []
            for one in near:
                long = len(one[1][0]) + max(len(one[1][1]), len(one[1][2])) + 1
                size += long * (2 if one[0].poor is not None else 1)
                batch.append(one)
                if size >= self.args.batch_tokens:
                    own.append(batch)
                    size, batch = 0, []
            own += [batch] if batch else []
            rng.shuffle(own)
            batches += own
        others = self.batches(data, skipped=self.position // self.args.filled)
        count = 2 * self.args.workers if self.args.workers > 1 else 1
        every, number = self.args.filled, 0
        for batch in batches:
            for turn in ("choices", "filled"):
                if turn == "filled" and (number + 1) % every:
                    continue
                if number >= self.position:
                    cuts = [batch[n::count] for n in range(count)]
                    yield (
                        next(others) if turn == "filled"
                        else [self.collate(cut) for cut in cuts if cut]
                    )  # fmt: skip
                number += 1

    @torch.no_grad()
    def refer(self, known: list[tuple[Choice, list[list[int]]]], work: Path) -> None:
        """Compute what the first weights say of all pairs, or read it."""
        file = work / "reference.json"
        if file.exists():
            told = json.loads(file.read_text(encoding="utf-8"))
            self.reference = {(q, a): value for q, a, value in told}
            return
        wanted = {
            (choice.question, text): (x[0], x[1 + n])
            for choice, x in known if choice.poor is not None
            for n, text in enumerate((choice.good, choice.poor))
        }  # fmt: skip
        keys = sorted(wanted, key=lambda key: len(wanted[key][0]) + len(wanted[key][1]))
        groups = [keys[n : n + 48] for n in range(0, len(keys), 48)]

        def said(group: list[tuple[str, str]]) -> list[float]:
            with torch.no_grad():
                rows = left_to_right([wanted[key] for key in group], self.ids).to(self.device)
                return [float(x) for x in self.log_probs(self.network, rows)]

        for group, values in zip(groups, self.pool.map(said, groups), strict=True):
            self.reference.update(zip(group, values, strict=True))
        told = [[q, a, value] for (q, a), value in self.reference.items()]
        file.write_text(json.dumps(told), encoding="utf-8")

    @torch.no_grad()
    def accuracy(self, held: list[Choices]) -> tuple[float, float, float]:
        """Of held-out choices, by the EMA weights: nats a token of the good answers, the share of
        pairs in which the good one is likelier, and more so than by the first weights."""
        self.swap()
        loss = tokens = 0.0
        likelier, better = [], []
        for part in held:
            said = self.log_probs(self.network, part.rows)
            loss -= float(said[: part.good].sum())
            tokens += float(part.rows.weight[: part.good].sum())
            both = torch.stack([said[part.pair], said[part.good :]], 1)
            likelier += (both[:, 0] > both[:, 1]).tolist()
            moved = both - part.reference
            better += (moved[:, 0] > moved[:, 1]).tolist()
        self.swap()
        return loss / tokens, sum(likelier) / len(likelier), sum(better) / len(better)


def held_choices(corpus: Path, data: MiniTextData) -> list[Choice]:
    """Pairs about tuning subjects: a good answer and one of `smol` marked half or nonsense."""
    rng = random.Random(5)
    good: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, subject, answer in read_rows(corpus / "answers.jsonl.gz"):
        good[kind, subject].append(answer)
    own = [row for row in read_rows(corpus / "own.jsonl.gz") if split_of(row[1]) == "tune"]
    for kind, subject, answer, mark in own:
        if mark == "S":
            good[kind, subject].append(answer)
    return [
        Choice(data.question(kind, subject, rng), good[kind, subject][0], answer)
        for kind, subject, answer, mark in own if mark != "S" and good[kind, subject]
    ]  # fmt: skip


def main() -> None:
    """Train, resume or finish."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    add_options(parser)
    parser.add_argument("--beta", type=float, default=0.2)
    parser.add_argument("--weight", type=float, default=1.0, help="of the choice")
    parser.add_argument("--filled", type=int, default=8, help="every so-manieth step has gaps")
    parser.add_argument("--fact-share", type=float, default=0.12, help="facts for each choice")
    args = parser.parse_args()
    if not args.start:
        parser.error("--start: the lora.safetensors to go on from")
    log_to(args.work)
    keep_heap()
    torch.set_num_threads(1)
    data = smol_data(args.corpus, args.wordnet, args.seed, args.share)
    run = PreferenceRun(*smollm2("the training of smol"), args)
    run.begin_from(args.start)
    found = choices(args.corpus, data, args.seed)
    facts = list(data.facts.epoch(0, {}))[: int(args.fact_share * len(found))]
    found += [Choice(q, a) for q, a in facts]
    known = run.encoded(found)
    paired = sum(choice.poor is not None for choice, _ in known)
    log.info("%d choices, %d of them pairs", len(known), paired)
    held = run.encoded(held_choices(args.corpus, data))
    run.refer(known + held, args.work)
    if (args.work / "checkpoint.pt").exists():
        run.load(args.work)
        log.info("resumed at step %d", run.step)
    (args.work / "recipe.json").write_text(json.dumps(vars(args), default=str) + "\n")
    watched = [run.collate(held[n : n + 24]) for n in range(0, len(held), 24)]
    mean, began, first = None, time.monotonic(), run.tokens
    args.ordered = 0.0  # the other steps' rows are in blocks
    while run.step < args.steps:
        for batch in run.steps_of(known, data):
            loss = run.update(batch) if isinstance(batch, Rows) else run.step_on(batch)
            mean = loss if mean is None else 0.95 * mean + 0.05 * loss
            if run.step % 10 == 0:
                rate = (run.tokens - first) / (time.monotonic() - began)
                log.info("step %d epoch %d loss %.3f, %.3fM tokens, %.0f/s",
                         run.step, run.epoch, mean, run.tokens / 1e6, rate)  # fmt: skip
            if run.step % args.save_steps == 0 or run.step >= args.steps:
                run.save(args.work)
                log.info("held out: %.4f nats, good likelier %.3f, moved %.3f",
                         *run.accuracy(watched))  # fmt: skip
            if run.step >= args.steps:
                return
        run.epoch, run.position = run.epoch + 1, 0


if __name__ == "__main__":
    main()
