"""What the fields of `APSConfig` may be, and the check of a number."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["CHOICES", "RANGES", "check_number"]

CHOICES: dict[str, tuple[str, ...]] = {
    "schedule": ("linear", "cosine"),
    "counting": ("exact", "dream"),
    "prior": ("overlap", "kl", "none"),
    "relaxation": ("quantized", "expectation", "entropy", "gumbel"),
    "quantizer": ("nearest", "argmax", "sample"),
    "estimator": ("auto", "relaxed", "rloo", "remax"),
    "bridge": ("restrict", "error", "zero", "unk", "rloo"),
    "adapter": ("lora", "logits"),
    "remasking": ("standard", "anchored", "low_confidence", "random"),
    "candidate": ("sample", "quantized"),
    "anchor_score": ("token", "bits"),
    "standard_score": ("phi", "theta"),
    "alg": ("maskgit_plus", "topk_margin", "entropy", "origin"),
}
"""The values of every field that is a name."""

RANGES: dict[str, tuple[float, float, bool]] = {
    "max_new_tokens": (1, math.inf, True),
    "steps": (1, math.inf, True),
    "inner_steps": (0, math.inf, True),
    "beta": (0, math.inf, False),
    "gumbel_temperature": (0, math.inf, False),
    "num_samples": (2, math.inf, True),
    "num_candidates": (1, math.inf, True),
    "reward_timeout": (0, math.inf, False),
    "lora_rank": (1, math.inf, True),
    "lora_alpha": (0, math.inf, False),
    "lora_layers": (1, math.inf, True),
    "learning_rate": (0, math.inf, False),
    "adam_eps": (0, math.inf, True),
    "gradient_gate": (0, math.inf, True),
    "trust_region": (0, math.inf, False),
    "guidance_start": (0, 1, True),
    "guidance_end": (0, 1, True),
    "guidance_interval": (1, math.inf, True),
    "threshold": (0, 1, False),
    "alg_temp": (0, math.inf, True),
    "cfg_scale": (0, math.inf, True),
    "temperature": (0, math.inf, True),
    "top_p": (0, 1, False),
    "top_k": (1, math.inf, True),
    "eos_penalty": (-math.inf, math.inf, True),
    "min_new_tokens": (0, math.inf, True),
    "block_length": (1, math.inf, True),
    "prefix_reuse": (1, math.inf, True),
    "num_return_sequences": (1, math.inf, True),
    "seed": (0, 2**63 - 1, True),
}
"""(low, high, low is allowed) of every number."""


def check_number(
    name: str, value: Any, limits: tuple[float, float, bool], *, whole: bool = False
) -> None:
    """Raise unless `value` is a finite number (an int if `whole`) within `limits`.

    Raises:
        TypeError: not a number, or not an integer.
        ValueError: outside the range; the message has the range.
    """
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise TypeError(f"{name} is {'an integer' if whole else 'a number'}, got {value!r}")
    low, high, closed = limits
    if not math.isfinite(value) or value < low or value > high or (value == low and not closed):
        bound = f"{'>=' if closed else '>'} {low:g}" + (f" and <= {high:g}" if high < 1e18 else "")
        raise ValueError(f"{name} must be {bound}, got {value!r}")
