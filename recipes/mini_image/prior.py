"""Training of the masked transformer on the tokens of the training images.

    loss = E_t E_mask [ mean over masked l of -log x_theta^l(x | z_t, attributes) ]

with t evenly spaced over the batch and the linear schedule: the evidence bound of masked diffusion,
per token. All attributes are withheld from a fraction `withheld` of the images (for the
unconditional logits of guidance), and each attribute on its own from the same fraction (for partial
conditions).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aps_text.models.mini_image import MaskedImageModel
from recipes.mini_image.training import Loss

__all__ = ["masked", "prior_loss", "withhold"]


def masked(
    ids: Tensor, mask_id: int, share: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Canvases with a fraction `share (B,)` of each row masked (at least one), and the masks,
    `(B, L)` bool."""
    batch, length = ids.shape
    count = (share * length).ceil().clamp(1, length)
    order = torch.rand(batch, length, generator=generator).argsort(1).argsort(1)
    where = (order < count[:, None]).to(ids.device)
    return ids.masked_fill(where, mask_id), where


def withhold(values: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Attribute values `(B, A)` with some withheld (-1); see the module."""
    drop = torch.rand(len(values), 1, generator=generator) < share
    if values.shape[1] > 1:
        drop = drop | (torch.rand(values.shape, generator=generator) < share)
    return values.masked_fill(drop.to(values.device), -1)


def prior_loss(ids: Tensor, values: Tensor, batch: int, withheld: float = 0.1) -> Loss:
    """The loss on tokens `ids (N, L)` with attributes `values (N, A)`."""

    def loss(
        model: MaskedImageModel, generator: torch.Generator, spent: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        device = model.positions.device
        index = torch.randint(len(ids), (batch,), generator=generator)
        x = ids[index].long().to(device)
        given = withhold(values[index], withheld, generator).to(device)
        start = torch.rand((), generator=generator)
        share = (torch.arange(batch) + start) / batch
        z, where = masked(x, model.mask_id, share, generator)
        logits = model.head(model(z, given)[where])
        error = F.cross_entropy(logits.float(), x[where], reduction="none")
        weight = (1 / where.sum(1))[where.nonzero()[:, 0]]
        middle = slice(batch // 2 - 2, batch // 2 + 2)  # rows about half masked
        near = torch.zeros(batch, dtype=torch.bool, device=device)
        near[middle] = True
        half = error.detach()[near[where.nonzero()[:, 0]]].mean()
        return (error * weight).sum() / batch, {"half": half}

    return loss
