"""One question under several wishes: plain answers beside steered ones, as Markdown tables.

python examples/wishes.py > wishes.md

What it shows is not selected: seed 0, and questions that were written down before any answer was
seen. A row is what `aps ask "QUESTION" --model smol --reward REWARD` prints.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from aps_text import APSPipeline

SENTENCES = (
    "Write a sentence about a lonely king.",
    "Write a sentence about the sea.",
    "Write a sentence about winter.",
)
QUESTIONS = ("Why do people need friends?", "What is a volcano?", "What does a farmer do?")
POEMS = (
    "Write a short poem about the sea.",
    "Write a short poem about winter.",
    "Write a short poem about a cat.",
)


@dataclass(frozen=True)
class Wish:
    """What is wished for, in words and as a reward of the command line."""

    words: str
    reward: str
    questions: tuple[str, ...]


WISHES = (
    Wish("cheerful", "sentiment", SENTENCES),
    Wish("gloomy", "sentiment=-1", SENTENCES),
    Wish("with the words old and door", "keywords:present=old,door", SENTENCES),
    Wish("in easy words and short sentences", "dale-chall", QUESTIONS),
    Wish("in at most six words", "length:low=1:high=6", QUESTIONS),
    Wish("near to the question", "relevance", QUESTIONS),
    Wish("a better answer", "answer-quality", QUESTIONS),
    Wish("in rhymes", "rhyme:scheme=AABB", POEMS),
)


def table(pipe: APSPipeline, wish: Wish, seed: int) -> str:
    """A Markdown table: a row for each question, with both answers and their scores."""
    how = {"reward": wish.reward, "seeds": [seed] * len(wish.questions)}
    plain, steered = pipe.generate(list(wish.questions), **how), pipe(list(wish.questions), **how)
    lines = [f"| {wish.words} | plain | | steered | |", "|---|---|---|---|---|"]
    for row, question in enumerate(wish.questions):
        cells = [question]
        for out in (plain, steered):
            score = next(iter(out.rewards.values()))[row]
            cells += [out.text[row].replace("\n", " / "), f"{score:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print a section for each wish."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", default="smol")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pipe = APSPipeline.from_pretrained(args.model)
    for wish in WISHES:
        print(f"`{wish.reward}`:\n\n{table(pipe, wish, args.seed)}\n", flush=True)


if __name__ == "__main__":
    main()
