"""Paths that a user typed, and the folders of installed packages."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

__all__ = ["package_folder", "typed_path"]


def typed_path(text: str | os.PathLike[str]) -> Path:
    """The path, `~` and `~user` replaced by home folders.

    A text that no user's name can be (half of a UTF-16 pair, a null character) stays as it is: no
    such path exists, and whoever looks there says so.
    """
    try:
        return Path(os.path.expanduser(text))
    except ValueError:
        return Path(text)


def package_folder(package: str, mend: str) -> Path:
    """The folder of an installed package, whose data files are read; it is not imported.

    Args:
        mend: what needs the package and how it is installed, for the error.

    Raises:
        ModuleNotFoundError: it is not installed; the message is `mend`.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(mend)
    return Path(spec.submodule_search_locations[0])
