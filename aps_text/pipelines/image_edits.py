"""An edit of an image: what keeps the pixels outside of its mask, and the canvas it starts from.

log N(image; drawn, keep_sigma^2), over the pixels outside of the mask
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.limits import check_number
from ..core.operator import Operator
from ..images.degradations import Inpainting
from ..images.editing import as_mask, outside_error, tokens_of_mask
from ..images.measurement import SIGMAS, Measurement
from ..images.style import Style
from .any_image_model import AnyImageModel
from .image_inputs import as_images
from .image_measurements import bound_measurement
from .image_styles import bound_styles

__all__ = ["Edit", "new_edit"]

LEAST_SIGMA = 0.01
"""The smallest standard deviation of kept pixels: about one grey level of 256."""


@dataclass(frozen=True)
class Edit:
    """An edit of one image, on the model's device.

    Attributes:
        image: `(1, C, H, W)` in [-1, 1].
        inside: `(H, W)` bool, the pixels that may change.
        opened: `(L,)` bool, the tokens that are drawn.
        canvas: `(L,)`, the encoded image's tokens, masked where they are drawn.
        operator: of one row: the kept pixels, and the style.
    """

    image: Tensor
    inside: Tensor
    opened: Tensor
    canvas: Tensor
    operator: Operator


def new_edit(
    model: AnyImageModel,
    image: Tensor,
    mask: Tensor,
    style: Style | Sequence[Style] | None,
    keep_sigma: float | None,
    widen: int,
) -> Edit:
    """See `RestorationPipeline.edit`."""
    if isinstance(image, Tensor) and image.ndim == 3:
        image = image[None]
    image = as_images(model, image)
    if len(image) != 1:
        raise ValueError(f"an edit takes one image, got {len(image)}; call it for each")
    if keep_sigma is not None:
        check_number("keep_sigma", keep_sigma, SIGMAS)
    inside = as_mask(mask, model.size[1:])
    image, inside = image.to(model.device), inside.to(model.device)
    with torch.no_grad():
        ids = model.tokenizer.encode(image)
        again = model.tokenizer.decode_ids(ids).clamp(-1, 1)
    opened = tokens_of_mask(inside, model.grid, widen)
    if keep_sigma is None:
        keep_sigma = max(LEAST_SIGMA, float(outside_error(again, image, inside)) / 2)
    kept = Measurement(Inpainting(~inside), image, keep_sigma, name="kept")
    bound = bound_measurement(model, kept)
    operator = bound if style is None else bound + bound_styles(model, style, inside)
    return Edit(image, inside, opened, ids[0].masked_fill(opened, model.mask_id), operator)
