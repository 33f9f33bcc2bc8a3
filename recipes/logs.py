"""The log of a training run: on the terminal, and in its folder."""

from __future__ import annotations

import logging
from pathlib import Path

__all__ = ["log_to"]


def log_to(folder: Path) -> None:
    """Make the folder, and append what is logged to its `train.log` as well."""
    folder.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.FileHandler(folder / "train.log"),
        logging.StreamHandler(),
    ]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
