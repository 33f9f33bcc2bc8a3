"""The presets of image calls: quality of one sample and of the mean, and whether samples vary as
much as they are wrong.

    python benchmarks/image_presets.py --data garments=FOLDER portraits=FOLDER
        [--tasks sr4 box-inpainting random-inpainting] [--images 16] [--samples 8]

Calibration is spread times sqrt 2 over error: 1 for samples of the posterior. It is taken against
the truth, and against the truth as the tokenizer encodes it: the error of the tokenizer is in no
sample's power. Images are told nothing of their attributes; means over images; seconds of one
processor for each sample.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from image_pictures import pictures
from torch import Tensor

from aps_text.core.presets import IMAGE_PRESETS
from aps_text.images.measurement import Measurement
from aps_text.images.metrics import perceptual, psnr, spread_and_error
from aps_text.pipelines.restoration import RestorationPipeline

NAMES = ["model", "task", "preset", "PSNR", "of the mean", "perceptual"]
NAMES += ["calibration", "to the encoded truth", "chi2", "seconds"]


@torch.no_grad()
def row(pipe: RestorationPipeline, truth: Tensor, y: Measurement, preset: str, samples: int) -> str:
    """The figures of a preset, as cells of a table."""
    began = time.process_time()
    found = pipe(y, preset=preset, samples=samples, seeds=range(len(truth)), progress=False)
    seconds = (time.process_time() - began) / (len(truth) * samples)
    tokenizer, judge = pipe.model.tokenizer, pipe.model.classifier
    again = tokenizer.decode_ids(tokenizer.encode(truth)).clamp(-1, 1)
    drawn = found.images.transpose(0, 1)
    quality = torch.stack([psnr(one, truth) for one in drawn]).mean()
    ratios = []
    for against in (truth, again):
        spread, error = spread_and_error(drawn, against)
        ratios.append(float((spread.mean() / error.mean()).sqrt()))
    seen = float("nan")
    if judge is not None:
        seen = float(torch.stack([perceptual(one, truth, judge.features) for one in drawn]).mean())
    cells = [f"{quality:.2f}", f"{psnr(found.mean, truth).mean():.2f}", f"{seen:.3f}"]
    cells += [f"{ratio:.2f}" for ratio in ratios]
    cells += [f"{found.chi2.mean():.2f}", f"{seconds:.2f}"]
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", nargs="+", required=True, metavar="SET=FOLDER", help="garments, portraits")
    add("--tasks", nargs="+", default=["sr4", "box-inpainting", "random-inpainting"])
    add("--images", type=int, default=16)
    add("--samples", type=int, default=8)
    args = parser.parse_args()
    print(f"| {' | '.join(NAMES)} |", "|" + "---|" * len(NAMES), sep="\n")
    for name, _, folder in (one.partition("=") for one in args.data):
        pipe = RestorationPipeline.from_pretrained(f"mini-{name}")
        truth = pictures(pipe, name, Path(folder), "test", args.images).images
        for task in args.tasks:
            y = pipe.measure(truth, task, sigma=0.05)
            for preset in IMAGE_PRESETS:
                cells = row(pipe, truth, y, preset, args.samples)
                print(f"| {pipe.model.name} | {task} | {preset} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
