"""What a reward's name stands for: a hash of the file, module or folder that it names.

`mine.py:reward` and a model's folder may be changed between two runs; rows of the old content are
then other rows, as those of another model are. Installed rewards and hub ids have no content here.

A module's own file is hashed, not what it imports; of a file beyond 1 MiB its size and 64 evenly
spaced pieces.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["content", "contents", "with_content"]

WHOLE = 2**20
PIECES, PIECE = 64, 4096


def with_content(rewards: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Any]]:
    """Rewards by role, as in `Row.rewards`, each with the `content` of what it names, if any."""
    return {role: [_with_content(one) for one in specs] for role, specs in rewards.items()}


def content(name: str) -> str:
    """16 hex digits of what a name or an option's text stands for; "" if it is no place.

    Args:
        name: without options and weight.
    """
    from aps_rewards.installed import installed_names
    from aps_rewards.paths import typed_path

    if not name or name in installed_names():
        return ""
    place, colon, attribute = name.rpartition(":")
    path = typed_path(place if colon and place.endswith(".py") else name)
    try:
        if path.is_file():
            return _hash([path])
        if path.is_dir():
            return _hash(sorted(one for one in path.iterdir() if one.is_file()))
    except (OSError, ValueError):  # a text that no path can be
        return ""
    module = colon and attribute and all(part.isidentifier() for part in place.split("."))
    return _of_module(place) if module else ""


def _of_module(name: str) -> str:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return ""
    file = Path(found.origin) if found is not None and found.origin else None
    return _hash([file]) if file is not None and file.is_file() else ""


def contents(spec: str, options: Mapping[str, Any] | None = None) -> list[str]:
    """The `content` of a reward's name and of those of its options that name a file or a folder.

    Args:
        spec: the name, with options in it or not, without a weight.
        options: further ones.
    """
    from aps_rewards.specs import split_options

    name, typed = split_options(spec)
    texts = [one for one in (*typed.values(), *(options or {}).values()) if isinstance(one, str)]
    # One of a word's length is no place.
    return [content(name), *(content(text) for text in texts if "/" in text)]


def _with_content(spec: Mapping[str, Any]) -> dict[str, Any]:
    held = contents(spec["name"], spec.get("options"))
    return {**spec, "content": held} if any(held) else dict(spec)


def _hash(files: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        found.update(f"{path.name} {size}\n".encode("utf-8", "surrogateescape"))
        with path.open("rb") as file:
            if size <= WHOLE:
                found.update(file.read())
                continue
            for piece in range(PIECES):
                file.seek((size - PIECE) * piece // (PIECES - 1))
                found.update(file.read(PIECE))
    return found.hexdigest()[:16]
