"""`aps plan`: passes, memory and time of a call, without loading a model."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.presets import PRESETS
from ..core.settings import Ranked
from .settings import IMAGE_HELP, TEXT_HELP, add_settings, settings_in

if TYPE_CHECKING:
    from ..planning.images import ImagePlan
    from ..planning.report import Plan

__all__ = ["add_parser", "plan_command"]

DTYPES = {"bfloat16": 2, "float16": 2, "float32": 4}


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "plan", help="passes, memory and estimated time of a call, and what to change if it is much"
    )
    add = parser.add_argument
    add(
        "--model",
        required=True,
        metavar="NAME",
        help="'mini', 'smol', a preset, published name or folder",
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
    add("--reward", metavar="NAME", help="skywork-0.6b, relevance, a folder; or none")
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
    from ..models.image_folders import image_folder
    from ..planning.call import Call, PlannedReward
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
    reward = None
    if args.reward not in (None, "none"):
        shape = find_shape(args.reward)
        encoder = shape.layout == "bert"
        # An encoder reads only the answer; a chat reward also reads the prompt and its template.
        frame = args.reward_prompt
        if frame is None:
            frame = 2 if encoder else args.prompt + 20
        dtype = args.reward_dtype or ("float32" if encoder else "bfloat16")
        reward = PlannedReward(shape=shape, frame=frame, dtype_bytes=DTYPES[dtype])
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
    if args.reward is None and call.config.sampler.steers:
        notes.append("no reward counted; name one with --reward")
    if args.json:
        print(json.dumps(found.as_dict() | {"notes": notes}))
    else:
        print("\n".join([as_text(found), *([""] if notes else []), *notes]))
    return 0


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


def operations(value: float) -> str:
    """A number of floating-point operations in a unit that shows three digits."""
    return _in_unit(value, 1000, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"))


def space(value: float) -> str:
    """A number of bytes in a unit that shows three digits."""
    return _in_unit(value, 1024, ("B", "KiB", "MiB", "GiB"))


def many(value: float) -> str:
    """A number of parameters, in millions or billions."""
    return f"{value / 1e9:.2f} B" if value >= 1e9 else f"{value / 1e6:.3g} M"


def short(value: float) -> str:
    """Seconds with two digits at least."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _in_unit(value: float, step: int, units: tuple[str, ...]) -> str:
    at = 0
    while value >= step and at + 1 < len(units):
        value, at = value / step, at + 1
    digits = 0 if value >= 100 or at == 0 else 1 if value >= 10 else 2
    return f"{value:10.{digits}f} {units[at]}"


def image_text(found: ImagePlan) -> str:
    """The plan of an image call as readable text."""
    call, shape = found.call, found.call.shape
    lines = [
        f"{shape.name}: prior {many(shape.parameters)} and image tokenizer "
        f"{many(shape.decoder.parameters)} parameters, {8 * call.number_bytes}-bit numbers "
        f"({shape.source})"
        + ("" if shape.mini else "; unverified: nobody has run the published weights"),
        f"{call.batch} x {call.side} x {call.side} pixels, {call.tokens} tokens of {shape.codes}, "
        f"T={call.config.sampler.steps}, M={call.inner_steps}, "
        f"phi = {shape.decoder.width} numbers a token"
        + (f"; made for {shape.trained} pixels" if call.side != shape.trained else ""),
        "",
        "passes (rows)   " + ", ".join(f"{name} {n}" for name, n in found.passes.items()),
        "",
        f"operations          {operations(sum(found.flops.values()))}",
    ]
    lines += [f"  {name:<18}{operations(n)}" for name, n in found.flops.items() if n > 0]
    lines += ["", f"peak memory         {space(sum(found.memory.values()))}"]
    lines += [f"  {name:<18}{space(n)}" for name, n in found.memory.items() if n > 0]
    if found.gpu is not None:
        size, usable = found.gpu
        verdict = "fits" if found.fits else "does NOT fit"
        lines += ["", f"{size:g} GB ({usable:.1f} GiB for tensors): {verdict}"]
    if found.seconds:
        lines += ["", "seconds, ESTIMATED (40% of peak compute, 70% of bandwidth):"]
        lines += [f"  {name:<12}{short(value):>8}" for name, value in found.seconds.items()]
    if found.paper is not None:
        seconds, gib = found.paper
        lines += ["", f"the paper reports {seconds} s and {gib} GiB on an A100 at T=15"]
    return "\n".join(lines)


def as_text(found: Plan) -> str:
    """The plan as readable text."""
    call, passes = found.call, found.passes
    shape, reward, config = call.shape, call.reward, call.config
    kind = f"{call.bits}-bit layers" if call.bits else f"{8 * call.number_bytes}-bit numbers"
    means = []
    if call.lora is not None:
        means.append(f"LoRA rank {call.lora.rank} on {call.layers} of {shape.layers} layers")
    elif call.phi:
        means.append(f"phi = {type(call.phi).__name__.lower()}")
    if call.pool > 1:
        rolled = f", each drawn in {call.rollout} steps" if call.rollout > 1 else ""
        means.append(f"pool of {call.pool} answers{rolled}")
    block = call.block_length
    lines = [
        f"{shape.name}: {many(shape.parameters)} parameters, {kind} ({shape.source})",
        f"{call.batch} x ({call.prompt} + {call.tokens}) tokens, T={config.sampler.steps}, "
        f"M={call.inner_steps}, "
        + (", ".join(means) or "plain")
        + (f", blocks of {block}" if block else ""),
    ]
    if reward is not None:
        lines.append(
            f"reward {reward.shape.name}: {many(reward.shape.parameters)} parameters, "
            f"{8 * reward.dtype_bytes}-bit, {reward.frame} tokens around the answer"
        )
    if config.sampler.steers and passes.guided < passes.steps:
        lines.append(f"steered at {passes.guided} of {passes.steps} steps")
    if passes.unconditional:
        rolled = " and at those of the pool's answers" if call.rollout > 1 else ""
        lines.append(
            f"classifier-free guidance: a second trunk and replay, without the prompt, at each of "
            f"{passes.steps} steps{rolled}"
        )
    order = config.sampler.order
    if isinstance(order, Ranked) and order.threshold is not None:
        lines.append("threshold: the call ends earlier where the model is sure; all below at most")
    less = ["gates and the trust region end steps early"] if call.inner_steps else []
    less += ["equal answers of a pool share passes"] if call.rollout > 1 else []
    early = f"; at most: {', '.join(less)}" if less else ""
    lines += [
        "",
        f"passes (rows)   trunk {passes.trunk_forwards}, replays {passes.denoiser_forwards}, "
        f"backward {passes.denoiser_backwards}, reward {passes.reward_forwards} forward "
        f"{passes.reward_backwards} backward{early}",
        f"masked positions   {passes.masks / max(1, passes.steps):.1f} of {call.tokens} on average",
        "",
        f"operations          {operations(sum(found.flops.values()))}",
    ]
    lines += [f"  {name:<18}{operations(n)}" for name, n in found.flops.items() if n > 0]
    total, parts = found.memory.total, found.memory.parts
    lines += ["", f"peak memory         {space(total)}   (worst: {found.memory.moment})"]
    lines += [f"  {name:<18}{space(n)}" for name, n in parts.items() if n > 0]
    if found.gpu is not None:
        size, usable = found.gpu
        verdict = "fits" if found.fits else "does NOT fit"
        lines += ["", f"{size:g} GB ({usable:.1f} GiB for tensors): {verdict}"]
        if found.changes:
            lines.append("  change, in this order        saves alone    then needs")
            lines += [
                f"  {change.what:<28}{change.alone:7.2f} GiB   {change.total:7.2f} GiB"
                + ("   fits" if change.fits else "")
                for change in found.changes
            ]
            if not found.changes[-1].fits:
                lines.append("  still too large: a GPU with more memory, or a smaller model")
        elif not found.fits:
            lines.append("  nothing here makes it smaller: a larger GPU, or a smaller model")
    if found.seconds:
        lines += ["", "seconds, ESTIMATED (40% of peak compute, 70% of bandwidth):"]
        lines += [
            f"  {name:<12}{short(value):>8}   {short(value / call.batch):>6} an answer"
            for name, value in found.seconds.items()
        ]
    return "\n".join(lines)
