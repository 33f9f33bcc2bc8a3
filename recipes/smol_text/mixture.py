"""What `smol` learns from: answers about training subjects, typed questions, facts of WordNet."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipes.mini_text.corpus import read_corpus, read_rows
from recipes.mini_text.subjects import split_of
from recipes.mini_text.train import MOST, MiniTextData, balanced
from recipes.word_knowledge.wordnet_qa import KnowledgeData, build_data

__all__ = [
    "BEGIN",
    "CANVAS",
    "TEMPLATE",
    "SmolData",
    "asked_rows",
    "encoded",
    "held_words",
    "smol_data",
]

log = logging.getLogger(__name__)

BEGIN = "<|im_start|>assistant\n"
TEMPLATE = "<|im_start|>user\n{}<|im_end|>\n" + BEGIN
CANVAS = 48


@dataclass
class SmolData(MiniTextData):
    """The mixture, with questions as people type them.

    Attributes:
        asked: (question, answer), or (question, answer, a poor answer); ` / ` for line breaks.
    """

    asked: list[tuple[str, ...]] = field(default_factory=list)

    def epoch(self, number: int) -> Iterator[tuple[str, str]]:
        """(question, answer) in random order; the same for the same number."""
        pairs = [*super().epoch(number), *((row[0], row[1]) for row in self.asked)]
        random.Random(f"{self.seed} {number} asked").shuffle(pairs)
        yield from pairs


def held_words(facts: KnowledgeData) -> set[str]:
    """Words of WordNet that nothing is learnt about: those of the stratum C."""
    return {i.lemma for name in ("test", "tune") for i in facts.items[name] if i.stratum == "C"}


def smol_data(
    corpus: Path, wordnet: str | None, seed: int, share: float, more: Sequence[Path] = ()
) -> SmolData:
    """The corpus's answers about training subjects, `share` facts for each, and what was asked.

    Rows about a held word (`held_words`) are left out.

    Args:
        more: further files of typed questions.
    """
    from recipes.mini_text.subjects import subjects
    from recipes.word_knowledge.wordnet import find_wordnet, read_wordnet

    facts = build_data(wordnet)
    held = held_words(facts)
    found = subjects(read_wordnet(find_wordnet(wordnet)))
    rows = [
        row for row in read_corpus(corpus)
        if split_of(row[1]) == "train" and row[1].split()[-1] not in held
    ]  # fmt: skip
    own = corpus / "asked.jsonl.gz"
    files = [*([own] if own.exists() else []), *more]
    asked = [row for file in files for row in asked_rows(file, held)]
    categories = {s.word: s.category for s in found}
    log.info("%d answers and %d asked, %d facts", len(rows), len(asked), len(facts.facts))
    return SmolData(facts, balanced(rows, MOST), categories, share, seed, asked=asked)


def asked_rows(file: Path, held: Set[str]) -> list[tuple[str, ...]]:
    """The rows of a file of typed questions, but those whose question has a held word."""
    return [
        row for row in read_rows(file)
        if not held & set(row[0].lower().replace("?", " ").replace(".", " ").split())
    ]  # fmt: skip


def encoded(tokenizer: Any, pairs: list[tuple[str, str]]) -> tuple[list[Any], list[Any]]:
    """Token ids of prompts (chat template) and answers (line breaks restored) that fit."""
    prompts = tokenizer([TEMPLATE.format(q) for q, _ in pairs], add_special_tokens=False)
    answers = tokenizer([a.replace(" / ", "\n") for _, a in pairs], add_special_tokens=False)
    both = [
        (q, a) for q, a in zip(prompts["input_ids"], answers["input_ids"], strict=True)
        if len(a) < CANVAS and len(q) < 128
    ]  # fmt: skip
    return [q for q, _ in both], [a for _, a in both]
