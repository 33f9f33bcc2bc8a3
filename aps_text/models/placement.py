"""Conversion of the names of devices, dtypes and compile backends to torch's objects."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["as_backend", "as_device", "as_dtype"]

DTYPES = {
    **{"float16": torch.float16, "fp16": torch.float16, "half": torch.float16},
    **{"bfloat16": torch.bfloat16, "bf16": torch.bfloat16},
    **{"float32": torch.float32, "fp32": torch.float32, "float": torch.float32},
    **{"float64": torch.float64, "double": torch.float64},
}


def as_dtype(dtype: Any) -> torch.dtype | None:
    """The floating dtype with this name (`float16`, `bf16`); None, the file's, for None or `auto`.

    Raises:
        TypeError: `dtype` is neither a floating dtype nor a name.
        ValueError: no floating dtype has this name.
    """
    if dtype is None or dtype == "auto":
        return None
    if isinstance(dtype, str):
        name = dtype.removeprefix("torch.").lower()
        if name not in DTYPES:
            raise ValueError(f"dtype is one of {', '.join(DTYPES)}; got {dtype!r}")
        return DTYPES[name]
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"dtype is a floating torch.dtype or its name, got {dtype!r}")
    return dtype


def as_device(device: Any) -> torch.device | None:
    """The device for a name, a `torch.device` or a GPU's number, checked to exist; None stays None.

    Raises:
        TypeError: `device` is none of these.
        ValueError: torch knows no such device, or this machine does not have it.
    """
    if device is None:
        return None
    if isinstance(device, bool) or not isinstance(device, str | int | torch.device):
        raise TypeError(f"device is a name like 'cuda:0' or 'cpu', got {device!r}")
    try:
        place = torch.device(f"cuda:{device}" if isinstance(device, int) else device)
        torch.empty(0, device=place)
        if place.type == "meta":
            raise RuntimeError("'meta' has shapes and no numbers")
    except (RuntimeError, AssertionError) as error:  # of torch, or the one above
        reason = str(error).splitlines()[0].split(". ")[0]  # torch goes on with all its backends
        raise ValueError(
            f"no device {device!r} here ({reason}); use 'cpu', or leave it out"
        ) from error
    return place


def as_backend(compiled: Any) -> bool | str:
    """Check `compiled`: True, False, or the name of a backend of `torch.compile`.

    Raises:
        TypeError: `compiled` is neither a bool nor a name.
        ValueError: `torch.compile` has no backend of this name.
    """
    if isinstance(compiled, bool):
        return compiled
    if not isinstance(compiled, str):
        raise TypeError(f"compile is True, False or a backend's name, got {compiled!r}")
    if compiled not in torch.compiler.list_backends(exclude_tags=()):
        known = ", ".join(torch.compiler.list_backends())
        raise ValueError(f"compile is True, False or a backend ({known}); got {compiled!r}")
    return compiled
