"""A reward model's folder: what is on the hub is downloaded first, and checked as any folder is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .paths import typed_path

__all__ = ["folder_of"]

TEXTS = ("*.json", "*.txt", "*.model", "*.jinja", "*.codes", "*.tiktoken")


def folder_of(source: str | Path, hub: dict[str, Any]) -> Path:
    """The folder of a model or adapter; of a hub id that of its files, downloaded or in the cache.

    A hub id whose repository is not there, or has no safetensors, is returned as it is:
    transformers says what it lacks, or converts it.

    Args:
        source: a folder or a hub id.
        hub: `trust_remote_code` (download Python files, too), `local_files_only`, `revision`.
    """
    folder = typed_path(source)
    if folder.is_dir() or not isinstance(source, str) or source.count("/") != 1:
        return folder
    from huggingface_hub import snapshot_download

    code = ("*.py",) if hub.get("trust_remote_code") else ()
    try:
        found = Path(
            snapshot_download(
                source,
                revision=hub.get("revision"),
                local_files_only=bool(hub.get("local_files_only")),
                allow_patterns=[*TEXTS, *code, "*.safetensors"],
                ignore_patterns=["*/*"],
            )
        )
    except (OSError, ValueError):  # the hub's errors are subclasses of these
        return folder
    return found if any(found.glob("*.safetensors")) else folder
