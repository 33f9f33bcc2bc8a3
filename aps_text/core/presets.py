"""Presets: settings by name, for texts and for images."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

__all__ = [
    "IMAGE_PRESETS",
    "PRESETS",
    "TEXT_PRESETS",
    "find_preset",
    "image_preset",
    "text_preset",
]

# A steered answer costs several times a plain one; a preset sets how much.
PRESETS: dict[str, dict[str, Any]] = {
    # No phi: a pool of answers with independent tokens, in the second half of the steps.
    "fast": {"inner_steps": 0, "pool_size": 16, "pool_rollout": 1, "guidance_start": 0.5},
    "balanced": {},
    # Objective, weight, relaxation and independent candidates as in the slides; the number of
    # steps and the adapter are not theirs.
    "paper": {
        "steps": 32,
        "inner_steps": 10,
        "pool_size": None,
        "prior": "overlap",
        "likelihood_weight": "length",
        "relaxation": "quantized",
        "quantizer": "nearest",
        "lora_layers": None,
    },
    # Image tokens: phi tilts towards the tokenizer's codes, candidates are quantised expectations.
    "restore": {
        "adapter": "codes",
        "tilt_start": 1.0,
        "schedule": "cosine",
        "inner_steps": 5,
        "relaxation": "quantized",
        "quantizer": "nearest",
        "candidate": "quantized",
        "pool_size": None,
        "pool_rollout": 1,  # a pool of rollouts is the base sampler's, and not drawn from phi
        "beta": 1.0,
        "trust_region": None,
        "temperature": 1.0,
        "min_new_tokens": 0,
    },
}
"""Presets by name, each as its differences from `balanced`."""

# `restore` climbs to a mode. Here candidates and the order in which they are kept are drawn, so
# that samples vary more nearly as the posterior does.
PRESETS["posterior"] = {**PRESETS["restore"], "candidate": "sample", "alg_temp": 0.3}

IMAGE_PRESETS = {"restore": "the likeliest image", "posterior": "samples that vary more"}
"""Those of images, and what each seeks; the others are of texts."""

TEXT_PRESETS = tuple(name for name in PRESETS if name not in IMAGE_PRESETS)


def find_preset(name: Any, among: Collection[str] = tuple(PRESETS)) -> str:
    """The preset's name, `balanced` for None; raises `ValueError` that lists those `among`."""
    if name is None:
        return "balanced"
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"preset is one of {', '.join(among)}; got {name!r}")
    return name


def text_preset(name: Any) -> str:
    """As `find_preset`; raises `ValueError` for a preset of images."""
    found = find_preset(name, TEXT_PRESETS)
    if found in IMAGE_PRESETS:
        raise ValueError(
            f"preset={name!r} is for images (RestorationPipeline, `aps restore`, `aps paint`); "
            f"text takes {' or '.join(map(repr, TEXT_PRESETS))}"
        )
    return found


def image_preset(name: Any) -> str:
    """The preset's name, `restore` for None; raises `ValueError` for any that is not of images."""
    if name is None:
        return "restore"
    if not isinstance(name, str) or name not in IMAGE_PRESETS:
        known = " or ".join(map(repr, IMAGE_PRESETS))
        raise ValueError(f"preset={name!r} has no use here: images take {known}")
    return name
