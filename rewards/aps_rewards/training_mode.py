"""Which part of a network answers otherwise in training mode: dropout, and statistics of a batch.

Other layers compute the same in both modes, so PEFT, which leaves merged layers in training mode,
is none of them.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["random_part"]


def random_part(network: nn.Module) -> str | None:
    """The name of the first module that is in training mode and answers otherwise in it; or None.

    That is a module with a dropout above 0, its own (`p`, `drop_prob`) or one that it applies
    (`attention_dropout`, of itself or of its config), or one that normalises by its batch.
    """
    for name, module in network.named_modules():
        if module.training and _differs(module):
            return name or type(network).__name__
    return None


def _differs(module: nn.Module) -> bool:
    if isinstance(module, _BatchNorm):
        return True
    fields = {**getattr(getattr(module, "config", None), "__dict__", {}), **vars(module)}
    rates = [value for name, value in fields.items() if "drop" in name.lower()]
    if "drop" in type(module).__name__.lower():
        rates.append(getattr(module, "p", 0.0))
    return any(isinstance(rate, float) and rate > 0 for rate in rates)
