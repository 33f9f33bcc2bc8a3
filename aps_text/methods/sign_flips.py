"""The law of z given x in split Gibbs, and proposals that flip the signs of its codes.

    log pi(z | x) = log q(y|z) / beta + #{l: z_l != x_l} log rho
    flip sign b of position l with log odds  g_lb - max(0, log(sum_lb exp(g_lb) / flips)),
    g_lb = min(delta_lb / 2, 2)

delta_lb is what the flip changes in log q / beta to first order, and in the coupling exactly. The
two bounds, in place of the step size of Zhang et al. 2022 (https://arxiv.org/abs/2206.09914), keep
a proposal from turning many signs, or the same one for ever, where the gradient is steep; the
Metropolis-Hastings correction of `split_gibbs` knows them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..core.canvas import positions_of
from ..core.codebook import LFQCodebook, Relaxed
from ..core.objective import sum_rows
from ..core.operator import Operator

__all__ = ["NO_SIGNS", "Conditional"]

STEEP = 2.0
"""The most that half a promised gain counts for in the log odds of a flip."""

NO_SIGNS = (
    "proposal='bit' and 'langevin' turn signs, which {codebook} has not (LFQCodebook has); use "
    "proposal='uniform'"
)
"""The error of a sign proposal for codes that are not signs."""


class Conditional:
    """`log pi(z | x)` without its constant: `log q(y|z) / beta + #{l: z_l != x_l} log rho`.

    Args:
        operator: bound to the B rows.
        x, free: `(B, L)`; bool, the positions that may change.
        log_ratio: log rho.
    """

    def __init__(
        self, operator: Operator, x: Tensor, free: Tensor, log_ratio: float, beta: float
    ) -> None:
        self.operator, self.x, self.free = operator, x, free
        self.log_ratio, self.beta = log_ratio, beta
        self.where = positions_of(free)

    def value(self, z: Tensor) -> Tensor:
        """`(B,)` double."""
        return self._coupled(self.operator.log_prob_ids(z).total, z)

    def _coupled(self, total: Tensor, z: Tensor) -> Tensor:
        differ = (self.free & (z != self.x)).sum(-1)
        return total.detach().to(z.device, torch.double) / self.beta + differ * self.log_ratio

    def flips(self, z: Tensor, flips: float) -> tuple[Tensor, Tensor]:
        """The value `(B,)`, and the log odds `(N, bits)`, double, of flipping each sign."""
        codebook = self.operator.codebook
        if not isinstance(codebook, LFQCodebook):
            raise ValueError(NO_SIGNS.format(codebook=type(codebook).__name__))
        own = z[self.where]
        with torch.enable_grad():
            hot = torch.nn.functional.one_hot(own, codebook.size).float().requires_grad_()
            alive = torch.ones_like(self.free)
            relaxed = Relaxed(z, *self.where, hot, alive, relaxation="expectation")
            total = self.operator.log_prob(relaxed).total
            (grad,) = torch.autograd.grad(total.sum(), hot)
        other = own[:, None] ^ _bits(codebook.bits, z.device)
        change = (grad.gather(1, other) - grad.gather(1, own[:, None])).double() / self.beta
        target = self.x[self.where][:, None]
        change += self.log_ratio * ((other != target).long() - (own[:, None] != target).long())
        gain, rows = (change / 2).clamp_max(STEEP), self.where[0]
        top = gain.new_full((len(z),), -math.inf).scatter_reduce(0, rows, gain.amax(-1), "amax")
        mass = sum_rows((gain - top[rows, None]).exp().sum(-1), rows, len(z))
        excess = (top + mass.log() - math.log(flips)).clamp_min(0)
        return self._coupled(total, z), gain - excess[rows, None]

    def flipped(self, z: Tensor, flip: Tensor) -> Tensor:
        """z with the signs `flip (N, bits)` turned."""
        change = (flip.long() * _bits(flip.shape[-1], z.device)).sum(-1)
        return z.index_put(self.where, z[self.where] ^ change)

    def log_flip(self, flip: Tensor, odds: Tensor) -> Tensor:
        """Log probability `(B,)` of the flips under the log odds, both `(N, bits)`."""
        each = torch.nn.functional.logsigmoid(torch.where(flip, odds, -odds)).sum(-1)
        return sum_rows(each, self.where[0], len(self.free))


def _bits(count: int, device: torch.device) -> Tensor:
    """What each sign adds to a token's id, the most significant first."""
    return 1 << torch.arange(count - 1, -1, -1, device=device)
