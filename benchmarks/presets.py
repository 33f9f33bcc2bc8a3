"""What steering costs by preset and reward: seconds of a call, as a ratio to plain decoding.

    python benchmarks/presets.py [--repeats 3] [--questions 8]

The embedded model; plain decoding and each preset in turn, of the same questions, `--repeats` times
after one that does not count; medians. One answer, and a batch of `--questions`. Nine minutes.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from aps_text import APSPipeline

QUESTIONS = [
    "What is a violin?",
    "Name a kind of fruit.",
    "What is a carpenter?",
    "What sort of thing is a lion?",
    "Name the opposite of happy.",
    "What is a hammer?",
    "Give another word for car.",
    "What is a river?",
]
PRESETS = ("fast", "balanced", "paper")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument(
        "--rewards", nargs="+", default=["sentiment", "relevance", "answer-quality"]
    )
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    args = parser.parse_args()
    pipe = APSPipeline.from_pretrained("mini")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(
        f"{'reward':<16}{'answers':>8}{'plain, s':>10}" + "".join(f"{p:>10}" for p in args.presets)
    )
    for reward in args.rewards:
        for count in (1, args.questions):
            asked = (QUESTIONS * -(-count // len(QUESTIONS)))[:count]
            taken: dict[str, list[float]] = {}
            for _ in range(args.repeats + 1):
                for name in ("plain", *args.presets):
                    began = time.perf_counter()
                    if name == "plain":
                        pipe.generate(asked)
                    else:
                        pipe(asked, reward=reward, preset=name)
                    taken.setdefault(name, []).append(time.perf_counter() - began)
            plain, *others = (median(times[1:]) for times in taken.values())
            ratios = "".join(f"{each / plain:>10.2f}" for each in others)
            print(f"{reward:<16}{count:>8}{plain:>10.3f}{ratios}", flush=True)


if __name__ == "__main__":
    main()
