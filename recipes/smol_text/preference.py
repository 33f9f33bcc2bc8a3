"""Train `smol` on which of two answers to a question is the better one (DPO).

    python -m recipes.smol_text.preference --work DIR --wordnet DICT --start EXPORT --steps 480

    loss = mean over the good answers' tokens of -log p(w_i | q, w_<i)
           + weight * mean over pairs of -log sigmoid(beta * (margin(w) - margin(l)))
    margin(a) = log p(a | q) - log p_0(a | q)              p_0: the weights of EXPORT, fixed

w is the better answer, l the other, p reads from left to right, as the model decodes. Direct
preference optimisation (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290) with the likelihood
of the better answer beside it (Pang et al. 2024, https://arxiv.org/abs/2404.19733). Questions of
which only good answers are known take part in the first term. Every `--filled`-th step is one of
`recipes.smol_text.train`, `--blocks` of its rows in blocks, so that gaps can still be filled.

The same command starts or resumes, and exports.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aps_text.models.smollm2 import smollm2
from recipes.logs import log_to
from recipes.mini_text.train import MiniTextData
from recipes.smol_text.choices import (
    Choice,
    ChoiceBatch,
    EncodedChoice,
    encode,
    held_choices,
    load_choices,
)
from recipes.smol_text.mixture import held_words, smol_data
from recipes.smol_text.network import LoraLlama
from recipes.smol_text.rows import Rows, left_to_right
from recipes.smol_text.train import Run, add_options
from recipes.word_knowledge.text_model import keep_heap

__all__ = ["PreferenceRun"]

log = logging.getLogger(__name__)


class PreferenceRun(Run):
    """A run whose batches are choices between answers."""

    def __init__(self, model: Any, tokenizer: Any, args: argparse.Namespace) -> None:
        super().__init__(model, tokenizer, args)
        if args.filled == 1 or args.filled < 0:
            raise ValueError(f"--filled {args.filled}: every N-th step, N >= 2, or 0 for none")
        self.reference: dict[tuple[str, str], float] = {}

    def collate(self, part: list[EncodedChoice]) -> ChoiceBatch:
        """The rows of some choices.

        Raises:
            KeyError: a pair of which `compute_reference` was not told.
        """
        pairs = [(n, one) for n, one in enumerate(part) if one.poor is not None]
        rows = [(one.prompt, one.good) for one in part]
        rows += [(one.prompt, one.poor) for _, one in pairs if one.poor is not None]
        reference = [
            [self.reference[one.choice.question, str(text)]
             for text in (one.choice.good, one.choice.poor)]
            for _, one in pairs
        ]  # fmt: skip
        return ChoiceBatch(
            left_to_right(rows, self.ids).to(self.device),
            torch.tensor([n for n, _ in pairs], dtype=torch.long, device=self.device),
            torch.tensor(reference, device=self.device).view(-1, 2),
        )

    def log_probs(self, network: LoraLlama, rows: Rows) -> Tensor:
        """`(B,)`, of each row's answer and stop token, in nats."""
        loss, asked = self.token_losses(network, rows, 1.0)
        return loss.new_zeros(len(asked)).index_add(0, asked.nonzero()[:, 0], -loss)

    def dpo_loss(self, network: LoraLlama, part: ChoiceBatch, tokens: float, pairs: int) -> Tensor:
        """The part's share of the loss of a batch with so many good tokens and pairs."""
        said = self.log_probs(network, part.rows)
        loss = -said[: part.num_good].sum() / tokens
        if len(part.pair_rows):
            margin = torch.stack([said[part.pair_rows], said[part.num_good :]], 1) - part.reference
            preferred = F.logsigmoid(self.args.beta * (margin[:, 0] - margin[:, 1]))
            loss = loss - self.args.weight * preferred.sum() / pairs
        return loss

    def choose(self, parts: list[ChoiceBatch]) -> float:
        """Fill `.grad` with that of a batch in parts; returns its loss."""
        tokens = sum(part.num_tokens for part in parts)
        pairs = sum(len(part.pair_rows) for part in parts)
        return self.spread(parts, lambda network, part: self.dpo_loss(network, part, tokens, pairs))

    def step_on(self, parts: list[ChoiceBatch]) -> float:
        """One optimiser step on a batch in parts; returns the loss."""
        loss = self.choose(parts)
        self.finish(sum(int((part.rows.ids != self.ids.pad).sum()) for part in parts))
        return loss

    def batches_of(self, known: list[EncodedChoice]) -> list[list[EncodedChoice]]:
        """The choices in batches of rows of about equal length, a function of epoch and seed."""
        rng = random.Random(f"{self.args.seed} {self.epoch} order")
        order = rng.sample(known, len(known))
        found: list[list[EncodedChoice]] = []
        for start in range(0, len(order), 1024):
            size, batch = 0, list[EncodedChoice]()
            near = []
            for one in sorted(
                order[start : start + 1024], key=lambda one: len(one.prompt) + len(one.good)
            ):
                size += one.longest * (1 if one.poor is None else 2)
                batch.append(one)
                if size >= self.args.batch_tokens:
                    near.append(batch)
                    size, batch = 0, []
            near += [batch] if batch else []
            rng.shuffle(near)
            found += near
        return found

    def steps_of(
        self, known: list[EncodedChoice], data: MiniTextData
    ) -> Iterator[list[ChoiceBatch] | Rows]:
        """What each step of the epoch learns from, from the position on: choices in parts for the
        workers, and at every `filled`-th step rows of `batches`."""
        every = self.args.filled
        others: Iterator[Rows] = iter(())
        if every:
            others = self.batches(data, first=self.position // every)
        parts = 2 * self.args.workers if self.args.workers > 1 else 1
        number = 0
        for batch in self.batches_of(known):
            if number >= self.position:
                cuts = [batch[n::parts] for n in range(parts)]
                yield [self.collate(cut) for cut in cuts if cut]
            number += 1
            if every and (number + 1) % every == 0:
                if number >= self.position:
                    rows = next(others, None)
                    if rows is None:
                        raise ValueError("too few answers to fill gaps in; use a larger --filled")
                    yield rows
                number += 1

    @torch.no_grad()
    def compute_reference(self, known: list[EncodedChoice], file: Path, start: str) -> None:
        """What the first weights say of all pairs, computed where `file` does not have it.

        Args:
            start: names the first weights; what the file holds of others is computed anew.
        """
        stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if stored.get("start") == start:
            self.reference = {(q, a): value for q, a, value in stored["log_probs"]}
        wanted: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        for one in known:
            if one.poor is not None:
                wanted[one.choice.question, one.choice.good] = one.prompt, one.good
                wanted[one.choice.question, str(one.choice.poor)] = one.prompt, one.poor
        keys = sorted(wanted.keys() - self.reference.keys(), key=lambda k: (len(wanted[k][1]), k))
        groups = [keys[n : n + 48] for n in range(0, len(keys), 48)]

        def said(group: list[tuple[str, str]]) -> list[float]:
            with torch.no_grad():
                rows = left_to_right([wanted[key] for key in group], self.ids).to(self.device)
                return [float(x) for x in self.log_probs(self.network, rows)]

        for group, values in zip(groups, self.pool.map(said, groups), strict=True):
            self.reference.update(zip(group, values, strict=True))
        told = [[q, a, value] for (q, a), value in self.reference.items()]
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"start": start, "log_probs": told}), encoding="utf-8")
        new.replace(file)

    @torch.no_grad()
    def accuracy(self, held: list[ChoiceBatch]) -> tuple[float, float, float]:
        """Of held-out choices, by the EMA weights: nats a token of the good answers, the share of
        pairs in which the good one is likelier, and more so than by the first weights."""
        self.swap()
        loss = tokens = 0.0
        likelier, moved = [], []
        for part in held:
            said = self.log_probs(self.network, part.rows)
            loss -= float(said[: part.num_good].sum())
            tokens += part.num_tokens
            both = torch.stack([said[part.pair_rows], said[part.num_good :]], 1)
            likelier += (both[:, 0] > both[:, 1]).tolist()
            margin = both - part.reference
            moved += (margin[:, 0] > margin[:, 1]).tolist()
        self.swap()
        return loss / tokens, sum(likelier) / len(likelier), sum(moved) / len(moved)


def main() -> None:
    """Train, resume or finish."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    add_options(parser)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--weight", type=float, default=1.0, help="of the preference term")
    parser.add_argument(
        "--filled", type=int, default=8, metavar="N", help="every N-th step fills gaps (0: none)"
    )
    parser.add_argument(
        "--answers-share",
        type=float,
        default=1.0,
        help="of the answers learnt before: answers and own.jsonl.gz",
    )
    parser.add_argument("--fact-share", type=float, default=0.08, help="facts for each choice")
    args = parser.parse_args()
    if not args.start:
        parser.error("--start: the lora.safetensors to go on from")
    if args.ordered:
        parser.error(f"--ordered {args.ordered}: all choices are read in order already")
    log_to(args.work)
    keep_heap()
    torch.set_num_threads(1)
    data = smol_data(args.corpus, args.wordnet, args.seed, args.share, args.more_asked)
    run = PreferenceRun(*smollm2("the training of smol"), args)
    run.begin_from(args.start)
    found = load_choices(args.corpus, data, held_words(data.facts), args.seed, args.answers_share)
    facts = list(data.facts.epoch(0, {}))[: int(args.fact_share * len(found))]
    known = encode(run.tokenizer, found + [Choice(q, a) for q, a in facts])
    log.info("%d choices, %d of them pairs", len(known), sum(one.poor is not None for one in known))
    held = [one for one in encode(run.tokenizer, held_choices(args.corpus, data)) if one.poor]
    start = hashlib.sha256(args.start.read_bytes()).hexdigest()
    run.compute_reference(known + held, args.work / "reference.json", start)
    watched = [run.collate(held[n : n + 24]) for n in range(0, len(held), 24)]

    def learn(batch: list[ChoiceBatch] | Rows) -> float | None:
        if isinstance(batch, Rows):
            run.update(batch)
            return None  # another loss
        return run.step_on(batch)

    def watch() -> str:
        return "{:.4f} nats, good likelier {:.3f}, moved {:.3f}".format(*run.accuracy(watched))

    run.resume()
    run.go(lambda: run.steps_of(known, data), learn, watch)


if __name__ == "__main__":
    main()
