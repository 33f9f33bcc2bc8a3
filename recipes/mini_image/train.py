"""Train, or resume, one part of the embedded image models.

    python -m recipes.mini_image.train garments tokenizer --data DIR --work DIR

The same command resumes from the checkpoint in `--work`, and `--steps` changes the budget, also of
a finished run. Order: tokenizer, classifier, prior (which uses the tokenizer in `--work`); `export`
may read the averaged weights at any time. `--data` is the folder of the unpacked
`dataset-fashion-mnist` (garments), or of the files written by `portraits.mjs`.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from aps_text.images.classifier import AttributeClassifier, ClassifierConfig
from aps_text.images.lfq import LFQTokenizer
from aps_text.models.mini_image import MaskedImageModel, PriorConfig
from recipes.mini_image.classifier import classifier_loss
from recipes.mini_image.images import Images
from recipes.mini_image.plans import SETS, Plan
from recipes.mini_image.prior import prior_loss
from recipes.mini_image.tokenizer import tokenizer_loss
from recipes.mini_image.training import Loss, Recipe, Run

__all__ = ["PARTS", "averaged_weights", "new_model", "tokens_of"]

log = logging.getLogger(__name__)

PARTS = ("tokenizer", "prior", "classifier")


def new_model(plan: Plan, part: str, attributes: dict[str, tuple[str, ...]]) -> nn.Module:
    """An untrained part, with the same initial weights every time.

    Raises:
        ValueError: a set without this part.
    """
    torch.manual_seed(0)
    if part == "tokenizer":
        return LFQTokenizer(plan.tokenizer)
    if part == "prior":
        size, tokens = plan.prior, plan.tokenizer
        return MaskedImageModel(
            PriorConfig(tokens.grid, tokens.bits, size.width, size.layers, size.heads, attributes)
        )
    if plan.classifier is None:
        raise ValueError("this set has no classifier of its own; another set's serves")
    tokens = plan.tokenizer
    return AttributeClassifier(
        ClassifierConfig(tokens.size, tokens.channels, plan.classifier, attributes)
    )


def averaged_weights(model: nn.Module, checkpoint: Path) -> int:
    """Load the averaged weights of a run's checkpoint into the model, frozen; returns its step.

    Raises:
        FileNotFoundError: no checkpoint yet.
    """
    if not checkpoint.is_file():
        raise FileNotFoundError(f"no {checkpoint}; train that part first")
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    for parameter, mean in zip(model.parameters(), state["average"], strict=True):
        parameter.data.copy_(mean)
    model.eval().requires_grad_(False)
    return int(state["step"])


@torch.no_grad()
def tokens_of(tokenizer: LFQTokenizer, images: Images, batch: int = 64) -> Tensor:
    """Token ids `(N, L)` int32 of all images."""
    device = next(tokenizer.parameters()).device
    rows = [
        tokenizer.encode(images.at(slice(at, at + batch)).to(device)).int().cpu()
        for at in range(0, len(images), batch)
    ]
    return torch.cat(rows)


def loss_of(plan: Plan, part: str, images: Images, recipe: Recipe, work: Path, device: str) -> Loss:
    """The loss function of one part; a prior's tokens are cached beside its checkpoint."""
    if part == "tokenizer":
        return tokenizer_loss(images, recipe.batch)
    if part == "classifier":
        return classifier_loss(images, recipe.batch)
    kept = work / "prior" / "tokens.pt"
    if not kept.is_file():
        tokenizer = new_model(plan, "tokenizer", {})
        assert isinstance(tokenizer, LFQTokenizer)
        averaged_weights(tokenizer, work / "tokenizer" / "checkpoint.pt")
        torch.save(tokens_of(tokenizer.to(device), images), kept)
    return prior_loss(torch.load(kept, weights_only=True), images.values, recipe.batch)


def main() -> None:
    """Train, or resume, one part of the embedded image models."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("set", choices=sorted(SETS))
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data files")
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints and logs")
    parser.add_argument("--steps", type=int, default=None, help="another budget")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan, work = SETS[args.set], args.work / args.set
    recipe = plan.recipes[args.part]
    if args.steps is not None:
        recipe = replace(recipe, steps=args.steps)
    (work / args.part).mkdir(parents=True, exist_ok=True)
    handlers = [logging.FileHandler(work / args.part / "train.log"), logging.StreamHandler()]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    images = plan.images(args.data, "train")
    model = new_model(plan, args.part, dict(images.attributes)).to(args.device)
    log.info("%s %s, %d images, %s", args.set, args.part, len(images), recipe)
    loss = loss_of(plan, args.part, images, recipe, work, args.device)
    Run(model, loss, recipe).train(work / args.part / "checkpoint.pt")


if __name__ == "__main__":
    main()
