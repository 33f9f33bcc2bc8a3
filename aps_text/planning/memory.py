"""Peak memory of a call by part, in bytes, counted in tensors (not in what a process shows).

Parts: `weights`; `adapter` (phi, its start, the record, Adam's two moments); `activations` (what a
replay of the adapted layers keeps for the way back); `vocabulary` (logits `(N, K)` and their
copies: log_softmax, probabilities, gradient); `reward weights` (with the code table: one embedding
per generator token); `reward activations`; `mask` (attention, shared by all layers; the copies a
kernel keeps per layer count as activations); `workspace` (what lives for a moment only).

A step has several moments that may be its worst, and the plan is the worst of them:

    trunk       unsteered: a layer's inside, beside the last step's distributions
    decoding    unsteered: two tensors of logits
    sampling    drawing the hard tokens the reward sees: float64 sums over the vocabulary
    reward      the reward's own graph on top of everything
    gradient    from the reward's embeddings to the logits
    backward    through the adapted layers
    optimiser   Adam's temporaries on phi

Per token (d width, f inner width, e bytes of a number, a bytes of phi's numbers, 4 or 8):

    llama  two norms 2 (4 d + 4); q, k, v, out 4 H d_h e; 4 H; gate, silu, up 3 f e
    bert   two norms 2 (e d + 8); q, k, v, out 4 H d_h e; 4 H; gelu f e
    LoRA   the input of each linear map in phi's precision (shared between maps only where the base
           has that precision too), and r numbers
"""

from __future__ import annotations

from dataclasses import dataclass

from .flops import Call, RewardCall
from .shape import ModelShape
from .steps import PlannedStep, planned_steps

__all__ = ["PARTS", "Memory", "adapter_parameters", "plan_memory", "replay_saved", "weights_bytes"]

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


def layer_saved(
    shape: ModelShape,
    positions: int,
    dtype_bytes: int,
    *,
    masked: bool,
    lora_rank: int | None = None,
    first: bool = False,
    queries: int | None = None,
) -> float:
    """Bytes one layer keeps for its backward, for one row of `positions`.

    `first`: nothing below it needs a gradient. `lora_rank` None: frozen, differentiable in its
    input only. `queries`: as the last layer runs, at so many positions, but for keys and values.
    """
    if queries is not None and shape.layout != "modernbert":
        return _last_saved(shape, positions, queries, dtype_bytes, masked, lora_rank, first)
    d, f, wide, e = shape.hidden, shape.ffn, shape.attention_width, dtype_bytes
    llama = shape.layout == "llama"
    # Grouped keys and values are copied to every head, but one head can be shown to all.
    shared = shape.head_dim if shape.kv_heads == 1 else wide
    attention = 2 * (wide + shared) * e + 4 * shape.heads
    if llama:
        norms = (1 if first else 2) * (max(4, e) * d + max(4, e))
        if shape.qk_norm:
            narrow = shape.kv_heads * shape.head_dim
            norms += max(4, e) * (wide + narrow + shape.heads + shape.kv_heads)
        mlp = 3 * f * e
    elif shape.layout == "modernbert":
        norms = (1 if first else 2) * (e * d + 2 * e)
        attention += 2 * d * e  # values are a part of the map that makes all three
        mlp = 3 * f * e
    else:
        norms = 2 * (e * d + 2 * e)
        mlp = f * e
    low = 0
    if lora_rank is not None:
        a = max(4, e)
        low = lora_rank * len(shape.maps) * a
        if a == e:  # one tensor serves the maps that read it; out and up * silu are kept already
            low += 2 * d * a + f * a
        else:
            low += a * sum(i for i, _ in shape.maps)
    return positions * (norms + attention + mlp + low + (positions * e if masked else 0))


def _last_saved(
    shape: ModelShape,
    positions: int,
    queries: int,
    dtype_bytes: int,
    masked: bool,
    lora_rank: int | None,
    first: bool,
) -> float:
    """`layer_saved` where only keys and values are those of all positions."""
    d, f, e, a = shape.hidden, shape.ffn, dtype_bytes, max(4, dtype_bytes)
    wide, narrow = shape.attention_width, shape.kv_heads * shape.head_dim
    keys = 2 * (shape.head_dim if shape.kv_heads == 1 else wide) * e
    rest = 2 * wide * e + 4 * shape.heads + (positions * e if masked else 0)
    if shape.layout == "llama":
        norm = a * (d + 1)
        keys += 0 if first else norm
        rest += (1 if first else 2) * norm + 3 * f * e
        if shape.qk_norm:
            keys += a * (narrow + shape.kv_heads)
            rest += a * (wide + shape.heads)
    else:
        rest += 2 * (e * d + 2 * e) + f * e
    if lora_rank is not None:
        keys += 2 * lora_rank * a
        rest += (len(shape.linears) - 2) * lora_rank * a
        if a == e:
            keys += d * a
            rest += 2 * d * a + f * a
        else:
            keys += 2 * d * a
            rest += a * (sum(i for i, _ in shape.linears) - 2 * d)
    return positions * keys + queries * rest


def replay_saved(shape: ModelShape, call: Call, masks: int, *, recomputing: bool = False) -> float:
    """Bytes one replay of the adapted layers keeps, all rows, `masks` masked positions a row.

    Checkpointed, these are the layers' inputs, and one whole layer while it is `recomputing`.
    """
    if call.adapter == "logits" or call.inner_steps == 0:
        return 0.0
    top, size, e = call.adapted(shape), call.positions, call.dtype_bytes
    # A decoder read in both directions always takes a mask, an encoder where something is padded.
    masked = shape.layout == "llama" or (call.padded and call.batch > 1)
    each = [
        layer_saved(shape, size, e, masked=masked, lora_rank=call.lora_rank, first=index == 0)
        for index in range(top - 1)
    ]
    each.append(
        layer_saved(
            shape,
            size,
            e,
            masked=masked,
            lora_rank=call.lora_rank,
            first=top == 1,
            queries=masks,
        )
    )
    layers = sum(each)
    if call.checkpointing:
        layers = top * size * shape.hidden * e + (max(each) if recomputing else 0)
    d = shape.hidden
    rotary, head = 0, 2 * e * (d + 1)
    if shape.layout == "llama":
        rotary, head = 2 * (size + masks) * shape.head_dim * e, max(4, e) * (d + 1)
    elif shape.layout == "modernbert":
        rotary, head = 4 * size * shape.head_dim * e, e * (3 * d + 4)
    return call.batch * (layers + rotary + masks * (head + 24))


def reward_saved(reward: RewardCall, tokens: int, rows: int) -> float:
    """Bytes the reward's graph keeps, down to its input embeddings."""
    shape, span, e = reward.shape, tokens + reward.frame, reward.dtype_bytes
    layers = shape.layers * layer_saved(shape, span, e, masked=True)
    rotary = 2 * span * shape.head_dim * e if shape.layout == "llama" else 0
    embeddings = span * shape.hidden * max(4, e)
    return rows * (layers + rotary + embeddings)


def reward_workspace(reward: RewardCall, call: Call) -> float:
    """What one layer of the reward needs for a moment; a sampled one scores K answers a row."""
    shape, span = reward.shape, call.tokens + reward.frame
    if call.estimator == "relaxed":
        return float(call.batch * span * shape.ffn * reward.dtype_bytes)
    width = 2 * shape.hidden + 3 * shape.ffn
    return float(call.batch * call.num_samples * span * width * reward.dtype_bytes)


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
    lora = call.adapter == "lora" and call.inner_steps > 0
    phi = rows * adapter_parameters(shape, call.adapted(shape), call.lora_rank) * a if lora else 0
    parts = dict.fromkeys(PARTS, 0.0)
    parts["weights"] = weights_bytes(shape, e, call.bits)
    parts["adapter"] = 5.0 * phi
    parts["mask"] = float(rows * size * size * (1 if shape.layout == "llama" else e))
    if reward is not None:
        table = shape.vocab * reward.shape.hidden if call.estimator == "relaxed" else 0
        parts["reward weights"] = reward.dtype_bytes * float(reward.shape.parameters + table)
    guided = call.cfg_scale > 0
    state = float(rows * size * shape.hidden * e * (2 if guided else 1))
    # The unconditional logits, and where they are suppressed.
    beside = one + one / a if guided else 0.0
    if not step.guided:
        inner = (2 if shape.layout == "bert" else 3) * shape.ffn
        trunk = float(rows * size * (2 * shape.hidden + inner) * e)
        last = 2.0 * rows * before * shape.vocab * a
        # Both sides are mixed out of place; later, the likeliest tokens are ranked.
        drawn = max((4 + 1 / a) * one if guided else 0, 2 * one + beside + RANKED * rows * masks)
        return [
            Memory("trunk", parts | {"vocabulary": last, "workspace": trunk}),
            Memory("decoding", parts | {"vocabulary": drawn, "workspace": state}),
        ]
    if guided:
        parts["workspace"] = state

    saved = replay_saved(shape, call, masks)
    kept = 2 * one * before / masks + beside  # the last step's distributions
    # logits, leaf, log_softmax, theta's log_softmax, and of the inner step before: leaf, gradient
    again = call.inner_steps > 1
    held = kept + (4 + (2 if again else 0)) * one
    if lora and step.again and call.carry_over:
        held += one  # theta
    if not lora:
        held += one * (4 if again else 1)  # theta, the offset and its two moments
    prior = 2 * one
    draws = one + 2 * rows * masks * shape.vocab * 8.0
    found = [Memory("sampling", parts | {"activations": saved, "vocabulary": held + prior + draws})]
    if reward is not None:
        sampled = call.estimator == "rloo"
        # Sampled: float64 sums to draw from. Relaxed: the draws, x_phi, and what the bridge keeps.
        mixed = 16.0 * one / a if sampled else (2 + (1 if call.restrict else 0)) * one
        during = parts | {"activations": saved, "vocabulary": held + prior + mixed}
        graph = {"workspace": reward_workspace(reward, call)}
        if not sampled:
            graph["reward activations"] = reward_saved(reward, call.tokens, rows)
            vocabulary = during["vocabulary"] + 3 * one
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
        found.append(Memory("optimiser", parts | {"vocabulary": held + 8 * one}))
    return found
