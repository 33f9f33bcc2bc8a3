"""Lines beside which restorations are read: what is reached without a prior, and what can be.

floor     the measurement itself, as an image: enlarged (bicubic), holes filled by diffusion
y-only    tokens fitted to the measurement alone, from those of the floor, without a prior
tokenizer the truth, encoded and decoded
oracle    tokens fitted to the truth: about the best that tokens can reach
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from aps_text.images.degradations import HighDynamicRange
from aps_text.images.lfq import LFQTokenizer, straight_through
from aps_text.images.measurement import Measurement

STEPS, RATE = 150, 0.05


def floor(measurement: Measurement, shape: tuple[int, int, int]) -> Tensor:
    """The measurement as images `(B, *shape)`, clipped to [-1, 1]."""
    y = measurement.y
    if isinstance(measurement.degradation, HighDynamicRange):
        y = y / measurement.degradation.scale
    observed = measurement.degradation.observed(y)
    if observed is not None:
        y = filled(y, observed.expand_as(y))
    if y.shape[-2:] != shape[1:]:
        y = F.interpolate(y, size=shape[1:], mode="bicubic", align_corners=False)
    return y.expand(-1, shape[0], -1, -1).clamp(-1, 1)


def filled(y: Tensor, observed: Tensor, rounds: int = 200) -> Tensor:
    """Holes take the mean of their neighbours, `rounds` times, from the mean of what is seen."""
    seen = torch.where(observed, y, torch.zeros_like(y))
    mean = seen.sum((2, 3), keepdim=True) / observed.sum((2, 3), keepdim=True)
    x = torch.where(observed, y, mean.expand_as(y))
    for _ in range(rounds):
        near = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        x = torch.where(observed, y, near)
    return x


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
    if name == "floor":
        return floor(measurement, truth.shape[1:])  # type: ignore[arg-type]
    if name == "y-only":
        start = floor(measurement, truth.shape[1:])  # type: ignore[arg-type]
        ids = fitted(tokenizer, start, lambda x: -measurement.log_density(x))
    elif name == "oracle":
        ids = fitted(tokenizer, truth, lambda x: (x - truth).square().flatten(1).sum(1))
    else:
        with torch.no_grad():
            ids = tokenizer.encode(truth)
    with torch.no_grad():
        return tokenizer.decode_ids(ids).clamp(-1, 1)


LINES = ("floor", "y-only", "tokenizer", "oracle")
