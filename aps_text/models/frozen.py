"""A network as it serves: in eval mode, without gradients of its own, its layers compiled."""

from __future__ import annotations

import torch
from aps_rewards.training_mode import random_part
from torch import nn

__all__ = ["compile_layers", "frozen", "refuse_training"]


def frozen(model: nn.Module) -> nn.Module:
    """The model in eval mode, its parameters without gradients; gradients still flow through it.

    On a CPU bitsandbytes converts 4-bit layers that are in eval mode for kernels without a backward
    pass (version 0.50 drops the gradient without an error). Such layers stay in training mode,
    which changes nothing else in them.

    Raises:
        ValueError: a parameter was made under `torch.inference_mode()`.
    """
    if any(p.is_inference() for p in model.parameters()):
        raise ValueError(
            "the model was made under torch.inference_mode(), so nothing can be differentiated "
            "through it; load it outside of that"
        )
    model.eval().requires_grad_(False)
    for module in model.modules():
        if _kept_in_training(module):
            module.train()
    return model


def _kept_in_training(module: nn.Module) -> bool:
    kind = type(module)  # PEFT has a Linear4bit, too, whose dropout must be off
    return (
        kind.__name__ == "Linear4bit"
        and kind.__module__.startswith("bitsandbytes")
        and module.weight.device.type == "cpu"
    )


def refuse_training(model: nn.Module) -> None:
    """Raise `ValueError` for a network that was put in training mode since it was `frozen`, and
    answers at random in it."""
    if (name := random_part(model)) is not None:
        raise ValueError(
            f"{name} is in training mode, in which dropout changes answers at random; call "
            "model.eval() before (and model.train() after, to go on training)"
        )


def compile_layers(layers: nn.ModuleList, compiled: bool | str) -> bool:
    """Compile each block's forward in place (`torch.compile`, dynamic shapes) if `compiled`.

    Returns whether they were compiled.
    """
    if not compiled:
        return False
    backend = compiled if isinstance(compiled, str) else "inductor"
    for layer in layers:
        layer.forward = torch.compile(layer.forward, backend=backend, dynamic=True)
    return True
