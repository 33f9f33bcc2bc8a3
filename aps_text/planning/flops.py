"""How many passes a call takes, and how many floating point operations.

    passes    trunk T, replays T (M+1) (one more with carry-over, but not at the first step),
              backwards T M; rewards T M forward and back (RLOO: T M K forward); adapter="logits":
              T replays and no backward; a step outside of the guidance window: one replay; a
              pool of n answers: n + (n-1)(T-1) rewards forward. These are
              `aps_text.core.cost.Cost`'s, an upper bound where gates, the trust region or a
              threshold end a step or the call early.
    guidance  by the prompt's absence (cfg_scale): another trunk and replay a step, of theta
    layer     2 X (weights of its linear maps) + 4 X S H d_h           X = rows * S positions
    last      2 X (weights of k, v) + 2 N (other weights) + 4 N S H d_h: keys and values everywhere,
              the rest at the N masked positions only
    head      2 N K d at the N masked positions, which fall from L to 0
    backward  as the forward for frozen linear maps (only inputs need a gradient, and nothing below
              the first adapted layer), 2.5 times for attention (probabilities are recomputed)
    LoRA      2 X r (in + out) forward, twice that back

Multiplications and additions count one each; only matrix products count, as in torch's
`FlopCounterMode`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .call import Call, RewardCall
from .shape import ModelShape
from .steps import planned_steps

__all__ = ["Passes", "count_flops", "count_passes"]


@dataclass(frozen=True)
class Passes:
    """Row passes of a call (all rows together), named as in `Cost`, and masked positions.

    Attributes:
        unconditional: further trunks and replays, without the prompt; `Cost` of a call through the
            pipeline has them among its forwards.
        masks: masked positions summed over steps, of one row.
        steps, guided: steps that really happen (a row without masks is finished), and are steered.
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


def count_passes(call: Call, *, rewarded: bool = True) -> Passes:
    """Passes of the whole call; `rewarded` False where nothing is scored by a model."""
    steps, rows, inner = planned_steps(call), call.batch, call.inner_steps
    guided = sum(step.guided for step in steps)
    forwards, backwards = len(steps), 0
    if call.adapter == "lora" and inner:
        forwards += guided * inner
        forwards += sum(step.guided and step.again for step in steps) if call.carry_over else 0
        backwards = guided * inner
    scored = guided * inner if rewarded else 0
    sampled = call.estimator == "rloo"
    # All are fresh at the first step; afterwards one is held, and its reward remembered.
    pooled = 1 + guided * (call.pool_size - 1) if rewarded and call.pool_size > 1 else 0
    return Passes(
        trunk_forwards=rows * len(steps),
        denoiser_forwards=rows * forwards,
        denoiser_backwards=rows * backwards,
        reward_forwards=rows * (scored * (call.num_samples if sampled else 1) + pooled),
        reward_backwards=0 if sampled else rows * scored,
        unconditional=rows * len(steps) if call.cfg_scale > 0 else 0,
        masks=sum(step.masks for step in steps),
        steps=len(steps),
        guided=guided,
    )


def layer_forward(shape: ModelShape, positions: int) -> float:
    """One layer, one row of `positions`."""
    attention = 4.0 * positions**2 * shape.attention_width
    return 2.0 * positions * shape.layer_linear_parameters + attention


def last_forward(shape: ModelShape, positions: int) -> tuple[float, float]:
    """The last layer of the generator, one row: once, and for each masked position."""
    if shape.layout == "modernbert":  # takes no cache of keys, so it runs everywhere
        return layer_forward(shape, positions), 0.0
    keys = sum(i * o for i, o in shape.linears[1:3])
    attention = 4.0 * positions * shape.attention_width
    return 2.0 * positions * keys, 2.0 * (shape.layer_linear_parameters - keys) + attention


def last_backward(shape: ModelShape, positions: int) -> tuple[float, float]:
    """Back through the last layer, one row: once (keys, values), and for each masked position."""
    if shape.layout == "modernbert":
        return layers_backward(shape, 1, positions, from_input=True), 0.0
    keys = sum(i * o for i, o in shape.linears[1:3])
    attention = 10.0 * positions * shape.attention_width
    return 2.0 * positions * keys, 2.0 * (shape.layer_linear_parameters - keys) + attention


def layers_backward(shape: ModelShape, layers: int, positions: int, *, from_input: bool) -> float:
    """Back through `layers` frozen layers; `from_input`: also to what goes into the first."""
    attention = 10.0 * positions**2 * shape.attention_width
    each = 2.0 * positions * shape.layer_linear_parameters + attention
    first = 0 if from_input else sum(i * o for i, o in shape.linears[:3])
    return layers * each - 2.0 * positions * first


def lora_maps(linears: list[tuple[int, int]], positions: float, rank: int) -> float:
    """The low-rank maps beside `linears` at so many positions."""
    return 2.0 * positions * rank * sum(i + o for i, o in linears)


def lora_forward(shape: ModelShape, layers: int, positions: int, rank: int) -> float:
    """The low-rank maps of `layers`, one row."""
    return layers * lora_maps(shape.maps, positions, rank)


def head_forward(shape: ModelShape) -> float:
    """Norm, transform and head at one position."""
    extra = 0 if shape.layout == "llama" else shape.hidden
    return 2.0 * shape.hidden * (shape.vocab + extra)


def count_flops(
    shape: ModelShape, call: Call, reward: RewardCall | None = None
) -> dict[str, float]:
    """Operations of the whole call by part.

    `trunk`, `replays` (adapted layers), `head`, `backward` (both), `lora` (forward and back),
    `without prompt` (trunk, replay and head of the unconditional side), `recomputed`
    (checkpointing), `bridge` (probabilities times reward embeddings), `reward`.
    """
    call.check(shape)
    passes, steps = count_passes(call, rewarded=reward is not None), planned_steps(call)
    top, size, rank, rows = call.adapted(shape), call.positions, call.lora_rank, call.batch
    forwards, backwards = passes.denoiser_forwards, passes.denoiser_backwards
    # Every pass of a step asks for the same positions, summed here over all rows.
    asked = rows * sum(step.asked for step in steps)
    inner = rows * call.inner_steps * sum(step.masks for step in steps if step.guided)
    fitted = [step.masks for step in steps if step.guided] if backwards else []
    bare = [step for step in steps if not step.guided or (step.again and call.carry_over)]
    with_lora = rows * (call.inner_steps + 1) * len(fitted)
    lora_asked = rows * (call.inner_steps + 1) * sum(fitted)
    heads = lora_asked + rows * sum(step.asked for step in bare) if backwards else asked
    back_asked = inner if backwards else 0
    once, each = last_forward(shape, size)

    def replay(passes: float, positions: float) -> float:
        return passes * ((top - 1) * layer_forward(shape, size) + once) + positions * each

    back_once, back_each = last_backward(shape, size)
    back = layers_backward(shape, top - 1, size, from_input=True) + back_once
    # What goes into the first adapted layer needs no gradient.
    query, keys, rest = shape.linears[0], shape.linears[1:3], shape.linears[3:]
    whole = shape.layout == "modernbert"
    everywhere = whole or top > 1
    entry = shape.linears[:3] if everywhere else keys
    back -= 2.0 * size * sum(i * o for i, o in entry)
    back_each -= 0.0 if everywhere else 2.0 * query[0] * query[1]
    full = lora_forward(shape, top - 1, size, rank)
    if whole:
        low = used = lora_forward(shape, top, size, rank)
        low_each = used_each = 0.0
        used -= rank * size * shape.maps[0][0]
    else:
        low = full + lora_maps(shape.linears[:3], size, rank)
        low_each = lora_maps(shape.linears, 1, rank)
        used = full + lora_maps(keys, size, rank) - rank * size * sum(i for i, _ in entry)
        used_each = lora_maps([query, *rest], 1, rank) - (0 if everywhere else rank * query[0])
    # Where layers are called differently, the upper ones run once to tell how, but for the last.
    below = shape.layers - (1 if whole else top)
    found = {
        "trunk": passes.trunk_forwards * below * layer_forward(shape, size),
        "replays": replay(forwards, heads),
        "head": heads * head_forward(shape),
        "backward": backwards * back + back_asked * (back_each + head_forward(shape)),
        "lora": with_lora * low
        + lora_asked * low_each
        + 2 * (backwards * used + back_asked * used_each),
        "without prompt": 0.0,
        "recomputed": 0.0,
        "bridge": 0.0,
        "reward": 0.0,
    }
    if passes.unconditional:
        trunk = passes.unconditional * below * layer_forward(shape, size)
        replayed = replay(passes.unconditional, asked) + asked * head_forward(shape)
        found["without prompt"] = trunk + replayed
    if call.checkpointing:
        again = replay(backwards, back_asked) + backwards * low
        found["recomputed"] = again + back_asked * low_each
    if reward is not None:
        span = call.tokens + reward.frame
        body = reward.shape.layers * layer_forward(reward.shape, span)
        back = layers_backward(reward.shape, reward.shape.layers, span, from_input=True)
        found["reward"] = passes.reward_forwards * body + passes.reward_backwards * back
        # p @ C and its gradient, and two sums of p over what the bridge matches.
        mixing = 2.0 * inner * shape.vocab * (2 * reward.shape.hidden + 2)
        found["bridge"] = mixing if passes.reward_backwards else 0.0
    return found
