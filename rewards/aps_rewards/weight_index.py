"""The index of a model's weights, `model.safetensors.index.json`: which file has which tensor.

    {"weight_map": {"encoder.weight": "model-00001-of-00002.safetensors", ...}}

A file that it names is a safetensors file in the index's own folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .guard import Refused

__all__ = ["INDEX", "check_named"]

INDEX = "model.safetensors.index.json"


def check_named(index: Path, named: Iterable[object]) -> list[str]:
    """The files that an index names, each once, in its order.

    Args:
        index: its path, for errors.
        named: the values of its `weight_map`.

    Raises:
        ValueError: one that is no name of a safetensors file in the index's own folder.
    """
    files: dict[str, None] = {}
    for file in named:
        if not isinstance(file, str) or file != Path(file).name or "\\" in file:
            raise Refused(
                f"{index} names {file!r}; only files in the index's own folder are read. Move it "
                "there and correct the index"
            )
        if not file.endswith(".safetensors"):
            raise Refused(
                f"{index} names {file!r}; only safetensors are read. Convert it with "
                "save_pretrained(folder)"
            )
        files[file] = None
    return list(files)
