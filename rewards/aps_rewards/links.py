"""Symbolic links in a model's folder: a file that is read lies in the folder itself.

    model.safetensors -> /elsewhere/model.safetensors           refused
    model.safetensors -> /CACHE/models--OWNER--NAME/blobs/ID    followed: a file of the hub's cache

The snapshots of the hub's cache are such links, and so are the folders that a download to
`local_dir=` made before huggingface_hub 0.23. The folder itself may be a link, as may those above
it. Links to files of other kinds, and to folders that are no part of a model
(`latest -> checkpoint-900`), are never followed. What is installed with our packages is ours: an
installer may link it to its cache.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from .guard import Refused

__all__ = ["check_links", "leads_out"]

READ = (
    *(".json", ".txt", ".model", ".jinja", ".safetensors", ".codes", ".tiktoken", ".spm"),
    *(".vocab", ".bpe", ".py"),
)
"""Endings of the files that a loader may open."""

PARTS = (
    *("transformer", "vqvae", "text_encoder", "tokenizer", "scheduler"),
    *("additional_chat_templates", "chat_templates"),
)
"""Folders in a model's folder that a loader may read."""

INSTALLED = ("aps_rewards", "aps_text")
"""Packages that hold models of their own."""


def check_links(folder: Path) -> None:
    """Refuse a model's folder with a link that leads out of it.

    Raises:
        ValueError: names the link, what it leads to, and the mend.
    """
    if not folder.is_dir() or _installed(folder):
        return
    parts = [folder / name for name in PARTS if (folder / name).is_dir()]
    files = [file for place in (folder, *parts) for file in sorted(place.iterdir())]
    for path in (*parts, *(file for file in files if file.suffix in READ)):
        if leads_out(path, folder):
            raise Refused(
                f"{path} is a link to {os.path.realpath(path)}, and only what lies in "
                f"{str(folder)!r} is read; copy it there, or give the folder that it lies in"
            )


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a file or folder lies outside of a model's folder, in which its name is, and is no
    file of the hub's cache."""
    real = Path(os.path.realpath(path))
    return not (real.is_relative_to(os.path.realpath(folder)) or _cached(real))


def _cached(file: Path) -> bool:
    """Whether a file has the place of a model's blobs in a cache of the hub."""
    blobs = file.parent
    return blobs.name == "blobs" and blobs.parent.name.startswith("models--")


def _installed(folder: Path) -> bool:
    specs = [spec for package in INSTALLED if (spec := find_spec(package)) is not None]
    places = [place for spec in specs for place in spec.submodule_search_locations or ()]
    here = Path(os.path.abspath(folder))  # without `..`
    return any(here.is_relative_to(place) for place in places)
