"""A name or a folder where a loaded model is expected: what loads it."""

from __future__ import annotations

import os

from ..models.image_folders import image_folder

__all__ = ["refuse_name"]


def refuse_name(pipeline: str, model: object) -> None:
    """Do nothing for an object that is no name.

    Args:
        pipeline: the class that was called.
        model: what it was given.

    Raises:
        TypeError: a name or a folder; says what loads it, and what it is if it is an image model.
    """
    if not isinstance(model, str | os.PathLike):
        return
    name = os.fspath(model)
    image = image_folder(str(name))
    if image is None:
        use = f"{pipeline}.from_pretrained({name!r}) loads one by its name"
    else:
        use = f"{name!r} is {image.what}; {image.use}"
    raise TypeError(f"{pipeline}(...) takes a loaded model, got a name; {use}")
