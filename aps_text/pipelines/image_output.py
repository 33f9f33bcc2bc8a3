"""What the calls of an image pipeline return: restored images, and painted ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.cost import Cost
from ..images.measurement import Measurement

__all__ = ["PaintOutput", "RestorationOutput"]


@dataclass
class RestorationOutput:
    """Restored images of B measurements, n samples each.

    Attributes:
        images: `(B, n, C, H, W)` in [-1, 1], clipped.
        ids: `(B, n, L)` their tokens.
        chi2: `(B, n)`; see `Measurement.chi2`; over the entries of all measurements.
        measurement: the input, with the model's tokenizer.
        cost: of the call.
        others: the further measurements, where several were given.
    """

    images: Tensor
    ids: Tensor
    chi2: Tensor
    measurement: Measurement
    cost: Cost
    others: tuple[Measurement, ...] = ()

    @property
    def mean(self) -> Tensor:
        """`(B, C, H, W)`: the samples' mean; its squared error is at most the mean of theirs."""
        return self.images.mean(1)

    @property
    def spread(self) -> Tensor:
        """`(B, C, H, W)`: the standard deviation of the samples; 0 for one sample."""
        if self.images.shape[1] == 1:
            return torch.zeros_like(self.mean)
        return self.images.std(1)

    def __repr__(self) -> str:
        """The number of images and samples, and the mean chi2."""
        count, samples = self.images.shape[:2]
        return (
            f"RestorationOutput({count} images, {samples} sample(s), "
            f"chi2 {float(self.chi2.mean()):.2f})"
        )


@dataclass
class PaintOutput:
    """Painted or edited pictures, n samples.

    Attributes:
        images: `(n, C, H, W)` in [-1, 1], clipped; of an edit, with the kept pixels pasted in.
        drawn: `(n, C, H, W)` in [-1, 1], clipped: what the tokens decode to.
        ids: `(n, L)` the tokens.
        opened: `(L,)` bool, the tokens that were drawn; the others are the encoded picture's.
        scores: log densities by term (`style`, `kept`), `(n,)` each; empty if nothing guides.
        cost: of the call.
    """

    images: Tensor
    drawn: Tensor
    ids: Tensor
    opened: Tensor
    scores: dict[str, Tensor]
    cost: Cost

    def __repr__(self) -> str:
        """The number of images and of drawn tokens."""
        count = int(self.opened.sum())
        return f"PaintOutput({len(self.images)} image(s), {count} of {len(self.opened)} tokens)"
