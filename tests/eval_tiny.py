"""A tiny run: a data file, a random model, short answers; also as a process of its own.

python eval_tiny.py OUT ITEMS      makes the rows of `tiny_grid` in OUT
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import torch
from aps_eval.run.cells import Grid
from aps_eval.run.evaluate import evaluate
from aps_eval.run.grid import read_grid
from eval_fixtures import lines
from tiny import tiny_text_model

from aps_text import APSPipeline

WORDS = ["dog", "cat", "violin", "piano", "house", "tree", "music", "animal"]


class Vowels:
    """A black box in [0, 1]; raises on the prompts it is told to."""

    name = "vowels"

    def __init__(self, fails_on: str = "") -> None:
        self.fails_on = fails_on

    def __call__(self, prompts, completions, **columns):
        for prompt in prompts:
            if self.fails_on and self.fails_on in prompt:
                raise RuntimeError(f"no opinion on {prompt}")
        return [sum(c in "aeiou" for c in text) / max(1, len(text)) for text in completions]


class Length:
    """A black box of its own."""

    name = "letters"

    def __call__(self, prompts, completions, **columns):
        return [len(text) / 40 for text in completions]


def tiny_values(folder: Path, items: int = 4, **more) -> dict:
    """A grid over questions in `folder`."""
    path = lines(
        folder / "asked.jsonl",
        [
            {
                "q": f"what is a {WORDS[i % 8]} {'?' * (1 + i // 8)}",
                "a": WORDS[i % 8],
                "n": i % 2,
            }
            for i in range(items)
        ],
    )
    task = {"task": str(path), "prompt": "{q}", "gold": "a", "stratum": "n", "tune_every": 0}
    task |= {"metrics": ["f1", "words"], "tune": {"path": str(path)}}
    small = {
        "steps": 2,
        "max_new_tokens": 4,
        "inner_steps": 1,
        "num_samples": 2,
        "guidance_start": 0.0,
    }
    return {
        "tasks": [task],
        "config": {**small, "adapter": "logits"},
        "rewards": [[{"name": "eval_tiny:Vowels"}]],
        "methods": ["plain", "aps"],
        "batch_size": 3,
        **more,
    }


def tiny_grid(folder: Path, items: int = 4, **more) -> Grid:
    return read_grid(tiny_values(folder, items, **more))


def tiny_pipe(batch_size: int = 3) -> APSPipeline:
    return APSPipeline(tiny_text_model(dtype=torch.float64), batch_size=batch_size)


def run_tiny(grid: Grid, out: Path, **options):
    """The rows, and what was printed."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=200)
    found = evaluate(grid, out, pipe=tiny_pipe(grid.batch_size), console=console, **options)
    return found, console.file.getvalue()


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    made, said = run_tiny(tiny_grid(place, int(sys.argv[2])), place / "out", page=False)
    print(said)
    print(len(made))
