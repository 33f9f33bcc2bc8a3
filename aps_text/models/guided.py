"""Classifier-free guidance: a denoiser made of one with the prompt and one with the prompt masked.

    logits = (1 + w) cond - w uncond        w = cfg_scale (Ho & Salimans 2022; LLaDA's convention)

An adapter changes the conditional logits only; the unconditional ones are those of x_theta,
computed once per step and reused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.protocols import SUPPRESSED, Adapter, Denoiser, Where, masks_unseen

__all__ = ["GuidedDenoiser", "guided_by_texts"]

log = logging.getLogger(__name__)


@dataclass
class GuidedState:
    """The trunks of both denoisers, and the unconditional logits computed so far, by positions."""

    conditional: Any
    unconditional: Any
    known: dict[tuple[bytes, ...], Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class GuidedDenoiser:
    """A denoiser with classifier-free guidance; see the module.

    Attributes:
        conditional, unconditional: denoisers of the same rows, with the prompts and with masks in
            their place.
        scale: w >= 0.
    """

    conditional: Denoiser
    unconditional: Denoiser
    scale: float

    @property
    def mask_id(self) -> int:
        """See `Denoiser`."""
        return self.conditional.mask_id

    @property
    def vocab_size(self) -> int:
        """See `Denoiser`."""
        return self.conditional.vocab_size

    @property
    def masks_unseen(self) -> bool:
        """See `Denoiser`."""
        return masks_unseen(self.conditional) and masks_unseen(self.unconditional)

    def take(self, rows: Tensor) -> GuidedDenoiser:
        """See `Denoiser.take`."""
        return GuidedDenoiser(
            self.conditional.take(rows), self.unconditional.take(rows), self.scale
        )

    def trunk(self, z: Tensor) -> GuidedState:
        """See `Denoiser.trunk`; runs both trunks."""
        return GuidedState(self.conditional.trunk(z), self.unconditional.trunk(z))

    def logits(self, state: GuidedState, where: Where, phi: Any = None) -> Tensor:
        """See `Denoiser.logits`."""
        key = tuple(w.cpu().numpy().tobytes() for w in where)
        if key not in state.known:
            with torch.no_grad():
                state.known[key] = self.unconditional.logits(state.unconditional, where)
        base = state.known[key]
        mixed = (1 + self.scale) * self.conditional.logits(state.conditional, where, phi)
        mixed = mixed - self.scale * base
        return mixed.masked_fill(base <= SUPPRESSED, SUPPRESSED)

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """See `Denoiser.new_adapter`."""
        return self.conditional.new_adapter(config, noise)


def guided_by_texts(
    bound: Callable[[Sequence[str]], Denoiser], texts: Sequence[str], scale: float
) -> Denoiser:
    """`bound(texts)`, guided away from `bound` of empty texts; where all are empty, there is no
    guidance, and a warning says so.

    Args:
        bound: a denoiser with one row per text.
        scale: w >= 0.

    Raises:
        ValueError: a negative scale.
    """
    if scale < 0:
        raise ValueError(f"cfg_scale must be >= 0, got {scale}")
    if scale and not any(texts):
        log.warning("cfg_scale=%g guides towards a text, and no text is given: no effect", scale)
    if not scale or not any(texts):
        return bound(texts)
    return GuidedDenoiser(bound(texts), bound([""] * len(texts)), scale)
