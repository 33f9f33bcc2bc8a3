"""The number of passes of a call, and of floating point operations.

    passes    trunk T, replays T (M+1) (one more with carry-over, except at the first step),
              backwards T M; rewards T M forward and back (RLOO: T M K forward); adapter="logits":
              T replays and no backward; a step outside of the guidance window: one replay; a
              pool of n answers: n + (n-1)(T-1) rewards forward. These are the counters of
              `aps_text.core.cost.Cost`, an upper bound if gates, the trust region or a threshold
              end a step or the call early. A replay is a pass through the adapted layers.
    guidance  classifier-free (cfg_scale): another trunk and replay of theta per step
    layers    see `layers`; for the last one Q is N, the masked positions, which fall from L to 0
    head      2 N K d at these positions

A multiplication and an addition count one each; only matrix products count, as in torch's
`FlopCounterMode`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .call import Call, PlannedStep
from .layers import Operations, operations

__all__ = ["Passes", "count_flops", "count_passes"]


@dataclass(frozen=True)
class Passes:
    """Row passes of a call (over all rows), named as in `Cost`, and masked positions.

    Attributes:
        unconditional: further trunks and replays without the prompt, which the `Cost` of a
            pipeline's call includes in its forwards.
        masks: masked positions of one row, summed over steps.
        steps, guided: the number of steps made (a row without masks is finished), and of steered
            ones.
    """

    trunk_forwards: int
    denoiser_forwards: int
    denoiser_backwards: int
    reward_forwards: int
    reward_backwards: int
    unconditional: int
    masks: int
    steps: int
    guided: int


def replays(call: Call, step: PlannedStep) -> tuple[int, int, int]:
    """For one row at a step: replays of theta, replays under LoRA, and backward passes."""
    if call.lora is None or not step.guided:
        return 1, 0, 0
    return int(step.again and call.lora.carry_over), call.inner_steps + 1, call.inner_steps


def count_passes(call: Call) -> Passes:
    """Passes of the whole call."""
    rows, guided = call.batch, sum(step.guided for step in call.steps)
    each = [replays(call, step) for step in call.steps]
    alone, under, ways = (sum(kind) for kind in zip(*each, strict=True))
    scored = guided * call.inner_steps if call.reward else 0
    # All answers of a pool are new at the first step; later one is kept with its reward.
    pooled = 1 + guided * (call.pool - 1) if call.reward and call.pool > 1 else 0
    return Passes(
        trunk_forwards=rows * len(call.steps),
        denoiser_forwards=rows * (alone + under),
        denoiser_backwards=rows * ways,
        reward_forwards=rows * (scored * max(1, call.draws) + pooled),
        reward_backwards=0 if call.draws else rows * scored,
        unconditional=rows * len(call.steps) if call.config.model.cfg_scale > 0 else 0,
        masks=sum(step.masks for step in call.steps),
        steps=len(call.steps),
        guided=guided,
    )


def count_flops(call: Call) -> dict[str, float]:
    """Operations of the whole call by part.

    The parts are `trunk`, `replays` (adapted layers), `head`, `backward` (of both), `lora` (forward
    and backward), `without prompt` (trunk, replay and head of the unconditional logits),
    `recomputed` (checkpointing), `bridge` (probabilities times reward embeddings), `reward`.
    """
    shape, reward, size, n = call.shape, call.reward, call.positions, call.layers
    rank = call.lora.rank if call.lora else 0
    whole = operations(shape, size, size).forward
    below = [operations(shape, size, size, rank=rank, first=k == 0) for k in range(n - 1)]
    # If layers take different arguments, the upper ones (except the last) run once to record them.
    trunk = (shape.layers - (1 if shape.layout == "modernbert" else n)) * whole
    transform = 0 if shape.layout == "llama" else shape.hidden
    parts = "trunk", "replays", "head", "backward", "lora", "without prompt", "recomputed"
    found = dict.fromkeys((*parts, "bridge", "reward"), 0.0)
    for step in call.steps:
        asked = step.asked
        alone, under, ways = replays(call, step)
        last = operations(shape, size, asked, rank=rank, first=n == 1)
        layers = Operations(*map(sum, zip(*below, last, strict=True)))
        head = 2.0 * asked * shape.hidden * (shape.vocab + transform)
        found["trunk"] += trunk
        found["replays"] += (alone + under) * layers.forward
        found["head"] += (alone + under) * head
        found["backward"] += ways * (head + layers.back)
        found["lora"] += under * layers.lora_forward + ways * layers.lora_back
        if call.config.model.cfg_scale > 0:
            found["without prompt"] += trunk + layers.forward + head
        if call.checkpointing:
            found["recomputed"] += ways * (layers.forward + layers.lora_forward)
        if reward and step.guided and not call.draws:
            # p @ C and its gradient, and two sums of p over the bridge's matched tokens.
            mixing = 2.0 * asked * shape.vocab * (2 * reward.shape.hidden + 2)
            found["bridge"] += call.inner_steps * mixing
            if call.phi == "codes":  # M+1 tilted distributions; an update has one more, and back
                tilt = 2.0 * asked * shape.vocab * reward.shape.hidden
                found["bridge"] += (3 * call.inner_steps + 1) * tilt
    found = {part: call.batch * value for part, value in found.items()}
    if reward:
        passes, span = count_passes(call), call.tokens + reward.frame
        each = operations(reward.shape, span, span)
        scored = passes.reward_forwards * each.forward + passes.reward_backwards * each.back
        found["reward"] = reward.shape.layers * scored
    return found
