"""Reward files: a Python file as a module, and the state by which a change of it is noticed."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from .guard import described
from .paths import typed_path
from .specs import split_spec

__all__ = ["file_module", "file_state"]


def file_module(place: str) -> ModuleType:
    """Run a reward file as it is now, and return its module.

    The module is in `sys.modules` under a name of its path and its content, as dataclasses and
    `typing.get_type_hints` need it. Python's cache of compiled files is not used: it tells files
    apart by size and whole seconds.

    Raises:
        ValueError: there is no such file.
        ImportError: its code raised; the message has the file, the error and its line.
    """
    path = typed_path(place)
    if not path.is_file():
        raise ValueError(f"no reward file {place!r} (looked in {path.absolute().parent})")
    name = f"_aps_reward_{path.stem}_{_digest(path)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ValueError(f"{place!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        sys.modules.pop(name, None)
        if not isinstance(error, Exception | SystemExit):
            raise
        raise ImportError(f"reward file {place!r} does not load: {_told(error, path)}") from error
    return module


def file_state(reward: str) -> tuple[str, str] | None:
    """The path and the content's digest of the file that a reward's text names; None if none."""
    place, _, _ = split_spec(reward)[0].rpartition(":")
    path = typed_path(place)
    if not place.endswith(".py") or not path.is_file():
        return None
    return str(path.resolve()), _digest(path)


def _digest(path: Path) -> str:
    found = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape"))
    found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _told(error: BaseException, path: Path) -> str:
    """An error and the last line of the file that it passed."""
    if isinstance(error, SyntaxError):  # its message has the line
        return described(error)
    frames: Any = traceback.extract_tb(error.__traceback__)
    at = [frame.lineno for frame in frames if frame.filename == str(path)]
    return described(error) + (f" (line {at[-1]})" if at else "")
