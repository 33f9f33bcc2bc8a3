"""Measures whether other rows of a batch change an answer: tokens that differ from single calls.

    python benchmarks/batch_invariance.py [--questions 24] [--dtype float32] [--reward relevance]
                                          [--set '{"adam_eps": 1.0}'] [--model mini]

The same tuning questions and seeds are answered in one batch and one by one, plainly and steered.
In float64 (model and reward) any difference is a leak between prompts. In float32 rounding depends
on the shape of a batch, and steering amplifies it from one optimiser step to the next.
"""

from __future__ import annotations

import argparse
import json

import torch
from aps_eval.word_knowledge import word_knowledge
from aps_rewards import load_reward

from aps_text import APSConfig, APSPipeline


def differing(one: list[list[int]], two: list[list[int]]) -> int:
    """Tokens that differ, lengths included."""
    return sum(
        sum(a != b for a, b in zip(x, y, strict=False)) + abs(len(x) - len(y))
        for x, y in zip(one, two, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--reward", default="relevance", help="one that takes dtype=")
    parser.add_argument("--set", type=json.loads, default={}, help="fields of APSConfig, as JSON")
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    questions = [item.question for item in word_knowledge("tune", args.questions)]
    together = APSPipeline.from_pretrained(args.model, dtype=dtype, batch_size=args.questions)
    alone = APSPipeline(together.model, batch_size=1)
    reward = load_reward(args.reward, dtype=dtype)
    config = APSConfig.make(**args.set)  # whole, since both methods get it
    for method in ("plain", "aps"):
        one, two = (
            pipe(questions, reward, method=method, config=config) for pipe in (together, alone)
        )
        tokens = sum(map(len, one.token_ids))
        wrong = differing(one.token_ids, two.token_ids)
        answers = sum(a != b for a, b in zip(one.token_ids, two.token_ids, strict=True))
        print(
            f"{method:<6} {args.dtype}  {wrong} of {tokens} tokens ({wrong / tokens:.1%}), "
            f"{answers} of {len(questions)} answers differ  reward "
            f"{sum(one.rewards['total']) / len(questions):+.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
