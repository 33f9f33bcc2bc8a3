"""Train, or resume, one of the embedded image models.

    python -m recipes.mini_image.train garments-tokenizer --data DIR --work DIR

The same command resumes; `--steps` extends the budget. Logs and the checkpoint lie in `--work`.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch
from aps_text.images.lfq import LFQTokenizer

from recipes.mini_image.garments import garments
from recipes.mini_image.plans import PLANS
from recipes.mini_image.tokenizer import tokenizer_loss
from recipes.mini_image.training import Run


def main() -> None:
    """Train, or resume, one of the embedded image models."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", choices=sorted(PLANS))
    parser.add_argument("--data", type=Path, required=True, help="folder of the data files")
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoint and log")
    parser.add_argument("--steps", type=int, default=None, help="another budget")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = PLANS[args.model]
    recipe = plan.recipe if args.steps is None else replace(plan.recipe, steps=args.steps)
    work = args.work / args.model
    work.mkdir(parents=True, exist_ok=True)
    handlers = [logging.FileHandler(work / "train.log"), logging.StreamHandler()]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    logging.info("%s %s", plan.config, recipe)
    torch.manual_seed(recipe.seed)
    model = LFQTokenizer(plan.config).to(args.device)
    images = garments(args.data, "train")
    run = Run(model, tokenizer_loss(images, recipe.batch), recipe)
    run.train(work / "checkpoint.pt")


if __name__ == "__main__":
    main()
