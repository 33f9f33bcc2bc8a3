"""`aps verify`: checks that a checkpoint works correctly on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..text.visible import on_terminal
from .loading import add_loading, loading_options
from .waiting import waiting

__all__ = ["add_parser", "verify_command"]


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "verify",
        help="check a checkpoint on this machine, and print a report to send us",
        description="Exit status: 0 if nothing failed, 1 if something did, 2 if it did not load.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="'mini', 'smol', a folder, a hub id; of text or of images")
    add("--tokenizer", metavar="NAME", help="check the images of MMaDA: showlab/magvitv2, a folder")
    add("--size", type=int, metavar="PIXELS", help="of images (default: the model's own)")
    add(
        "--image",
        action="append",
        default=[],
        metavar="FILE",
        help="a photograph to check with, its middle square; several times for several",
    )
    add("--tokens", type=int, default=16, help="positions of an answer (default: 16)")
    add("--json", action="store_true", help="for machines")
    add_loading(parser)
    parser.set_defaults(run=verify_command)


def verify_command(args: argparse.Namespace) -> int:
    """Load the checkpoint as `from_pretrained` does, run the checks and print the report."""
    from transformers.utils import logging

    from ..models.checkpoint_files import read_json
    from ..models.registry import load
    from ..models.search import find
    from ..pipelines.image_loading import is_diffusers
    from ..verification.suite import verify

    options = loading_options(args)
    logging.disable_progress_bar()
    if args.tokenizer is not None or is_diffusers(args.model, options):
        return verify_image_model(args, options)
    if args.size is not None or args.image:
        flag = f"--image={args.image[0]}" if args.size is None else f"--size={args.size}"
        raise ValueError(
            f"{flag} is of images, and {args.model!r} would be checked as a model of "
            "text; give its image tokenizer with --tokenizer"
        )
    with waiting(f"loading {args.model}"):
        model = load(args.model, **options)
    found = find(
        args.model,
        lambda config: None,
        revision=args.revision,
        local_files_only=args.local_files_only,
    )
    files = {"config.json": found.config}
    generation = found.folder / "generation_config.json"
    if generation.is_file():
        files[generation.name] = read_json(generation)
    report = verify(
        model,
        files=files,
        tokens=args.tokens,
        settings=options | {"dtype": args.dtype},
        around=lambda name: waiting(f"checking {name}"),
        show=(lambda line: None) if args.json else show_line,
    )
    if args.json:
        print(json.dumps(report.as_dict(), indent=2))
    return 0 if report.passed else 1


def show_line(line: str) -> None:
    """Print a line of the report, which may hold texts of the model."""
    print(on_terminal(line, sys.stdout), flush=True)


def verify_image_model(args: argparse.Namespace, options: dict[str, Any]) -> int:
    """Load the image model as `RestorationPipeline` does, check it and print the report."""
    import torch

    from ..images.files import read_image, sides_of, square
    from ..pipelines.image_loading import load_any
    from ..pipelines.text_image_model import TextImageModel
    from ..verification.images import verify_images

    for path in args.image:  # judged before gigabytes are read
        sides_of(path)
    given = {**options, "size": args.size}
    given = {name: value for name, value in given.items() if value not in (None, False)}
    device = given.pop("device", "cpu")
    with waiting(f"loading {args.model}"):
        model = load_any(args.model, args.tokenizer, device, **given)
    if not isinstance(model, TextImageModel):
        raise ValueError(f"{args.model!r} is no image model given a text, which is checked here")
    photos = [square(read_image(path, model.size[0]), model.size[1]) for path in args.image]
    report = verify_images(
        model,
        pictures=torch.cat(photos) if photos else None,
        settings={**given, "dtype": args.dtype, "tokenizer": args.tokenizer, "device": device},
        around=lambda name: waiting(f"checking {name}"),
        show=(lambda line: None) if args.json else show_line,
    )
    if args.json:
        print(json.dumps(report.as_dict(), indent=2))
    return 0 if report.passed else 1
