"""Whether image tokens lie where the model says: there, the codes of pictures are likelier.

    nats(f) = mean over codes k of -log p(f + k | other cells),  for a window that begins at f

A model of texts and images has its codes somewhere in one vocabulary, code k at the id first + k.
A number off, every cell is read as another code, and nothing else looks wrong. So the codes of
pictures are scored at the declared window and at displaced ones: by 1, by 3 (the header tokens
that a tokenizer may lack), by a whole codebook, behind the tokenizer, at the vocabulary's end.
Every cell is hidden once, a chequerboard at a time, without a text; cells of one code count as
one, so that a sky does not decide alone.

    PASS   the declared window is below guessing, log K, and below every displaced one
    FAIL   a displaced one is below guessing, and below the declared one
    SKIP   anything else: weights that know no pictures, pictures of too few codes, no clear winner
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..models.lumina import LuminaPrior
from ..models.mmada import MmadaPrior
from ..pipelines.text_image_model import TextImageModel
from .report import Check

__all__ = ["check_offset", "nats", "windows"]

KNOWN = 1.0  # nats below guessing from which weights know something
CLEAR = 0.25  # nats by which a window must be better, and 3 standard errors
FEWEST = 8  # different codes that decide

Prior = MmadaPrior | LuminaPrior


def windows(prior: Prior) -> list[int]:
    """First ids of the displaced windows, each within the vocabulary and without the mask."""
    parts, size, first = prior.text.parts, prior.size, prior.first
    behind, end = len(prior.text.tokenizer), parts.vocab_size - size
    wanted = [first + d for d in (-1, 1, -3, 3, -size, size)] + [behind, behind - 3, end]
    # One that holds the mask cannot be read: it ends in front of it.
    moved = [parts.mask_id - size if f <= parts.mask_id < f + size else f for f in wanted]
    return [f for f in dict.fromkeys(moved) if 0 <= f <= end and f != first]


@torch.no_grad()
def nats(prior: Prior, ids: Tensor) -> Tensor:
    """`-log p` of each token `(1, L)` of a square image given half of the others, `(L,)`."""
    length = ids.shape[1]
    side = math.isqrt(length)
    cells = torch.arange(length, device=ids.device)
    white = (cells // side + cells % side) % 2 == 0
    denoiser = prior.denoiser([""], length)
    found = torch.zeros(length, device=ids.device)
    for hidden in (white, ~white):
        z = ids.masked_fill(hidden, denoiser.mask_id)
        cols = hidden.nonzero()[:, 0]
        logits = denoiser.logits(denoiser.trunk(z), (torch.zeros_like(cols), cols))
        found[cols] = -logits.log_softmax(-1).gather(1, ids[0, cols, None])[:, 0].to(found)
    return found


def check_offset(model: TextImageModel, pictures: Tensor) -> Check:
    """Check where the image tokens begin.

    Args:
        model: whose prior is a window of a vocabulary.
        pictures: `(B, C, H, W)` in [-1, 1], of the model's size.
    """
    prior = model.prior
    if not isinstance(prior, Prior):
        raise TypeError(f"{model.name} has a vocabulary of image tokens alone, without an offset")
    ids = model.tokenizer.encode(pictures)
    codes, kind = ids.flatten().unique(return_inverse=True)

    def by_code(first: int) -> Tensor:
        moved = replace(prior, first=first)
        each = torch.cat([nats(moved, row[None]) for row in ids]).double()
        total = torch.zeros(len(codes), dtype=each.dtype, device=each.device)
        return total.scatter_add(0, kind, each) / kind.bincount()

    guess, own = math.log(prior.size), by_code(prior.first)
    others = {first: by_code(first) for first in windows(prior)}
    best = min(others, key=lambda first: float(others[first].mean()))
    figure = (
        f"{float(own.mean()):.2f} nats a code from {prior.first} on, "
        f"{float(others[best].mean()):.2f} from {best} on, the best of {len(others)} displaced; "
        f"guessing {guess:.2f}"
    )
    unsure = f"cannot tell: {{}}; {figure}"
    if len(codes) < FEWEST:
        return Check("offset", "SKIP", unsure.format(f"{len(codes)} different codes; give --image"))

    def known(values: Tensor) -> bool:
        return float(values.mean()) < guess - KNOWN

    def clear(lower: Tensor, higher: Tensor) -> bool:
        gap = higher - lower
        return float(gap.mean()) > max(CLEAR, 3 * float(gap.std()) / len(gap) ** 0.5)

    if known(others[best]) and clear(others[best], own):
        return Check("offset", "FAIL", f"{figure}: image tokens seem to begin there")
    if not known(own):
        return Check("offset", "SKIP", unsure.format("these weights know no such pictures"))
    if not all(clear(own, other) for other in others.values()):
        why = "a displaced window explains them about as well; give photographs with --image"
        return Check("offset", "SKIP", unsure.format(why))
    return Check("offset", "PASS", figure)
