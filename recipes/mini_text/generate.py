"""Generation of the embedded model's training text by the teacher.

    python -m recipes.mini_text.generate --out DIR --wordnet DICT [--minutes 600]

The work is one shuffled list of batches (a kind of question and some subjects), the same on every
machine, so any prefix of it is a balanced corpus. Each batch is one line of `DIR/raw.jsonl`, and
the same command continues after the last line. Nothing is filtered here.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from dataclasses import replace
from pathlib import Path

import torch

from recipes.mini_text.prompts import ADJECTIVES, KINDS, Kind, with_article
from recipes.mini_text.subjects import Subject, subjects
from recipes.mini_text.teacher import END, Teacher, load_teacher
from recipes.word_knowledge.wordnet import find_wordnet, read_wordnet

__all__ = ["chat", "plan"]

log = logging.getLogger(__name__)

SYSTEM = "You write short, clear, natural English. Use simple everyday words. Do not use names."
TEMPERATURES = (0.5, 0.6, 0.7, 0.7, 0.8, 0.8, 0.9, 1.0)
TIERS = ((0.0, 0.3), (0.3, 0.6), (0.6, 1.0))
GROUP = 24


def asked(kind: Kind, subject: Subject, phrasing: str | None = None) -> str:
    """The question of a kind about a subject, by default in the phrasing used for the teacher."""
    text = phrasing or kind.phrasings[0]
    return text.format(a=with_article(subject.word, subject.category), x=subject.word)


def question(text: str) -> str:
    """A user's turn and the start of the assistant's, in the chat format."""
    return f"<|im_start|>user\n{text}{END}\n<|im_start|>assistant\n"


def chat(kind: Kind, categories: dict[str, str]) -> str:
    """The text before the question: the instruction and the kind's examples."""
    turns = [f"<|im_start|>system\n{SYSTEM}{END}\n"]
    for word, answer in kind.shots:
        category = categories.get(word.split()[-1], "")
        shown = asked(kind, Subject(word, kind.pos[0], category))
        turns.append(question(shown) + f"{answer}{END}\n")
    return "".join(turns)


def plan(found: list[Subject], seed: int = 0) -> list[tuple[Kind, list[Subject]]]:
    """All batches in the order in which they are generated: frequent words first, kinds mixed.

    A tier of words is asked about twice before the next one begins, and all words twice more.
    """
    batches = []
    for turn, (low, high) in enumerate([*TIERS, *TIERS]):
        own = []
        for kind in KINDS:
            fits = [s for s in found if low <= s.share < high and asks(kind, s)]
            random.Random(f"{seed} {turn} {kind.name}").shuffle(fits)
            times = 2 * kind.weight
            whole, part = divmod(times, 1)
            chosen = fits * int(whole) + fits[: int(part * len(fits))]
            if kind.adjectives:
                rng = random.Random(f"{seed} {turn} {kind.name} adjectives")
                chosen = [described(s, rng) for s in chosen]
            own += [(kind, chosen[i : i + GROUP]) for i in range(0, len(chosen), GROUP)]
        random.Random(f"{seed} {turn}").shuffle(own)
        batches += own
    return batches


def described(subject: Subject, rng: random.Random) -> Subject:
    """A subject with an adjective before it."""
    fit = f"{ADJECTIVES['']} {ADJECTIVES.get(subject.category, '')}".split()
    return replace(subject, word=f"{rng.choice(fit)} {subject.word}")


def asks(kind: Kind, subject: Subject) -> bool:
    """Whether a kind of question is asked about a subject."""
    if subject.pos not in kind.pos or (kind.categories and subject.category not in kind.categories):
        return False
    return subject.pos != "n" or not kind.vivid or bool(subject.category) or subject.share < 0.04


def main() -> None:
    """Generate until the list is done or the time is spent."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of raw.jsonl")
    parser.add_argument("--wordnet", default=None, help="folder of the WordNet 3.1 files")
    parser.add_argument("--first", type=int, default=0, help="batches that were made elsewhere")
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    found = subjects(read_wordnet(find_wordnet(args.wordnet)))
    categories = {s.word: s.category for s in found}
    batches, file = plan(found), args.out / "raw.jsonl"
    done = args.first + whole_lines(file)
    log.info("%d subjects, %d batches, %d done", len(found), len(batches), done)
    teacher = load_teacher(device=args.device)
    work(teacher, batches[done:], done, file, categories, time.monotonic() + 60 * args.minutes)


def whole_lines(file: Path) -> int:
    """The number of lines of a file, from which an incomplete last line is removed."""
    if not file.exists():
        return 0
    data = file.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        file.write_bytes(data[:end])
    return data.count(b"\n")


def work(
    teacher: Teacher,
    batches: list[tuple[Kind, list[Subject]]],
    first: int,
    file: Path,
    categories: dict[str, str],
    until: float,
) -> None:
    """Draw batch after batch, one line each."""
    read: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    began, tokens = time.monotonic(), 0
    for number, (kind, own) in enumerate(batches, first):
        if time.monotonic() > until:
            return
        if kind.name not in read:
            read[kind.name] = teacher.read(chat(kind, categories))
        generator = torch.Generator(teacher.table.device).manual_seed(number)
        answers = teacher.draw(
            read[kind.name],
            [question(asked(kind, s)) for s in own],
            list(TEMPERATURES),
            generator,
            most=64 if kind.lines else 40,
            lines=kind.lines,
        )
        rows = [
            [s.word, [[d.text, round(d.nll, 3)] for d in drawn if d.text]]
            for s, drawn in zip(own, answers, strict=True)
        ]
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"kind": kind.name, "rows": rows}) + "\n")
        tokens += sum(len(d.text.split()) for drawn in answers for d in drawn if d.text)
        if number % 10 == 0:
            rate = tokens / (time.monotonic() - began)
            log.info("batch %d of %d, %.0f words/s", number, first + len(batches), rate)


if __name__ == "__main__":
    main()
