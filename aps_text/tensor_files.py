"""Networks from safetensors files, read once for every model that is no transformers class.

    PART.json           the sizes of a part of this repository's image models: tokenizer, prior, ...
    PART.safetensors    its weights

It stands below models and images, which both read published networks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["FLOATS", "check_pointer", "check_tensors", "check_written", "load_part", "part_config"]
__all__ += ["read_sizes", "read_tensors"]

C = TypeVar("C")
N = TypeVar("N", bound="nn.Module")

MOST = 4096
"""The largest size of a small image model: pixels, channels or blocks."""

POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that stands for another one, in a clone without Git LFS."""

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
    from safetensors import safe_open

    sizes = read_sizes(path, tables)
    with safe_open(str(path), framework="pt") as file:
        return {key: file.get_tensor(key) for key in sizes}


def read_sizes(path: Path, tables: str | None = None) -> dict[str, tuple[str, list[int]]]:
    """The type, by safetensors' name, and the shape of each tensor; the header alone is read.

    Args:
        path, tables: see `read_tensors`.

    Raises:
        ValueError: see `read_tensors`.
    """
    from safetensors import SafetensorError, safe_open

    check_pointer(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            parts = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
            found = {key: (part.get_dtype(), part.get_shape()) for key, part in parts.items()}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no safetensors file, or is cut off ({error}); download it again"
        ) from error
    for key, (kind, _) in found.items():
        if kind not in FLOATS and (tables is None or not key.startswith(tables)):
            raise ValueError(f"{path}: {key!r} is stored as {kind}; weights are floating point")
    return found


def check_pointer(path: Path) -> None:
    """Raise `ValueError` for a file whose contents Git LFS has not fetched."""
    with path.open("rb") as file:
        pointer = file.read(len(POINTER)) == POINTER
    if pointer:
        raise ValueError(
            f"{path} is a pointer of Git LFS, not the file; run git lfs pull in its folder, or "
            "download the file"
        )


def check_written(net: nn.Module, name: str) -> None:
    """Raise `ValueError` for a matrix of zeros alone, as in a file that was not written whole.

    A single row may be 0: RoBERTa's embedding of its one type of token is.

    Args:
        net: with its weights.
        name: of the checkpoint, for the message.
    """
    for key, value in net.named_parameters():
        if value.ndim < 2 or len(value) < 2 or not value.is_floating_point():
            continue
        if value.device.type == "meta":
            continue
        few = value.flatten()[:: max(1, value.numel() // 1024)]
        if not bool(few.any()) and not bool(value.any()):
            raise ValueError(
                f"{name!r}: all {value.numel()} numbers in {key!r} are 0; its file was not written "
                "whole: download or export it again"
            )


def check_tensors(
    stored: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str, kind: str, by: str
) -> None:
    """Raise `ValueError` unless the tensors are those expected, in name and shape, and finite.

    Args:
        stored: as read.
        expected: the network's own, which may be on the device "meta".
        name, kind: the file and the network's class, for messages.
        by: what states the sizes, in the plural: "the other tensors".
    """
    import torch

    for what, keys in (
        ("lacks", sorted(expected.keys() - stored.keys())),
        ("has unknown", sorted(stored.keys() - expected.keys())),
    ):
        if keys:
            raise ValueError(
                f"{name} {what} {len(keys)} tensors of {kind}, e.g. "
                f"{', '.join(map(repr, keys[:3]))}; it is incomplete or does not belong to {by}: "
                "download or export it again"
            )
    for key, value in stored.items():
        if value.shape != expected[key].shape:
            raise ValueError(
                f"{name}: {key!r} has shape {tuple(value.shape)}, and {by} make it "
                f"{tuple(expected[key].shape)}; they do not belong together"
            )
        if bool(value.sum(dtype=torch.promote_types(value.dtype, torch.float32)).isfinite()):
            continue  # faster than testing every number
        bad = int((~value.isfinite()).sum())
        if bad:
            raise ValueError(
                f"{name}: {bad} of the {value.numel()} numbers in {key!r} are NaN or infinite; "
                "the file is damaged: download or export it again"
            )


def load_part(
    folder: Path, part: str, kind: type[C], build: Callable[[C], N], device: str | torch.device
) -> N:
    """A part of a small image model, in float32; frozen, in eval mode.

    Args:
        folder: with `<part>.json` and `<part>.safetensors`.
        part: tokenizer, prior or classifier.
        kind: dataclass of its sizes: whole numbers, and names by attribute.
        build: makes the network.

    Raises:
        ValueError: files that are missing, damaged, or contradict each other.
    """
    import torch

    path = folder / f"{part}.json"
    config = part_config(path, kind)
    weights = path.with_suffix(".safetensors")
    if not weights.is_file():
        raise ValueError(f"{weights} is not there; copy it to {path.name}")
    stored = read_tensors(weights)
    try:
        with torch.device("meta"):  # wrong sizes are found before they take memory
            expected = build(config).state_dict()
    except Exception as error:  # sizes that do not fit together may raise anything
        raise ValueError(f"{path} describes no {part} ({error}); export it again") from error
    check_tensors(stored, expected, str(weights), f"a {part}", f"the sizes of {path.name}")
    model = build(config)
    model.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
    return model.eval().requires_grad_(False).to(device)


def part_config(path: Path, kind: type[C]) -> C:
    """The dataclass of a part's sizes in its JSON file.

    Raises:
        ValueError: no such file, or other fields or values than the dataclass has.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is not there; export the model again") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); export the model again") from error
    known: dict[str, Any] = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    names = set(found) if isinstance(found, dict) else set()
    wanted = {name for name, field in known.items() if field.default is MISSING}
    if not wanted <= names or not names <= known.keys():
        raise ValueError(
            f"{path} has {', '.join(sorted(names)) or 'no sizes'}, and it has to have "
            f"{', '.join(known)}; export the model again"
        )
    for name, value in found.items():
        if known[name].type == "int":
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
                raise ValueError(f"{path} has {name}={value!r}; it is a number from 0 to {MOST}")
        elif not _names(value):
            raise ValueError(f"{path} has {name}={value!r}; it is a list of names by attribute")
    try:
        return kind(**found)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"{path}: {error}") from error


def _names(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(names, list) and names and all(isinstance(one, str) for one in names)
        for names in value.values()
    )
