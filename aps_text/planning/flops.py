"""The number of passes of a call, and of floating point operations.

    passes    trunk T, replays T (M+1) (one more with carry-over, except at the first step),
              backwards T M; rewards T M forward and back (RLOO: T M K forward); adapter="logits":
              T replays and no backward; a step outside of the guidance window: one replay; a
              pool of n answers: n + (n-1)(T-1) rewards forward, and with rollouts of R steps up to
              R-1 trunks and replays for each of these answers. These are the counters of
              `aps_text.core.cost.Cost`, an upper bound if gates, the trust region, a threshold or a
              stop token end a step, a rollout or the call early, or if rollouts are equal. A
              replay is a pass through the adapted layers.
    guidance  classifier-free (cfg_scale): another trunk and replay of theta per step
    layer     forward: 2 S (weights of k, v) + 2 Q (the other weights) + 4 Q S H d_h; back: the
              same for the linear layers, which are frozen (only their inputs need a gradient, and
              nothing below the first adapted layer), 2.5 times for attention, whose probabilities
              are recomputed. Q is S; in the last layer it is N, the masked positions, which fall
              from L to 0 (not in ModernBERT, which takes no cache of keys)
    kept      a causal prompt of P (smol): its P - shift first positions are computed in the trunk
              at the first step only, and on a canvas in blocks the whole prompt and the blocks that
              had no masks at the forward before (of a row that goes on from another one of its
              pool more may be known). At the other steps, and in rollouts, a layer of the trunk
              takes 2 Q (its weights) + 4 Q S H d_h, where Q is S less what is kept. Adapted layers
              save nothing
    unseen    masks that are attended by nobody but themselves (smol): S ends with the last position
              that is asked for, in blocks of one token before it
    LoRA      2 r (in + out) per linear layer and position, twice that backward
    head      2 N K d at these positions

A multiplication and an addition count one each; only matrix products count, as in torch's
`FlopCounterMode`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.settings import Codes
from .call import Call, PlannedStep
from .shape import ModelShape

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
    rows, steps, guided = call.batch, len(call.steps), sum(step.guided for step in call.steps)
    alone, under, ways = map(sum, zip(*(replays(call, step) for step in call.steps), strict=True))
    scored = guided * call.inner_steps if call.reward else 0
    # All answers of a pool are new at the first step; later one is kept with its reward.
    pools = sum(step.chooses for step in call.steps)
    pooled = 1 + pools * (call.pool - 1) if call.reward and call.pool > 1 else 0
    rolled = sum(answers for answers, _ in call.rollouts)
    return Passes(
        trunk_forwards=rows * (steps + rolled),
        denoiser_forwards=rows * (alone + under + rolled),
        denoiser_backwards=rows * ways,
        reward_forwards=rows * (scored * max(1, call.draws) + pooled),
        reward_backwards=0 if call.draws else rows * scored,
        unconditional=rows * (steps + rolled) if call.config.model.cfg_scale > 0 else 0,
        masks=sum(step.masks for step in call.steps),
        steps=steps,
        guided=guided,
    )


def operations(
    shape: ModelShape,
    positions: int,
    queries: int,
    *,
    rank: int = 0,
    first: bool = False,
    kept: int = 0,
) -> tuple[float, float, float, float]:
    """Of a layer on one row: forward, back, and what its low-rank maps add to each.

    Args:
        positions: S, those attended to.
        queries: Q of them, where the layer's output is.
        rank: r of LoRA; 0 is none.
        first: the layer's input needs no gradient.
        kept: positions whose keys and values are known; at the others they are computed.
    """
    joined = shape.layout == "modernbert"
    queries = positions if joined else queries
    keys = positions - kept
    places = [keys if 0 < index < 3 else queries for index in range(len(shape.maps))]
    maps = [(at, i, o) for at, (i, o) in zip(places, shape.maps, strict=True)]
    entry = maps[: 1 if joined else 3] if first else []  # they read the layer's input
    scored = queries * positions * shape.attention_width
    linear = 2.0 * sum(at * i * o for at, i, o in maps)
    lora = 2.0 * rank * sum(at * (i + o) for at, i, o in maps)
    back = linear + 10.0 * scored - 2.0 * sum(at * i * o for at, i, o in entry)
    lora_back = 2 * lora - 2.0 * rank * sum(at * i for at, i, _ in entry)
    return linear + 4.0 * scored, back, lora, lora_back


def count_flops(call: Call) -> dict[str, float]:
    """Operations of the whole call by part.

    The parts are `trunk`, `replays` (adapted layers), `head`, `backward` (of both), `lora` (forward
    and backward), `without prompt` (trunk, replay and head of the unconditional logits),
    `recomputed` (checkpointing), `bridge` (probabilities times reward embeddings), `reward`.
    """
    shape, reward, n = call.shape, call.reward, call.layers
    rank = call.lora.rank if call.lora else 0
    # If layers take different arguments, the upper ones (except the last) run once to record them.
    depth = shape.layers - (1 if shape.layout == "modernbert" else n)
    transform = 0 if shape.layout == "llama" else shape.hidden
    parts = "trunk", "replays", "head", "backward", "lora", "without prompt", "recomputed"
    found = dict.fromkeys((*parts, "bridge", "reward"), 0.0)
    made = [(1, step, replays(call, step)) for step in call.steps]
    made += [(answers, step, (1, 0, 0)) for answers, step in call.rollouts]
    for number, (answers, step, (alone, under, ways)) in enumerate(made):
        size, known = call.positions_at(step), call.kept_at(step) if number else 0
        trunk = depth * operations(shape, size, size - known, kept=known)[0]
        below = [operations(shape, size, size, rank=rank, first=k == 0) for k in range(n - 1)]
        last = operations(shape, size, step.asked, rank=rank, first=n == 1)
        ahead, back, lora, lora_back = map(sum, zip(*below, last, strict=True))
        head = 2.0 * step.asked * shape.hidden * (shape.vocab + transform)
        found["trunk"] += answers * trunk
        found["replays"] += answers * (alone + under) * ahead
        found["head"] += answers * (alone + under) * head
        found["backward"] += ways * (head + back)
        found["lora"] += under * lora + ways * lora_back
        if call.config.model.cfg_scale > 0:
            found["without prompt"] += answers * (trunk + ahead + head)
        if call.checkpointing:
            found["recomputed"] += ways * (ahead + lora)
        if reward and step.guided and not call.draws:
            # p @ C and its gradient, and two sums of p over the bridge's matched tokens.
            columns = call.inner_steps * (2 * reward.shape.hidden + 2)
            # M + 1 tilted distributions; an update makes one more, and differentiates it.
            if isinstance(call.phi, Codes):
                columns += (3 * call.inner_steps + 1) * reward.shape.hidden
            found["bridge"] += 2.0 * step.asked * shape.vocab * columns
    found = {part: call.batch * value for part, value in found.items()}
    if reward:
        passes, span = count_passes(call), call.tokens + reward.frame
        each = operations(reward.shape, span, span)
        scored = passes.reward_forwards * each[0] + passes.reward_backwards * each[1]
        found["reward"] = reward.shape.layers * scored
    return found
