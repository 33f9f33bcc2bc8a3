"""Sizes of image models, published ones by name.

    prior       a transformer on text and image tokens
    decoder     of the image tokenizer, which turns tokens into pixels (`decoder`, `mini_images`)

`image_folders` reads those of a folder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from ..models.refused import refuse_known
from .decoder import DecoderShape
from .flops import operations
from .mini_images import MiniDecoderShape, MiniPriorShape
from .shape import PRESETS, ModelShape

__all__ = ["IMAGE_SHAPES", "ImageShape", "UVitShape", "find_image_shape"]


@dataclass(frozen=True, kw_only=True)
class UVitShape:
    """aMUSEd's transformer: text by cross-attention, convolutional blocks below and above.

    Attributes:
        layers, hidden, ffn: of the transformer.
        channels, blocks: of the convolutional blocks on each side.
        halved: whether the blocks and the transformer see half the grid.
        text: positions of the text.
    """

    layers: int = 22
    hidden: int = 1024
    ffn: int = 2816
    channels: int = 768
    blocks: int = 3
    halved: bool = False
    text: int = 77

    def operations(self, tokens: int, codes: int) -> float:
        """Of one pass, the head at every token."""
        d, c, f = self.hidden, self.channels, self.ffn
        n = tokens / 4 if self.halved else float(tokens)
        layer = 2 * n * (6 * d * d + 3 * d * f) + 4 * self.text * d * d
        layer += 4 * n * (n + self.text) * d + 3 * 4 * d * d
        block = 2 * n * (8 * c * c + 6 * c * c) + 4 * self.text * d * c
        block += 4 * n * (n + self.text) * c + 4 * d * c
        ends = 2 * tokens * (2 * c * c + c * codes) + 4 * n * c * d
        ends += 2 * 2 * tokens * 4 * c * c / 4 if self.halved else 0
        return self.layers * layer + 2 * self.blocks * block + ends

    def inside(self, tokens: int) -> float:
        """Numbers held inside one layer of a pass without gradient."""
        n = tokens / 4 if self.halved else float(tokens)
        return n * (4 * self.hidden + 3 * self.ffn) + tokens * 2 * self.channels


@dataclass(frozen=True, kw_only=True)
class ImageShape:
    """An image model's sizes.

    Attributes:
        name, source: for reports.
        trained: pixels per side it was made for.
        parameters: of the prior with its text encoder.
        codes: K, image tokens.
        decoder: of the image tokenizer.
        prior: its transformer.
        around: positions of the text and of what stands around the image, at most.
        newlines: whether the model reads one behind each row of the image.
        stored_bytes: bytes of a number as loaded without a dtype.
    """

    name: str
    source: str
    trained: int
    parameters: int
    decoder: DecoderShape | MiniDecoderShape
    prior: ModelShape | UVitShape | MiniPriorShape
    codes: int = 8192
    around: int = 0
    newlines: bool = False
    stored_bytes: int = 2

    @property
    def mini(self) -> bool:
        """Whether it is one of this repository's layout: of one size, and never sliced."""
        return isinstance(self.decoder, MiniDecoderShape)

    def positions(self, tokens: int) -> int:
        """What the prior reads for an image of these tokens, a square."""
        return tokens + self.around + (math.isqrt(tokens) if self.newlines else 0)

    def forward(self, tokens: int) -> float:
        """Operations of one pass of the prior on an image of these tokens."""
        if not isinstance(self.prior, ModelShape):
            return self.prior.operations(tokens, self.codes)
        size = self.positions(tokens)
        layer = operations(self.prior, size, size)[0]
        return self.prior.layers * layer + 2.0 * tokens * self.prior.hidden * self.codes


MAGVIT = DecoderShape((128, 128, 256, 256, 512), (4, 4, 3, 4, 3), 13, True, 95_374_000)
VQ = DecoderShape((128, 256, 256, 512, 768), (3, 3, 3, 3, 3), 64, False, 146_244_675)
MMADA = PRESETS["mmada-8b"]


def _amused(side: int, parameters: int) -> ImageShape:
    return ImageShape(
        name=f"aMUSEd-{side}",
        source=f"transformer/config.json of amused/amused-{side}; its text encoder is CLIP-L",
        trained=side,
        parameters=parameters + 123_650_304,  # CLIPTextModelWithProjection of 12 layers of 768
        decoder=VQ,
        prior=UVitShape(halved=side == 512),
        stored_bytes=4,
    )


IMAGE_SHAPES = {
    "mmada-8b": ImageShape(
        name="MMaDA-8B with MAGVIT-v2",
        source=MMADA.source,
        trained=512,
        parameters=MMADA.parameters,
        decoder=MAGVIT,
        prior=MMADA,
        around=515,  # 513 of <t2i> and text, <soi>, <eoi>
    ),
    "amused-256": _amused(256, 603_537_664),
    "amused-512": _amused(512, 608_257_792),
    "lumina-dimoo": ImageShape(
        name="Lumina-DiMOO",
        source="LLaDA-8B with the vocabulary of MMaDA; its config.json was not read",
        trained=512,
        parameters=MMADA.parameters,
        decoder=VQ,
        prior=MMADA,
        around=540,  # 510 of text, as MMaDA reads at most; tags, <boa> <boi>, <eoi> <eoa>
        newlines=True,
    ),
}


def find_image_shape(name: str) -> ImageShape:
    """The image shape of a preset or a published name.

    Raises:
        ValueError: none of these, or a model that is not supported; a folder, of which
            `image_folders` reads the sizes.
    """
    if Path(name).is_dir():
        raise ValueError(f"{name!r} is a folder; planning.image_folders reads its sizes")
    refuse_known(name)
    key = name.lower().rstrip("/").rsplit("/", 1)[-1]
    if key == "mmada-parallel-m":  # its config.json has num_vq_tokens 256
        return replace(IMAGE_SHAPES["mmada-8b"], trained=256)
    if key in ("mmada", "mmada-8b-base", "mmada-8b-mixcot"):
        key = "mmada-8b"
    if key not in IMAGE_SHAPES:
        raise ValueError(
            f"no image plan for {name!r}; known: {', '.join(IMAGE_SHAPES)}, the embedded "
            "mini-garments, mini-garments-large and mini-portraits, and an image model's folder"
        )
    return IMAGE_SHAPES[key]
