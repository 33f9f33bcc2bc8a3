"""Paths that a user typed."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["typed_path"]


def typed_path(text: str | os.PathLike[str]) -> Path:
    """The path, `~` and `~user` replaced by home folders.

    A text that no user's name can be (half of a UTF-16 pair, a null character) stays as it is: no
    such path exists, and whoever looks there says so.
    """
    try:
        return Path(os.path.expanduser(text))
    except ValueError:
        return Path(text)
