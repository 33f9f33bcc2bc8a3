"""Exports an image model to the layout of the package, and measures the exported files.

    python -m recipes.mini_image.export garments --data DIR --work DIR --out FOLDER

For each part that has a checkpoint in `--work`: `<part>.json` (sizes) and `<part>.safetensors`
(averaged weights, bfloat16). The parts are read back, measured on held-out images, and described
in `metrics.json` and the card `README.md`; sheets of reconstructions and samples are PNG files in
`--sheets`.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from aps_text.images.classifier import load_classifier
from aps_text.images.lfq import load_tokenizer
from aps_text.models.mini_image import load_prior
from recipes.mini_image.card import card
from recipes.mini_image.combinations import write_combinations
from recipes.mini_image.images import Images
from recipes.mini_image.measure import accuracy, cross_entropy, oracle, reconstruction, sample
from recipes.mini_image.plans import SETS
from recipes.mini_image.sheets import write_sheet
from recipes.mini_image.train import PARTS, averaged_weights, new_model, tokens_of

__all__ = ["measure", "write_part"]

log = logging.getLogger(__name__)

SCALES = (0.0, 0.5, 1.0, 2.0)
"""Guidance scales at which samples are measured."""


def write_part(model: nn.Module, part: str, folder: Path) -> None:
    """Write sizes and weights of one part, as its loader reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    config: Any = model.config
    text = json.dumps(asdict(config), indent=1)
    (folder / f"{part}.json").write_text(text + "\n", encoding="utf-8")
    state = {name: tensor.bfloat16().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / f"{part}.safetensors")


def measure(folder: Path, images: Images, judge: Path | None, sheets: Path) -> dict[str, Any]:
    """All measurements of the parts in `folder`, on held-out `images`.

    Args:
        judge: folder of the classifier, which may be another model's; None without one.
        sheets: folder for the PNG files.
    """
    sheets.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(folder)
    result: dict[str, Any] = {"tokenizer": reconstruction(tokenizer, images)}
    some = images.at(slice(0, 32))
    result["tokenizer"]["fitted tokens"] = {
        "images": len(some),
        "psnr of the encoder's": reconstruction(tokenizer, images.first(32))["psnr"],
        "psnr": oracle(tokenizer, some),
    }
    ids = tokens_of(tokenizer, images)
    drawn = torch.cat([tokenizer.decode_ids(part) for part in ids.long().split(64)])
    write_sheet(sheets / "reconstructions.png", [some[:16], drawn[:16], some[16:], drawn[16:32]])
    names = list(images.attributes)
    classifier = None if judge is None else load_classifier(judge)
    if classifier is not None:
        truth = images.at(slice(None))
        result["classifier"] = {
            "accuracy": accuracy(classifier, truth, images.values, names),
            "accuracy on reconstructions": accuracy(classifier, drawn, images.values, names),
        }
    if not (folder / "prior.safetensors").is_file():
        return result
    prior = load_prior(folder)
    result["prior"] = {"nats a token": cross_entropy(prior, ids, images.values)}
    asked = asked_values(images, 200)
    rows: list[Tensor] = []
    for scale in SCALES:
        tokens = sample(prior, asked, cfg_scale=scale)
        pictures = torch.cat([tokenizer.decode_ids(part) for part in tokens.split(64)])
        rows.append(pictures[:20])
        if classifier is not None:
            found = accuracy(classifier, pictures, asked, names)
            result["prior"].setdefault("accuracy of samples", {})[f"{scale:g}"] = found
    write_sheet(sheets / "samples.png", rows)
    return result


def asked_values(images: Images, count: int) -> Tensor:
    """Conditions `(count, A)`: all classes in turn if there is one attribute, else real rows."""
    if len(images.attributes) == 1:
        (names,) = images.attributes.values()
        return torch.arange(count)[:, None] % len(names)
    return images.values[:count]


def main() -> None:
    """Export an image model to the package's layout, and measure the exported files."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("set", choices=sorted(SETS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheets", type=Path, default=None, help="default: <work>/<set>/sheets")
    parser.add_argument("--split", choices=("tune", "test"), default="test")
    parser.add_argument("--judge", type=Path, default=None, help="folder of another classifier")
    parser.add_argument("--images", type=int, default=2000, help="held-out images measured on")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    plan, work = SETS[args.set], args.work / args.set
    images = plan.images(args.data, args.split)
    steps: dict[str, int] = {}
    for part in PARTS:
        checkpoint = work / part / "checkpoint.pt"
        if not checkpoint.is_file():
            continue
        model = new_model(plan, part, dict(images.attributes))
        steps[part] = averaged_weights(model, checkpoint)
        write_part(model, part, args.out)
    write_combinations(plan.images(args.data, "train"), args.out)
    judge = args.out if "classifier" in steps else args.judge
    results: dict[str, Any] = {
        "set": args.set,
        "split": args.split,
        "steps": steps,
        "recipes": {part: asdict(plan.recipes[part]) for part in steps},
        "bytes": {part: (args.out / f"{part}.safetensors").stat().st_size for part in steps},
    }
    sheets = args.sheets or work / "sheets"
    results |= measure(args.out, images.first(args.images), judge, sheets)
    text = json.dumps(results, indent=1)
    (args.out / "metrics.json").write_text(text + "\n", encoding="utf-8")
    (args.out / "README.md").write_text(card(results, args.out), encoding="utf-8")
    log.info("%s", text)


if __name__ == "__main__":
    main()
