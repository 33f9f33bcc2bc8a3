"""Checks of a checkpoint's files, made before anything is computed or much memory is taken.

    config.json ...     is UTF-8 and a JSON object; sizes are positive integers
    index               names safetensors files in the same folder only
    *.safetensors       the header has names, types and shapes, and the file all the bytes it states

A safetensors file is 8 bytes (the length n of the header), n bytes of JSON, and the tensors' bytes.
Every error is a `ValueError` that names the file and what to do.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from aps_rewards.weight_index import INDEX, check_named

from ..tensor_files import FLOATS, check_pointer

__all__ = ["Header", "check_headers", "check_memory", "check_sizes", "layers_in", "machine_memory"]
__all__ += ["read_header", "read_headers", "read_json", "stored_dtype"]

LARGEST_JSON = 2**26  # bytes of a configuration
LARGEST_HEADER = 10**8  # bytes, the limit of the safetensors format
DTYPES = ("float64", "float32", "float16", "bfloat16")
AGAIN = "download it again, or take it from where the other files came from"


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ValueError: no such file, too large, not UTF-8, not JSON, nested too deeply, or not an
            object.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there; {AGAIN}")
    if path.stat().st_size > LARGEST_JSON:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, too large for a configuration; {AGAIN}"
        )
    try:
        found = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 (byte {error.start}); if it is latin-1, convert it: "
            f"iconv -f latin1 -t utf8 {path.name}"
        ) from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply for a configuration; {AGAIN}") from error
    except ValueError as error:
        what = "is empty" if not path.stat().st_size else f"is not JSON ({error})"
        raise ValueError(f"{path} {what}; {AGAIN}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__} instead of an object; {AGAIN}")
    return found


def check_sizes(config: Mapping[str, Any], keys: Iterable[str], name: str) -> None:
    """Raise `ValueError` if one of these keys is in config.json and is not a positive integer."""
    for key in keys:
        value = config.get(key)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
            raise ValueError(
                f"config.json of {name!r} has {key}={value!r}, which is no size (an integer, at "
                "least 1); compare it with the published file"
            )


def stored_dtype(config: Mapping[str, Any], name: str) -> torch.dtype | None:
    """The dtype that config.json states for the weights; None if it states none.

    Raises:
        ValueError: it is not a floating-point dtype.
    """
    stored = config.get("dtype") or config.get("torch_dtype")
    if stored in (None, "auto"):
        return None
    if str(stored).removeprefix("torch.") not in DTYPES:
        raise ValueError(
            f"config.json of {name!r} has dtype {stored!r}; it is one of {', '.join(DTYPES)}, "
            "or left out"
        )
    found: torch.dtype = getattr(torch, str(stored).removeprefix("torch."))
    return found


@dataclass(frozen=True)
class Header:
    """A tensor's entry in a file's header: the file, safetensors' name of its type, its shape."""

    file: str
    kind: str
    shape: tuple[int, ...]

    @property
    def floating(self) -> bool:
        """Whether its numbers are floating point."""
        return self.kind in FLOATS


def read_headers(folder: Path, name: str) -> dict[str, Header]:
    """The tensors of a checkpoint by name, from the headers of the files that would be loaded.

    Raises:
        ValueError: no safetensors, an index that names a file outside the folder or of another
            format, a file that is truncated or not a safetensors file.
    """
    found: dict[str, Header] = {}
    for file in _weight_files(folder, name):
        one = read_header(folder / file)
        if twice := sorted(found.keys() & one.keys()):
            raise ValueError(
                f"{name!r}: {found[twice[0]].file} and {file} both hold {twice[0]!r}, and only one "
                f"of them belongs to this model; {AGAIN}"
            )
        found |= one
    if not found:
        raise ValueError(f"{name!r}: the safetensors files hold no tensors; {AGAIN}")
    return found


def _weight_files(folder: Path, name: str) -> list[str]:
    whole = folder / "model.safetensors"
    index = folder / INDEX
    if whole.is_file():
        return [whole.name]
    if not index.is_file():
        raise ValueError(_no_weights(folder, name))
    where = read_json(index).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise ValueError(f"{index} has no weight_map; {AGAIN}")
    files = check_named(index, where.values())
    if not any(folder.glob("*.safetensors")):
        raise ValueError(_no_weights(folder, name))
    for file in files:
        if not (folder / file).is_file():
            raise ValueError(f"{index} names {file!r}, which is not there; {AGAIN}")
    return files


def _no_weights(folder: Path, name: str) -> str:
    present = sorted(file.name for file in folder.iterdir())
    pickled = [file for file in present if file.endswith((".bin", ".pt", ".pth"))]
    other = [file for file in present if file.endswith(".safetensors")]
    if other:
        return f"{name!r} has {other[0]}, but neither model.safetensors nor {INDEX}; {AGAIN}"
    found = f"only pickled weights ({pickled[0]})" if pickled else "no weights"
    return (
        f"{name!r} has {found}; only safetensors are read. Convert them with "
        "save_pretrained(folder), or take a revision that has *.safetensors"
    )


def read_header(path: Path) -> dict[str, Header]:
    """The tensors of one safetensors file by name.

    Raises:
        ValueError: it is truncated, or not a safetensors file.
    """
    check_pointer(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if not 2 <= length <= min(size - 8, LARGEST_HEADER):
            raise ValueError(f"{path} is no safetensors file, or is cut off; {AGAIN}")
        try:
            stated = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no safetensors file: its header is no JSON") from error
    if not isinstance(stated, dict):
        raise ValueError(f"{path} is no safetensors file: its header is no object")
    stated.pop("__metadata__", None)
    found, last = {}, 0
    for name, tensor in stated.items():
        try:
            begin, end = tensor["data_offsets"]
            header = Header(path.name, str(tensor["dtype"]), tuple(map(int, tensor["shape"])))
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is no safetensors file: {name!r} has no shape") from error
        count = 1
        for width in header.shape:
            count *= width
        if end < begin or (header.floating and end - begin != count * FLOATS[header.kind]):
            raise ValueError(f"{path}: {name!r} has {end - begin} bytes for shape {header.shape}")
        found[name], last = header, max(last, end)
    if 8 + length + last != size:
        raise ValueError(
            f"{path} has {size} bytes and its header states {8 + length + last}: it is cut off or "
            f"damaged; {AGAIN}"
        )
    return found


def layers_in(names: Iterable[str]) -> int:
    """The number of transformer blocks that these tensor names belong to."""
    numbers = [int(found[1]) for name in names if (found := re.search(r"\.(\d+)\.", name))]
    return 1 + max(numbers, default=-1)


COMPUTED = ("inv_freq", "position_ids")
"""Ends of names of tables that a network computes by itself, and older files store."""


def check_headers(
    headers: Mapping[str, Header],
    expected: Mapping[str, torch.Size],
    rename: Callable[[str], str],
    name: str,
    exact: bool = False,
) -> None:
    """Compare a file's tensors with those of the network that config.json describes.

    Args:
        headers: of the files.
        expected: shapes of the network's tensors by name.
        rename: maps a name in the files to the network's.
        name: of the checkpoint, for errors.
        exact: whether the files hold all of them, and nothing else but `COMPUTED`.

    Raises:
        ValueError: a weight that is not floating point, of another shape, missing or unknown.
    """
    known = {rename(stored): stored for stored in headers}
    unknown = sorted(known[ours] for ours in known.keys() - expected.keys())
    unknown = [key for key in unknown if exact and not key.endswith(COMPUTED)]
    if unknown:
        raise ValueError(
            f"{headers[unknown[0]].file} of {name!r} holds {len(unknown)} weights that its layout "
            f"does not have, e.g. {unknown[0]!r}: without them it would be another model. Take the "
            "published files"
        )
    missing = sorted(expected.keys() - known.keys()) if exact else []
    if missing:
        raise ValueError(
            f"{name!r} lacks {len(missing)} of the weights that config.json describes, e.g. "
            f"{missing[0]!r}; its files are incomplete or of another layout"
        )
    for ours, shape in expected.items():
        header = headers.get(known.get(ours, ours))
        if header is None:
            continue
        if not header.floating:
            raise ValueError(
                f"{header.file} of {name!r}: {known[ours]!r} is stored as {header.kind}; weights "
                "are floating point (F32, F16, BF16, F64). Convert them, or load the unquantised "
                "checkpoint with load_in_8bit or load_in_4bit"
            )
        if header.shape != tuple(shape):
            raise ValueError(
                f"{header.file} of {name!r}: {known[ours]!r} has shape {header.shape}, and "
                f"config.json makes it {tuple(shape)}; they do not belong together"
            )


def machine_memory() -> int | None:
    """Bytes of this machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # sysconf is not on every system
        return None


def check_memory(headers: Mapping[str, Header], bytes_each: int | None, name: str) -> None:
    """Raise `ValueError` if the weights are larger than this machine's memory.

    Args:
        headers: of the files.
        bytes_each: bytes of a number once loaded; None is that of its type in the file.
        name: of the checkpoint, for errors.
    """
    total = 0
    for header in headers.values():
        count = bytes_each or FLOATS.get(header.kind, 1)
        for width in header.shape:
            count *= width
        total += count
    memory = machine_memory()
    if memory is not None and total > memory:
        raise ValueError(
            f"{name!r} needs {total / 2**30:.1f} GiB for its weights and this machine has "
            f"{memory / 2**30:.1f} GiB of memory; use a smaller dtype, load_in_8bit, load_in_4bit "
            "or device_map='auto'"
        )
