"""An image model: tokenizer, masked prior and optionally a classifier.

    model = load_image_model("mini-garments")  # or a folder that `recipes/mini_image` exported
    denoiser = model.denoiser({"class": "bag"}, rows=4, cfg_scale=0.5)

A folder holds per part a JSON file of its sizes and a file of its weights. Embedded models, in
`aps_text/weights/mini_image`, are loaded by name: `mini-garments`.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from aps_rewards.links import check_links
from torch import Tensor

from ..core.protocols import Denoiser
from ..images.classifier import AttributeClassifier, load_classifier
from ..images.lfq import LFQTokenizer, load_tokenizer
from ..models.combinations import Combinations, never_together, read_combinations
from ..models.image_folders import EMBEDDED, image_folder, mini_folder
from ..models.mini_image import ImageDenoiser, MaskedImageModel, load_prior
from .any_image_model import Condition

__all__ = ["ImageModel", "embedded_image_models", "load_image_model"]

log = logging.getLogger(__name__)

_SHARED = {"garments-large": "garments"}
"""For models without a classifier of their own, the model whose classifier is used."""


@dataclass(frozen=True)
class ImageModel:
    """Tokenizer, prior and classifier, all frozen and in eval mode.

    Attributes:
        name: as it was loaded.
        tokenizer, prior: of the same grid and bits.
        classifier: of the same images, or None.
        combinations: of the attributes' values, see `models.combinations`; those that never
            occurred are warned of. Empty: none are known.
    """

    name: str
    tokenizer: LFQTokenizer
    prior: MaskedImageModel
    classifier: AttributeClassifier | None = None
    combinations: Combinations = field(default_factory=dict)

    def __post_init__(self) -> None:
        tokens, prior = self.tokenizer.config, self.prior.config
        if (tokens.grid, tokens.bits) != (prior.grid, prior.bits):
            raise ValueError(
                f"{self.name}: a tokenizer of {tokens.grid}^2 tokens of {tokens.bits} bits and a "
                f"prior of {prior.grid}^2 of {prior.bits} do not fit; load parts made together"
            )
        judge = None if self.classifier is None else self.classifier.config
        if judge and (judge.size, judge.channels) != (tokens.size, tokens.channels):
            raise ValueError(
                f"{self.name}: a tokenizer of {tokens.channels} x {tokens.size}^2 pixels and a "
                f"classifier of {judge.channels} x {judge.size}^2 do not fit; load parts made "
                "together"
            )

    @property
    def device(self) -> torch.device:
        """Of the prior's weights."""
        return self.prior.positions.device

    @property
    def size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        config = self.tokenizer.config
        return config.channels, config.size, config.size

    @property
    def grid(self) -> int:
        """Tokens per side."""
        return self.tokenizer.config.grid

    @property
    def tokens(self) -> int:
        """L, tokens per image."""
        return self.tokenizer.config.tokens

    @property
    def usual(self) -> Mapping[str, Any]:
        """None: its defaults are those of `preset="restore"`."""
        return {}

    @property
    def mask_id(self) -> int:
        """The mask token's id, one beyond the codes: 2^bits."""
        return self.prior.mask_id

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of each attribute's values, by attribute."""
        return {name: tuple(values) for name, values in self.prior.config.attributes.items()}

    def conditions(
        self, given: Condition | Sequence[Condition] | None, count: int
    ) -> list[Mapping[str, str]]:
        """Attributes of each of `count` images, of one mapping for all or of one each.

        Raises:
            ValueError: an unknown attribute or value, another number of mappings, or a text.
            TypeError: anything else.
        """
        if given is None or isinstance(given, Mapping | str):
            each: Sequence[Condition] = [{} if given is None else given] * count
        elif isinstance(given, Collection):
            each = given
        else:
            raise TypeError(self._asked(given))
        if len(each) != count:
            raise ValueError(
                f"attributes has {len(each)} mappings for {count} measurements; give one "
                "for all, or one for each"
            )
        found: list[Mapping[str, str]] = []
        for one in each:
            if isinstance(one, str):
                raise ValueError(
                    f"{self.name} takes attributes by name ({', '.join(self.attributes)}), not a "
                    f"text; got {one!r}"
                )
            if not isinstance(one, Mapping):
                raise TypeError(self._asked(one))
            own = self.prior.config.named(one)
            if own not in found and (said := never_together(self.combinations, own)):
                log.warning(
                    "%s in what %s learnt from, so that some of these may not be drawn",
                    said,
                    self.name,
                )
            found.append(own)
        return found

    def _asked(self, given: object) -> str:
        kind, values = next(iter(self.attributes.items()), ("class", ("bag",)))
        return f"attributes are given by name, e.g. {{{kind!r}: {values[0]!r}}}; got {given!r}"

    def denoiser(
        self,
        chosen: Mapping[str, str] | Sequence[Mapping[str, str]] | Tensor | None = None,
        rows: int = 1,
        cfg_scale: float = 0.0,
        adapted_layers: int | None = None,
    ) -> Denoiser:
        """`x_theta` for `rows` images with the attributes `chosen`: `(rows, A)`, or by name, one
        mapping for all or one each.

        Raises:
            ValueError: an attribute or value that the model does not know; see
                `ImageDenoiser.bind`.
        """
        if isinstance(chosen, Tensor):
            values = chosen
        elif chosen is None or isinstance(chosen, Mapping):
            values = self.prior.config.values(chosen or {}).expand(rows, -1)
        else:
            values = torch.cat([self.prior.config.values(one) for one in chosen])
        return ImageDenoiser.bind(self.prior, values, cfg_scale, adapted_layers)


def embedded_image_models() -> tuple[str, ...]:
    """Names of the models embedded in the package."""
    return tuple(
        sorted(f"mini-{path.parent.name}" for path in EMBEDDED.glob("*/prior.safetensors"))
    )


def load_image_model(name: str | Path, device: str | torch.device = "cpu") -> ImageModel:
    """Load an embedded image model by name, or one of the same layout from its folder.

    Raises:
        ValueError: neither a name nor such a folder.
    """
    known = embedded_image_models()
    folder = mini_folder(name) or Path(name)
    check_links(folder)
    if not (folder / "prior.json").is_file():
        image = image_folder(folder)
        if image is not None:
            raise ValueError(f"{str(name)!r} is {image.what}, and no whole model; {image.use}")
    if (folder / "config.json").is_file() and not (folder / "prior.json").is_file():
        raise ValueError(
            f"{str(name)!r} is a checkpoint without an image tokenizer; name its own with "
            "tokenizer= (--tokenizer), e.g. a download of showlab/magvitv2 for MMaDA"
        )
    if not (folder / "tokenizer.json").is_file() or not (folder / "prior.json").is_file():
        names = ", ".join(known) or "none"
        raise ValueError(
            f"no image model {str(name)!r}: neither an embedded one ({names}) nor a folder with "
            f"tokenizer.json and prior.json; {_mend(name)}"
        )
    judge = folder.parent / _SHARED.get(folder.name, folder.name)
    check_links(judge)
    has_judge = (judge / "classifier.json").is_file()
    return ImageModel(
        str(name),
        load_tokenizer(folder, device),
        load_prior(folder, device),
        load_classifier(judge, device) if has_judge else None,
        read_combinations(folder),
    )


def _mend(name: str | Path) -> str:
    """What to do about a name that is no image model."""
    known = embedded_image_models()
    guesses = (difflib.get_close_matches(one, known, 1, 0.8) for one in (f"{name}", f"mini-{name}"))
    near = next(filter(None, guesses), [])
    if near and not Path(name).exists():
        return f"did you mean {near[0]!r}?"
    if isinstance(name, str) and name.count("/") == 1 and name[0] not in "./~":
        return (
            "a hub id, as of MMaDA, needs its image tokenizer too: tokenizer=, e.g. "
            "showlab/magvitv2"
        )
    if not Path(name).exists() and os.path.basename(name) != os.fspath(name):
        return "there is no such folder; compare the path with where the model was saved"
    return (
        "train one with recipes/mini_image, and give the folder that its export wrote (--out of "
        "python -m recipes.mini_image.export)"
    )
