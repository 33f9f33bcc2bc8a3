"""Training of the tokenizer.

    loss = E[log(|x - D(c)|^2 + floor)] + weight (E[H(p)] - H(E[p]))

The logarithm of each image's mean square error is its PSNR up to a factor; the entropy terms (see
`aps_text.images.lfq`) are reduced to 0 at 70% of the budget, so that the rest of the training
optimises reconstruction only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aps_text.images.lfq import LFQTokenizer, code_entropy
from recipes.mini_image.images import Images
from recipes.mini_image.training import Loss

__all__ = ["tokenizer_loss"]


def tokenizer_loss(
    images: Images, batch: int, floor: float = 2e-3, weight: float = 0.02, fade: float = 0.7
) -> Loss:
    """The loss function of the tokenizer (see `training.Loss`).

    Args:
        floor: mean square error, on the range [-1, 1], that is added to each image's.
        weight: of the entropy terms at the start.
        fade: fraction of the budget at which their weight reaches 0.
    """

    def loss(
        model: LFQTokenizer, generator: torch.Generator, spent: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x = images.batch(batch, generator)[0].to(next(model.parameters()).device)
        reconstruction, z = model(x)
        error = (reconstruction.float() - x).square().mean((1, 2, 3))
        each, mean = code_entropy(z)
        total = torch.log(error + floor).mean()
        total = total + weight * max(0.0, 1 - spent / fade) * (each - mean)
        decibel = -10 * torch.log10(error.detach() / 4).mean()
        return total, {"psnr": decibel, "each": each.detach(), "mean": mean.detach()}

    return loss
