"""`aps plan`: what a call takes, before anything is loaded."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..planning.report import Plan

__all__ = ["add_parser", "plan_command"]

DTYPES = {"bfloat16": 2, "float16": 2, "float32": 4}


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "plan", help="passes, memory and estimated time of a call, and what to change if it is much"
    )
    from ..core.routing import DEFAULTS as usual

    add = parser.add_argument
    add("--model", required=True, metavar="NAME", help="a preset, a published name, or a folder")
    add("--tokens", type=int, default=128, help="new tokens (L)")
    add("--steps", type=int, default=usual["steps"], help="denoising steps (T)")
    add(
        "--inner-steps",
        type=int,
        default=usual["inner_steps"],
        help="optimiser steps per denoising step (M)",
    )
    add(
        "--pool-size",
        type=int,
        default=usual["pool_size"],
        metavar="N",
        help="answers in a step's pool",
    )
    add("--prompt", type=int, default=64, help="prompt tokens")
    add("--batch", type=int, default=1, help="answers in one pass")
    add("--adapter", default="lora", choices=["lora", "logits"])
    add(
        "--lora-layers",
        default=str(usual["lora_layers"]),
        metavar="N",
        help="top layers adapted, or 'all'",
    )
    add("--lora-rank", type=int, default=8)
    add("--no-carry-over", action="store_true", help="phi starts anew at each step")
    add("--estimator", default="relaxed", choices=["relaxed", "rloo"])
    add("--num-samples", type=int, default=8, help="answers drawn per row for rloo")
    add("--schedule", default="linear", choices=["linear", "cosine"])
    add("--guidance-start", type=float, default=0.0, metavar="SHARE", help="steer from here on")
    add("--guidance-end", type=float, default=1.0, metavar="SHARE", help="and up to here")
    add("--guidance-interval", type=int, default=1, metavar="N", help="every so many steps")
    add("--cfg-scale", type=float, default=0.0, help="classifier-free guidance; 0 is off")
    add("--block-length", type=int, default=None, help="fill blocks left to right")
    add("--threshold", type=float, default=None, help="then the plan is an upper bound")
    add("--dtype", choices=sorted(DTYPES), help="default: as it would be loaded")
    add("--load-in-8bit", action="store_true")
    add("--load-in-4bit", action="store_true")
    add("--gradient-checkpointing", action="store_true")
    add("--reward", metavar="NAME", help="skywork-0.6b, relevance, a folder; or none")
    add("--reward-prompt", type=int, default=None, help="tokens around the answer in the reward")
    add("--reward-dtype", default=None, choices=sorted(DTYPES))
    add("--gpu", metavar="24GB", help="memory, or a name such as a100-80")
    add("--json", action="store_true", help="for machines")
    parser.set_defaults(run=plan_command)


def plan_command(args: argparse.Namespace) -> int:
    """Plan and show."""
    from ..planning.call import Call, RewardCall
    from ..planning.report import plan
    from ..planning.shape import find_shape

    if args.load_in_8bit and args.load_in_4bit:
        raise ValueError("give one of --load-in-8bit and --load-in-4bit, not both")
    model = find_shape(args.model)
    layers = args.lora_layers
    if layers != "all" and not layers.isdigit():
        raise ValueError(f"--lora-layers is a number or 'all', got {layers!r}")
    call = Call(
        prompt=args.prompt,
        tokens=args.tokens,
        batch=args.batch,
        steps=args.steps,
        inner_steps=args.inner_steps,
        pool_size=args.pool_size,
        lora_layers=None if layers == "all" else int(layers),
        lora_rank=args.lora_rank,
        adapter=args.adapter,
        carry_over=not args.no_carry_over,
        estimator=args.estimator,
        num_samples=args.num_samples,
        schedule=args.schedule,
        guidance_start=args.guidance_start,
        guidance_end=args.guidance_end,
        guidance_interval=args.guidance_interval,
        cfg_scale=args.cfg_scale,
        block_length=args.block_length,
        threshold=args.threshold,
        dtype_bytes=DTYPES[args.dtype] if args.dtype else model.stored_bytes,
        bits=8 if args.load_in_8bit else 4 if args.load_in_4bit else None,
        checkpointing=args.gradient_checkpointing,
    )
    reward = None
    if args.reward not in (None, "none"):
        shape = find_shape(args.reward)
        encoder = shape.layout == "bert"
        # An encoder reads the answer alone; a chat reward reads the prompt and its template too.
        frame = args.reward_prompt
        if frame is None:
            frame = 2 if encoder else args.prompt + 20
        dtype = args.reward_dtype or ("float32" if encoder else "bfloat16")
        reward = RewardCall(shape=shape, frame=frame, dtype_bytes=DTYPES[dtype])
    found = plan(model, call, reward, args.gpu)
    if args.json:
        print(json.dumps(found.as_dict()))
    else:
        print(as_text(found))
    return 0


def as_text(found: Plan) -> str:
    """The plan for a person."""
    call, shape, passes = found.call, found.shape, found.passes
    kind = f"{call.bits}-bit layers" if call.bits else f"{8 * call.dtype_bytes}-bit numbers"
    top = call.adapted(shape)
    means = []
    if call.inner_steps:
        adapter = f"LoRA rank {call.lora_rank} on {top} of {shape.layers} layers"
        means.append(adapter if call.adapter == "lora" else "phi = logits")
    if call.pool_size > 1:
        means.append(f"pool of {call.pool_size} answers")
    lines = [
        f"{shape.name}: {shape.parameters / 1e9:.2f} B parameters, {kind} ({shape.source})",
        f"{call.batch} x ({call.prompt} + {call.tokens}) tokens, T={call.steps}, "
        f"M={call.inner_steps}, "
        + (", ".join(means) or "plain")
        + (f", blocks of {call.block_length}" if call.block_length else ""),
    ]
    if found.reward is not None:
        lines.append(
            f"reward {found.reward.shape.name}: {found.reward.shape.parameters / 1e9:.2f} B "
            f"parameters, {8 * found.reward.dtype_bytes}-bit, {found.reward.frame} tokens around "
            "the answer"
        )
    if call.steers and passes.guided < passes.steps:
        lines.append(f"steered at {passes.guided} of {passes.steps} steps")
    if passes.unconditional:
        lines.append(
            f"classifier-free guidance: a second trunk and replay, without the prompt, at each of "
            f"{passes.steps} steps"
        )
    if call.threshold is not None:
        lines.append("threshold: the call ends earlier where the model is sure; all below at most")
    early = "; at most: gates and the trust region end steps early" if call.inner_steps else ""
    lines += [
        "",
        f"passes (rows)   trunk {passes.trunk_forwards}, replays {passes.denoiser_forwards}, "
        f"backward {passes.denoiser_backwards}, reward {passes.reward_forwards} forward "
        f"{passes.reward_backwards} backward{early}",
        f"masked positions   {passes.masks / max(1, passes.steps):.1f} of {call.tokens} on average",
        "",
        f"operations      {sum(found.flops.values()) / 1e12:12.1f} TFLOP",
    ]
    lines += [
        f"  {name:<20}{value / 1e12:10.1f}" for name, value in found.flops.items() if value > 0
    ]
    total, parts = found.memory.total, found.memory.parts
    lines += ["", f"peak memory     {total / 2**30:12.2f} GiB   (worst: {found.memory.moment})"]
    lines += [f"  {name:<20}{value / 2**30:10.2f}" for name, value in parts.items() if value > 0]
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
            f"  {name:<12}{value:8.0f}   {value / call.batch:6.0f} an answer"
            for name, value in found.seconds.items()
        ]
    return "\n".join(lines)
