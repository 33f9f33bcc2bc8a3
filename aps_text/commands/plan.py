"""`aps plan`: passes, memory and time of a call, without loading a model."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.presets import PRESETS
from .plan_text import as_text, image_text
from .settings import IMAGE_HELP, TEXT_HELP, add_settings, settings_in

if TYPE_CHECKING:
    from ..planning.call import PlannedReward

__all__ = ["add_parser", "plan_command"]

DTYPES = {"bfloat16": 2, "float16": 2, "float32": 4}


class Once(argparse.Action):
    """An option that a second value would silently replace."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        """Keep the value; an error of argparse if there is one."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option} is given twice; a plan counts one reward, the largest model")
        setattr(namespace, self.dest, values)


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "plan", help="passes, memory and estimated time of a call, and what to change if it is much"
    )
    add = parser.add_argument
    add(
        "--model",
        default="mini",
        metavar="NAME",
        help="'mini' (default), 'smol', a preset, published name or folder",
    )
    add("--tokens", type=int, default=None, metavar="N", help="the same as --max-new-tokens")
    add("--prompt", type=int, default=64, help="prompt tokens")
    add("--image", type=int, metavar="PIXELS", help="plan an image of this size instead of text")
    add("--tokenizer", metavar="FOLDER", help="MMaDA's image tokenizer, where its sizes are others")
    add(
        "--batch",
        type=int,
        default=None,
        help="answers or images in one pass (default: --num-return-sequences, or 1)",
    )
    add("--dtype", choices=sorted(DTYPES), help="default: as it would be loaded")
    add("--load-in-8bit", action="store_true")
    add("--load-in-4bit", action="store_true")
    add("--gradient-checkpointing", action="store_true")
    add(
        "--reward",
        action=Once,
        metavar="NAME",
        help="skywork-0.6b, relevance, a folder; or none, or any other",
    )
    add("--reward-prompt", type=int, default=None, help="tokens around the answer in the reward")
    add("--reward-dtype", default=None, choices=sorted(DTYPES))
    add("--gpu", metavar="24GB", help="memory, or a name such as a100-80")
    add("--json", action="store_true", help="for machines")
    add_settings(parser, f"{TEXT_HELP}; with --image {IMAGE_HELP}", PRESETS)
    parser.set_defaults(run=plan_command)


def plan_command(args: argparse.Namespace) -> int:
    """Make the plan and print it."""
    from ..core.config import APSConfig
    from ..core.own_settings import lacking, stated_config
    from ..core.presets import text_preset
    from ..methods.ancestral import base_config
    from ..models.image_folders import image_folder
    from ..planning.call import Call
    from ..planning.report import plan
    from ..planning.shape import find_shape

    if args.load_in_8bit and args.load_in_4bit:
        raise ValueError("give one of --load-in-8bit and --load-in-4bit, not both")
    if args.image is not None:
        return plan_image_command(args)
    if re.search(r"(^|/)(amused-\d+|lumina-dimoo)/?$", args.model.lower()):
        raise ValueError(f"{args.model} draws images: give --image with their pixels per side")
    image = image_folder(args.model)
    if image is not None:
        raise ValueError(f"{args.model!r} is {image.what}: give --image with its pixels per side")
    if args.tokenizer is not None:
        raise ValueError("--tokenizer is of images: give --image with their pixels per side")
    options = options_of(args)
    if args.reward_prompt is not None and args.reward_prompt < 0:
        raise ValueError(
            f"--reward-prompt is a number of tokens, at least 0; got {args.reward_prompt}"
        )
    if options.get("lora_layers") == "all":
        options["lora_layers"] = None
    reward = planned_reward(args)
    shape, preset = find_shape(args.model), text_preset(args.preset)
    own = lacking(stated_config(shape.settings, preset, options), shape.settings, options)
    call = Call(
        shape=shape,
        reward=reward,
        config=APSConfig(preset, **own, **options),
        prompt=args.prompt,
        batch=options.get("num_return_sequences", 1) if args.batch is None else args.batch,
        dtype_bytes=DTYPES[args.dtype] if args.dtype else None,
        bits=8 if args.load_in_8bit else 4 if args.load_in_4bit else None,
        checkpointing=args.gradient_checkpointing,
    )
    found = plan(call, args.gpu)
    notes = []
    if call.config.sampler.steers:
        plain = plan(replace(call, config=base_config(call.config), reward=None))
        times = sum(found.flops.values()) / sum(plain.flops.values())
        most = "at most" if call.config.sampler.rolls_out else "about"  # equal answers share passes
        notes.append(f"{most} {times:.3g} times the operations of a plain answer")
        if args.reward is None:
            notes.append("no reward counted; name one with --reward")
        elif reward is None and args.reward != "none":
            notes.append(f"{args.reward} is not counted: it is no model whose sizes are known here")
    if args.json:
        print(json.dumps(found.as_dict() | {"notes": notes}))
    else:
        print("\n".join([as_text(found), *([""] if notes else []), *notes]))
    return 0


def planned_reward(args: argparse.Namespace) -> PlannedReward | None:
    """The model of `--reward`; None without one, and for a reward that is no model known here.

    Raises:
        ValueError: it is neither a model nor a reward.
    """
    from ..planning.call import PlannedReward
    from ..planning.shape import find_shape

    if args.reward in (None, "none"):
        return None
    from aps_rewards.installed import installed
    from aps_rewards.specs import parse_reward_spec

    name = parse_reward_spec(args.reward)[0]
    try:
        shape = find_shape(name)
    except ValueError as error:
        first = name.partition(":")[0]
        if (
            installed().get(first) is None
            and ".py:" not in name
            and ("." not in first or first == name)
        ):
            raise ValueError(f"{error}; or a reward of `aps rewards`, or mine.py:NAME") from None
        return None
    encoder = shape.layout == "bert"
    # An encoder reads only the answer; a chat reward also reads the prompt and its template.
    frame = args.reward_prompt
    if frame is None:
        frame = 2 if encoder else args.prompt + 20
    dtype = args.reward_dtype or ("float32" if encoder else "bfloat16")
    return PlannedReward(shape=shape, frame=frame, dtype_bytes=DTYPES[dtype])


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """The settings given by flags; `--tokens` is another name of `--max-new-tokens`."""
    options = settings_in(args)
    if args.tokens is None:
        return options
    if options.get("max_new_tokens", args.tokens) != args.tokens:
        raise ValueError(
            f"--tokens {args.tokens} and --max-new-tokens {options['max_new_tokens']} are the "
            "same setting; give one of them"
        )
    return {**options, "max_new_tokens": args.tokens}


OF_TEXT = {
    "gradient_checkpointing": False,
    "reward": None,
    "reward_prompt": None,
    "reward_dtype": None,
    "prompt": 64,
}
"""Options of text with their defaults; refused for images."""


def plan_image_command(args: argparse.Namespace) -> int:
    """Make the plan of an image call and print it."""
    from ..pipelines.image_call import ImageCall as PipelineCall
    from ..planning.image_folders import image_model_folder, image_shape_in
    from ..planning.image_shapes import find_image_shape
    from ..planning.images import ImageCall, plan_images

    for name, usual in OF_TEXT.items():
        if getattr(args, name) != usual:
            raise ValueError(f"--{name.replace('_', '-')} has no use with --image; leave it out")
    for bits in (8, 4):
        if getattr(args, f"load_in_{bits}bit"):
            raise ValueError(f"--load-in-{bits}bit is not planned with --image; leave it out")
    options = options_of(args)
    if "max_new_tokens" in options:
        raise ValueError(
            "--tokens (--max-new-tokens) has no use with --image, whose size decides; leave it out"
        )
    folder = image_model_folder(args.model)
    if folder is not None:
        own = folder == Path(args.model)
        shape = image_shape_in(folder, args.tokenizer, None if own else args.model)
    elif args.tokenizer is not None:
        raise ValueError("--tokenizer goes with a folder of MMaDA; of a name its sizes are known")
    else:
        shape = find_image_shape(args.model)
    steps = {} if shape.mini else {"steps": 15}
    # Refuses what a call refuses.
    asked = PipelineCall.of("aps", 1, None, args.preset, steps | options)
    call = ImageCall(
        shape=shape,
        side=args.image,
        config=asked.config,
        batch=1 if args.batch is None else args.batch,
        dtype_bytes=DTYPES[args.dtype] if args.dtype else None,
    )
    found = plan_images(call, args.gpu)
    print(json.dumps(found.as_dict()) if args.json else image_text(found))
    return 0
