"""`--out`, the folder that the image commands write to: judged before anything is loaded."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

__all__ = ["check_out", "out_folder"]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Suffixes of image files, which no new folder is given."""


def out_folder(text: str) -> Path:
    """The folder of `--out`; empty text would be the current one, and is an error of argparse."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; name a folder (the current one is .)")
    return Path(text)


def check_out(
    folder: Path, names: Collection[str], samples: int, read: Iterable[str | None]
) -> None:
    """Check, before anything is loaded, that the output can be written and replaces no input.

    Args:
        folder: of the output; it may not be there yet.
        names, samples: sheet.png and, of each name, `NAME-1.png`, `NAME-2.png`, ... are written.
        read: the input files; None is none.

    Raises:
        ValueError: the folder is a file or lies in one, has the name of an image file, or cannot be
            written to; an input file is among those to be written, or a folder has the name of one.
    """
    above = folder.absolute()
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        raise ValueError(f"--out {folder}: {above} is no folder; name a folder")
    if above != folder.absolute() and folder.suffix.lower() in PICTURES:
        raise ValueError(
            f"--out {folder} is the name of an image file, and several files are written; name a "
            "folder for them"
        )
    try:  # root may write anywhere by its rights, and not into /proc
        with tempfile.TemporaryDirectory(dir=above):
            pass
    except OSError as error:
        raise ValueError(
            f"--out {folder}: {above} cannot be written to ({error.strerror}); name another folder"
        ) from error

    def is_written(name: str) -> bool:
        sample = re.fullmatch(r"(.*)-([1-9]\d*)\.png", name)
        own = sample is not None and sample[1] in names and int(sample[2]) <= samples
        return own or name == "sheet.png"

    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and is_written(entry.name):
            raise ValueError(
                f"--out {folder}: {entry.name} in it is a folder, and an image of that name is "
                "written; name another folder"
            )
    for name in read:
        path = Path(name or "")
        if is_written(path.name) and path.resolve().parent == folder.resolve():
            raise ValueError(
                f"{name} would be written over: it lies in --out {folder}, where a file of its "
                "name is written; name another folder"
            )
