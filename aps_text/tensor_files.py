"""The tensors of a safetensors file, read once for every model that is no transformers class.

It stands below models and images, which both read published networks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FLOATS", "read_tensors"]

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a number, by safetensors' name of its type."""


def read_tensors(path: Path, tables: str | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU, in the types they are stored in.

    Args:
        path: of the file.
        tables: the beginning of the names of tensors that are no weights, and may hold integers;
            None is none of them.

    Raises:
        ValueError: no safetensors file, one that is cut off, or a weight that is not floating
            point (F64, F32, F16, BF16).
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            kinds = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
            for key, kind in kinds.items():
                if kind not in FLOATS and (tables is None or not key.startswith(tables)):
                    raise ValueError(
                        f"{path}: {key!r} is stored as {kind}; weights are floating point"
                    )
            return {key: file.get_tensor(key) for key in kinds}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no safetensors file, or is cut off ({error}); download it again"
        ) from error
