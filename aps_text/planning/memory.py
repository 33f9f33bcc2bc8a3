"""Peak memory of a call by part, in bytes of tensors (not of the process).

Parts: `weights`; `adapter` (phi, its start, the record, Adam's two moments); `activations` (kept by
a replay of the adapted layers for the backward pass); `vocabulary` (tensors that grow with K:
logits `(N, K)` and what is computed from them); `prompt` (of a causal prompt: kept keys, values and
hidden state); `reward weights` (with the code table: one embedding per generator token); `reward
activations`; `mask` (attention, shared by all layers; the copies a kernel keeps per layer count as
activations); `workspace` (temporary tensors).

The plan is that of the moment of a step with the largest sum. `rehearsal` defines the moments and
counts the sampler's own tensors at each; this module adds those of the model, the adapter and the
reward. A layer keeps per position (d width, f inner width, e bytes of a number, a bytes of phi's
numbers, 4 or 8):

    llama       two norms 2 (a d + a); q, k, v, out 4 H d_h e; 4 H; gate, silu, up 3 f e
    bert        two norms 2 (e d + 2 e); q, k, v, out 4 H d_h e; 4 H; gelu f e
    modernbert  as bert, and 2 d e since values are a slice of the joint projection; gate, gelu, up
                3 f e
    mask        a copy per layer; with a mask, grouped keys and values are copied to all heads
    LoRA        the input of each linear layer in phi's precision (shared between them only if the
                base has that precision, too), and r numbers
"""

from __future__ import annotations

from dataclasses import dataclass

from .call import Call
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


def kept(
    shape: ModelShape,
    positions: int,
    queries: int,
    dtype_bytes: int,
    *,
    masked: bool,
    lora_rank: int | None = None,
    first: bool = False,
) -> float:
    """Bytes that a layer keeps for its backward pass, by the table above.

    Args:
        positions: S, where keys and values are computed.
        queries: Q of them, where the layer's output is.
        masked: whether attention takes a mask.
        lora_rank: r; None is a frozen layer, differentiable in its input only.
        first: its input needs no gradient.
    """
    d, f, e, a = shape.hidden, shape.ffn, dtype_bytes, max(4, dtype_bytes)
    wide, narrow = shape.attention_width, shape.kv_width
    # With a mask, grouped keys are copied to every head, unless there is a single group.
    keys = 2 * e * (wide if masked and shape.kv_heads > 1 else narrow)
    rest = 2 * wide * e + 4 * shape.heads + (positions * e if masked else 0)
    twice = 0  # bytes counted in both parts below, subtracted where it is one tensor
    if shape.layout == "llama":
        norm = 0 if first else a * (d + 1)
        keys, rest, twice = keys + norm, rest + norm + a * (d + 1) + 3 * f * e, norm
        if shape.qk_norm:
            keys += a * (narrow + shape.kv_heads)
            rest += a * (wide + shape.heads)
    elif shape.layout == "modernbert":
        rest += (1 if first else 2) * e * (d + 2) + 2 * d * e + 3 * f * e
    else:
        rest += 2 * e * (d + 2) + f * e
    if lora_rank is not None:
        keys += 2 * lora_rank * a
        rest += (len(shape.maps) - 2) * lora_rank * a
        if a == e:  # linear layers share a saved input; out and up * silu are saved already
            keys, rest, twice = keys + d * a, rest + 2 * d * a + f * a, twice + d * a
        else:
            keys += 2 * d * a
            rest += a * (sum(i for i, _ in shape.maps) - 2 * d)
    if queries == positions or shape.layout == "modernbert":
        return float(positions * (keys + rest - twice))
    return float(positions * keys + queries * rest)


def takes_mask(call: Call) -> bool:
    """Whether the model's attention takes a mask: several rows are planned as padded."""
    return call.batch > 1 or call.shape.causal_prompt


def prompt_bytes(call: Call) -> float:
    """Bytes of what a row keeps of a causal prompt, and of its text where that is kept (while a
    forward runs, of the canvas before it, too): the trunk's keys and values, and its output."""
    shape, trunk = call.shape, call.shape.layers - call.layers
    numbers = 2 * trunk * shape.kv_width + shape.hidden
    columns = 2 * call.positions if call.keeps_text else call.kept_prompt
    return float(columns * numbers * call.number_bytes)


def replay_saved(call: Call, masks: int, *, recomputing: bool = False) -> float:
    """Bytes one replay of the adapted layers keeps, all rows, `masks` masked positions a row.

    Checkpointed, these are the layers' inputs, and one whole layer while it is `recomputing`.
    """
    if call.lora is None:
        return 0.0
    shape, size, e, d = call.shape, call.positions, call.number_bytes, call.shape.hidden
    rank, with_mask = call.lora.rank, takes_mask(call)
    each = [
        kept(shape, size, at, e, masked=with_mask, lora_rank=rank, first=index == 0)
        for index, at in enumerate([size] * (call.layers - 1) + [masks])
    ]
    layers = sum(each)
    if call.checkpointing:
        layers = call.layers * size * d * e + (max(each) if recomputing else 0)
    rotary, head = {
        "bert": (0, 2 * e * (d + 1)),
        "llama": (2 * (size + masks) * shape.head_dim * e, max(4, e) * (d + 1)),
        "modernbert": (4 * size * shape.head_dim * e, e * (3 * d + 4)),
    }[shape.layout]
    return call.batch * (layers + rotary + masks * (head + 24))


def workspace(shape: ModelShape, positions: float, dtype_bytes: int) -> float:
    """Temporary bytes of a layer in a pass without gradient: its input, the sum after attention,
    norms, and the inside of the MLP."""
    hidden, inner = {"bert": (2, 2), "llama": (3, 3), "modernbert": (3, 4)}[shape.layout]
    return float(positions * (hidden * shape.hidden + inner * shape.ffn) * dtype_bytes)


def reward_bytes(call: Call) -> tuple[float, float, float, float]:
    """Of the reward model, for all rows: its weights and the code table; what its graph keeps, from
    the score to the input embeddings; temporaries that score one answer; the inside of an MLP."""
    reward, rows = call.reward, call.batch
    if reward is None:
        return 0.0, 0.0, 0.0, 0.0
    shape, span, e = reward.shape, call.tokens + reward.frame, reward.dtype_bytes
    inputs = span * shape.hidden
    table = 0 if call.config.reward.bridge == "rloo" else call.shape.vocab * shape.hidden
    graph = shape.layers * kept(shape, span, span, e, masked=True) + inputs * max(4, e)
    graph += 2 * span * shape.head_dim * e if shape.layout == "llama" else 0  # rotary angles
    copies = 2 if shape.layout == "bert" else 1  # of the inputs: an encoder normalises them
    scored = copies * inputs * e + workspace(shape, span, e)
    weights = float(e * (shape.parameters + table))
    return weights, rows * graph, rows * scored, float(rows * span * shape.ffn * e)


def plan_memory(call: Call) -> Memory:
    """The memory at the worst moment of the call."""
    shape, rows, size, e = call.shape, call.batch, call.positions, call.number_bytes
    bound = 2 if call.config.model.cfg_scale > 0 else 1  # denoisers: with the prompt, and without
    numbers = call.lora.rank * sum(i + o for i, o in shape.maps) if call.lora else 0
    phi = float(rows * call.layers * numbers * max(4, e))
    # ModernBERT has a second mask for its local layers; that of a causal prompt is of its tokens.
    mask = {"llama": 1, "bert": e, "modernbert": 2 * e}[shape.layout] if takes_mask(call) else 0
    mask *= bound if shape.causal_prompt else 1
    weights, graph, scored, inside = reward_bytes(call)
    state = float(bound * rows * size * shape.hidden * e)
    copies = call.pool if call.rollout > 1 else 1  # rows of the rollouts' forwards
    prompt = bound * rows * prompt_bytes(call)
    held = state if copies > 1 else 0.0
    angles = 0 if shape.layout == "bert" else 4.0 * rows * size * shape.head_dim * e
    masks = max((step.asked for step in call.steps if step.guided), default=0)
    saved, resaved = (replay_saved(call, masks, recomputing=back) for back in (False, True))
    wide = float(rows * size * shape.ffn * max(4, e))  # the backward pass frees kept tensors
    # By moment: activations, reward activations, workspace.
    beside = {
        "trunk": (0.0, 0.0, held + copies * (workspace(shape, rows * size, e) + state + angles)),
        "replay": (0.0, 0.0, held + copies * state),
        "x_theta": (0.0, 0.0, held + copies * state),
        "decoding": (0.0, 0.0, held + copies * state),
        "pool": (0.0, 0.0, state + call.pool * scored),
        "sampling": (saved, 0.0, 0.0),
        "reward": (saved, 0.0, call.draws * scored) if call.draws else (saved, graph, inside),
        "gradient": (saved, 0.0, 0.0),  # the reward's are freed during its backward pass
        "backward": (resaved, 0.0, wide + phi),
        "optimiser": (0.0, 0.0, 4 * phi),
    }
    moments, rolled = [], ("trunk", "replay", "x_theta")
    for name, (vocabulary, rest) in rehearsed(call).items():
        activations, reward_activations, temporary = beside[name]
        parts = {
            "weights": weights_bytes(shape, e, call.bits),
            "adapter": 5 * phi,
            "activations": activations,
            "vocabulary": vocabulary,
            "prompt": prompt * (1 + copies if copies > 1 and name in rolled else 1),
            "reward weights": weights,
            "reward activations": reward_activations,
            "mask": float(copies * rows * size * size * mask),
            "workspace": temporary + rest,
        }
        moments.append(Memory(name, parts))
    return max(moments, key=lambda memory: memory.total)
