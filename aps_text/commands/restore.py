"""`aps restore`: restores degraded images, or degrades clean ones first."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .image_files import (
    GAIN,
    SHOWN,
    add_image_call,
    check_out,
    checked_call,
    difference,
    load_pipeline,
    report,
    write_all,
)
from .restore_inputs import SIGMA, check_measured, is_saved, measured, names_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..images.classifier import AttributeClassifier
    from ..images.measurement import Measurement
    from ..pipelines.image_output import RestorationOutput

__all__ = ["add_parser", "restore_command"]

log = logging.getLogger(__name__)

WRONG, WORSE = 10.0, 3.0
"""A clean image is warned of if its chi2 is above `WRONG` and above `WORSE` times the mean chi2 of
the samples."""

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
    add("--truth", nargs="+", default=[], metavar="FILE", help="the clean images, to compare with")
    add_image_call(parser, "restored", "default: aps", 1)
    parser.set_defaults(run=restore_command)


def restore_command(args: argparse.Namespace) -> int:
    """Read or simulate the measurement, restore it, write the images and print what they reach."""
    names = names_of(args.images)
    check_out(args.out, names, args.samples, (*args.images, *args.truth, args.mask))
    check_measured(args)
    pictures = [*([] if is_saved(args) else args.images), *args.truth]
    condition, options = checked_call(args, "aps", pictures)
    pipe = load_pipeline(args)
    measurement, truth = measured(args, pipe)
    found = pipe(measurement, condition, **options)
    if args.truth and truth is not None:
        warn_of_truths(found, truth, names)
    if len(names) != len(measurement.y):
        names = [f"{names[0]}-{index + 1}" for index in range(len(measurement.y))]
    files, rows, records = {}, [], []
    for index, name in enumerate(names):
        for draw, image in enumerate(found.images[index]):
            files[f"{name}-{draw + 1}"] = image
        rows.append(row_of(found, index, truth))
        made = [f"{name}-{draw + 1}.png" for draw in range(found.images.shape[1])]
        records.append(
            {"image": name, "files": [str(args.out / file) for file in made]}
            | figures(found, index, truth, pipe.model.classifier)
        )
    write_all(args.out, files, rows)
    write_y(measurement, args.out)
    report(args, records, columns_of(found.images.shape[1], truth is not None), found.cost)
    return 0


def warn_of_truths(found: RestorationOutput, truth: Tensor, names: Sequence[str]) -> None:
    """Warn of clean images that explain what was measured far worse than the samples do."""
    for index, (theirs, ours) in enumerate(
        zip(found.measurement.chi2(truth).tolist(), found.chi2.mean(1).tolist(), strict=True)
    ):
        if theirs > max(WRONG, WORSE * ours):
            name = names[index] if len(names) == len(truth) else f"image {index + 1}"
            log.warning(
                "%s: the chi2 of its --truth is %.3g, that of the samples %.3g: another image was "
                "measured, or this one was degraded otherwise",
                name,
                theirs,
                ours,
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
) -> dict[str, float]:
    """Mean chi2 of the samples; with a truth also the metrics, and PSNR of the samples' mean."""
    import torch

    from ..images.metrics import perceptual, psnr, ssim

    record = {"chi2": float(found.chi2[index].mean())}
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


def write_y(measurement: Measurement, folder: Path) -> None:
    """Save the measurement with all that is random in it."""
    from ..images.measurement_files import write_measurement

    write_measurement(measurement, folder / "measurement.safetensors")
