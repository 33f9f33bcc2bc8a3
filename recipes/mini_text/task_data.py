"""The prompts of the bundled task `sentences`: questions about subjects that no text taught.

    python -m recipes.mini_text.task_data --wordnet DICT [--out eval/aps_eval/data]

Of the kinds of question that the embedded text model was taught, alternating, 120 about test
subjects and 48 about tuning subjects; no subject is in both, or in the training text.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from recipes.mini_text.corpus import read_corpus
from recipes.mini_text.measure import Prompt, choose_prompts
from recipes.mini_text.subjects import subjects
from recipes.mini_text.train import DATA
from recipes.word_knowledge.wordnet import find_wordnet, read_wordnet

__all__ = ["COUNTS", "records"]

COUNTS = {"test": ("sentences.jsonl", 120), "tune": ("sentences_tune.jsonl", 48)}
"""File and number of prompts of each split."""


def records(split: str, prompts: Sequence[Prompt]) -> list[dict[str, str]]:
    """The records of the task."""
    return [
        {"id": f"{split}-{n:03d}", "kind": p.kind, "subject": p.subject, "prompt": p.question}
        for n, p in enumerate(prompts)
    ]


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", default=None, help="folder of the WordNet 3.1 files")
    parser.add_argument("--out", type=Path, default=Path("eval/aps_eval/data"))
    args = parser.parse_args()
    categories = {s.word: s.category for s in subjects(read_wordnet(find_wordnet(args.wordnet)))}
    for split, (name, count) in COUNTS.items():
        found = records(split, choose_prompts(read_corpus(DATA), categories, count, split, seed=1))
        text = "".join(json.dumps(one) + "\n" for one in found)
        (args.out / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
