"""Many questions on several GPUs: each process holds the model and takes its share.

    accelerate launch --num_processes 4 examples/many_gpus.py questions.txt answers.jsonl

A question's seed is its line number, so the answers do not depend on the number of processes. To
compare methods on several GPUs use `accelerate launch -m aps_eval` (docs/evaluation.md).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import gather_object

from aps_text import APSPipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", type=Path, help="one on each line")
    parser.add_argument("out", type=Path, help="JSON lines: question, text, rewards")
    parser.add_argument("--model", default="Dream-org/Dream-v0-Instruct-7B")
    parser.add_argument("--reward", default="relevance")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--steps", type=int, default=32)
    args = parser.parse_args()

    questions = [line for line in args.questions.read_text(encoding="utf-8").splitlines() if line]
    state = PartialState()
    pipe = APSPipeline.from_pretrained(args.model, device=state.device)
    with state.split_between_processes(list(enumerate(questions))) as share:
        rows = []
        if share:
            seeds, asked = zip(*share, strict=True)
            call = {"max_new_tokens": args.tokens, "steps": args.steps}
            out = pipe(asked, reward=args.reward, preset="fast", seeds=seeds, **call)
            rows = [
                {"question": question, "text": answer.text, "rewards": dict(answer.rewards)}
                for question, answer in zip(asked, out, strict=True)
            ]
    everything = gather_object(rows)
    if state.is_main_process:
        lines = [json.dumps(row) + "\n" for row in everything]
        args.out.write_text("".join(lines), encoding="utf-8")
        print(f"{len(lines)} answers in {args.out}")
    state.destroy_process_group()


if __name__ == "__main__":
    main()
