"""Which candidates are kept: confidence, margin, anchor scores, and the choice by them.

`anchored` ranks candidates by their TILTED probability and keeps the highest as anchors; `standard`
ranks them by the marginal's confidence (MaskGIT, Chang et al. 2022, https://arxiv.org/abs/2202.04200;
Dream, Ye et al. 2025, https://arxiv.org/abs/2508.15487). ReMDM lets committed tokens compete again
(Wang et al. 2025, https://arxiv.org/abs/2503.00307). Scores use untempered probabilities: tempered
ones have ties, and ties are kept left to right.

Invariants of `choose`: exactly `count[b]` of row b's offered positions are kept; a lower block
comes before any higher one; equal scores go left to right.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .codebook import Codebook, LFQCodebook

__all__ = ["anchor_scores", "choose", "confidence", "margin", "weakest_committed"]


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
    """The gap `(N,)` between the two highest probabilities, given as logarithms `two (N, 2)`."""
    best = two.exp()
    return best[:, 0] - best[:, 1]


def anchor_scores(
    kind: str, log_probs: Tensor, candidates: Tensor, codebook: Codebook | None
) -> Tensor:
    """Scores of quantised or sampled candidates by the setting `anchor_score`, `(N,)`.

    `token` is x_phi[candidate]. `bits` is the product over LFQ bits of max(q_b, 1 - q_b) with
    q_b = (1 + xbar_b) / 2, since a quantised expectation may have almost no probability as a token.

    Raises:
        ValueError: `bits` with a codebook that is not an LFQ codebook.
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
        block: `(B, L)` int64; lower blocks first. None is a single block.
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

    Those of the lowest `score (B, L)`: the fraction `(1 - alpha_s) / alpha_t` of a row's committed
    tokens, at most half of them, rounded down.
    """
    if alpha_t <= 0:
        return torch.zeros_like(committed)
    rate = min(0.5, (1 - alpha_s) / alpha_t)
    count = (committed.sum(-1).double() * rate).floor().long()
    return choose(-score, committed, None, count)
