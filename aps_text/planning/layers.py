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

from .shape import ModelShape

__all__ = ["back", "forward", "kept", "lora_back", "lora_forward", "workspace"]


def forward(shape: ModelShape, positions: int, queries: int) -> float:
    """Operations of a layer on S `positions`, with its output at Q `queries` of them."""
    maps = sum(at * i * o for at, i, o in _maps(shape, positions, queries))
    return 2.0 * maps + 4.0 * _scored(shape, positions, queries)


def back(shape: ModelShape, positions: int, queries: int, *, first: bool = False) -> float:
    """Operations of the backward pass of a frozen layer; `first`: its input needs no gradient."""
    below = sum(at * i * o for at, i, o in _entry(shape, positions, queries)) if first else 0
    return (
        forward(shape, positions, queries) + 6.0 * _scored(shape, positions, queries) - 2.0 * below
    )


def lora_forward(shape: ModelShape, positions: int, queries: int, rank: int) -> float:
    """Operations of the low-rank maps of a layer."""
    return 2.0 * rank * sum(at * (i + o) for at, i, o in _maps(shape, positions, queries))


def lora_back(
    shape: ModelShape, positions: int, queries: int, rank: int, *, first: bool = False
) -> float:
    """Operations of the backward pass of a layer's low-rank maps."""
    below = sum(at * i for at, i, _ in _entry(shape, positions, queries)) if first else 0
    return 2 * lora_forward(shape, positions, queries, rank) - 2.0 * rank * below


def _maps(shape: ModelShape, positions: int, queries: int) -> list[tuple[int, int, int]]:
    """For each linear layer: the number of positions it runs at, and its input and output size."""
    if shape.layout == "modernbert":
        return [(positions, i, o) for i, o in shape.maps]
    places = [queries, positions, positions, *[queries] * len(shape.maps)]
    return [(at, i, o) for at, (i, o) in zip(places, shape.maps, strict=False)]


def _entry(shape: ModelShape, positions: int, queries: int) -> list[tuple[int, int, int]]:
    """The linear layers that read the layer's input, as in `_maps`."""
    return _maps(shape, positions, queries)[: 1 if shape.layout == "modernbert" else 3]


def _scored(shape: ModelShape, positions: int, queries: int) -> int:
    """Q S H d_h, the multiplications of queries with keys."""
    at = positions if shape.layout == "modernbert" else queries
    return at * positions * shape.attention_width


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
