"""`--out`, the folder that the image commands write to: judged before anything is loaded."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from ..images.pillow import pillow

__all__ = ["check_out", "out_folder"]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Suffixes of image files, which no new folder is given."""


def out_folder(text: str) -> Path:
    """The folder of `--out`; empty text would be the current one, and is an error of argparse."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; name a folder (the current one is .)")
    return Path(text)


LONGEST = 255
"""Bytes of a file's name, on the usual file systems."""


def check_out(
    folder: Path,
    names: Collection[str],
    samples: int,
    read: Iterable[str | None],
    beside: Collection[str] = (),
) -> None:
    """Check, before anything is loaded, that the output can be written and replaces no input.

    Args:
        folder: of the output; it may not be there yet.
        names, samples: sheet.png and, of each name, `NAME-1.png`, `NAME-2.png`, ... are written.
        read: the input files; None is none.
        beside: names of further files that are written, over inputs as well.

    Raises:
        ModuleNotFoundError: Pillow is missing.
        ValueError: the folder is a file or lies in one, has the name of an image file, or cannot be
            written to; an input file is among those to be written, or a folder has the name of one;
            a name is too long for a file.
    """
    pillow()  # which writes the images
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

    for name in names:
        last = f"{name}-{samples}.png"
        if len(os.fsencode(last)) > LONGEST:
            raise ValueError(
                f"{last} is to be written, and a file's name has at most {LONGEST} bytes; rename "
                "the image"
            )
    inputs = {Path(name).resolve(): name for name in read if name}
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and (is_written(entry.name) or entry.name in beside):
            raise ValueError(
                f"--out {folder}: {entry.name} in it is a folder, and a file of that name is "
                "written; name another folder"
            )
        if is_written(entry.name) and entry.resolve() in inputs:  # of a link, what it points to
            raise ValueError(
                f"{inputs[entry.resolve()]} would be written over: it is {entry.name} in --out "
                f"{folder}, where a file of that name is written; name another folder"
            )
