"""Candidates, their scores, and which are kept: standard, anchored and revisable remasking.

Candidates always come from the adapted model x_phi. `anchored` ranks them by their TILTED
probability and keeps the highest as anchors, `standard` ranks them by the marginal's confidence.
Scores use untempered probabilities: tempering first makes ties, and ties decode left to right.

Invariants of `choose`: exactly `count[b]` of row b's offered positions are kept; a lower block
comes before any higher one; equal scores go left to right.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .codebook import Codebook, LFQCodebook

__all__ = [
    "choose",
    "confidence",
    "margin",
    "quantized_score",
    "sampling_probs",
    "sampling_support",
    "two_likeliest",
    "weakest_committed",
]


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

    Ids rise along a row, probabilities sum to 1, and what a short row leaves empty has
    probability 0. Without top-k and top-p that is every token, and ids are None. The vocabulary is
    not sorted; `temperature` > 0.
    """
    size = log_probs.shape[-1]
    limited = top_k is not None and top_k < size
    if not limited and top_p >= 1:
        return (log_probs / temperature).softmax(-1), None
    if limited:
        ranked, ids = log_probs.topk(min(size, top_k or size), -1)
        probs = (ranked / temperature).softmax(-1)
        if top_p < 1:
            probs = probs * (probs.cumsum(-1) - probs < top_p)
    else:
        probs, ids = _nucleus(log_probs / temperature, top_p)
    order = ids.argsort(-1)
    probs, ids = probs.gather(-1, order), ids.gather(-1, order)
    return probs / probs.sum(-1, keepdim=True), ids


def _nucleus(logits: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The likeliest tokens that together reach `top_p`, `(N, W)` twice; the rest of a row is 0.

    A row that its 64 likeliest do not fill is looked at again, eight times as wide.
    """
    norm = logits.logsumexp(-1, keepdim=True)
    rows = torch.arange(len(logits), device=logits.device)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    width, size = 64, logits.shape[-1]
    while len(rows):
        width = min(width, size)
        ranked, ids = (logits if len(rows) == len(logits) else logits[rows]).topk(width, -1)
        probs = (ranked - norm[rows]).exp()
        before = probs.cumsum(-1) - probs
        done = before[:, -1] + probs[:, -1] >= top_p
        done |= width == size
        found.append((rows[done], (probs * (before < top_p))[done], ids[done]))
        rows, width = rows[~done], 8 * width
    widest = max(ids.shape[-1] for _, _, ids in found if len(ids))
    probs, ids = logits.new_zeros(len(logits), widest), found[0][2].new_zeros(len(logits), widest)
    for rows, some, those in found:
        probs[rows, : some.shape[-1]] = some[:, :widest]
        ids[rows, : those.shape[-1]] = those[:, :widest]
    return probs, ids


def two_likeliest(log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """The two highest log-probabilities `(N, 2)`, and the token of the highest `(N,)`, the lowest
    id of a tie."""
    values, ids = log_probs.topk(2, -1)
    best, tied = ids[:, 0], values[:, 0] == values[:, 1]
    if bool(tied.any()):
        best = best.masked_scatter(tied, log_probs[tied].argmax(-1))
    return values, best


def confidence(kind: str, log_probs: Tensor, candidates: Tensor) -> Tensor:
    """Score of each position for plain and standard remasking, `(N,)`, higher is kept first.

    `maskgit_plus`: probability of the candidate; `topk_margin`: the gap between the two best
    probabilities; `entropy`: minus the entropy.
    """
    if kind == "maskgit_plus":
        return log_probs.gather(-1, candidates[:, None]).squeeze(-1).exp()
    if kind == "topk_margin":
        return margin(log_probs.topk(2, -1).values)
    if kind == "entropy":
        return log_probs.exp().mul_(log_probs).sum(-1)
    raise ValueError(f"alg is 'maskgit_plus', 'topk_margin' or 'entropy' here, got {kind!r}")


def margin(two: Tensor) -> Tensor:
    """The gap between the two best probabilities, whose logarithms are `two (N, 2)`."""
    best = two.exp()
    return best[:, 0] - best[:, 1]


def quantized_score(
    kind: str, log_probs: Tensor, candidates: Tensor, codebook: Codebook | None
) -> Tensor:
    """`anchor_score` of quantised or sampled candidates, `(N,)`.

    `token` is x_phi[candidate]. `bits` is the product over LFQ bits of max(q_b, 1 - q_b) with
    q_b = (1 + xbar_b) / 2: a quantised expectation may have almost no mass as a token.
    """
    if kind == "token":
        return log_probs.gather(-1, candidates[:, None]).squeeze(-1).exp()
    if not isinstance(codebook, LFQCodebook):
        raise ValueError(
            f"anchor_score='bits' needs an operator with an LFQ codebook, got "
            f"{type(codebook).__name__}; use anchor_score='token'"
        )
    q = (1 + codebook.expect(log_probs.exp())) / 2
    return torch.maximum(q, 1 - q).prod(-1)


def choose(
    scores: Tensor,
    offered: Tensor,
    block: Tensor | None,
    count: Tensor,
    committed: Tensor | None = None,
) -> Tensor:
    """Which positions to keep, bool `(B, L)`.

    Args:
        scores: `(B, L)`, read where `offered`.
        offered: `(B, L)` bool; the competing positions.
        block: `(B, L)` int64; lower blocks first. None where all is one block.
        count: `(B,)` int64, at most the offered positions of the row.
        committed: `(B, L)` bool; offered positions that already hold a token compete as if they
            were in the row's lowest block.
    """
    key = torch.where(offered, scores.double(), -math.inf)
    order = key.argsort(dim=-1, descending=True, stable=True)
    if block is not None:
        far = torch.iinfo(torch.long).max
        rank_block = block if committed is None else block.masked_fill(committed, -1)
        rank_block = torch.where(offered, rank_block, far)
        if committed is not None:
            lowest = torch.where(offered & ~committed, block, far).amin(-1, keepdim=True)
            rank_block = torch.where(committed & offered, lowest, rank_block)
        order = order.gather(-1, rank_block.gather(-1, order).argsort(dim=-1, stable=True))
    rank = order.argsort(-1)
    return offered & (rank < count[:, None])


def weakest_committed(score: Tensor, committed: Tensor, alpha_t: float, alpha_s: float) -> Tensor:
    """Committed positions that must compete again, bool `(B, L)` (ReMDM's remasking rate).

    At most a share `(1 - alpha_s) / alpha_t` (and at most half) of a row's committed tokens, the
    ones committed with the lowest score.
    """
    if alpha_t <= 0:
        return torch.zeros_like(committed)
    rate = min(0.5, (1 - alpha_s) / alpha_t)
    count = (committed.sum(-1).double() * rate).floor().long()
    return choose(-score, committed, None, count)
