"""An image model: tokenizer, masked prior and optionally a classifier.

    model = load_image_model("mini-garments")
    denoiser = model.denoiser({"class": "bag"}, rows=4, cfg_scale=0.5)

The embedded models are in `aps_text/weights/mini_image`: per part a JSON file of its sizes and a
file of its weights, with a model card. A folder of the same layout is loaded by its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..core.canvas import Canvas
from ..core.protocols import Denoiser
from ..images.classifier import AttributeClassifier, load_classifier
from ..images.lfq import LFQTokenizer, load_tokenizer
from ..models.mini_image import ImageDenoiser, MaskedImageModel, load_prior

__all__ = ["ImageModel", "embedded_image_models", "load_image_model"]

WEIGHTS = Path(__file__).parent.parent / "weights" / "mini_image"

_SHARED = {"garments-large": "garments"}
"""For models without a classifier of their own, the model whose classifier is used."""


@dataclass(frozen=True)
class ImageModel:
    """Tokenizer, prior and classifier, all frozen and in eval mode.

    Attributes:
        name: as it was loaded.
        tokenizer, prior: of the same grid and bits.
        classifier: of the same images, or None.
    """

    name: str
    tokenizer: LFQTokenizer
    prior: MaskedImageModel
    classifier: AttributeClassifier | None = None

    def __post_init__(self) -> None:
        tokens, prior = self.tokenizer.config, self.prior.config
        if (tokens.grid, tokens.bits) != (prior.grid, prior.bits):
            raise ValueError(
                f"{self.name}: a tokenizer of {tokens.grid}^2 tokens of {tokens.bits} bits and a "
                f"prior of {prior.grid}^2 of {prior.bits} do not fit; load parts made together"
            )

    @property
    def mask_id(self) -> int:
        """The mask token's id, one beyond the codes: 2^bits."""
        return self.prior.mask_id

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of each attribute's values, by attribute."""
        return {name: tuple(values) for name, values in self.prior.config.attributes.items()}

    def denoiser(
        self,
        chosen: Mapping[str, str] | Tensor | None = None,
        rows: int = 1,
        cfg_scale: float = 0.0,
        adapted_layers: int | None = None,
    ) -> Denoiser:
        """`x_theta` for `rows` images with the attributes `chosen`, by name or as `(rows, A)`.

        Raises:
            ValueError: an attribute or value that the model does not know; see
                `ImageDenoiser.bind`.
        """
        if isinstance(chosen, Tensor):
            values = chosen
        else:
            values = self.prior.config.values(chosen or {}).expand(rows, -1)
        return ImageDenoiser.bind(self.prior, values, cfg_scale, adapted_layers)

    def canvas(self, rows: int = 1, ids: Tensor | None = None) -> Canvas:
        """A canvas of masks, one row per image; of `ids` `(rows, L)`, those not masked stay."""
        length, device = self.tokenizer.config.tokens, self.prior.positions.device
        if ids is None:
            ids = torch.full((rows, length), self.mask_id)
        given = (ids != self.mask_id).tolist()
        return Canvas.of(
            ids.tolist(), mask_id=self.mask_id, fill_id=self.mask_id, given=given, device=device
        )


def embedded_image_models() -> tuple[str, ...]:
    """Names of the models embedded in the package."""
    return tuple(sorted(f"mini-{path.parent.name}" for path in WEIGHTS.glob("*/prior.safetensors")))


def load_image_model(name: str | Path, device: str | torch.device = "cpu") -> ImageModel:
    """Load an embedded image model by name, or one of the same layout from its folder.

    Raises:
        ValueError: neither a name nor such a folder.
    """
    known = embedded_image_models()
    folder = WEIGHTS / str(name).removeprefix("mini-") if name in known else Path(name)
    if not (folder / "tokenizer.json").is_file() or not (folder / "prior.json").is_file():
        names = ", ".join(known) or "none"
        raise ValueError(
            f"no image model {str(name)!r}: neither an embedded one ({names}) nor a folder with "
            "tokenizer.json and prior.json"
        )
    judge = folder.parent / _SHARED.get(folder.name, folder.name)
    has_judge = (judge / "classifier.json").is_file()
    return ImageModel(
        str(name),
        load_tokenizer(folder, device),
        load_prior(folder, device),
        load_classifier(judge, device) if has_judge else None,
    )
