"""A context that shields a call from the torch modes of its caller.

Under `inference_mode` or `no_grad` no phi could be fitted, under `autocast` products are rounded to
16 bit, and a default device would put new tensors elsewhere than the model. Each step of a call
runs outside of these modes, so that they do not change its answers. The default dtype is global to
the process and not changed; the library makes no tensor that depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

__all__ = ["ordinary_surroundings", "shielded"]

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def ordinary_surroundings(device: torch.device) -> Iterator[None]:
    """Context with gradients on, no inference mode, no autocast, and the CPU as default device.

    Changes only modes that differ from this, and only in the current thread.

    Args:
        device: of the model.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        for kind in {"cpu", device.type}:
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def shielded(method: Callable[P, R]) -> Callable[P, R]:
    """A method that runs in `ordinary_surroundings`, of an object with a `model` on a device."""

    @wraps(method)
    def inside(*args: P.args, **how: P.kwargs) -> R:
        with ordinary_surroundings(args[0].model.device):  # type: ignore[attr-defined]
            return method(*args, **how)

    return inside
