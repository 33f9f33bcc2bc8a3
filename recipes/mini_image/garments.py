"""Garments: Fashion-MNIST (Xiao et al. 2017, MIT), padded to 32 pixels.

The files are in Debian's package `dataset-fashion-mnist` (`apt-get download` and `dpkg -x` need no
root rights). Splits: `train`: the first 58,000 training images; `tune`: the other 2,000; `test`:
the 10,000 test images, which are not used in training.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from recipes.mini_image.images import Images

__all__ = ["CLASSES", "garments"]

CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_TUNE = 2000


def garments(folder: Path, split: str) -> Images:
    """One split, `train | tune | test`, of the files below `folder`.

    Raises:
        ValueError: another split.
        FileNotFoundError: no such files below `folder`.
    """
    if split not in ("train", "tune", "test"):
        raise ValueError(f"split is 'train', 'tune' or 'test', got {split!r}")
    prefix = "t10k" if split == "test" else "train"
    pixels = _idx(folder, f"{prefix}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    labels = _idx(folder, f"{prefix}-labels-idx1-ubyte.gz", 8).long()
    if split == "train":
        pixels, labels = pixels[:-_TUNE], labels[:-_TUNE]
    elif split == "tune":
        pixels, labels = pixels[-_TUNE:], labels[-_TUNE:]
    padded = F.pad(pixels, (2, 2, 2, 2))
    return Images(padded, labels[:, None], {"class": CLASSES})


def _idx(folder: Path, name: str, header: int) -> torch.Tensor:
    """The bytes of an IDX file after its header."""
    found = sorted(folder.rglob(name))
    if not found:
        raise FileNotFoundError(
            f"no {name} below {folder}; unpack Debian's dataset-fashion-mnist there: "
            "apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist*.deb ."
        )
    with gzip.open(found[0]) as file:
        return torch.from_numpy(np.frombuffer(file.read(), np.uint8, offset=header).copy())
