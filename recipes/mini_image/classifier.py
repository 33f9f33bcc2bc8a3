"""Training of the classifier: cross-entropy of each attribute that an image has, on shifted images.

Random shifts by up to two pixels keep this small network from memorising the place of outlines.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aps_text.images.classifier import AttributeClassifier
from recipes.mini_image.images import Images
from recipes.mini_image.training import Loss

__all__ = ["classifier_loss", "shifted"]


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """The batch shifted randomly by up to `most` pixels; the border is repeated."""
    right, down = torch.randint(0, 2 * most + 1, (2,), generator=generator).tolist()
    size = images.shape[-1]
    padded = F.pad(images, (most,) * 4, mode="replicate")
    return padded[..., down : down + size, right : right + size]


def classifier_loss(images: Images, batch: int) -> Loss:
    """The loss function of the classifier; see `training.Loss`."""

    def loss(
        model: AttributeClassifier, generator: torch.Generator, spent: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        device = next(model.parameters()).device
        x, values = images.batch(batch, generator)
        values = values.to(device)
        found = model(shifted(x, 2, generator).to(device))
        total, right = torch.zeros((), device=device), []
        for logits, truth in zip(found, values.unbind(1), strict=True):
            known = truth >= 0
            if bool(known.any()):
                total = total + F.cross_entropy(logits[known].float(), truth[known])
                right.append((logits.argmax(1) == truth)[known].float().mean())
        return total / len(found), {"accuracy": torch.stack(right).mean()}

    return loss
