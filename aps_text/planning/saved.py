"""Bytes a forward keeps for its way back, tensor by tensor: `saved_tensors_hooks` would see them.

Per token (d width, f inner width, e bytes of a number, a bytes of phi's numbers, 4 or 8):

    llama  two norms 2 (4 d + 4); q, k, v, out 4 H d_h e; 4 H; gate, silu, up 3 f e
    bert   two norms 2 (e d + 8); q, k, v, out 4 H d_h e; 4 H; gelu f e
    mask   a copy per layer; under one, grouped keys and values are copied to all heads
    LoRA   the input of each linear map in phi's precision (shared between maps only where the base
           has that precision too), and r numbers
"""

from __future__ import annotations

from .call import Call, RewardCall
from .shape import ModelShape

__all__ = ["layer_saved", "replay_saved", "reward_saved"]


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
    shared = _keys_width(shape, masked)
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
    keys = 2 * _keys_width(shape, masked) * e
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


def _keys_width(shape: ModelShape, masked: bool) -> int:
    """Numbers of a position's keys as the kernel keeps them.

    Under a mask grouped ones are copied to every head, but a single one can be shown to all.
    """
    if masked and shape.kv_heads > 1:
        return shape.attention_width
    return shape.kv_heads * shape.head_dim


def replay_saved(shape: ModelShape, call: Call, masks: int, *, recomputing: bool = False) -> float:
    """Bytes one replay of the adapted layers keeps, all rows, `masks` masked positions a row.

    Checkpointed, these are the layers' inputs, and one whole layer while it is `recomputing`.
    """
    if call.adapter == "logits" or call.inner_steps == 0:
        return 0.0
    top, size, e = call.adapted(shape), call.positions, call.dtype_bytes
    each = [
        layer_saved(shape, size, e, masked=call.masked, lora_rank=call.lora_rank, first=index == 0)
        for index in range(top - 1)
    ]
    each.append(
        layer_saved(
            shape,
            size,
            e,
            masked=call.masked,
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
