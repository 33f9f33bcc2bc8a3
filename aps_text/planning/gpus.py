"""Estimated seconds on named GPUs: a roofline model with public peak numbers, not measured.

    seconds = sum over passes of max(operations / (u_c peak), bytes / (u_b bandwidth))

u_c = 0.4 of the dense bfloat16 peak, u_b = 0.7 of the memory bandwidth: common values for efficient
eager PyTorch code; short passes (one row, 200 tokens) are often slower. LoRA's products are float32
and use the float32 peak. Peaks are from the vendor's data sheets, without sparsity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .call import Call
from .flops import count_flops, count_passes
from .memory import weights_bytes

__all__ = ["GPUS", "Gpu", "call_seconds", "find_gpu", "usable_bytes"]

COMPUTE, BANDWIDTH = 0.4, 0.7
CONTEXT_BYTES = 0.7 * 2**30
ALLOCATOR = 0.95
# How often an (N, K) tensor is read or written in an inner step: softmax, KL, sampling in float64.
VOCABULARY_PASSES = 60


@dataclass(frozen=True)
class Gpu:
    """Peak numbers of a GPU.

    Attributes:
        name: its usual name.
        memory: GiB.
        bf16, fp32: dense TFLOP/s (float32 without tensor cores).
        bandwidth: GB/s.
    """

    name: str
    memory: float
    bf16: float
    fp32: float
    bandwidth: float


GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("rtx-3090", 24, 71, 35.6, 936),
        Gpu("rtx-4090", 24, 165, 82.6, 1008),
        Gpu("l4", 24, 121, 30.3, 300),
        Gpu("a10", 24, 125, 31.2, 600),
        Gpu("l40s", 48, 362, 91.6, 864),
        Gpu("a100-40", 40, 312, 19.5, 1555),
        Gpu("a100-80", 80, 312, 19.5, 2039),
        Gpu("h100", 80, 989, 66.9, 3350),
    )
}


def find_gpu(text: str) -> tuple[float, Gpu | None]:
    """Memory in GiB, and the GPU if `text` names one: `24GB`, `24`, `a100-80`.

    Raises:
        ValueError: neither a size nor a known name.
    """
    key = text.lower().replace("_", "-").replace(" ", "-")
    if key in GPUS:
        return GPUS[key].memory, GPUS[key]
    size = re.fullmatch(r"(\d+(?:\.\d+)?)-?(?:gib|gb|g)?", key)
    if size is None or float(size[1]) <= 0:
        raise ValueError(f"no GPU {text!r}: give a size as 24GB, or one of {', '.join(GPUS)}")
    return float(size[1]), None


def usable_bytes(memory: float) -> float:
    """Bytes for tensors in `memory` GiB, without a CUDA context and 5% for the allocator."""
    return max(0.0, (memory * 2**30 - CONTEXT_BYTES) * ALLOCATOR)


def call_seconds(call: Call, gpus: Iterable[Gpu]) -> dict[str, float]:
    """Estimated seconds of the whole call by GPU; see the module."""
    passes, flops, shape, reward = count_passes(call), count_flops(call), call.shape, call.reward
    rows, share = call.batch, call.layers / shape.layers
    head = float(shape.vocab * shape.hidden * call.number_bytes)
    body = weights_bytes(shape, call.number_bytes, call.bits) - head * (1 if shape.tied else 2)
    # The rollouts of a step run as one batch, which reads the weights once.
    once = sum(1 - answers for answers, _ in call.rollouts)
    once *= 2 if call.config.model.cfg_scale > 0 else 1
    trunks = (passes.trunk_forwards + passes.unconditional) / rows + once
    replays = (passes.denoiser_forwards + passes.unconditional) / rows + once
    backs = passes.denoiser_backwards / rows * (2 if call.checkpointing else 1)
    read = passes.steps + passes.guided * max(0, call.inner_steps - 1)
    masks = rows * passes.masks / max(1, passes.steps)
    layers = ("replays", "head", "backward", "recomputed", "without prompt")
    # Operations, bytes, and whether the products are float32.
    work = [
        (flops["trunk"], trunks * (1 - share) * body, False),
        (sum(flops[part] for part in layers), (replays + backs) * (share * body + head), False),
        (flops["lora"], 0.0, True),
        (0.0, read * masks * shape.vocab * 4.0 * VOCABULARY_PASSES, False),
    ]
    if reward is not None:
        table = shape.vocab * reward.shape.hidden if passes.reward_backwards else 0
        # A row's samples are scored in one pass, and so is a step's pool.
        times = passes.guided * call.inner_steps + passes.reward_backwards / rows
        times += sum(step.chooses for step in call.steps) if call.pool > 1 else 0
        moved = times * reward.dtype_bytes * float(reward.shape.parameters + table)
        work.append((flops["reward"] + flops["bridge"], moved, reward.dtype_bytes != 2))
    found = {}
    for gpu in gpus:
        wide = BANDWIDTH * gpu.bandwidth * 1e9
        peaks = {single: COMPUTE * (gpu.fp32 if single else gpu.bf16) * 1e12 for single in (0, 1)}
        found[gpu.name] = sum(
            max(each / peaks[single], moved / wide) for each, moved, single in work
        )
    return found
