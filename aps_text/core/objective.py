"""The surrogate objective of one denoising step (slides, Approximation 3).

    prior="overlap":  L_t = -c sum_l log <x_phi^l, x_theta^l>   - w log q(y | x~_phi) / beta
    prior="kl":       L_t =  c sum_l KL(x_phi^l || x_theta^l)   - w log q(y | x~_phi) / beta

summed over the masked positions l of a row; `c = (alpha_s - alpha_t) / (1 - alpha_t)`, which is
revealed / masked of the row. The normaliser of the theorem is stop-gradient: the tilted
distribution is normalised by softmax. Shapes: log-probabilities `(N, K)` over N masked positions,
`rows (N,)` names the row of each, results are `(B,)`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = [
    "kl_rows",
    "likelihood_weight",
    "log_softmax_and_probs",
    "prior_term",
    "sum_rows",
    "trust_region",
]


class _LogSoftmaxAndProbs(torch.autograd.Function):
    """One exponential forward and none backward; the stock pair takes two and one."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = logits.log_softmax(-1)
        probs = log_probs.exp()
        ctx.save_for_backward(probs)
        ctx.set_materialize_grads(False)
        return log_probs, probs

    @staticmethod
    def backward(ctx: Any, by_log: Tensor | None, by_probs: Tensor | None) -> Tensor | None:
        (probs,) = ctx.saved_tensors
        grad = None if by_probs is None else probs * by_probs
        if grad is not None and by_log is not None:
            grad += by_log
        elif by_log is not None:
            grad = by_log.clone()
        return None if grad is None else grad.addcmul_(probs, grad.sum(-1, keepdim=True), value=-1)


def log_softmax_and_probs(logits: Tensor) -> tuple[Tensor, Tensor]:
    """`log x` and `x`, both `(N, K)` and on the graph of the logits."""
    return _LogSoftmaxAndProbs.apply(logits)


def sum_rows(values: Tensor, rows: Tensor, batch: int) -> Tensor:
    """Sum `(N, ...)` values by row into `(B, ...)`."""
    return values.new_zeros(batch, *values.shape[1:]).index_add(0, rows, values)


def prior_term(
    kind: str,
    log_phi: Tensor,
    log_theta: Tensor,
    rows: Tensor,
    fraction: Tensor,
    probs: Tensor | None = None,
) -> Tensor:
    """The prior's part of the loss, `(B,)`, >= 0.

    Args:
        kind: `overlap | kl | none`.
        log_phi, log_theta: `(N, K)` normalised log-probabilities; gradient flows into `log_phi`.
        rows: `(N,)` row of each position.
        fraction: `(B,)` c, the share of the row's masks revealed at this step.
        probs: `(N, K)` `exp(log_phi)` where it is known, on the graph of the same logits.
    """
    if kind == "overlap":
        each = -(log_phi + log_theta).logsumexp(-1)
    elif kind == "kl" and probs is not None:
        # sum_k x[k] d log x[k] = 0, so the gradient comes through x alone.
        each = (probs * (log_phi.detach() - log_theta)).sum(-1)
    elif kind == "kl":
        each = (log_phi.exp() * (log_phi - log_theta)).sum(-1)
    elif kind == "none":
        return torch.zeros_like(fraction)
    else:
        raise ValueError(f"prior is 'overlap', 'kl' or 'none', got {kind!r}")
    return fraction * sum_rows(each, rows, len(fraction))


def likelihood_weight(kind: str | float, fraction: Tensor, length: Tensor) -> Tensor:
    """`w` per row, `(B,)`: `length` = L (the row's `length`), `posterior` = c, or the number."""
    if kind == "length":
        return length.to(fraction)
    if kind == "posterior":
        return fraction
    return torch.full_like(fraction, float(kind))


def kl_rows(log_phi: Tensor, log_theta: Tensor, rows: Tensor, batch: int) -> Tensor:
    """Mean KL(x_phi || x_theta) per masked position of each row, nats, `(B,)`; 0 without masks."""
    each = (log_phi.exp() * (log_phi - log_theta)).sum(-1)
    count = sum_rows(torch.ones_like(each), rows, batch)
    return sum_rows(each, rows, batch) / count.clamp_min(1)


def trust_region(
    log_phi: Tensor, log_theta: Tensor, rows: Tensor, batch: int, bound: float
) -> Tensor:
    """Pull rows beyond the bound back onto it: `log x ~ log_theta + s (log_phi - log_theta)`.

    `s` in [0, 1] is one number per row, found by bisection (the KL grows with s); rows within the
    bound are returned bit-identical. `(N, K)` normalised log-probabilities.
    """
    beyond = kl_rows(log_phi, log_theta, rows, batch) > bound
    if not bool(beyond.any()):
        return log_phi
    inside = ~beyond[rows]
    picked = (~inside).nonzero().squeeze(-1)
    theta, phi, owner = log_theta[picked], log_phi[picked], rows[picked]
    low = torch.zeros(batch, dtype=phi.dtype, device=phi.device)
    high = torch.ones_like(low)
    for _ in range(16):
        middle = (low + high) / 2
        trial = (theta + middle[owner, None] * (phi - theta)).log_softmax(-1)
        over = kl_rows(trial, theta, owner, batch) > bound
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    pulled = (theta + low[owner, None] * (phi - theta)).log_softmax(-1)
    return log_phi.index_put((picked,), pulled)
