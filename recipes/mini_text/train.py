"""Train the embedded text model on the teacher's answers, WordNet's examples and its facts.

    python -m recipes.mini_text.train --work DIR --wordnet DICT --minutes 600 [--device cuda]

The same command starts or resumes (from the checkpoint in DIR) and exports. Training starts from
the embedded model (or `--from-export FOLDER`) with a new optimiser, on canvases of 48 positions, in
which ` / ` encodes a line break. Loss and optimiser are those of `recipes.word_knowledge`. On CUDA
there is one worker; on a CPU there are `--workers` threads.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from aps_eval.word_knowledge import Question
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from recipes.logs import log_to
from recipes.mini_text.corpus import read_corpus
from recipes.mini_text.generate import asked
from recipes.mini_text.more_phrasings import MORE
from recipes.mini_text.prompts import KINDS
from recipes.mini_text.subjects import Subject, split_of
from recipes.word_knowledge.text_model import keep_heap, load_weights, train, unused_pieces
from recipes.word_knowledge.trainer import Recipe, Trainer, add_options, chosen
from recipes.word_knowledge.wordnet_qa import KnowledgeData, build_data

__all__ = ["CANVAS", "MiniTextData", "answer_line", "mark_lines"]

log = logging.getLogger(__name__)

CANVAS = 48
EMBEDDED = Path("aps_text/weights/mini_text")
DATA = Path(__file__).parent / "data"
LINE_END = " / "
MOST = 40
"""Maximal number of answers about one subject."""
OFTEN = {"poem": 2, "pair": 2, "happy": 2, "sad": 2, "advice": 2, "does": 2}
"""How often a kind's answers are used in an epoch; once for other kinds."""
FACTS_OFTEN = {"opposite": 3, "synonym": 3, "parts": 3, "definition": 2, "example": 2}
"""How often a kind's facts are used in an epoch: these were forgotten first beside the answers."""


def answer_line(text: str) -> str:
    """An answer as one line, with ` / ` for line breaks."""
    return text.replace("\n", LINE_END)


@dataclass
class MiniTextData:
    """The mixture of facts and answers that epochs are drawn from.

    Attributes:
        facts: the facts of WordNet.
        answers: (kind, subject, answer) of training subjects.
        categories: of concrete nouns, for their articles.
        share: largest number of facts per answer of the teacher, `FACTS_OFTEN` counted.
        items: held-out questions about facts, for monitoring.
    """

    facts: KnowledgeData
    answers: list[tuple[str, str, str]]
    categories: dict[str, str]
    share: float = 0.6
    seed: int = 0
    items: dict[str, list[Question]] = field(default_factory=dict)

    def question(self, kind: str, subject: str, rng: random.Random) -> str:
        """A question to which an answer of this kind fits, in one of many phrasings."""
        found = next(k for k in KINDS if k.name == kind)
        shown = Subject(subject, found.pos[0], self.categories.get(subject.split()[-1], ""))
        return asked(found, shown, rng.choice(found.phrasings + MORE[kind]))

    def epoch(self, number: int) -> Iterator[tuple[str, str]]:
        """(question, answer) in random order; the same for the same number."""
        rng = random.Random(f"{self.seed} {number}")
        rows = [row for row in self.answers for _ in range(OFTEN.get(row[0], 1))]
        pairs = [(self.question(k, s, rng), answer_line(text)) for k, s, text in rows]
        facts = list(self.facts.epoch(number, FACTS_OFTEN))
        pairs += facts[: int(self.share * len(rows))]
        rng.shuffle(pairs)
        yield from pairs


def mark_lines(folder: Path) -> None:
    """Write `line_end` into the `aps.json` of an export."""
    file = folder / "aps.json"
    facts = json.loads(file.read_text(encoding="utf-8"))
    facts["line_end"] = LINE_END
    file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def balanced(rows: list[tuple[str, str, str]], most: int) -> list[tuple[str, str, str]]:
    """At most `most` answers of one subject over all kinds, taken from each kind in turn."""
    by_subject: dict[str, dict[str, list[tuple[str, str, str]]]] = defaultdict(dict)
    for row in rows:
        by_subject[row[1]].setdefault(row[0], []).append(row)
    kept = []
    for kinds in by_subject.values():
        order = [
            own[i] for i in range(max(map(len, kinds.values()))) for own in kinds.values()
            if i < len(own)
        ]  # fmt: skip
        kept += order[:most]
    return kept


def fitting(
    rows: list[tuple[str, str, str]], tokenizer: PreTrainedTokenizerBase, canvas: int
) -> list[tuple[str, str, str]]:
    """The answers that fit the canvas together with their stop token."""
    lines = [answer_line(text) for _, _, text in rows]
    ids = tokenizer(lines, add_special_tokens=False)["input_ids"]
    return [row for row, own in zip(rows, ids, strict=True) if len(own) < canvas]


def mini_text_data(
    corpus: Path, wordnet: str | None, seed: int, share: float = 0.6, prose: Sequence[Path] = ()
) -> MiniTextData:
    """The mixture, with `share` facts for each answer; `prose` are text files (`prose`)."""
    from recipes.mini_text.prose import prose_answers
    from recipes.mini_text.sentences import example_answers
    from recipes.mini_text.subjects import subjects
    from recipes.word_knowledge.wordnet import find_wordnet, read_wordnet

    facts = build_data(wordnet)
    held = {item.lemma for item in facts.items["test"] if item.stratum == "C"}
    held |= {item.lemma for item in facts.items["tune"] if item.stratum == "C"}
    wordnet_files = read_wordnet(find_wordnet(wordnet))
    found = subjects(wordnet_files)
    answers = read_corpus(corpus) + example_answers(wordnet_files, found)
    answers += prose_answers(prose, wordnet_files, found)
    rows = [
        row for row in answers
        if split_of(row[1]) == "train" and row[1].split()[-1] not in held
    ]  # fmt: skip
    categories = {s.word: s.category for s in found}
    log.info("%d answers to learn from, %d facts", len(rows), len(facts.facts))
    return MiniTextData(
        facts, balanced(rows, MOST), categories, share, seed, {"tune": facts.items["tune"]}
    )


def main() -> None:
    """Train, resume or finish the embedded text model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoint and log")
    parser.add_argument("--corpus", type=Path, default=DATA, help="folder of answers.jsonl.gz")
    parser.add_argument("--wordnet", default=None, help="folder of the WordNet 3.1 files")
    parser.add_argument("--from-export", type=Path, default=EMBEDDED, help="start from this export")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prose", type=Path, nargs="*", default=[], help="files of plain text")
    parser.add_argument("--share", type=float, default=0.6, help="facts for each teacher's answer")
    own = Recipe(
        canvas=CANVAS,
        shorter=(24, 32),
        first_epoch=24,
        workers=1,
        learning_rate=5e-4,
        head_factor=1.0,
        minutes=600,
    )
    add_options(parser, own)
    args = parser.parse_args()
    recipe = chosen(args)
    if args.device != "cpu" and recipe.workers > 1:
        raise ValueError(f"--workers {recipe.workers}: on {args.device} it is 1")
    log_to(args.work)
    keep_heap()
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    data = mini_text_data(args.corpus, args.wordnet, recipe.seed, args.share, args.prose)
    resumed = (args.work / "checkpoint.pt").exists()
    source = args.work / "export" if resumed else args.from_export
    model, tokenizer = load_weights(source), AutoTokenizer.from_pretrained(source)
    data.answers = fitting(data.answers, tokenizer, recipe.canvas)
    model.to(args.device).train()
    trainer = Trainer(model, recipe, frozen=unused_pieces(data, tokenizer))
    if resumed:
        trainer.load(args.work / "checkpoint.pt")
        log.info("resumed at step %d, %.1f min", trainer.step, trainer.elapsed / 60)
    log.info("recipe %s", recipe)
    train(trainer, data, tokenizer, args.work, exported=mark_lines)


if __name__ == "__main__":
    main()
