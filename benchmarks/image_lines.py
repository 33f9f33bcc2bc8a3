"""Lines beside which restorations are read: what is reached without a prior, and what can be.

floor     the measurement itself, as an image: enlarged (bicubic), holes filled by diffusion
y-only    tokens fitted to the measurement alone, from those of the floor, without a prior
tokenizer the truth, encoded and decoded
oracle    tokens fitted to the truth: about the best that tokens can reach
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aps_text.images.lfq import LFQTokenizer, straight_through
from aps_text.images.measurement import Measurement

STEPS, RATE = 150, 0.05


def fitted(
    tokenizer: LFQTokenizer,
    start: Tensor,
    loss: Callable[[Tensor], Tensor],
    steps: int = STEPS,
    rate: float = RATE,
) -> Tensor:
    """Tokens `(B, L)` of the lowest loss that Adam finds by straight-through gradients.

    Args:
        start: images `(B, C, H, W)` whose encoding the search starts at.
        loss: of images, `(B,)`.
    """
    z = tokenizer.project(start).detach().requires_grad_()
    optimiser = torch.optim.Adam([z], rate)
    best = torch.full((len(start),), torch.inf, device=start.device)
    ids = tokenizer.codebook.nearest(z.detach())
    for _ in range(steps):
        values = loss(tokenizer.decode(straight_through(z)))
        better = values.detach() < best
        best = torch.where(better, values.detach(), best)
        ids = torch.where(better[:, None], tokenizer.codebook.nearest(z.detach()), ids)
        (z.grad,) = torch.autograd.grad(values.sum(), z)
        optimiser.step()
    return ids


def draw_line(
    name: str, tokenizer: LFQTokenizer, measurement: Measurement, truth: Tensor
) -> Tensor:
    """The images `(B, C, H, W)` of a line, clipped to [-1, 1]."""
    start = measurement.first_image((truth.shape[1], truth.shape[2], truth.shape[3]))
    if start is None:
        raise ValueError(f"{measurement.degradation.name} has no rough image: give it a `guess`")
    if name == "floor":
        return start
    if name == "y-only":
        ids = fitted(tokenizer, start, lambda x: -measurement.log_density(x))
    elif name == "oracle":
        ids = fitted(tokenizer, truth, lambda x: (x - truth).square().flatten(1).sum(1))
    else:
        with torch.no_grad():
            ids = tokenizer.encode(truth)
    with torch.no_grad():
        return tokenizer.decode_ids(ids).clamp(-1, 1)


LINES = ("floor", "y-only", "tokenizer", "oracle")
