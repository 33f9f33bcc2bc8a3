"""How a candidate token is drawn: stop bias, temperature, top-k, top-p, and the draw.

    p' ~ nucleus_{top_p}( top_k( softmax(log p / temperature) ) )

Shapes: log-probabilities `(N, K)` at N positions. The nucleus (Holtzman et al. 2020,
https://arxiv.org/abs/1904.09751) is the smallest set of the likeliest tokens that reaches `top_p`.
The vocabulary is never sorted.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .canvas import Canvas
from .noise import Noise
from .protocols import SUPPRESSED, Where

__all__ = [
    "draw_tokens",
    "sampling_probs",
    "sampling_support",
    "stop_bias",
    "two_likeliest",
]


def stop_bias(
    canvas: Canvas, where: Where, eos_penalty: float, min_new_tokens: int
) -> Callable[[Tensor], Tensor]:
    """`eos_penalty` and `min_new_tokens` as a function of logits `(N, K)`, of theta and of phi."""
    if not canvas.stop_ids or (eos_penalty == 0 and min_new_tokens == 0):
        return lambda logits: logits
    rows, cols = where
    offset = canvas.editable.long().cumsum(-1)[rows, cols] - 1
    early = offset < min_new_tokens
    stops = torch.tensor(canvas.stop_ids, device=cols.device)

    def bias(logits: Tensor) -> Tensor:
        shift = logits.new_full(early.shape, -eos_penalty).masked_fill(early, SUPPRESSED)
        return logits.index_add(1, stops, shift[:, None].expand(-1, len(stops)))

    return bias


def draw_tokens(
    noise: Noise,
    where: Where,
    index: int,
    probs: Tensor,
    ids: Tensor | None,
    stream: str,
    size: int | None = None,
) -> Tensor:
    """One token per position `(N,)` from `probs (N, W)` over `ids (N, W)` (None: all tokens) of a
    vocabulary of `size` (None: W)."""
    drawn = noise.categorical(probs, *where, index, stream, ids, size)
    return drawn if ids is None else ids.gather(-1, drawn[:, None]).squeeze(-1)


def sampling_probs(
    log_probs: Tensor, temperature: float, top_p: float = 1.0, top_k: int | None = None
) -> Tensor:
    """The distribution a candidate is drawn from: tempered, then top-k, then top-p; `(N, K)`.

    Temperature 0 is a point mass at the argmax (the lowest id of a tie).
    """
    if temperature == 0:
        best = log_probs.argmax(-1, keepdim=True)
        return torch.zeros_like(log_probs).scatter(-1, best, 1.0)
    probs, ids = sampling_support(log_probs, temperature, top_p, top_k)
    if ids is None:
        return probs
    return torch.zeros_like(log_probs).scatter_add(-1, ids, probs)


def sampling_support(
    log_probs: Tensor, temperature: float, top_p: float = 1.0, top_k: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Probabilities `(N, W)` and token ids `(N, W)` of `sampling_probs` where it is not 0.

    Ids ascend along a row and probabilities sum to 1; rows with fewer than W tokens are padded
    with probability 0. Without top-k and top-p all tokens are returned, W = K, and ids are None.
    `temperature` must be > 0.
    """
    size = log_probs.shape[-1]
    limited = top_k is not None and top_k < size
    if not limited and top_p >= 1:
        return (log_probs / temperature).softmax(-1), None
    if limited:
        ranked, ids = log_probs.topk(min(size, top_k or size), -1)
        probs = (ranked / temperature).softmax(-1)
        if top_p < 1:
            probs = probs * _reaching(probs, top_p)
    else:
        probs, ids = _nucleus(log_probs / temperature, top_p)
    order = ids.argsort(-1)
    probs, ids = probs.gather(-1, order), ids.gather(-1, order)
    return probs / probs.sum(-1, keepdim=True), ids


def _nucleus(logits: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Probabilities and ids `(N, W)` of the likeliest tokens that reach `top_p`; padded with 0.

    A row whose 64 likeliest tokens do not reach `top_p` is searched again, eight times as wide.
    """
    norm = logits.logsumexp(-1, keepdim=True)
    rows = torch.arange(len(logits), device=logits.device)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    width, size = 64, logits.shape[-1]
    while len(rows) or not found:
        width = min(width, size)
        ranked, ids = (logits if len(rows) == len(logits) else logits[rows]).topk(width, -1)
        probs = (ranked - norm[rows]).exp()
        done = probs.cumsum(-1)[:, -1] >= top_p
        done |= width == size
        found.append((rows[done], (probs * _reaching(probs, top_p))[done], ids[done]))
        rows, width = rows[~done], 8 * width
    widest = max((ids.shape[-1] for _, _, ids in found if len(ids)), default=1)
    probs, ids = logits.new_zeros(len(logits), widest), found[0][2].new_zeros(len(logits), widest)
    for rows, some, those in found:
        probs[rows, : some.shape[-1]] = some[:, :widest]
        ids[rows, : those.shape[-1]] = those[:, :widest]
    return probs, ids


def _reaching(probs: Tensor, top_p: float) -> Tensor:
    """Which of the ranked tokens `(N, W)` are needed to reach `top_p`; the first always is."""
    needed = probs.cumsum(-1) - probs < top_p
    needed[:, 0] = True  # also where `top_p` is 0 in the tensor's dtype
    return needed


def two_likeliest(log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """The two highest log-probabilities `(N, 2)`, and the token of the highest `(N,)`, the lowest
    id of a tie."""
    values, ids = log_probs.topk(2, -1)
    best, tied = ids[:, 0], values[:, 0] == values[:, 1]
    if bool(tied.any()):
        best = best.masked_scatter(tied, log_probs[tied].argmax(-1))
    return values, best
