"""The number format in which matrix products are fast on a device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["fast_dtype", "half_precision"]


def fast_dtype(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 if the hardware has instructions that make it faster, else float32.

    On a CPU these are AMX. Without any, bfloat16 is emulated: four times slower than float32 in a
    product of large matrices, and up to thirty times in a training step of small ones. With
    AVX512-BF16 alone it was half as fast as float32 (88 and 165 GFLOP/s of a core, torch 2.13).
    """
    if torch.device(device).type != "cpu":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = torch.cpu.get_capabilities().get("amx_bf16", False)
    return torch.bfloat16 if fast else torch.float32


def half_precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 autocast where `fast_dtype` is bfloat16, else a null context."""
    if fast_dtype(device) is torch.float32:
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
