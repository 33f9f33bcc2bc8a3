"""`run.json`: the list of what was done in a folder, each entry with its command and versions."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..files import locked, write_whole

__all__ = ["began", "note", "noted", "now"]

PACKAGES = ("aps-text", "torch", "transformers", "peft", "accelerate", "tokenizers", "numpy")


def now() -> str:
    """The date and time, UTC, in seconds: `2026-11-30T14:05:00+00:00`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def began(command: Sequence[str]) -> dict[str, Any]:
    """What every entry begins with: the command, the time and the versions of packages."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"command": list(command), "started": now(), "versions": versions}


def note(
    path: Path, entry: dict[str, Any] | Callable[[list[dict[str, Any]]], dict[str, Any]]
) -> None:
    """Append an entry, or the one that a function makes of those before it, under the same lock.

    A file that is no list is put aside as `run.json.broken`.
    """
    with locked(path):
        entries = noted(path)
        if callable(entry):
            entry = entry(entries)
        if not entries and path.is_file():  # a damaged log of runs must not stop this one
            path.replace(path.with_name("run.json.broken"))
        text = json.dumps([*entries, entry], indent=1, ensure_ascii=False, default=str)
        write_whole(path, text + "\n")


def noted(path: Path) -> list[dict[str, Any]]:
    """The entries in their order; none of a file that is missing or damaged."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return []
    whole = isinstance(entries, list) and all(isinstance(one, dict) for one in entries)
    return entries if whole else []
