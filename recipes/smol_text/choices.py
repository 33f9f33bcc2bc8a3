"""Which of two answers to a question is the better one: what `preference` learns from.

Shapes: B rows of a batch, the good answers first; P of them have a poor one beside them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from recipes.mini_text.corpus import read_rows
from recipes.mini_text.subjects import split_of
from recipes.mini_text.train import MiniTextData
from recipes.smol_text.mixture import CANVAS, TEMPLATE, SmolData
from recipes.smol_text.rows import Rows

__all__ = ["Choice", "ChoiceBatch", "EncodedChoice", "encode", "held_choices", "load_choices"]


@dataclass(frozen=True)
class Choice:
    """A question, a good answer to it and, where one is known, a poor one."""

    question: str
    good: str
    poor: str | None = None


@dataclass(frozen=True)
class EncodedChoice:
    """A choice and its token ids, without the stop token."""

    choice: Choice
    prompt: list[int]
    good: list[int]
    poor: list[int] | None

    @property
    def longest(self) -> int:
        """Positions of its longest row, the stop token included."""
        return len(self.prompt) + max(len(self.good), len(self.poor or ())) + 1


@dataclass
class ChoiceBatch:
    """Rows of answers.

    Attributes:
        rows: B of them.
        pair_rows: `(P,)` int64, the good rows of the poor ones.
        reference: `(P, 2)` log-probabilities of (good, poor) by the first weights, in nats.
    """

    rows: Rows
    pair_rows: Tensor
    reference: Tensor

    @property
    def num_good(self) -> int:
        """The number of good rows."""
        return len(self.rows.ids) - len(self.pair_rows)

    @property
    def num_tokens(self) -> float:
        """The good answers' tokens, stop tokens included."""
        return float(self.rows.weight[: self.num_good].sum())


def load_choices(
    corpus: Path, data: SmolData, held: frozenset[str] | set[str], seed: int, share: float = 1.0
) -> list[Choice]:
    """The answers and typed questions of `data`, and answers of `own.jsonl.gz` that are marked S.

    Beside an answer stands one that `smol` gave to the same question and a reader marked half or
    nonsense, if there is one. An answer comes twice if there are two.

    Args:
        held: words that no row may be about.
        share: of the answers of `data` and of `own.jsonl.gz`, in [0, 1], drawn at random;
            all typed questions are there.

    Raises:
        ValueError: a share out of [0, 1], or no answer.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"--answers-share {share}: a share is in [0, 1]")
    rng = random.Random(f"{seed} choices")
    poor: dict[tuple[str, str], list[str]] = defaultdict(list)
    good: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, subject, answer in data.answers:
        good[kind, subject].append(answer)
    for kind, subject, answer, mark in read_rows(corpus / "own.jsonl.gz"):
        if split_of(subject) == "train" and subject.split()[-1] not in held:
            (good if mark == "S" else poor)[kind, subject].append(answer)
    found = []
    for (kind, subject), answers in good.items():
        others = poor.get((kind, subject), [])
        for number in range(max(len(answers), min(len(others), 2 * len(answers)))):
            question = data.question(kind, subject, rng)
            other = others[number % len(others)] if others else None
            found.append(Choice(question, answers[number % len(answers)], other))
    found = rng.sample(found, round(share * len(found)))
    found += [Choice(*row) for row in data.asked]
    if not found:
        raise ValueError(f"{corpus} has no answer to learn from")
    return found


def held_choices(corpus: Path, data: MiniTextData) -> list[Choice]:
    """Pairs about tuning subjects: a good answer and one of `smol` marked half or nonsense.

    Raises:
        ValueError: there is none.
    """
    rng = random.Random(5)
    good: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, subject, answer in read_rows(corpus / "answers.jsonl.gz"):
        good[kind, subject].append(answer)
    own = [row for row in read_rows(corpus / "own.jsonl.gz") if split_of(row[1]) == "tune"]
    for kind, subject, answer, mark in own:
        if mark == "S":
            good[kind, subject].append(answer)
    found = [
        Choice(data.question(kind, subject, rng), good[kind, subject][0], answer)
        for kind, subject, answer, mark in own if mark != "S" and good[kind, subject]
    ]  # fmt: skip
    if not found:
        raise ValueError(f"{corpus}/own.jsonl.gz has no poor answer about a tuning subject")
    return found


def encode(tokenizer: Any, choices: list[Choice]) -> list[EncodedChoice]:
    """The choices whose good answer fits the canvas; a poor one that does not is left out."""

    def ids(texts: list[str]) -> list[list[int]]:
        lines = [text.replace(" / ", "\n") for text in texts]
        encoded: list[list[int]] = tokenizer(lines, add_special_tokens=False)["input_ids"]
        return encoded

    prompts = ids([TEMPLATE.format(c.question) for c in choices])
    together = zip(
        choices, prompts, ids([c.good for c in choices]), ids([c.poor or "" for c in choices]),
        strict=True,
    )  # fmt: skip
    found = []
    for choice, prompt, good, poor in together:
        if len(good) < CANVAS and len(prompt) < 128:
            fits = choice.poor is not None and len(poor) < CANVAS
            found.append(EncodedChoice(choice, prompt, good, poor if fits else None))
    return found
