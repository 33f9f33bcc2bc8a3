"""Flags for loading a checkpoint, shared by all commands that load one."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_loading", "loading_options"]

DTYPES = ("float64", "float32", "bfloat16", "float16")
FLAGS = (
    *("device", "device_map", "load_in_8bit", "load_in_4bit", "attn_implementation"),
    *("gradient_checkpointing", "revision", "local_files_only"),
)


def add_loading(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    add = parser.add_argument_group("loading").add_argument
    add("--device", help="e.g. cuda, cuda:1, mps (default: cpu)")
    add("--dtype", choices=DTYPES, help="default: what the files store")
    add("--device-map", metavar="MAP", help="accelerate's placement, e.g. auto")
    add("--load-in-8bit", action="store_true")
    add("--load-in-4bit", action="store_true")
    add("--attn-implementation", metavar="NAME", help="sdpa (default) or eager")
    add("--gradient-checkpointing", action="store_true")
    add("--revision", help="of a hub id")
    add("--local-files-only", action="store_true", help="never download")
    add(
        "--tuned",
        metavar="FOLDER",
        help="a fine-tuned LoRA of the model in PEFT's format, its folder or hub id",
    )


def loading_options(args: argparse.Namespace) -> dict[str, Any]:
    """The flags as arguments of `aps_text.models.registry.load`.

    Raises:
        ValueError: the device does not exist on this machine.
    """
    import torch

    from ..models.placement import as_device

    as_device(args.device)
    dtype = None if args.dtype is None else getattr(torch, args.dtype)
    tuned = {} if args.tuned is None else {"adapter": args.tuned}
    return {**{name: getattr(args, name) for name in FLAGS}, "dtype": dtype, **tuned}
