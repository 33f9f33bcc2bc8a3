"""phi: what is fitted at each denoising step. The Protocols, and the logits adapter.

An adapter turns the gradient of the loss at the logits, `(N, K)`, into one optimiser step of its
own parameters. All parameters have a leading row axis: every prompt has its own phi, its own Adam
state and its own gate, in one batched pass. LoRA lives in `aps_text.models.lora`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from .objective import sum_rows

if TYPE_CHECKING:
    from .config import APSConfig
    from .noise import Noise

__all__ = ["SUPPRESSED", "Adapter", "Denoiser", "LogitsAdapter", "RowAdam", "Where"]

SUPPRESSED = -1e9
"""A logit that is never drawn; finite, so that differences of two stay 0 and not nan."""

Where = tuple[Tensor, Tensor]  # (rows, cols), each (N,) int64, ordered by row


class Denoiser(Protocol):
    """`x_theta`: a model with its condition (prompts, guidance, padding) bound for B rows.

    Logits are aligned (a shift undone) and float; the mask and untrained ids are suppressed.
    """

    @property
    def mask_id(self) -> int:
        """The mask token's id."""
        ...

    @property
    def vocab_size(self) -> int:
        """K, the width of the logits."""
        ...

    def take(self, rows: Tensor) -> Denoiser:
        """The denoiser of other rows: dropped, repeated, reordered; `(B',)` int64."""
        ...

    def trunk(self, z: Tensor) -> Any:
        """The part no adapter changes, run once per step on the canvas `(B, L)`."""
        ...

    def logits(self, state: Any, where: Where, phi: Any = None) -> Tensor:
        """Logits `(N, K)` at the canvas positions asked for, under `phi` (None: `x_theta`)."""
        ...

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """A fresh phi of the kind `config.adapter` for these rows, equal to theta."""
        ...


class Adapter(Protocol):
    """phi for B rows."""

    def begin(self, denoiser: Denoiser, state: Any, where: Where) -> Tensor | None:
        """Start a denoising step. Returns theta's logits where phi differs from theta now, else
        None: then the first `logits` is theta's."""
        ...

    def logits(self, denoiser: Denoiser, state: Any, where: Where) -> Tensor:
        """`x_phi`'s logits `(N, K)`, on the graph of phi if gradients are enabled."""
        ...

    def update(self, logits: Tensor, grad: Tensor, gate: Tensor) -> None:
        """One optimiser step from `dL/dlogits` `(N, K)`; rows with `gate (B,)` False stay."""
        ...

    def take(self, rows: Tensor) -> Adapter:
        """phi and optimiser state of other rows, `(B',)` int64."""
        ...


class RowAdam:
    """Adam (Kingma & Ba 2015) on one tensor with a leading row axis, gated per row.

    Its eps is relative: `eps * rms(gradient of the row)`, so that the step does not depend on the
    scale of the reward and a gradient of rounding noise is not blown up to a full step within a
    row that has a real one. Where the value's rows are parts of a prompt's row (positions), `scale`
    gives the rms over the prompt's.
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
        """Descend along `grad` (the value's shape) in the rows where `gate (B,)` is True; `scale`
        `(B,)` is the gradient's rms, by default over each row."""
        shape = (-1,) + (1,) * (grad.ndim - 1)
        one, two = self.betas
        # In place, then put back where the gate is closed: a step touches each number few times.
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
    """phi = an offset of the logits at the masked positions, new at every denoising step.

    No pass back through the denoiser: M inner steps cost one forward. The authors' text code.
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
        """Nothing outlives a step."""
        return LogitsAdapter(len(rows), self.lr, self.eps)
