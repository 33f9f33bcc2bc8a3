"""A small classifier of images by attribute; its feature maps serve as perceptual features.

Three stages of two convolutions each halve the resolution (S/2, S/4, S/8); each attribute has its
own linear head on the mean of the last stage. `features` returns the outputs of the stages.

Shapes: images `(B, C, S, S)` in [-1, 1], S a multiple of 8; attribute values `(B, A)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from ..tensor_files import load_part

__all__ = ["AttributeClassifier", "ClassifierConfig", "load_classifier"]


@dataclass(frozen=True)
class ClassifierConfig:
    """Sizes of a classifier.

    Attributes:
        size: S, pixels per side.
        channels: 1 (gray) or 3 (RGB).
        width: channels of the first stage, a multiple of 8; each later stage has twice as many.
        attributes: names of the values of each attribute, by the attribute's name.
    """

    size: int
    channels: int
    width: int
    attributes: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        if self.size % 8 or self.width % 8:
            raise ValueError(
                f"size and width are multiples of 8, got size={self.size}, width={self.width}"
            )


class Stage(nn.Sequential):
    """Halves the resolution: a strided and a plain convolution, each normalised in groups."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(before, width, 4, 2, 1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
        )


class AttributeClassifier(nn.Module):
    """The network; see the module."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels, config.width, 2 * config.width, 4 * config.width]
        self.stages = nn.ModuleList(Stage(before, width) for before, width in pairwise(widths))
        self.heads = nn.ModuleList(
            nn.Linear(widths[-1], len(values)) for values in config.attributes.values()
        )

    def features(self, images: Tensor) -> list[Tensor]:
        """Outputs of the stages, `(B, 2^(i-1) width, S/2^i, S/2^i)`; differentiable in the images.

        Raises:
            ValueError: images of another shape.
        """
        config = self.config
        if images.ndim != 4 or images.shape[1:] != (config.channels, config.size, config.size):
            raise ValueError(
                f"this classifier takes images (B, {config.channels}, {config.size}, "
                f"{config.size}), got {tuple(images.shape)}"
            )
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps

    def forward(self, images: Tensor) -> list[Tensor]:
        """Logits of each attribute, A tensors `(B, values)`."""
        pooled = self.features(images)[-1].mean((2, 3))
        return [head(pooled) for head in self.heads]

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """The likeliest value of each attribute, `(B, A)` int64."""
        return torch.stack([logits.argmax(1) for logits in self(images)], 1)


def load_classifier(folder: Path, device: str | torch.device = "cpu") -> AttributeClassifier:
    """Read `classifier.json` and `classifier.safetensors`; frozen, in eval mode, float32."""
    return load_part(folder, "classifier", ClassifierConfig, AttributeClassifier, device)
