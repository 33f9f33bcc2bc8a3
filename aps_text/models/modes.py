"""Modes of torch that a caller has switched on, and that must not reach what outlives the call.

A tensor made under `torch.inference_mode` can never be saved for a backward pass, and under
`torch.autocast` products are rounded to 16 bit: a cache filled that way would break or change a
later call. `torch.no_grad` is left as it is: what it does ends with it.
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
    """The tensor, copied if it was made under inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


def outside_modes(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, run as if the caller had opened neither inference mode nor autocast."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.is_inference_mode_enabled():
            with torch.inference_mode(False):  # which switches gradients on again
                return run(*args, **kwargs)
        for device in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(device):
                with torch.autocast(device, enabled=False):
                    return run(*args, **kwargs)
        return function(*args, **kwargs)

    return run
