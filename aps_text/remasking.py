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

__all__ = ["choose", "confidence", "quantized_score", "sampling_probs", "weakest_committed"]


def sampling_probs(
    log_probs: Tensor, temperature: float, top_p: float = 1.0, top_k: int | None = None
) -> Tensor:
    """The distribution a candidate is drawn from: tempered, then top-k, then top-p; `(N, K)`.

    Temperature 0 is a point mass at the argmax (the lowest id of a tie).
    """
    if temperature == 0:
        best = log_probs.argmax(-1, keepdim=True)
        return torch.zeros_like(log_probs).scatter(-1, best, 1.0)
    probs = (log_probs / temperature).softmax(-1)
    if top_k is not None and top_k < probs.shape[-1]:
        least = probs.topk(top_k, -1).values[:, -1:]
        probs = probs.masked_fill(probs < least, 0.0)
    if top_p < 1:
        probs = _nucleus(probs, top_p)
    return probs / probs.sum(-1, keepdim=True)


def _nucleus(probs: Tensor, top_p: float) -> Tensor:
    """The likeliest tokens that together reach `top_p`, the rest 0; no sort of the vocabulary."""
    total = top_p * probs.sum(-1, keepdim=True)
    width, size = 64, probs.shape[-1]
    while True:
        ranked, order = probs.topk(min(width, size), -1)
        before = ranked.cumsum(-1) - ranked
        if width >= size or bool((before[:, -1:] + ranked[:, -1:] >= total).all()):
            return torch.zeros_like(probs).scatter(-1, order, ranked * (before < total))
        width *= 8


def confidence(kind: str, log_probs: Tensor, candidates: Tensor) -> Tensor:
    """Score of each position for plain and standard remasking, `(N,)`, higher is kept first.

    `maskgit_plus`: probability of the candidate; `topk_margin`: the gap between the two best
    probabilities; `entropy`: minus the entropy.
    """
    if kind == "maskgit_plus":
        return log_probs.gather(-1, candidates[:, None]).squeeze(-1).exp()
    if kind == "topk_margin":
        best = log_probs.topk(2, -1).values.exp()
        return best[:, 0] - best[:, 1]
    if kind == "entropy":
        return (log_probs.exp() * log_probs).sum(-1)
    raise ValueError(f"alg is 'maskgit_plus', 'topk_margin' or 'entropy' here, got {kind!r}")


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
    scores: Tensor, offered: Tensor, block: Tensor, count: Tensor, committed: Tensor | None = None
) -> Tensor:
    """Which positions to keep, bool `(B, L)`.

    Args:
        scores: `(B, L)`, read where `offered`.
        offered: `(B, L)` bool; the competing positions.
        block: `(B, L)` int64; lower blocks first.
        count: `(B,)` int64, at most the offered positions of the row.
        committed: `(B, L)` bool; offered positions that already hold a token compete as if they
            were in the row's lowest block.
    """
    key = torch.where(offered, scores.double(), -math.inf)
    order = key.argsort(dim=-1, descending=True, stable=True)
    far = torch.iinfo(torch.long).max
    rank_block = block if committed is None else block.masked_fill(committed, -1)
    rank_block = torch.where(offered, rank_block, far)
    if committed is not None:
        lowest = torch.where(offered & ~committed, block, far).amin(-1, keepdim=True)
        rank_block = torch.where(committed & offered, lowest, rank_block)
    order = order.gather(-1, rank_block.gather(-1, order).argsort(dim=-1, stable=True))
    positions = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    rank = torch.empty_like(order).scatter(-1, order, positions)
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
    return choose(-score, committed, torch.zeros_like(committed, dtype=torch.long), count)
