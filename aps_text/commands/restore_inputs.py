"""What `aps restore` is given: its flags checked, and the measurement they say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .image_files import is_given
from .pictures import read_picture

if TYPE_CHECKING:
    from torch import Tensor

    from ..images.degradation import Degradation
    from ..images.measurement import Measurement
    from ..pipelines.restoration import RestorationPipeline

__all__ = ["SIGMA", "check_measured", "is_saved", "measured", "names_of"]

SIGMA = 0.05


def is_saved(args: argparse.Namespace) -> bool:
    """Whether the input is a saved measurement."""
    return str(args.images[0]).lower().endswith(".safetensors")


def check_measured(args: argparse.Namespace) -> None:
    """Check the flags of a measurement, and the files of a saved one and of a mask.

    Raises:
        ValueError: flags that do not fit together, a sigma out of range, or see `check_task`.
    """
    from ..core.limits import SEEDS, check_number
    from ..images.degradations import Inpainting
    from ..images.files import read_mask
    from ..images.measurement import MODEL_SIGMAS, SIGMAS
    from ..images.measurement_files import read_measurement

    if args.truth and args.simulate:
        raise ValueError("--truth has no use with --simulate, whose images are the clean ones")
    if is_saved(args):
        check_saved(args)
        saved = read_measurement(args.images[0])
        check_truths(args, len(saved.y))
        if args.keep_known and not isinstance(saved.degradation, Inpainting):
            refuse_known(saved.degradation.name)
        return
    check_truths(args, len(args.images))
    check_task(args)
    if args.keep_known and "inpainting" not in args.task:
        refuse_known(args.task)
    check_number("--sigma", SIGMA if args.sigma is None else args.sigma, SIGMAS)
    check_number("--model-sigma", args.model_sigma or 0.0, MODEL_SIGMAS)
    check_number("--task-seed", args.task_seed or 0, SEEDS, whole=True)
    if args.mask is None:
        return
    missing = read_mask(args.mask)
    if not bool(missing.any()):
        raise ValueError(
            f"the mask {args.mask} is black everywhere, so that no pixel is missing; make those "
            "that are missing white"
        )
    if bool(missing.all()):
        raise ValueError(
            f"the mask {args.mask} is white everywhere, so that no pixel is measured; make those "
            "that are measured black"
        )


def measured(
    args: argparse.Namespace, pipe: RestorationPipeline
) -> tuple[Measurement, Tensor | None]:
    """The measurement, and the clean images where they are known.

    Raises:
        ValueError: an image or a measurement of another size.
    """
    import torch

    from ..images.measurement_files import read_measurement

    clean = args.images if args.simulate else args.truth
    truth = None
    if clean:
        what = f"an image of {pipe.model.name}"
        truth = torch.cat([read_picture(path, pipe.size, what) for path in clean])
        truth = truth.to(pipe.model.device)
    if is_saved(args):
        return bound_to(pipe, read_measurement(args.images[0]), args.images[0]), truth
    task, seed = task_of(args, pipe), args.task_seed or 0
    sigma = SIGMA if args.sigma is None else args.sigma
    how: dict[str, Any] = {"sigma": sigma, "seed": seed, "model_sigma": args.model_sigma or 0.0}
    if args.simulate and truth is not None:
        return pipe.measure(truth, task, **how), truth
    channels, high, wide = task(torch.zeros(1, *pipe.size)).shape[1:]
    what = f"{args.task} of {pipe.model.name}"
    clean_sides = pipe.size[1:]
    found = [read_picture(path, (channels, high, wide), what, clean_sides) for path in args.images]
    return pipe.observe(torch.cat(found), task, **how), truth


def refuse_known(task: str) -> None:
    """Raise `ValueError`: no pixel of this task's measurement is one of the image."""
    raise ValueError(
        f"--keep-known is of inpainting, where some pixels are known; {task} knows none as they "
        "are; leave it out"
    )


def bound_to(pipe: RestorationPipeline, measurement: Measurement, file: str) -> Measurement:
    """The saved measurement with the pipeline's model.

    Raises:
        ValueError: it is of images of another size, or its pixels are none of an image.
    """
    from ..images.measurement_files import model_of
    from ..pipelines.image_inputs import SizeError

    try:
        return pipe.bound(measurement)
    except SizeError as error:
        own = model_of(file)
        if own not in (None, pipe.model.name):
            raise ValueError(
                f"{file} was measured of images of {own}, not of {pipe.model.name}; give --model "
                f"{own} ({error})"
            ) from error
        raise ValueError(
            f"{file} is no measurement of images of {pipe.model.name}, which are (channels, "
            f"height, width) = {pipe.size}: {error}; if it is of another model's, name the model "
            "that it was made for with --model"
        ) from error
    except ValueError as error:  # whatever the model is
        raise ValueError(f"{file}: {error}") from error


def check_saved(args: argparse.Namespace) -> None:
    """Raise `ValueError` for flags, or further images, beside a saved measurement."""
    for flag in ("simulate", "task", "mask", "task_seed", "sigma", "model_sigma"):
        if is_given(args, flag):
            raise ValueError(
                f"--{flag.replace('_', '-')} has no use with {args.images[0]}, which holds its "
                "own; leave it out"
            )
    if len(args.images) > 1:
        raise ValueError(f"one saved measurement at a time, got {len(args.images)} files")


def check_truths(args: argparse.Namespace, count: int) -> None:
    """Raise `ValueError` if `--truth` is given and has not one file for each of `count` images."""
    if args.truth and len(args.truth) != count:
        raise ValueError(
            "--truth takes one clean image for each degraded one; got "
            f"{len(args.truth)} for {count}"
        )


def task_of(args: argparse.Namespace, pipe: RestorationPipeline) -> Degradation:
    """The degradation of `--task`, `--mask` and `--task-seed`."""
    from ..images.degradations import Inpainting
    from ..images.editing import as_mask
    from ..images.files import read_mask
    from ..images.tasks import make_task

    if args.mask is not None:
        return Inpainting(~as_mask(read_mask(args.mask), pipe.size[1:]))
    return make_task(args.task, pipe.size[1:], args.task_seed or 0)


def check_task(args: argparse.Namespace) -> None:
    """Check `--task`, `--mask` and `--task-seed`.

    Raises:
        ValueError: no task, a random task of a degraded image, a seed of nothing, or a mask without
            inpainting.
    """
    from ..images.tasks import TASKS

    if args.task not in (*TASKS, "inpainting"):
        got = "none" if args.task is None else repr(args.task)
        raise ValueError(f"--task is one of {', '.join(TASKS)}, inpainting; got {got}")
    if (args.task == "inpainting") != (args.mask is not None):
        raise ValueError(
            f"--mask goes with --task inpainting; got --task {args.task} "
            f"{'without' if args.mask is None else 'with'} --mask"
        )
    drawn = args.task in TASKS and TASKS[args.task].random
    if drawn and not args.simulate and args.task_seed is None:
        holes = "; a mask of your own goes with --task inpainting --mask FILE"
        raise ValueError(
            f"--task {args.task} draws a part at random, and a degraded image needs the very part "
            f"that made it: give its --task-seed{holes if 'inpainting' in args.task else ''}"
        )
    if not drawn and not args.simulate and args.task_seed is not None:
        raise ValueError(
            f"--task-seed {args.task_seed} has no use: --task {args.task} draws nothing, and "
            "without --simulate there is no noise to draw; leave it out"
        )


def names_of(args: argparse.Namespace) -> list[str]:
    """The names of the files written for each image, from its own; of several images of a saved
    measurement from its file's.

    Raises:
        ValueError: two images of one name, or see `read_measurement`.
    """
    from ..images.measurement_files import read_measurement

    names = [Path(path).stem for path in args.images]
    if is_saved(args) and len(names) == 1 and Path(args.images[0]).is_file():
        count = len(read_measurement(args.images[0]).y)
        return names if count == 1 else [f"{names[0]}-{index + 1}" for index in range(count)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two images are called {name!r}, and would be written over; rename")
    return names
