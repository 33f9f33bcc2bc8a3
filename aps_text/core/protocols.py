"""The Protocols `Denoiser`, a model bound to a batch of rows, and `Adapter`, its phi.

The Protocol of rewards and measurements is `operator.Operator`; those of the loop's parts are in
`sampler`.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from .config import APSConfig
from .noise import Noise

__all__ = ["SUPPRESSED", "Adapter", "Denoiser", "Where", "masks_unseen"]

SUPPRESSED = -1e9
"""The logit of a token that is never drawn; finite, so that differences are 0 and not nan."""

Where = tuple[Tensor, Tensor]
"""Canvas positions `(rows, cols)`, each `(N,)` int64, ordered by row."""


class Denoiser(Protocol):
    """`x_theta`: a model with its condition (prompts, guidance, padding) bound for B rows.

    Logits are floating point and aligned: those at a position predict the token there, also for a
    model that predicts the next one. The mask token and untrained ids get the logit `SUPPRESSED`.

    A denoiser may have a property `masks_unseen`: True says that masks change no logits but their
    own, so that those behind all that is asked for may be left out (`masks_unseen` below).
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
        """Run the part that no adapter changes on the canvas `(B, L)`; once per denoising step."""
        ...

    def logits(self, state: Any, where: Where, phi: Any = None) -> Tensor:
        """Logits `(N, K)` at the positions `where`, under `phi` (None: `x_theta`)."""
        ...

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """A fresh phi of the kind `config.sampler.fit.phi` for these rows, equal to theta."""
        ...


def masks_unseen(denoiser: Denoiser) -> bool:
    """Whether the denoiser declares that masks change no logits but their own; see `Denoiser`."""
    return bool(getattr(denoiser, "masks_unseen", False))


class Adapter(Protocol):
    """phi for B rows.

    It turns the gradient of the loss at the logits, `(N, K)`, into one optimiser step of its own
    parameters. All of them have a leading row axis: every prompt has its own phi, its own
    optimiser state and its own gate, in one batched pass.
    """

    def begin(self, denoiser: Denoiser, state: Any, where: Where) -> Tensor | None:
        """Start a denoising step; returns theta's logits `(N, K)`, or None if phi equals theta."""
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
