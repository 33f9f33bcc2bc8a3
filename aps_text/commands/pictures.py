"""Image files as a model takes them, and what to do with those of another size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["read_picture"]


def read_picture(
    path: str | Path, size: tuple[int, int, int], what: str, clean: tuple[int, int] | None = None
) -> Tensor:
    """An image file of `size` (C, H, W) as `(1, C, H, W)` in [-1, 1].

    Args:
        what: of the image, for the message: `sr4 of mini-garments`.
        clean: height and width of the model's images, if this one is to be a degraded one.

    Raises:
        ValueError: other sides, or colours where grey is expected; names both sizes.
    """
    from ..images.files import read_image, sides_of

    channels, high, wide = size
    sides = sides_of(path)  # before the pixels of a large photograph take memory
    image = read_image(path, 3) if sorted(sides) == sorted((high, wide)) else None
    tall, broad = sides if image is None else image.shape[-2:]
    if image is None or (tall, broad) != (high, wide):
        mend = size_mend((tall, broad), (high, wide), clean)
        raise ValueError(
            f"{path} is {broad} x {tall} pixels, and {what} is {wide} x {high}; {mend}"
        )
    if channels == 3:
        return image
    if not bool((image == image[:, :1]).all()):
        raise ValueError(f"{path} has colours, and {what} is grey; convert it to grey")
    return image[:, :1]


def size_mend(
    sides: tuple[int, int], wanted: tuple[int, int], clean: tuple[int, int] | None
) -> str:
    """What to do with an image of other sides (height, width) than wanted; see `read_picture`.

    A degraded image is not to be resized or cropped, which would degrade it otherwise.
    """
    mends = []
    if sides == clean:
        mends.append("if it is clean, degrade it first with --simulate")
    elif others := models_of(sides, wanted, wanted if clean is None else clean):
        mends.append(f"name the model that takes this size by --model ({', '.join(others)})")
    if clean is None:
        fit = "resize it" if sides[0] == sides[1] else "crop it square and resize it"
        mends.append(f"{fit} to {wanted[1]} x {wanted[0]} (images.files.square in Python)")
    elif sides != clean:
        mends.append(f"give a clean image of {clean[1]} x {clean[0]} with --simulate")
    found = ", or ".join(mends)
    degraded = "; to resize or crop a degraded image would change how it is degraded"
    return found if clean is None else found + degraded


def models_of(sides: tuple[int, int], wanted: tuple[int, int], clean: tuple[int, int]) -> list[str]:
    """The embedded models that take images of these sides, if one of `clean` takes `wanted`."""
    from ..images.lfq import TokenizerConfig
    from ..models.image_folders import EMBEDDED
    from ..pipelines.image_model import embedded_image_models
    from ..tensor_files import part_config

    found = []
    for name in embedded_image_models():
        folder = EMBEDDED / name.removeprefix("mini-")
        side = part_config(folder / "tokenizer.json", TokenizerConfig).size
        if (side * wanted[0], side * wanted[1]) == (sides[0] * clean[0], sides[1] * clean[1]):
            found.append(name)
    return found
