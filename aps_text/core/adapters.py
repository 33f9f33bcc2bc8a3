"""Adapters (phi) that need no backward pass through the model, and the optimiser all kinds share.

    logits   log x_phi = log x_theta + o_l[k] - log Z_l          K parameters per position
    codes    log x_phi = log x_theta + <u_l, c_k> - log Z_l      d parameters per position

For an operator that sees probabilities only through the expected code `sum_k p_k c_k`, the optimum
of `c KL(x_phi || x_theta) - (w / beta) log q` lies in the second family: its stationary points are
`log x_phi = log x_theta + (w / (c beta)) <grad, c_k>`, up to normalisation.

The LoRA adapter is in `aps_text.models.lora`; the interface is `protocols.Adapter`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .codebook import Codebook
from .objective import sum_rows
from .protocols import Denoiser, Where

__all__ = ["CodeTilt", "LogitsAdapter", "RowAdam"]


class RowAdam:
    """Adam (Kingma & Ba 2015) on one tensor with a leading row axis, gated per row.

    eps is relative: `eps * rms`, with the root mean square of the row's gradient. So the step does
    not depend on the reward's scale, and an entry whose gradient is rounding noise beside the
    row's other entries moves by much less than the learning rate.
    """

    def __init__(
        self,
        value: Tensor,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 0.1,
    ) -> None:
        self.value = value
        self.lr, self.betas, self.eps = lr, betas, eps
        self.mean = torch.zeros_like(value)
        self.square = torch.zeros_like(value)
        self.count = torch.zeros(len(value), dtype=torch.long, device=value.device)

    @torch.no_grad()
    def step(self, grad: Tensor, gate: Tensor, scale: Tensor | None = None) -> None:
        """Descend along `grad` (the value's shape) in the rows where `gate (B,)` is True.

        Args:
            scale: `(B,)` the gradient's rms; None computes it over all entries of each row.
        """
        shape = (-1,) + (1,) * (grad.ndim - 1)
        one, two = self.betas
        # Update in place and restore the closed rows afterwards: fewer passes over memory.
        closed = (~gate).nonzero().squeeze(-1)
        kept = self.value[closed], self.mean[closed], self.square[closed]
        self.count += gate.long()
        self.mean.lerp_(grad, 1 - one)
        self.square.mul_(two).addcmul_(grad, grad, value=1 - two)
        count = self.count.clamp_min(1).to(grad.dtype).view(shape)
        if scale is None:
            scale = grad.square().flatten(1).mean(1).sqrt()
        root = (self.square / (1 - two**count)).sqrt_()
        root += self.eps * scale.view(shape) + torch.finfo(grad.dtype).tiny
        step = (self.mean / (1 - one**count)).div_(root).mul_(self.lr)
        self.value = self.value - step
        self.value[closed], self.mean[closed], self.square[closed] = kept

    def take(self, rows: Tensor) -> RowAdam:
        """The optimiser of other rows, `(B',)` int64."""
        other = RowAdam(self.value[rows], self.lr, self.betas, self.eps)
        other.mean, other.square = self.mean[rows], self.square[rows]
        other.count = self.count[rows]
        return other


class LogitsAdapter:
    """phi = an offset of the logits at the masked positions, reset to 0 at every denoising step.

    No backward pass through the denoiser: M inner steps cost one forward. The APS authors' text
    code uses this adapter.
    """

    def __init__(self, batch: int, lr: float, eps: float = 0.1) -> None:
        self.batch, self.lr, self.eps = batch, lr, eps

    def begin(self, denoiser: Denoiser, state: Any, where: Where) -> None:
        """One forward for theta; the offset starts at 0."""
        with torch.no_grad():
            self.theta = denoiser.logits(state, where)
        self.rows = where[0]
        self.adam: RowAdam | None = None

    def logits(self, denoiser: Denoiser, state: Any, where: Where) -> Tensor:
        """`theta + offset`."""
        return self.theta if self.adam is None else self.theta + self.adam.value

    def update(self, logits: Tensor, grad: Tensor, gate: Tensor) -> None:
        """Adam on the offset; the gradient at the logits is its gradient."""
        if self.adam is None:
            self.adam = RowAdam(torch.zeros_like(grad), self.lr, eps=self.eps)
        batch = len(gate)
        square = sum_rows(grad.square().mean(-1), self.rows, batch)
        count = sum_rows(torch.ones_like(grad[:, 0]), self.rows, batch).clamp_min(1)
        self.adam.step(grad, gate[self.rows], (square / count).sqrt()[self.rows])

    def take(self, rows: Tensor) -> LogitsAdapter:
        """A new adapter for `len(rows)` rows: no parameter outlives a step."""
        return LogitsAdapter(len(rows), self.lr, self.eps)


class CodeTilt:
    """phi = a tilt `<u_l, c_k>` towards codes, `u (B, L, d)`, kept from one step to the next.

    A denoising step costs one forward, however many inner steps it has, and the optimiser holds d
    numbers per position instead of K.

    Args:
        start: `(B, L, d)`, the initial u.
        codebook: that of the guiding operator.
        lr, eps: of Adam, see `RowAdam`. Its moments are reset at every denoising step.
        keep: factor in [0, 1] applied to u at the start of every denoising step.
    """

    def __init__(
        self, start: Tensor, codebook: Codebook, lr: float, eps: float = 0.1, keep: float = 1.0
    ) -> None:
        self.u, self.codebook, self.lr, self.eps, self.keep = start, codebook, lr, eps, keep

    @classmethod
    def fresh(
        cls, rows: int, codebook: Codebook, lr: float, eps: float = 0.1, keep: float = 1.0
    ) -> CodeTilt:
        """A tilt of 0 for `rows` canvases; u gets its length L at the first denoising step."""
        none = torch.zeros((), dtype=torch.long)
        start = torch.zeros(rows, 0, codebook.embed(none).shape[-1])
        return cls(start, codebook, lr, eps, keep)

    def begin(self, denoiser: Denoiser, state: Any, where: Where) -> Tensor | None:
        """See `Adapter.begin`; one forward, which `logits` reuses."""
        with torch.no_grad():
            self.theta = denoiser.logits(state, where)
            self.u = self.keep * self.u.to(self.theta)
            beyond = int(where[1].max()) + 1 - self.u.shape[1] if len(where[1]) else 0
            if beyond > 0:
                self.u = torch.nn.functional.pad(self.u, (0, 0, 0, beyond))
        self.adam = RowAdam(self.u, self.lr, eps=self.eps)
        self.where = where
        return self.theta if bool(self.u[where].any()) else None

    def logits(self, denoiser: Denoiser, state: Any, where: Where) -> Tensor:
        """`theta + <u, c_k>`."""
        return self.theta + self.codebook.tilt(self.u[where]).to(self.theta)

    def update(self, logits: Tensor, grad: Tensor, gate: Tensor) -> None:
        """Adam on u, whose gradient is `grad C`."""
        with torch.enable_grad():
            leaf = self.u[self.where].requires_grad_()
            (found,) = torch.autograd.grad(self.codebook.tilt(leaf), leaf, grad)
        rows = self.where[0]
        square = sum_rows(found.square().mean(-1), rows, len(gate))
        count = sum_rows(torch.ones_like(found[:, 0]), rows, len(gate)).clamp_min(1)
        spread = torch.zeros_like(self.u).index_put(self.where, found)
        self.adam.step(spread, gate, (square / count).sqrt())
        self.u = self.adam.value

    def take(self, rows: Tensor) -> CodeTilt:
        """The tilt of other rows, `(B',)` int64, between two steps."""
        return CodeTilt(self.u[rows], self.codebook, self.lr, self.eps, self.keep)
