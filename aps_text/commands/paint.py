"""`aps paint`: draws images by attributes and style, and edits the masked part of one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .image_files import (
    SHOWN,
    add_image_call,
    checked_call,
    is_given,
    load_pipeline,
    report,
    write_sheet,
)
from .out_folder import check_out
from .pictures import read_picture
from .sample_files import SampleFiles
from .waiting import steps_said

if TYPE_CHECKING:
    from torch import Tensor

    from ..pipelines.any_image_model import Condition
    from ..pipelines.image_output import PaintOutput
    from ..pipelines.restoration import RestorationPipeline

__all__ = ["add_parser", "paint_command"]


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "paint",
        help="draw images by class and in a reference's style, or edit part of one",
        description="Writes the images and a contact sheet to --out.",
    )
    add = parser.add_argument
    add(
        "--reference",
        nargs="+",
        default=[],
        metavar="FILE",
        help="images whose style the new ones take; several: near each of them",
    )
    add("--reference-mask", metavar="FILE", help="white where the reference counts, of one")
    add(
        "--statistic",
        metavar="NAME",
        help="what style is: channels (default), gram, histogram",
    )
    add("--style-sigma", type=float, metavar="X", help="> 0; smaller is stricter")
    add("--image", metavar="FILE", help="an image to edit")
    add("--mask", metavar="FILE", help="white where it may change")
    add("--keep-sigma", type=float, metavar="X", help="of the pixels that are kept, > 0")
    add("--widen", type=int, metavar="N", help="rings of tokens around the mask to draw as well")
    add("--no-paste", action="store_true", help="keep the decoder's pixels outside of the mask")
    add_image_call(parser, "painted", "default: aps where something guides, else plain", 4)
    parser.set_defaults(run=paint_command)


def paint_command(args: argparse.Namespace) -> int:
    """Paint or edit, write the images and print what they reach."""
    from ..images.files import read_mask

    check_flags(args)
    kind = "edited" if args.image else "painted"
    read = (args.image, args.mask, *args.reference, args.reference_mask)
    check_out(args.out, [kind], args.samples, read)
    guided = bool(args.reference) or args.image is not None
    pictures = [*args.reference, *([args.image] if args.image else [])]
    condition, options = checked_call(args, "aps" if guided else "plain", pictures, sampled=True)
    for file in (args.mask, args.reference_mask):
        if file is not None:
            read_mask(file)
    pipe = load_pipeline(args)
    shown: dict[str, Tensor] = {}
    styles, what = [], f"an image of {pipe.model.name}"
    for number, file in enumerate(args.reference):
        reference = read_picture(file, pipe.size, what)
        styles.append(
            pipe.style(
                reference,
                args.statistic or "channels",
                sigma=args.style_sigma,
                within=None if args.reference_mask is None else read_mask(args.reference_mask),
            )
        )
        shown["reference" if len(args.reference) == 1 else f"reference {number + 1}"] = reference[0]
    style = styles or None
    files = SampleFiles(args.out, args.samples, "editing" if args.image else "painting")
    options["on_sample"] = lambda draw, image: files.write(f"{kind}-{draw + 1}", image)
    options["on_step"] = None if args.json else steps_said(files.progress)
    with files.told_when_stopped():
        if args.image is None:
            found = pipe.paint(condition, style=style, **options)
        else:
            found = edited(args, pipe, condition, {"style": style, **options}, shown)
    names = [f"{kind}-{n + 1}" for n in range(len(found.images))]
    write_sheet(args.out, [[*shown.values(), *found.images[:SHOWN]]])
    records = [
        {"files": [str(args.out / f"{name}.png")]}
        | {named(term, len(styles)): float(values[index]) for term, values in found.scores.items()}
        for index, name in enumerate(names)
    ]
    report(args, records, [*shown, *names[:SHOWN]], found.cost)
    return 0


def named(term: str, styles: int) -> str:
    """A term of the scores in the report; of several styles `log style 1`, `log style 2`, ..., in
    the order of the references."""
    first = styles > 1 and term == "style"
    return f"log {term.replace('_', ' ')}{' 1' if first else ''}"


def check_flags(args: argparse.Namespace) -> None:
    """Raise `ValueError` for flags that have no effect without another."""
    if (args.image is None) != (args.mask is None):
        raise ValueError("an edit takes both --image and --mask; got one of them")
    for flag in ("keep_sigma", "widen", "no_paste"):
        if args.image is None and is_given(args, flag):
            raise ValueError(f"--{flag.replace('_', '-')} is of an edit: give --image and --mask")
    for flag in ("statistic", "style_sigma", "reference_mask"):
        if not args.reference and getattr(args, flag) is not None:
            raise ValueError(f"--{flag.replace('_', '-')} is of a style: give --reference")
    if args.reference_mask is not None and len(args.reference) > 1:
        raise ValueError(
            f"--reference-mask is of one reference, got {len(args.reference)}; in Python "
            "pipe.style(reference, within=...) makes each with its own"
        )


def edited(
    args: argparse.Namespace,
    pipe: RestorationPipeline,
    condition: Condition,
    options: dict[str, Any],
    shown: dict[str, Tensor],
) -> PaintOutput:
    """The edit of `--image` inside of `--mask`; adds both to the sheet."""
    from ..images.files import read_mask

    image = read_picture(args.image, pipe.size, f"an image of {pipe.model.name}")
    mask = read_mask(args.mask)
    shown["image"] = image[0]
    shown["mask"] = mask[None].float() * 2 - 1
    return pipe.edit(
        image,
        mask,
        condition,
        keep_sigma=args.keep_sigma,
        widen=args.widen or 0,
        pasted=not args.no_paste,
        **options,
    )
