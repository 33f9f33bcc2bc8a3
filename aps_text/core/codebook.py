"""Codes `c_k` and the quantised expectation, which carry a reward's gradient to the distributions.

    xbar^l = sum_k c_k x_phi^l[k]        expected code
    x^l    = Q(xbar^l)                   quantised to a code of the book (or argmax, or a sample)
    x~^l   = xbar^l + sg[x^l - xbar^l]   straight-through: forward = x^l, gradient = d xbar^l

Shapes: probabilities `(N, K)` over the N masked positions, codes `(N, d)`. Sources: the quantised
expectation of anchored posterior sampling; `relaxation="entropy"` is EntRGi's
`x~ = xbar + w sg[x - xbar]` with `w = H(p) / log K` per position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Codebook", "LFQCodebook", "Relaxed", "VectorCodebook"]


class Codebook(Protocol):
    """K codes of dimension d, one per token id of the denoiser's vocabulary."""

    def embed(self, ids: Tensor) -> Tensor:
        """Codes of token ids: any shape `S` of int64 -> `S + (d,)`."""
        ...

    def expect(self, probs: Tensor) -> Tensor:
        """Expected codes `xbar = p @ C`: `(N, K)` -> `(N, d)`, differentiable in `probs`."""
        ...

    def nearest(self, codes: Tensor) -> Tensor:
        """Ids of the nearest codes (Euclidean): `(N, d)` -> `(N,)`."""
        ...

    def tilt(self, u: Tensor) -> Tensor:
        """Logits `<u, c_k>` of every code: `(N, d)` -> `(N, K)`, differentiable in `u`."""
        ...


class VectorCodebook:
    """Codes given as rows of a table, e.g. a reward's token embeddings behind a vocabulary bridge.

    Args:
        table: `(K, d)` floating point, one code per token id.
        allowed: optional `(K,)` bool; ids outside carry no code of their own: their probability is
            removed and the rest renormalised (the bridge's `restrict` policy), and `nearest` never
            returns them.
    """

    def __init__(self, table: Tensor, allowed: Tensor | None = None) -> None:
        if table.ndim != 2 or not table.is_floating_point():
            raise TypeError(
                f"a code table is a floating (K, d) matrix, got {tuple(table.shape)} {table.dtype}"
            )
        self.table = table
        self.allowed = None if allowed is None or bool(allowed.all()) else allowed

    @property
    def size(self) -> int:
        """K, the number of codes."""
        return len(self.table)

    def embed(self, ids: Tensor) -> Tensor:
        """See `Codebook.embed`."""
        return self.table[ids.to(self.table.device)]

    def expect(self, probs: Tensor) -> Tensor:
        """See `Codebook.expect`; gradients flow back across devices and dtypes."""
        probs = probs.to(self.table)
        if self.allowed is not None:
            probs = probs * self.allowed
            probs = probs / probs.sum(-1, keepdim=True).clamp_min(torch.finfo(probs.dtype).tiny)
        return probs @ self.table

    def nearest(self, codes: Tensor) -> Tensor:
        """See `Codebook.nearest`."""
        # |x - c|^2 without the row-constant |x|^2.
        distance = self.table.square().sum(-1) - 2 * codes.to(self.table) @ self.table.T
        if self.allowed is not None:
            distance = distance.masked_fill(~self.allowed, math.inf)
        return distance.argmin(-1)

    def tilt(self, u: Tensor) -> Tensor:
        """See `Codebook.tilt`; ids without a code of their own are not tilted."""
        logits = u @ self.table.to(u).T
        return logits if self.allowed is None else logits * self.allowed.to(u.device)


class LFQCodebook:
    """Lookup-free quantiser: token id k is `bits` signs in {-1, +1}, most significant bit first.

    `xbar` has `bits` entries; `Q` is the sign, with 0 -> -1. The token nearest to `xbar` may have
    almost no probability under the prior; that is intended.

    Attributes:
        codes: `(K, bits)` float32, every code. Expected codes are one product with it.
    """

    def __init__(self, bits: int) -> None:
        if bits < 1:
            raise ValueError(f"an LFQ codebook needs bits >= 1, got {bits}")
        self.bits = bits
        self.size = 2**bits
        self.codes = self.embed(torch.arange(self.size))
        self._placed: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def embed(self, ids: Tensor) -> Tensor:
        """See `Codebook.embed`; float32 signs."""
        shifts = torch.arange(self.bits - 1, -1, -1, device=ids.device)
        return ((ids.unsqueeze(-1) >> shifts) & 1).float() * 2 - 1

    def expect(self, probs: Tensor) -> Tensor:
        """See `Codebook.expect`: `E[bit] = 2 p(bit = 1) - 1` per bit, for a normalised `p`."""
        return probs @ self._codes(probs)

    def tilt(self, u: Tensor) -> Tensor:
        """See `Codebook.tilt`."""
        return u @ self._codes(u).T

    def _codes(self, like: Tensor) -> Tensor:
        key = (like.device, like.dtype)
        if key not in self._placed:
            with torch.inference_mode(False):  # the cache also serves calls that need gradients
                self._placed[key] = self.codes.to(like)
        return self._placed[key]

    def nearest(self, codes: Tensor) -> Tensor:
        """See `Codebook.nearest`: the sign of each coordinate."""
        shifts = torch.arange(self.bits - 1, -1, -1, device=codes.device)
        return ((codes > 0).long() << shifts).sum(-1)


@dataclass
class Relaxed:
    """A canvas whose masked positions are distributions: the input of `Operator.log_prob`.

    Each operator embeds it with its OWN codebook, so two rewards with two tokenizers see two x~.

    Attributes:
        ids: `(B, L)` int64; committed tokens, and a hard candidate at every masked position.
        rows, cols: `(N,)` int64; where the masked positions are.
        probs: `(N, K)`; `x_phi` there, carrying the gradient.
        alive: `(B, L)` bool; positions before the row's stop token.
        relaxation: `quantized | expectation | entropy | gumbel`.
        quantizer: for `quantized` and `entropy`: `nearest` quantises `xbar` in the codebook;
            `argmax` and `sample` use `ids`.
        gumbel: `(N, K)` Gumbel noise, for `relaxation="gumbel"` only.
        temperature: of the Gumbel-softmax, > 0.
    """

    ids: Tensor
    rows: Tensor
    cols: Tensor
    probs: Tensor
    alive: Tensor
    relaxation: str = "quantized"
    quantizer: str = "nearest"
    gumbel: Tensor | None = None
    temperature: float = 1.0

    def masked_codes(self, codebook: Codebook) -> Tensor:
        """`x~` at the masked positions, `(N, d)`, by the chosen relaxation."""
        probs = self.probs
        if self.relaxation == "gumbel":
            if self.gumbel is None:
                raise ValueError("relaxation='gumbel' needs the gumbel noise, got None")
            tiny = torch.finfo(probs.dtype).tiny
            logits = probs.clamp_min(tiny).log() + self.gumbel.to(probs)
            probs = (logits / self.temperature).softmax(-1)
        xbar = codebook.expect(probs)
        if self.relaxation == "expectation":
            return xbar
        if self.relaxation == "gumbel":
            hard = codebook.embed(probs.argmax(-1)).to(xbar)
        elif self.quantizer == "nearest":
            hard = codebook.embed(codebook.nearest(xbar.detach())).to(xbar)
        else:
            hard = codebook.embed(self.ids[self.rows, self.cols]).to(xbar)
        pull = (hard - xbar).detach()
        if self.relaxation == "entropy":
            pull = pull * entropy_weight(probs.detach()).to(xbar)[:, None]
        return xbar + pull

    def codes(self, codebook: Codebook) -> Tensor:
        """The whole canvas in codes, `(B, L, d)`: committed codes, and `x~` where masked."""
        soft = self.masked_codes(codebook)
        fixed = codebook.embed(self.ids).to(soft)
        index = (self.rows.to(soft.device), self.cols.to(soft.device))
        return fixed.index_put(index, soft)


def entropy_weight(probs: Tensor) -> Tensor:
    """EntRGi's `w = H(p) / log K` in [0, 1], `(N, K)` -> `(N,)`."""
    entropy = -torch.xlogy(probs, probs).sum(-1)
    return (entropy / math.log(max(2, probs.shape[-1]))).clamp(0, 1)
