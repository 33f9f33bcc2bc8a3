"""Masks for editing: which tokens a pixel mask opens, and what an edit leaves of the picture.

A token is open if a pixel of its cell is marked: one marked pixel opens the token it lies in, and
four where cells of 2 x 2 tokens meet. The convolutions of a decoder carry a token's code beyond its
cell, so open tokens also move pixels outside of the mask: an edit scores these against the
picture, and may open the neighbours (`widen`), which can then make up for it.
"""

from __future__ import annotations

from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["as_mask", "outside_error", "paste", "tokens_of_mask"]


def as_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask of an edit as `(H, W)` bool, True where the picture may change.

    Args:
        mask: `(H, W)` or `(1, H, W)`, bool or of 0 and 1.
        size: (H, W) of the picture.

    Raises:
        TypeError: not a tensor.
        ValueError: another shape or other values, no pixel marked, or all of them.
    """
    if not isinstance(mask, Tensor):
        raise TypeError(
            f"mask is a tensor (H, W), got {type(mask).__name__}; read_mask reads files"
        )
    flat = mask[0] if mask.ndim == 3 and mask.shape[0] == 1 else mask
    if tuple(flat.shape) != size:
        sides = f"{flat.shape[1]} x {flat.shape[0]} pixels" if flat.ndim == 2 else tuple(mask.shape)
        raise ValueError(
            f"the mask is {sides} and the image {size[1]} x {size[0]}; they must have the same size"
        )
    if flat.dtype != torch.bool:
        if not bool(((flat == 0) | (flat == 1)).all()):
            raise ValueError(
                "a mask may only hold 0 (keep) and 1 (change), got values between "
                f"{float(flat.min()):g} and {float(flat.max()):g}; threshold it first"
            )
        flat = flat.bool()
    if not bool(flat.any()):
        raise ValueError(
            "the mask is 0 (keep) everywhere, black in a file; set the pixels to change to 1, white"
        )
    if bool(flat.all()):
        raise ValueError(
            "the mask is 1 (change) everywhere, white in a file, so nothing of the image is kept; "
            "use paint"
        )
    return flat


def tokens_of_mask(mask: Tensor, grid: int, widen: int = 0) -> Tensor:
    """Which tokens a pixel mask opens, `(grid^2,)` bool, row-major.

    Args:
        mask: `(S, S)` bool, S a multiple of `grid`.
        widen: rings of neighbouring tokens to open as well, >= 0.

    Raises:
        ValueError: a size that `grid` does not divide, or a negative `widen`.
    """
    high, wide = mask.shape
    if high % grid or wide % grid:
        raise ValueError(f"a mask of {high} x {wide} pixels has no {grid} x {grid} cells")
    if isinstance(widen, bool) or not isinstance(widen, Integral) or widen < 0:
        raise ValueError(f"widen is a whole number of tokens >= 0, got {widen!r}")
    cells = F.max_pool2d(mask[None, None].float(), (high // grid, wide // grid))
    if widen:
        widen = min(int(widen), grid)
        cells = F.max_pool2d(cells, 2 * widen + 1, stride=1, padding=widen)
    return cells.flatten() > 0


def outside_error(one: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """Rms difference of images `(B, C, H, W)` outside of the mask `(H, W)` bool, `(B,)`."""
    gap = (one - other).square()[..., ~mask.to(one.device)]
    return gap.flatten(1).mean(1).sqrt()


def paste(drawn: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """`drawn` inside of the mask `(H, W)` bool and `image` outside, `(B, C, H, W)`."""
    return torch.where(mask.to(drawn.device), drawn, image.to(drawn))
