"""What the sampler is given from outside: a denoiser bound to a batch of rows, and its phi.

What it measures with is `operator.Operator`; what plugs into its loop is in `sampler`.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from .config import APSConfig
from .noise import Noise

__all__ = ["SUPPRESSED", "Adapter", "Denoiser", "Where"]

SUPPRESSED = -1e9
"""A logit that is never drawn; finite, so that differences of two stay 0 and not nan."""

Where = tuple[Tensor, Tensor]
"""Canvas positions `(rows, cols)`, each `(N,)` int64, ordered by row."""


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
        """A fresh phi of the kind `config.sampler.fit.phi` for these rows, equal to theta."""
        ...


class Adapter(Protocol):
    """phi for B rows.

    It turns the gradient of the loss at the logits, `(N, K)`, into one optimiser step of its own
    parameters. All of them have a leading row axis: every prompt has its own phi, its own
    optimiser state and its own gate, in one batched pass.
    """

    def begin(self, denoiser: Denoiser, state: Any, where: Where) -> Tensor | None:
        """Start a denoising step; returns theta's logits, or None where phi equals theta now."""
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
