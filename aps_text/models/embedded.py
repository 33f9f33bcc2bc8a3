"""The text models that are loaded by name, and their folders in this library."""

from __future__ import annotations

from pathlib import Path

__all__ = ["TEXT_MODELS", "embedded_folder"]

WEIGHTS = Path(__file__).parent.parent / "weights"
TEXT_MODELS = {"mini": WEIGHTS / "mini_text", "smol": WEIGHTS / "smol_text"}


def embedded_folder(name: str | Path) -> Path | None:
    """The folder of an embedded text model; None for any other name.

    Raises:
        ValueError: this installation lacks it.
    """
    folder = TEXT_MODELS.get(str(name))
    if folder is not None and not (folder / "config.json").is_file():
        raise ValueError(
            f"no model at {str(name)!r}: this installation lacks aps_text/weights/{folder.name}; "
            "install the published wheel, or give a folder or a hub id"
        )
    return folder
