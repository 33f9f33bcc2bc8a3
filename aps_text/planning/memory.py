"""Peak memory of a call by part, in bytes of tensors (not of the process).

Parts: `weights`; `adapter` (phi, its start, the record, Adam's two moments); `activations` (kept by
a replay of the adapted layers for the backward pass); `vocabulary` (tensors that grow with K:
logits `(N, K)` and what is computed from them); `reward weights` (with the code table: one
embedding per generator token); `reward activations`; `mask` (attention, shared by all layers; the
copies a kernel keeps per layer count as activations); `workspace` (temporary tensors).

The plan is that of the moment of a step with the largest sum. `rehearsal` defines the moments and
counts the sampler's own tensors at each; this module adds those of the model, the adapter and the
reward.
"""

from __future__ import annotations

from dataclasses import dataclass

from .call import Call, RewardCall
from .layers import kept, workspace
from .rehearsal import rehearsed
from .shape import ModelShape

__all__ = ["Memory", "plan_memory", "replay_saved", "weights_bytes"]


@dataclass(frozen=True)
class Memory:
    """Bytes by part at a moment of the call.

    Attributes:
        moment: its name, see `rehearsal`.
        parts: bytes by part; see the module.
    """

    moment: str
    parts: dict[str, float]

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return sum(self.parts.values())


def weights_bytes(shape: ModelShape, dtype_bytes: int, bits: int | None = None) -> float:
    """Bytes of the model's weights; `bits` compresses the linear layers of the blocks only.

    8 bit: one byte per weight and a float scale per output row (LLM.int8). 4 bit: half a byte per
    weight and a float scale per 64 weights (NF4 without double quantisation).
    """
    linear = shape.layers * shape.map_weights
    if bits is None:
        return float(shape.parameters * dtype_bytes)
    rest = (shape.parameters - linear) * dtype_bytes
    if bits == 8:
        return rest + linear + 4.0 * shape.layers * sum(o for _, o in shape.maps)
    return rest + linear * (0.5 + 4 / 64)


def replay_saved(call: Call, masks: int, *, recomputing: bool = False) -> float:
    """Bytes one replay of the adapted layers keeps, all rows, `masks` masked positions a row.

    Checkpointed, these are the layers' inputs, and one whole layer while it is `recomputing`.
    """
    if call.lora is None:
        return 0.0
    shape, n, size, e = call.shape, call.layers, call.positions, call.number_bytes
    masked, rank = call.masked, call.lora.rank
    each = [
        kept(shape, size, at, e, masked=masked, lora_rank=rank, first=index == 0)
        for index, at in enumerate([size] * (n - 1) + [masks])
    ]
    layers, d = sum(each), shape.hidden
    if call.checkpointing:
        layers = n * size * d * e + (max(each) if recomputing else 0)
    rotary, head = 0, 2 * e * (d + 1)
    if shape.layout == "llama":
        rotary, head = 2 * (size + masks) * shape.head_dim * e, max(4, e) * (d + 1)
    elif shape.layout == "modernbert":
        rotary, head = 4 * size * shape.head_dim * e, e * (3 * d + 4)
    return call.batch * (layers + rotary + masks * (head + 24))


def reward_saved(reward: RewardCall, tokens: int) -> float:
    """Bytes kept by the reward's graph for one row, from its score to its input embeddings."""
    shape, span, e = reward.shape, tokens + reward.frame, reward.dtype_bytes
    layers = shape.layers * kept(shape, span, span, e, masked=True)
    rotary = 2 * span * shape.head_dim * e if shape.layout == "llama" else 0
    return layers + rotary + span * shape.hidden * max(4, e)


def scoring(reward: RewardCall | None, tokens: int) -> float:
    """Bytes a reward needs to score one answer: a layer's temporaries, the input embeddings, and,
    for an encoder, the normed ones."""
    if reward is None:
        return 0.0
    positions, e = tokens + reward.frame, reward.dtype_bytes
    copies = 2 if reward.shape.layout == "bert" else 1
    return copies * positions * reward.shape.hidden * e + workspace(reward.shape, positions, e)


def plan_memory(call: Call) -> Memory:
    """The memory at the worst moment of the call."""
    shape, reward, rows = call.shape, call.reward, call.batch
    size, e, d = call.positions, call.number_bytes, call.shape.hidden
    numbers = call.lora.rank * sum(i + o for i, o in shape.maps) if call.lora else 0
    phi = float(rows * call.layers * numbers * max(4, e))
    # ModernBERT has a second mask for its local layers.
    mask = {"llama": 1, "bert": e, "modernbert": 2 * e}[shape.layout] if call.masked else 0
    table = weights = graph = scored = inside = 0.0
    if reward is not None:
        table = 0 if call.config.reward.bridge == "rloo" else shape.vocab * reward.shape.hidden
        weights = reward.dtype_bytes * (reward.shape.parameters + table)
        scored = rows * scoring(reward, call.tokens)
        graph = 0 if call.draws else rows * reward_saved(reward, call.tokens)
        span = call.tokens + reward.frame
        inside = rows * span * reward.shape.ffn * reward.dtype_bytes
    fixed = {
        "weights": weights_bytes(shape, e, call.bits),
        "adapter": 5 * phi,
        "activations": 0.0,
        "vocabulary": 0.0,
        "reward weights": float(weights),
        "reward activations": 0.0,
        "mask": float(rows * size * size * mask),
    }
    state = float(rows * size * d * e * (2 if call.config.model.cfg_scale > 0 else 1))
    angles = 0 if shape.layout == "bert" else 4.0 * rows * size * shape.head_dim * e
    masks = max((step.asked for step in call.steps if step.guided), default=0)
    saved = {"activations": replay_saved(call, masks)}
    wide = float(rows * size * shape.ffn * max(4, e))  # the backward pass frees kept tensors
    beside = {
        "trunk": {"workspace": workspace(shape, rows * size, e) + state + angles},
        "replay": {"workspace": state},
        "decoding": {"workspace": state},
        "pool": {"workspace": state + call.pool * scored},
        "sampling": saved,
        "reward": {
            **saved,
            "reward activations": graph,
            "workspace": call.draws * scored if call.draws else inside,
        },
        "gradient": saved,  # the reward's are freed during its backward pass
        "backward": {
            "activations": replay_saved(call, masks, recomputing=True),
            "workspace": wide + phi,
        },
        "optimiser": {"workspace": 4 * phi},
    }
    moments = []
    for name, (vocabulary, rest) in rehearsed(call).items():
        parts = {**fixed, **beside[name], "vocabulary": vocabulary}
        parts["workspace"] = parts.get("workspace", 0.0) + rest
        moments.append(Memory(name, parts))
    return max(moments, key=lambda memory: memory.total)
