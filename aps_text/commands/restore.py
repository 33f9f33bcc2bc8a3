"""`aps restore`: restores degraded images, or degrades clean ones first."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .image_files import (
    GAIN,
    SHOWN,
    add_image_call,
    checked_call,
    difference,
    load_pipeline,
    report,
    write_sheet,
)
from .out_folder import check_out
from .restore_inputs import SIGMA, check_measured, is_saved, measured, names_of
from .sample_files import SampleFiles
from .waiting import steps_said

if TYPE_CHECKING:
    from torch import Tensor

    from ..images.classifier import AttributeClassifier
    from ..images.measurement import Measurement
    from ..pipelines.any_image_model import Condition
    from ..pipelines.image_output import RestorationOutput
    from ..pipelines.restoration import RestorationPipeline

__all__ = ["add_parser", "restore_command"]

log = logging.getLogger(__name__)

CHI2_LIMIT, DEVIATIONS = 2.0, 6.0
"""A clean image is warned of if its chi2 is above `CHI2_LIMIT` and so many standard deviations,
sqrt(2 / n) of n measured entries, above 1."""

ROUNDING = 2 / 255
"""A step of 8 bits: what a file may differ from the image it was written from."""

SAVED = "measurement.safetensors"
"""The file of `--out` that holds the measurement."""

TASK_NAMES = (
    *("sr2", "sr4", "gaussian-blur", "motion-blur", "random-inpainting", "box-inpainting", "hdr"),
    *("nonlinear-blur", "jpeg", "grayscale", "inpainting"),
)
"""Those of `images.tasks`, which imports torch, and the one of `--mask`."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "restore",
        help="restore degraded images: enlarge, deblur, fill holes",
        description="Writes the restored images, the measurement and a contact sheet to --out.",
    )
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="image files, or one saved measurement")
    add("--task", metavar="NAME", help=f"how they are degraded: {', '.join(TASK_NAMES)}")
    add("--simulate", action="store_true", help="the images are clean: degrade them first")
    add("--sigma", type=float, help=f"of the noise on [-1, 1] (default: {SIGMA})")
    add("--model-sigma", type=float, help="the tokenizer's error (default: 0)")
    add("--mask", metavar="FILE", help="for --task inpainting: white where pixels are missing")
    add(
        "--task-seed",
        type=int,
        default=None,
        metavar="N",
        help="of the task's random parts and of the noise (default: 0)",
    )
    add(
        "--keep-known",
        action="store_true",
        help="of inpainting tasks: write the known pixels as they are measured, not the decoder's",
    )
    add("--truth", nargs="+", default=[], metavar="FILE", help="the clean images, to compare with")
    add_image_call(parser, "restored", "default: aps", 1)
    parser.set_defaults(run=restore_command)


def restore_command(args: argparse.Namespace) -> int:
    """Read or simulate the measurement, restore it, write the images and print what they reach."""
    names = names_of(args)
    read = (*args.images, *args.truth, args.mask)
    check_out(args.out, names, args.samples, read, [SAVED])
    check_measured(args)
    pictures = [*([] if is_saved(args) else args.images), *args.truth]
    condition, options = checked_call(args, "aps", pictures)
    pipe = load_pipeline(args)
    measurement, truth = measured(args, pipe)
    found = written(args, pipe, measurement, condition, options, names)
    if args.truth and truth is not None:
        warn_of_truths(found.measurement, truth, names)
    rows, records = [], []
    for index, name in enumerate(names):
        rows.append(row_of(found, index, truth))
        made = [f"{name}-{draw + 1}.png" for draw in range(found.images.shape[1])]
        records.append(
            {"image": name, "files": [str(args.out / file) for file in made]}
            | figures(found, index, truth, pipe.model.classifier, args.keep_known)
        )
    write_sheet(args.out, rows)
    report(args, records, columns_of(found.images.shape[1], truth is not None), found.cost)
    return 0


def written(
    args: argparse.Namespace,
    pipe: RestorationPipeline,
    measurement: Measurement,
    condition: Condition,
    options: dict[str, Any],
    names: Sequence[str],
) -> RestorationOutput:
    """Restore; the measurement and each batch of samples are written when it is done."""
    name = pipe.model.name
    files = SampleFiles(
        args.out,
        len(names) * args.samples,
        "restoring",
        first=lambda: write_y(measurement, args.out, name),
        beside=", with the measurement",
    )

    def keep(index: int, draw: int, image: Tensor) -> None:
        if args.keep_known:
            image = with_known(measurement, image[None, None], index)[0, 0]
        files.write(f"{names[index]}-{draw + 1}", image)

    on_step = None if args.json else steps_said(files.progress)
    with files.told_when_stopped():
        found = pipe(measurement, condition, on_sample=keep, on_step=on_step, **options)
    return (
        replace(found, images=with_known(measurement, found.images)) if args.keep_known else found
    )


def with_known(measurement: Measurement, images: Tensor, index: int | None = None) -> Tensor:
    """Images `(B, n, C, H, W)` with the pixels of an inpainting's measurement in their places,
    clipped; B is 1 with the `index` of an image."""
    from ..images.editing import paste

    known = measurement.degradation.observed(measurement.y)
    y = measurement.y if index is None else measurement.y[index : index + 1]
    return images if known is None else paste(images, y[:, None].clamp(-1, 1), ~known)


def warn_of_truths(measurement: Measurement, truth: Tensor, names: Sequence[str]) -> None:
    """Warn of clean images that do not explain what was measured."""
    found = measurement.chi2(truth, rounding=ROUNDING).tolist()
    counts = measurement.counts().tolist()
    for index, (theirs, count) in enumerate(zip(found, counts, strict=True)):
        if theirs > max(CHI2_LIMIT, 1 + DEVIATIONS * math.sqrt(2 / count)):
            name = names[index] if len(names) == len(truth) else f"image {index + 1}"
            log.warning(
                "%s: the chi2 of its --truth is %.3g, that of the image that was measured is about "
                "1: this is another one, or was degraded otherwise (task, seed, mask, or a sigma "
                "above %g)",
                name,
                theirs,
                measurement.sigma,
            )


def columns_of(samples: int, known: bool) -> list[str]:
    """The names of the images in `row_of`."""
    shown = range(min(samples, SHOWN))
    columns = ["measurement", *(f"sample {draw + 1}" for draw in shown)]
    columns += ["mean"] if samples > 1 else []
    error = "error of the mean" if samples > 1 else "error"
    columns = ["truth", *columns, f"{error} x {GAIN}"] if known else columns
    return columns + ([f"spread x {GAIN}"] if samples > 1 else [])


def row_of(found: RestorationOutput, index: int, truth: Tensor | None) -> list[Tensor]:
    """An image's row of the sheet; see `columns_of`."""
    mean, several = found.mean[index], found.images.shape[1] > 1
    row = [found.measurement.y[index], *found.images[index][:SHOWN]]
    row += [mean] if several else []
    if truth is not None:
        row = [truth[index], *row, difference((mean - truth[index]) / 2)]
    return row + ([difference(found.spread[index] / 2)] if several else [])


def figures(
    found: RestorationOutput,
    index: int,
    truth: Tensor | None,
    judge: AttributeClassifier | None,
    pasted: bool,
) -> dict[str, float]:
    """Mean chi2 of the samples, and the share of pixels that are missing if some are; with a truth
    also the metrics, and PSNR of the samples' mean.

    Args:
        pasted: the images have the known pixels in their places; chi2 is of those before.
    """
    import torch

    from ..images.metrics import perceptual, psnr, ssim

    name = "chi2 before pasting" if pasted else "chi2"
    record = {name: float(found.chi2[index].mean())}
    measured = int(found.measurement.counts()[index]) / found.measurement.y[index].numel()
    if measured < 1:
        record["missing"] = 1 - measured
    if truth is None:
        return record
    samples, clean = found.images[index], truth[index : index + 1]

    def mean(metric: Callable[[Tensor, Tensor], Tensor]) -> float:
        parts = [metric(part, clean.expand_as(part)) for part in samples.split(SHOWN)]
        return float(torch.cat(parts).mean())

    record["PSNR"] = mean(psnr)
    if min(clean.shape[-2:]) >= 11:
        record["SSIM"] = mean(ssim)
    if judge is not None:
        record["perceptual"] = mean(partial(perceptual, features=judge.features))
    if len(samples) > 1:
        record["PSNR of the mean"] = float(psnr(found.mean[index : index + 1], clean))
    return record


def write_y(measurement: Measurement, folder: Path, model: str) -> None:
    """Save the measurement with all that is random in it, and the model's name if it is one of the
    embedded (a folder's is this machine's own)."""
    from ..images.measurement_files import write_measurement
    from ..pipelines.image_model import embedded_image_models

    name = model if model in embedded_image_models() else None
    write_measurement(measurement, folder / SAVED, name)
