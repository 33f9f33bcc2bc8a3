"""Pillow, which reads and writes image files; it is in the extra `images`."""

from __future__ import annotations

from typing import Any

__all__ = ["pillow"]


def pillow() -> Any:
    """The module `PIL.Image`.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ModuleNotFoundError("image files need Pillow: pip install pillow") from error
    return Image
