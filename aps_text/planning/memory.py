"""Peak memory of a call by part, in bytes, counted in tensors (not in what a process shows).

Parts: `weights`; `adapter` (phi, its start, the record, Adam's two moments); `activations` (what a
replay of the adapted layers keeps for the way back); `vocabulary` (logits `(N, K)` and their
copies: log_softmax, probabilities, gradient); `reward weights` (with the code table: one embedding
per generator token); `reward activations`; `mask` (attention, shared by all layers; the copies a
kernel keeps per layer count as activations); `workspace` (what lives for a moment only).

A step has several moments that may be its worst, and the plan is the worst of them:

    trunk       unsteered: a layer's inside, beside the last step's distributions
    decoding    unsteered: two tensors of logits
    pool        filling in the whole answers of a pool, or scoring them
    report      how far x_phi lies from x_theta
    sampling    drawing the hard tokens the reward sees: float64 sums over the vocabulary
    reward      the reward's own graph on top of everything
    gradient    from the reward's embeddings to the logits
    backward    through the adapted layers
    optimiser   Adam's temporaries on phi
"""

from __future__ import annotations

from dataclasses import dataclass

from .call import Call, RewardCall
from .saved import replay_saved, reward_saved
from .shape import ModelShape
from .steps import PlannedStep, planned_steps

__all__ = ["PARTS", "Memory", "adapter_parameters", "plan_memory", "weights_bytes"]

PARTS = (
    "weights",
    "adapter",
    "activations",
    "vocabulary",
    "reward weights",
    "reward activations",
    "mask",
    "workspace",
)


RANKED = 64 * 60  # bytes a position: probabilities, ids and orders of its 64 likeliest tokens


@dataclass(frozen=True)
class Memory:
    """Bytes by part at the worst moment.

    Attributes:
        moment: which one it is.
        parts: bytes by part, in the order of `PARTS`.
    """

    moment: str
    parts: dict[str, float]

    @property
    def total(self) -> float:
        """All parts."""
        return sum(self.parts.values())


def weights_bytes(shape: ModelShape, dtype_bytes: int, bits: int | None = None) -> float:
    """The model's weights; with `bits` the layers' linear maps are compressed, and embeddings,
    norms and the head are not.

    8 bit: one byte a weight and a float scale per output row (LLM.int8). 4 bit: half a byte and a
    float scale per 64 weights (NF4 without double quantisation).
    """
    linear = shape.layers * shape.layer_linear_parameters
    if bits is None:
        return float(shape.parameters * dtype_bytes)
    rest = (shape.parameters - linear) * dtype_bytes
    if bits == 8:
        return rest + linear + 4.0 * shape.layers * sum(o for _, o in shape.linears)
    return rest + linear * (0.5 + 4 / 64)


def adapter_parameters(shape: ModelShape, layers: int, rank: int) -> int:
    """Numbers in one row's phi."""
    return layers * rank * sum(i + o for i, o in shape.maps)


def layer_workspace(shape: ModelShape, positions: float, dtype_bytes: int) -> float:
    """What one layer needs for a moment where nothing is kept for a way back: its input, the sum
    after attention, norms, and the inside of the MLP."""
    hidden, inner = {"bert": (2, 2), "llama": (3, 3), "modernbert": (3, 4)}[shape.layout]
    return float(positions * (hidden * shape.hidden + inner * shape.ffn) * dtype_bytes)


def scoring_workspace(reward: RewardCall, call: Call, answers: int) -> float:
    """`layer_workspace` of the reward where it scores so many whole answers a row, beside their
    embeddings: as they are handed in, and an encoder's normed ones."""
    positions = call.batch * answers * (call.tokens + reward.frame)
    copies = 2 if reward.shape.layout == "bert" else 1
    entered = copies * positions * reward.shape.hidden * reward.dtype_bytes
    return entered + layer_workspace(reward.shape, positions, reward.dtype_bytes)


def plan_memory(shape: ModelShape, call: Call, reward: RewardCall | None = None) -> Memory:
    """The worst moment of the call.

    Raises:
        ValueError: the model cannot take the call.
    """
    call.check(shape)
    moments, before = [], 0
    for step in planned_steps(call):
        moments += _moments(shape, call, reward, step, before)
        before = step.asked
    return max(moments, key=lambda memory: memory.total)


def _moments(
    shape: ModelShape, call: Call, reward: RewardCall | None, step: PlannedStep, before: int
) -> list[Memory]:
    """Of a step after one that asked for `before` positions (0: it is the first)."""
    rows, size, e, masks = call.batch, call.positions, call.dtype_bytes, step.asked
    a = max(4, e)
    one = float(rows * masks * shape.vocab * a)  # one (N, K) tensor
    fitted = call.inner_steps > 0
    lora = call.adapter == "lora" and fitted
    phi = rows * adapter_parameters(shape, call.adapted(shape), call.lora_rank) * a if lora else 0
    parts = dict.fromkeys(PARTS, 0.0)
    parts["weights"] = weights_bytes(shape, e, call.bits)
    parts["adapter"] = 5.0 * phi
    if call.masked:
        # ModernBERT has another one for its local layers.
        each = {"llama": 1, "bert": e, "modernbert": 2 * e}[shape.layout]
        parts["mask"] = float(rows * size * size * each)
    if reward is not None:
        table = shape.vocab * reward.shape.hidden if call.estimator == "relaxed" else 0
        parts["reward weights"] = reward.dtype_bytes * float(reward.shape.parameters + table)
    guided = call.cfg_scale > 0
    state = float(rows * size * shape.hidden * e * (2 if guided else 1))
    # The unconditional logits, and where they are suppressed.
    beside = one + one / a if guided else 0.0
    pooled = _pool(shape, call, reward, step, parts, state) if step.guided else []
    if not step.guided or not fitted:
        # The last step's hidden states are there still; so are both steps' rotary angles.
        angles = 0 if shape.layout == "bert" else 4.0 * rows * size * shape.head_dim * e
        trunk = layer_workspace(shape, rows * size, e) + state + angles
        last = (2.0 if fitted else 1.0) * rows * before * shape.vocab * a
        # Both sides are mixed out of place; later, the likeliest tokens are ranked.
        drawn = max((4 + 1 / a) * one if guided else 0, 2 * one + beside + RANKED * rows * masks)
        return [
            Memory("trunk", parts | {"vocabulary": last, "workspace": trunk}),
            Memory("decoding", parts | {"vocabulary": drawn, "workspace": state}),
            *pooled,
        ]
    if guided:
        parts["workspace"] = state

    saved = replay_saved(shape, call, masks)
    kept = 2 * one * before / masks + beside  # the last step's distributions
    # logits, leaf, log_softmax, and of the inner step before: leaf, gradient
    again = call.inner_steps > 1
    held = kept + (3 + (2 if again else 0)) * one
    carried = lora and step.again and call.carry_over
    if again or carried:
        held += one  # theta's log_softmax, where it is not the first phi's
    if carried:
        held += one  # theta
    if not lora and again:
        held += 4 * one  # theta, the offset and its two moments
    prior = 2 * one
    sampled = call.estimator == "rloo"
    draws = (0 if sampled else one) + 2 * rows * masks * shape.vocab * 8.0
    found = [Memory("sampling", parts | {"activations": saved, "vocabulary": held + prior + draws})]
    if reward is not None:
        # Relaxed: the draws, x_phi, and what the bridge keeps.
        mixed = 0.0 if sampled else (2 + (1 if call.restrict else 0)) * one
        during = parts | {"activations": saved, "vocabulary": held + prior + mixed}
        span = call.tokens + reward.frame
        inside = float(rows * span * reward.shape.ffn * reward.dtype_bytes)
        scored = scoring_workspace(reward, call, call.num_samples)
        graph = {"workspace": scored if sampled else inside}
        if not sampled:
            graph["reward activations"] = reward_saved(reward, call.tokens, rows)
            vocabulary = during["vocabulary"] + (3 if again else 4) * one
            found.append(Memory("gradient", during | {"vocabulary": vocabulary}))
        found.append(Memory("reward", during | graph))
    if lora:
        wide = float(rows * size * shape.ffn * a)  # kept tensors are freed as the way back goes
        saved = replay_saved(shape, call, masks, recomputing=True)
        found.append(
            Memory(
                "backward",
                parts
                | {
                    "activations": saved,
                    "vocabulary": held + 2 * one,
                    "workspace": wide + phi,
                },
            )
        )
        found.append(
            Memory("optimiser", parts | {"vocabulary": held + one, "workspace": 4.0 * phi})
        )
    else:
        made = 8 if again else 7  # the first time the gradient and the offset's own three are new
        found.append(Memory("optimiser", parts | {"vocabulary": held + made * one}))
    return found + pooled


def _pool(
    shape: ModelShape,
    call: Call,
    reward: RewardCall | None,
    step: PlannedStep,
    parts: dict[str, float],
    state: float,
) -> list[Memory]:
    """Where whole answers are filled in, scored and weighed; drawing their tokens needs less."""
    if call.pool_size == 1:
        return []
    rows, masks = call.batch, step.masks
    one = float(rows * masks * shape.vocab * max(4, call.dtype_bytes))
    fresh = call.pool_size - step.again
    held = one
    if call.inner_steps > 0:
        held += one  # x_phi beside x_theta
        held += 0 if call.adapter == "lora" else 4 * one  # theta, the offset, its two moments
    # Tokens, and how much likelier phi makes them; answers are ended by running sums.
    drawn = 16.0 * rows * fresh * masks
    filled = drawn + 34.0 * rows * fresh * call.tokens
    scored = drawn + 8.0 * rows * fresh * call.tokens
    if reward is not None:
        scored += scoring_workspace(reward, call, fresh)
    moments = [("pool", held, filled), ("pool", held, scored)]
    if call.inner_steps > 0:
        moments.append(("report", held + 3 * one, 0.0))
    return [
        Memory(name, parts | {"vocabulary": vocabulary, "workspace": state + inside})
        for name, vocabulary, inside in moments
    ]
