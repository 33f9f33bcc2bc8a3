"""Dream-7B on one GPU: a plain answer and a steered one, and what steering cost.

    python examples/dream.py "Describe your favorite book in one sentence." --reward sentiment

16 GB of weights are downloaded once; a GPU of 24 GB holds them and what steering adds
(`aps plan --model Dream-org/Dream-v0-Instruct-7B --gpu 24GB` says so). LLaDA and its like:
`--model GSAI-ML/LLaDA-8B-Instruct`. Nobody has sent us a run yet.
"""

from __future__ import annotations

import argparse

import torch

from aps_text import APSPipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question")
    parser.add_argument("--model", default="Dream-org/Dream-v0-Instruct-7B")
    parser.add_argument("--reward", default="sentiment", help="an installed one: see aps rewards")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    dtype = torch.bfloat16 if args.device.startswith("cuda") else None
    pipe = APSPipeline.from_pretrained(args.model, device=args.device, dtype=dtype)
    call = {"max_new_tokens": args.tokens, "steps": args.steps, "seed": 0}
    plain = pipe.generate(args.question, reward=args.reward, **call)
    # Adapting the top layers only: the rest of the model runs once a step.
    steered = pipe(args.question, reward=args.reward, preset="fast", lora_layers=2, **call)
    for name, out in (("plain", plain), ("steered", steered)):
        value = out.rewards[args.reward][0]
        print(f"{name:<8} {out.text[0]}")
        print(f"         {args.reward} {value:.3f}, {out.cost.seconds:.1f} s")


if __name__ == "__main__":
    main()
