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

from ..core.codebook import VectorCodebook
from ..core.protocols import Denoiser
from ..images.magvit import MagvitTokenizer
from ..images.magvit_files import read_magvit
from ..images.sliced_tokenizer import check_at_most, check_side
from ..models.image_folders import image_folder, lenient_json
from ..models.mmada import MAX_TEXT, MmadaPrior, image_sizes
from ..models.refused import refuse_known
from ..models.registry import load
from ..models.search import download, find
from ..text.prompts import checked_text
from .any_image_model import Condition, ImageTokenizer

__all__ = ["PIXELS", "TextImageModel", "TextPrior", "load_text_image_model"]

PIXELS = 2**18
"""Pixels whose activations the decoder holds at a time: about 5 GB with a gradient, one image of
512 x 512; see `SlicedTokenizer.decode`."""

UNLIKE_LISTS = (bytes, bytearray, set, frozenset)
"""Collections that are no texts, one for each image: sets have no order."""

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
        _check_codes(self.name, self.prior.size, self.tokenizer.codes)
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
        """No start of the tilt where codes are vectors: `tilt_start` is tuned on signs."""
        vectors = isinstance(self.tokenizer.codebook, VectorCodebook)
        return {"tilt_start": 0.0} if vectors else {}

    def conditions(self, given: Condition | Sequence[Condition] | None, count: int) -> list[str]:
        """A text for each of `count` images, of one for all, of one each, or of none (empty).

        Raises:
            ValueError: attributes instead of a text, another number of texts, or one with half of a
                surrogate pair.
            TypeError: anything else.
        """
        if given is None or isinstance(given, Mapping | str):
            each: Sequence[Condition] = [given or ""] * count
        elif isinstance(given, Collection) and not isinstance(given, UNLIKE_LISTS):
            each = given
        else:
            raise TypeError(
                f"a text that describes the image is a str, got {given!r}; several are a list"
            )
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
            texts.append(checked_text(one, "the text"))
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
    check_at_most(at_most)
    # All that the configurations and the small tokenizer tell is judged before 16 GB are read.
    where = {key: options[key] for key in ("local_files_only", "cache_dir") if key in options}
    codes, tokens = _stated_sizes(name, revision=options.get("revision"), **where)
    net = read_magvit(_folder(tokenizer, **where), "cpu", torch.float32)
    shown = Path(name).name if Path(name).is_dir() else str(name)
    _check_codes(shown, codes, 2**net.bits)
    if size is None:
        side = math.isqrt(tokens)
        if side * side != tokens:
            raise ValueError(
                f"config.json of {shown!r} has num_vq_tokens={tokens}, which is no square image; "
                "give size= in pixels"
            )
        size = side * net.factor
    check_side(size, net.factor)
    if options.get("device_map") is None:
        options["device"] = device
    text = load(name, **options)
    prior = MmadaPrior.of(text)
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


def _check_codes(name: str, size: int, codes: int) -> None:
    """Raise `ValueError` unless a model of `size` image tokens fits a tokenizer of `codes`."""
    if codes != size:
        raise ValueError(
            f"{name} has {size} image tokens and the image tokenizer {codes}; they do not belong "
            "together"
        )


def _stated_sizes(name: str | Path, **where: Any) -> tuple[int, int]:
    """What `image_sizes` says of a model's config.json, which alone is read."""
    refuse_known(name)
    found: list[tuple[int, int]] = []

    def read(config: Mapping[str, Any]) -> None:
        found.append(image_sizes(config, str(name)))

    find(name, read, **where)
    return found[-1]


def _folder(
    name: str | Path, local_files_only: bool = False, cache_dir: str | Path | None = None
) -> Path:
    """The folder of an image tokenizer; a hub id is downloaded, or found in the cache.

    Raises:
        ValueError: a model, or a part of another one.
    """
    remote = isinstance(name, str) and name.count("/") == 1 and not Path(name).is_dir()
    where = (None, local_files_only, cache_dir)
    folder = download(str(name), ("*.json",), *where) if remote else Path(name)
    image = image_folder(name, folder)
    kind = lenient_json(folder / "config.json").get("model_type")
    if image is not None and not image.tokenizer:
        raise ValueError(
            f"tokenizer={str(name)!r} is {image.what}, and not MMaDA's image tokenizer, which is "
            f"showlab/magvitv2; {image.use}"
        )
    if kind is not None:
        raise ValueError(
            f"tokenizer={str(name)!r} is a model of type {kind!r}, and no image tokenizer; MMaDA's "
            "is showlab/magvitv2"
        )
    return download(str(name), ("*.json", "*.safetensors"), *where) if remote else folder
