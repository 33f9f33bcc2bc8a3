"""Guide by a reward model of the hub, and judge by another that did not guide.

    python examples/reward_model.py --model Dream-org/Dream-v0-Instruct-7B --device cuda

Skywork's rewards are tens, so `beta` is larger than for a reward in [0, 1]. Its tokens are
reached by embeddings: a generator's token is split into the reward's own (docs/rewards.md). A
folder of any sequence classifier does as well: `--guide folder`.
"""

from __future__ import annotations

import argparse

import torch
from aps_rewards import load_reward

from aps_text import APSPipeline

QUESTIONS = [
    "Describe your favorite book in one sentence.",
    "Write a short poem about generative AI.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="Dream-org/Dream-v0-Instruct-7B")
    parser.add_argument("--guide", default="Skywork/Skywork-Reward-V2-Qwen3-0.6B")
    parser.add_argument("--judge", default="grammar", help="not used for guiding")
    parser.add_argument("--beta", type=float, default=2.0)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    dtype = torch.bfloat16 if args.device.startswith("cuda") else None
    pipe = APSPipeline.from_pretrained(args.model, device=args.device, dtype=dtype)
    judge = load_reward(args.judge)
    call = {"max_new_tokens": args.tokens, "steps": args.steps, "lora_layers": 2, "preset": "fast"}
    out = pipe(QUESTIONS, reward=args.guide, beta=args.beta, **call)
    judged = judge(prompts=QUESTIONS, completions=out.text)
    guided = next(iter(out.rewards.values()))
    for question, text, value, score in zip(QUESTIONS, out.text, guided, judged, strict=True):
        print(f"{question}\n  {text}\n  guide {value:.2f}, {args.judge} {score:.2f}")


if __name__ == "__main__":
    main()
