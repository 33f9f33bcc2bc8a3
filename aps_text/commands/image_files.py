"""What the image commands share: flags of the model and the call, images read and written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.presets import IMAGE_PRESETS
from ..text.visible import json_text, on_terminal
from .loading import add_loading, loading_options
from .out_folder import out_folder
from .settings import IMAGE_HELP, add_settings, settings_in

if TYPE_CHECKING:
    from torch import Tensor

    from ..core.cost import Cost
    from ..pipelines.any_image_model import Condition
    from ..pipelines.restoration import RestorationPipeline

__all__ = [
    "GAIN",
    "SHOWN",
    "add_image_call",
    "checked_call",
    "difference",
    "is_given",
    "load_pipeline",
    "report",
    "write_sheet",
]

SHOWN = 16
"""Samples of an image that its row of the sheet shows; all are written to files."""

IN_CALL = ("method", "samples", "progress", "preset")
"""Keywords of the pipeline's calls that are no settings."""

GAIN = 4
"""Differences are shown at four times their size: 1/4 of the range is white."""


def add_image_call(parser: argparse.ArgumentParser, out: str, method: str, samples: int) -> None:
    """Add the flags; `out` is the default folder, `method` the help on the default method."""
    add = parser.add_argument
    add("--class", dest="klass", metavar="NAME", help="what it shows: --attribute class=NAME")
    add(
        "--attribute",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a known attribute; those not given are free; aps models names those there are",
    )
    add("--text", metavar="TEXT", help="what it shows, for a model with texts")
    add("--samples", type=int, default=samples, metavar="K", help=f"default: {samples}")
    add("--method", default=None, help=f"aps, plain, or a peer of docs/methods.md; {method}")
    add(
        "--method-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the method itself, e.g. sweeps=20",
    )
    add(
        "--model",
        default="mini-garments",
        metavar="FOLDER",
        help="the embedded mini-garments (default), mini-portraits or mini-garments-large; MMaDA, "
        "aMUSEd or Lumina-DiMOO by hub id or folder; or a folder that recipes/mini_image exports",
    )
    add("--tokenizer", metavar="NAME", help="MMaDA's image tokenizer: showlab/magvitv2, a folder")
    add(
        "--size",
        type=int,
        metavar="PIXELS",
        help="of the images of a model with texts (default: the model's own)",
    )
    add("--batch-size", type=int, default=16, metavar="N", help="samples in one pass (default: 16)")
    add("--out", type=out_folder, default=Path(out), metavar="FOLDER", help=f"default: {out}")
    add("--json", action="store_true", help="for machines")
    add_settings(parser, IMAGE_HELP, IMAGE_PRESETS)
    add_loading(parser)


def is_given(args: argparse.Namespace, flag: str) -> bool:
    """Whether a flag was given: a number 0 is one, though it equals False."""
    value = getattr(args, flag)
    return value is not None and value is not False


def load_pipeline(args: argparse.Namespace) -> RestorationPipeline:
    """The pipeline of `--model`, with the flags of loading that were given."""
    from ..models.placement import as_device
    from ..pipelines.restoration import RestorationPipeline

    given = {**loading_options(args), "size": args.size}
    given = {
        name: value for name, value in given.items() if value is not None and value is not False
    }
    device = as_device(given.pop("device", None))
    return RestorationPipeline.from_pretrained(
        args.model,
        tokenizer=args.tokenizer,
        device="cpu" if device is None else device,
        batch_size=args.batch_size,
        **given,
    )


def condition_in(args: argparse.Namespace) -> Condition:
    """The attributes of `--class` and `--attribute`, or the text of `--text`.

    Raises:
        ValueError: an attribute without `=`, or given twice; attributes and a text.
    """
    if args.text is not None:
        if args.klass is not None or args.attribute:
            raise ValueError(
                "--text is for models with texts (MMaDA, aMUSEd, Lumina-DiMOO), --class and "
                "--attribute are not; give one kind"
            )
        return str(args.text)
    pairs = [] if args.klass is None else [f"class={args.klass}"]
    found: dict[str, str] = {}
    for text in [*pairs, *args.attribute]:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"an attribute is NAME=VALUE, got {text!r}")
        if name in found:
            raise ValueError(f"{name} is given twice: {found[name]!r} and {value!r}")
        found[name] = value
    return found


def checked_call(
    args: argparse.Namespace, default: str, pictures: Iterable[str], *, sampled: bool = False
) -> tuple[Condition, dict[str, Any]]:
    """What the flags ask for, judged before a model is downloaded and read: the condition, and the
    keywords of the pipeline's calls.

    Args:
        default: the method, if none is named.
        pictures: image files that will be read.
        sampled: see `ImageCall.of`.

    Raises:
        FileNotFoundError, TypeError, ValueError: files that are no images, settings without effect,
            see `condition_in`.
    """
    from ..images.files import sides_of
    from ..pipelines.image_call import ImageCall

    for path in pictures:
        sides_of(path)
    options = call_options(args, default)
    how = {name: value for name, value in options.items() if name not in IN_CALL}
    ImageCall.of(
        options["method"], options["samples"], None, options["preset"], how, sampled=sampled
    )
    return condition_in(args), options


def call_options(args: argparse.Namespace, default: str) -> dict[str, Any]:
    """Method, samples and settings of the flags, as keywords of the pipeline's calls."""
    from ..methods.registry import IMAGE_METHODS, make_method

    return {
        "method": make_method(IMAGE_METHODS, args.method or default, args.method_option),
        "samples": args.samples,
        "progress": False if args.json else None,
        "preset": args.preset,
        **settings_in(args),
    }


def difference(values: Tensor) -> Tensor:
    """Sizes of differences `(C, H, W)` in [0, 1] as an image in [-1, 1]; see `GAIN`."""
    return (GAIN * values.abs()).clamp(0, 1) * 2 - 1


def write_sheet(folder: Path, rows: Sequence[Sequence[Tensor]]) -> None:
    """Write `rows` of images `(C, H, W)` as `sheet.png`."""
    from ..images.files import contact_sheet, write_image

    write_image(contact_sheet([[one.cpu() for one in row] for row in rows]), folder / "sheet.png")


def shown_number(name: str, value: float) -> str:
    """A number of a record as people read it: nats with a decimal, a missing share in percent."""
    if name == "missing":
        return f"{100 * value:.2g}% missing" if value < 0.995 else f"{100 * value:.4g}% missing"
    return f"{name} {value:.1f}" if name.startswith("log ") else f"{name} {value:.3g}"


def report(
    args: argparse.Namespace, records: list[dict[str, Any]], columns: Sequence[str], cost: Cost
) -> None:
    """Print the records as JSON or as lines, with the sheet's columns and the cost."""
    if args.json:
        whole = {
            "images": records,
            "sheet": str(args.out / "sheet.png"),
            "columns": list(columns),
            "cost": cost.as_dict(),
        }
        print(json_text(whole))
        return
    for record in records:
        numbers = "  ".join(
            shown_number(name, value) for name, value in record.items() if isinstance(value, float)
        )
        line = f"{', '.join(record['files'])}  {numbers}".rstrip()
        print(on_terminal(line, sys.stdout))
    more = f" (of {args.samples})" if args.samples > SHOWN else ""
    print(on_terminal(f"{args.out / 'sheet.png'}: {', '.join(columns)}{more}", sys.stdout))
    print(
        f"{cost.seconds:.1f} s, denoiser {cost.denoiser_forwards} forward, operator "
        f"{cost.reward_forwards} forward {cost.reward_backwards} backward, "
        f"{cost.peak_memory_mb:.0f} MiB"
    )
