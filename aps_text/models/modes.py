"""Protection of cached tensors from the caller's `torch.inference_mode` and `torch.autocast`.

A tensor made under `torch.inference_mode` can never be saved for a backward pass, and under
`torch.autocast` products are rounded to 16 bit: a cache filled that way would break or change a
later call. `torch.no_grad` leaves no trace in tensors and stays in force.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = ["ordinary", "outside_modes"]

P = ParamSpec("P")
R = TypeVar("R")


def ordinary(tensor: Tensor) -> Tensor:
    """The tensor; a copy of it if it was made under inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


def outside_modes(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with inference mode and autocast switched off while it runs."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.is_inference_mode_enabled():
            with torch.inference_mode(False):  # this also enables gradients
                return run(*args, **kwargs)
        for device in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(device):
                with torch.autocast(device, enabled=False):
                    return run(*args, **kwargs)
        return function(*args, **kwargs)

    return run
