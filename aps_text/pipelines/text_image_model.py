"""A model of images given a text: MMaDA with MAGVIT-v2, aMUSEd with its `VQModel`.

    model = load_text_image_model("Gen-Verse/MMaDA-8B-MixCoT", "showlab/magvitv2", dtype="bfloat16")
    denoiser = model.denoiser(["a red violin"], rows=1, cfg_scale=3.5)

`load_text_image_model` is told the image tokenizer; `diffusers_image_model` finds it beside the
model. The condition of an image is a text; without one, and in classifier-free guidance, it is
empty.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from ..core.protocols import Denoiser
from ..images.magvit import MagvitTokenizer
from ..images.magvit_files import read_magvit
from ..images.sliced_tokenizer import check_side
from ..models.mmada import MAX_TEXT, MmadaPrior
from ..models.registry import load
from ..models.search import download
from .image_model import Condition, ImageTokenizer

__all__ = ["PIXELS", "TextImageModel", "TextPrior", "load_text_image_model"]

PIXELS = 2**18
"""Pixels whose activations the decoder holds at a time: about 5 GB with a gradient, one image of
512 x 512; see `SlicedTokenizer.decode`."""

log = logging.getLogger(__name__)


class GridTokenizer(ImageTokenizer, Protocol):
    """An image tokenizer with one token per cell of a grid."""

    @property
    def codes(self) -> int:
        """K, its codes."""
        ...

    @property
    def size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        ...

    @property
    def grid(self) -> tuple[int, int]:
        """Cells per column and per row."""
        ...

    @property
    def tokens(self) -> int:
        """L, tokens per image."""
        ...


class TextPrior(Protocol):
    """A model of image tokens given a text: `MmadaPrior`, `AmusedPrior`."""

    @property
    def size(self) -> int:
        """K, its image tokens."""
        ...

    @property
    def device(self) -> torch.device:
        """Of the input embeddings."""
        ...

    def denoiser(
        self,
        texts: Sequence[str],
        tokens: int | None = None,
        cfg_scale: float = 0.0,
        adapted_layers: int | None = None,
    ) -> Denoiser:
        """`x_theta` over the tokens of one image per text."""
        ...


@dataclass(frozen=True)
class TextImageModel:
    """An image tokenizer and a prior of its tokens given a text; frozen, in eval mode.

    Attributes:
        name: as it was loaded.
        tokenizer: of square images.
        prior: its window has as many tokens as the tokenizer.
        classifier: None; the text is the condition.
    """

    name: str
    tokenizer: GridTokenizer
    prior: TextPrior
    classifier: None = None

    def __post_init__(self) -> None:
        codes = self.tokenizer.codes
        if codes != self.prior.size:
            raise ValueError(
                f"{self.name} has {self.prior.size} image tokens and the image tokenizer {codes}; "
                "they do not belong together"
            )
        _, high, wide = self.size
        if high != wide:
            raise ValueError(f"{self.name} makes square images, got {high} x {wide}")

    @property
    def device(self) -> torch.device:
        """Of the input embeddings."""
        return self.prior.device

    @property
    def size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return self.tokenizer.size

    @property
    def grid(self) -> int:
        """Tokens per side."""
        return self.tokenizer.grid[0]

    @property
    def tokens(self) -> int:
        """L, tokens per image."""
        return self.tokenizer.tokens

    @property
    def mask_id(self) -> int:
        """The mask token's id on the canvas, one beyond the image tokens."""
        return self.prior.size

    @property
    def usual(self) -> Mapping[str, Any]:
        """The cosine schedule, which it was trained and published with."""
        return {"schedule": "cosine"}

    def conditions(self, given: Condition | Sequence[Condition] | None, count: int) -> list[str]:
        """A text for each of `count` images, of one for all, of one each, or of none (empty).

        Raises:
            ValueError: attributes instead of a text, or another number of texts.
            TypeError: anything else.
        """
        if given is None or isinstance(given, Mapping | str):
            each: Sequence[Condition] = [given or ""] * count
        elif isinstance(given, Collection):
            each = given
        else:
            raise TypeError(f"a text that describes the image is a str, got {given!r}")
        if len(each) != count:
            raise ValueError(
                f"{len(each)} texts for {count} images; give one for all, or one for each"
            )
        texts: list[str] = []
        for one in each:
            if isinstance(one, Mapping):
                raise ValueError(
                    f"{self.name} takes a text that describes the image, not attributes; got "
                    f"{dict(one)!r}"
                )
            if not isinstance(one, str):
                raise TypeError(f"a text that describes the image is a str, got {one!r}")
            texts.append(one)
        return texts

    def denoiser(
        self,
        chosen: Sequence[str] | str | None = None,
        rows: int = 1,
        cfg_scale: float = 0.0,
        adapted_layers: int | None = None,
    ) -> Denoiser:
        """`x_theta` for `rows` images with these texts; see `TextPrior.denoiser`."""
        layers = None if adapted_layers is None else max(1, adapted_layers)
        return self.prior.denoiser(self.conditions(chosen, rows), self.tokens, cfg_scale, layers)


def load_text_image_model(
    name: str | Path,
    tokenizer: str | Path,
    *,
    size: int | None = None,
    device: torch.device | str = "cpu",
    at_most: int | None = PIXELS,
    **options: Any,
) -> TextImageModel:
    """Load MMaDA and its image tokenizer.

    Args:
        name: folder or hub id of the model.
        tokenizer: folder or hub id of MAGVIT-v2's weights, `showlab/magvitv2`; they stay float32.
        size: pixels per side of the images, a multiple of 16; None is the size that config.json
            states by `num_vq_tokens`.
        device: of the weights.
        at_most: pixels whose activations the decoder holds at a time, >= 1; None is no limit.
        options: of `models.registry.load` (`dtype`, `device_map`, `load_in_4bit`, ...).

    Raises:
        ValueError: parts that cannot be found or read or do not fit together, a size that is no
            multiple of a token's cell.
        TypeError: see `models.registry.load`.
    """
    found = {key: options[key] for key in ("local_files_only", "cache_dir") if key in options}
    net = read_magvit(_folder(tokenizer, **found), "cpu", torch.float32)
    if size is not None:
        check_side(size, net.factor)
    if options.get("device_map") is None:
        options["device"] = device
    text = load(name, **options)
    prior = MmadaPrior.of(text)
    if size is None:
        side = math.isqrt(prior.tokens)
        if side * side != prior.tokens:
            raise ValueError(
                f"config.json of {text.name!r} has num_vq_tokens={prior.tokens}, which is no "
                "square image; give size= in pixels"
            )
        size = side * net.factor
    net = net.to(text.parts.device)
    made = TextImageModel(text.name, MagvitTokenizer(net, size, size, at_most), prior)
    longest = MAX_TEXT + 3 + made.tokens
    if longest > text.context:
        log.warning(
            "%s: a text and an image of %d x %d pixels have up to %d tokens, and the model was "
            "made for %d",
            text.name,
            size,
            size,
            longest,
            text.context,
        )
    return made


def _folder(
    name: str | Path, local_files_only: bool = False, cache_dir: str | Path | None = None
) -> Path:
    """The folder of an image tokenizer; a hub id is downloaded, or found in the cache."""
    remote = isinstance(name, str) and name.count("/") == 1 and not Path(name).is_dir()
    if not remote:
        return Path(name)
    return download(str(name), ("*.json", "*.safetensors"), None, local_files_only, cache_dir)
