"""What a caller has switched on in torch around a call, switched off for the call's own work.

Under `inference_mode` or `no_grad` no phi could be fitted, under `autocast` products are rounded to
16 bit, and a default device would take new tensors away from the model's. A step of a call runs
outside of all of them, so its answers are the same. The default dtype belongs to the whole process
and is left alone: nothing here makes a tensor of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

__all__ = ["ordinary_surroundings"]


@contextmanager
def ordinary_surroundings(device: torch.device) -> Iterator[None]:
    """Gradients on, no inference mode, no autocast, new tensors on the CPU unless told otherwise.

    Only what is not so already is changed, and only in this thread.

    Args:
        device: where the model computes.
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
