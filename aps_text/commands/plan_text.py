"""Plans as text: what `aps plan` prints without `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.settings import Ranked

if TYPE_CHECKING:
    from ..planning.images import ImagePlan
    from ..planning.report import Plan

__all__ = ["as_text", "image_text"]


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
