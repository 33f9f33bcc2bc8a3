"""`AnyImageModel`: what a pipeline of images needs of its model, and the masked canvas of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..core.canvas import Canvas
from ..core.codebook import Codebook
from ..core.protocols import Denoiser
from ..images.classifier import AttributeClassifier

__all__ = ["AnyImageModel", "Condition", "ImageTokenizer", "masked_canvas"]

Condition = str | Mapping[str, str]
"""What is known of an image: attributes by name, or a text; each model takes one of the two."""


class ImageTokenizer(Protocol):
    """Images as tokens; `images.lfq`, `images.magvit` and `images.vq` have one each."""

    @property
    def codebook(self) -> Codebook:
        """The codes of the token ids."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """Token ids `(B, L)` of images `(B, C, H, W)` in [-1, 1]."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """Images `(B, C, H, W)` of codes `(B, L, d)`, differentiable."""
        ...

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Images `(B, C, H, W)` of token ids `(B, L)`."""
        ...


@runtime_checkable
class AnyImageModel(Protocol):
    """A tokenizer and a prior as `RestorationPipeline` uses them."""

    @property
    def name(self) -> str:
        """As it was loaded."""
        ...

    @property
    def tokenizer(self) -> ImageTokenizer:
        """Of images of `size`."""
        ...

    @property
    def prior(self) -> Any:
        """The model of the tokens."""
        ...

    @property
    def classifier(self) -> AttributeClassifier | None:
        """Of the same images, or None."""
        ...

    @property
    def device(self) -> torch.device:
        """Of the canvas."""
        ...

    @property
    def size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        ...

    @property
    def grid(self) -> int:
        """Tokens per side."""
        ...

    @property
    def tokens(self) -> int:
        """L, tokens per image."""
        ...

    @property
    def mask_id(self) -> int:
        """The mask token's id."""
        ...

    @property
    def usual(self) -> Mapping[str, Any]:
        """Settings in which the model's defaults differ from `preset="restore"`."""
        ...

    def conditions(
        self, given: Condition | Sequence[Condition] | None, count: int
    ) -> Sequence[Any]:
        """One checked condition per image, of one for all, of one each, or of none."""
        ...

    def denoiser(
        self, chosen: Any, rows: int, cfg_scale: float, adapted_layers: int | None
    ) -> Denoiser:
        """`x_theta` for `rows` images with these conditions."""
        ...


def masked_canvas(model: AnyImageModel, rows: int = 1, ids: Tensor | None = None) -> Canvas:
    """A canvas of masks, one row per image; of `ids` `(rows, L)`, those not masked stay."""
    if ids is None:
        ids = torch.full((rows, model.tokens), model.mask_id)
    return Canvas.of(
        ids.tolist(),
        mask_id=model.mask_id,
        fill_id=model.mask_id,
        given=(ids != model.mask_id).tolist(),
        device=model.device,
    )
