"""Measurements as files: `y`, both sigmas and the degradation, random parts included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.codebook import Codebook
from ..core.whole_files import write_whole
from .degradation import Degradation
from .degradations import KINDS, Compose, degradation_from_state
from .measurement import Decoder, Measurement

__all__ = ["model_of", "read_measurement", "unknown_part", "write_measurement"]


def write_measurement(measurement: Measurement, path: str | Path, model: str | None = None) -> None:
    """Save `y`, both sigmas and the degradation (random parts included) as one safetensors file.

    Args:
        model: the name of the image model that it was made for, for `model_of`; None says none.

    Raises:
        ValueError: no such folder.
        TypeError: a degradation of one's own, which `degradation_from_state` cannot build again.
    """
    from safetensors.torch import save

    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"{path}: there is no such folder; make it first")
    degradation = measurement.degradation
    if (own := unknown_part(degradation)) is not None:
        raise TypeError(
            f"only degradations of images.degradations are saved, got {type(own).__name__};"
            " keep y and sigma, and make the measurement again from them"
        )
    tensors = {"y": measurement.y.contiguous().cpu()}

    def plain(value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            tensors[name] = value.detach().clone(memory_format=torch.contiguous_format).cpu()
            return {"tensor": name}
        if isinstance(value, dict):
            return {key: plain(inner, f"{name}.{key}") for key, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner, f"{name}.{i}") for i, inner in enumerate(value)]
        return value

    facts = {
        "degradation": plain(degradation.state(), "degradation"),
        "sigma": measurement.sigma,
        "model_sigma": measurement.model_sigma,
    }
    if model is not None:
        facts["model"] = model
    written = json.dumps(facts, default=float)  # numpy's numbers are none of json's
    write_whole(path, save(tensors, metadata={"measurement": written}))


def read_measurement(
    path: str | Path, decode: Decoder | None = None, codebook: Codebook | None = None
) -> Measurement:
    """The inverse of `write_measurement`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a safetensors file, or one without a whole measurement.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no measurement at {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get("measurement")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    if text is None or "y" not in tensors:
        raise ValueError(f"{path} holds no measurement; write_measurement makes them")

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) == {"tensor"}:
                return tensors[str(value["tensor"])]
            return {key: whole(inner) for key, inner in value.items()}
        return [whole(inner) for inner in value] if isinstance(value, list) else value

    try:
        facts = json.loads(text)
        degradation = degradation_from_state(whole(facts["degradation"]))
        sigmas = facts["sigma"], facts["model_sigma"]
        return Measurement(degradation, tensors["y"], sigmas[0], decode, codebook, sigmas[1])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        missing = "lacks " if isinstance(error, KeyError) else ""
        raise ValueError(
            f"{path} holds a measurement that cannot be read: {missing}{error}; write it again"
        ) from error


def model_of(path: str | Path) -> str | None:
    """The name of the image model that a saved measurement was made for; None if it says none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("measurement", "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError):
        return None
    name = facts.get("model") if isinstance(facts, dict) else None
    return name if isinstance(name, str) else None


def unknown_part(degradation: Degradation) -> Degradation | None:
    """The degradation, or part of it, that is none of ours; None if all are."""
    if type(degradation) is Compose:
        return next((own for own in map(unknown_part, degradation.parts) if own is not None), None)
    return None if type(degradation) in KINDS else degradation  # a subclass may compute otherwise
