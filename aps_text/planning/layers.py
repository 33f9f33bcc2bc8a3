"""One layer on one row: operations, and the bytes that autograd keeps for the backward pass.

A layer runs at S positions. The generator's last layer computes keys and values everywhere and its
output only at Q positions, where logits are needed; every other layer has Q = S, and so has
ModernBERT's last one, which takes no cache of keys.

    forward   2 S (weights of k, v) + 2 Q (the other weights) + 4 Q S H d_h
    back      the same for the linear layers, which are frozen (only their inputs need a gradient,
              and nothing below the first adapted layer), 2.5 times for attention (probabilities
              are recomputed)
    LoRA      2 r (in + out) per linear layer and position, twice that backward

Kept per position (d width, f inner width, e bytes of a number, a bytes of phi's numbers, 4 or 8):

    llama       two norms 2 (a d + a); q, k, v, out 4 H d_h e; 4 H; gate, silu, up 3 f e
    bert        two norms 2 (e d + 2 e); q, k, v, out 4 H d_h e; 4 H; gelu f e
    modernbert  as bert, and 2 d e since values are a slice of the joint projection; gate, gelu, up
                3 f e
    mask        a copy per layer; with a mask, grouped keys and values are copied to all heads
    LoRA        the input of each linear layer in phi's precision (shared between them only if the
                base has that precision, too), and r numbers
"""

from __future__ import annotations

from typing import NamedTuple

from .shape import ModelShape

__all__ = ["Operations", "kept", "operations", "workspace"]


class Operations(NamedTuple):
    """Of one layer: forward and back, and what its low-rank maps add to each."""

    forward: float
    back: float
    lora_forward: float
    lora_back: float


def operations(
    shape: ModelShape, positions: int, queries: int, *, rank: int = 0, first: bool = False
) -> Operations:
    """Of a layer on S `positions`, with its output at Q `queries` of them.

    Args:
        rank: r of LoRA; 0 is none.
        first: the layer's input needs no gradient.
    """
    joined = shape.layout == "modernbert"
    queries = positions if joined else queries
    others = [queries] * (len(shape.maps) - 3)
    places = [positions] * len(shape.maps) if joined else [queries, positions, positions, *others]
    maps = [(at, i, o) for at, (i, o) in zip(places, shape.maps, strict=True)]
    entry = maps[: 1 if joined else 3] if first else []  # they read the layer's input
    scored = queries * positions * shape.attention_width
    linear = 2.0 * sum(at * i * o for at, i, o in maps)
    lora = 2.0 * rank * sum(at * (i + o) for at, i, o in maps)
    return Operations(
        forward=linear + 4.0 * scored,
        back=linear + 10.0 * scored - 2.0 * sum(at * i * o for at, i, o in entry),
        lora_forward=lora,
        lora_back=2 * lora - 2.0 * rank * sum(at * i for at, i, _ in entry),
    )


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
    """Bytes that a layer on S `positions`, with its output at Q `queries`, keeps for its backward.

    Args:
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


def workspace(shape: ModelShape, positions: float, dtype_bytes: int) -> float:
    """Temporary bytes of a layer in a pass without gradient: its input, the sum after attention,
    norms, and the inside of the MLP."""
    hidden, inner = {"bert": (2, 2), "llama": (3, 3), "modernbert": (3, 4)}[shape.layout]
    return float(positions * (hidden * shape.hidden + inner * shape.ffn) * dtype_bytes)
