"""`aps verify`: does this checkpoint, on this machine, do what it must?"""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["add_parser", "verify_command"]

DTYPES = ("float64", "float32", "bfloat16", "float16")


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "verify",
        help="check a checkpoint on this machine, and print a report to send us",
        description="Exit status: 0 if nothing failed, 1 if something did, 2 if it did not load.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="'mini', a folder or a hub id")
    add("--device", help="e.g. cuda, cuda:1, mps (default: cpu)")
    add("--dtype", choices=DTYPES, help="default: what the files store")
    add("--device-map", metavar="MAP", help="accelerate's placement, e.g. auto")
    add("--load-in-8bit", action="store_true")
    add("--load-in-4bit", action="store_true")
    add("--attn-implementation", metavar="NAME", help="sdpa (default) or eager")
    add("--gradient-checkpointing", action="store_true")
    add("--revision", help="of a hub id")
    add("--local-files-only", action="store_true", help="never download")
    add("--tokens", type=int, default=16, help="positions of an answer (default: 16)")
    add("--json", action="store_true", help="for machines")
    parser.set_defaults(run=verify_command)


def verify_command(args: argparse.Namespace) -> int:
    """Load by the ordinary path, check, and report."""
    import torch
    from transformers.utils import logging

    from ..models.checkpoint import find
    from ..models.masked_lm import FOLDER
    from ..models.text_model import load
    from ..verification.suite import verify

    check_device(args.device)
    logging.disable_progress_bar()
    options: dict[str, Any] = {
        name: getattr(args, name)
        for name in (
            "device",
            "device_map",
            "load_in_8bit",
            "load_in_4bit",
            "attn_implementation",
            "gradient_checkpointing",
            "revision",
            "local_files_only",
        )
    }
    dtype = None if args.dtype is None else getattr(torch, args.dtype)
    model = load(args.model, dtype=dtype, **options)
    folder, config = find(
        FOLDER if args.model == "mini" else args.model,
        lambda config: None,
        revision=args.revision,
        local_files_only=args.local_files_only,
    )
    files = {"config.json": config}
    generation = folder / "generation_config.json"
    if generation.is_file():
        files[generation.name] = json.loads(generation.read_text())
    report = verify(
        model,
        files=files,
        tokens=args.tokens,
        settings=options | {"dtype": args.dtype},
        show=(lambda line: None) if args.json else lambda line: print(line, flush=True),
    )
    if args.json:
        print(json.dumps(report.as_dict(), indent=2))
    return 0 if report.passed else 1


def check_device(name: str | None) -> None:
    """Raises `ValueError` where there is no such device."""
    import torch

    if name is None:
        return
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"no device {name!r} here ({str(error).splitlines()[0]}); use --device cpu"
        ) from error
