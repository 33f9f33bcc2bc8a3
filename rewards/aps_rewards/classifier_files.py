"""Checks of a reward model's files, made before its network is built, and of its loaded weights.

    config.json          epsilons in (0, 1); no more layers than the files have tensors
    index                names safetensors files in the same folder only, as links do
    *.safetensors        weights are floating point; pickled ones are refused

Every error is a `Refused` that names the file or the tensor and what to do.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from .guard import Refused, described
from .links import check_links
from .peft_adapter import ADAPTER, FLOATS, WEIGHTS
from .weight_index import INDEX, check_named

__all__ = ["check_folder", "check_numbers", "has_vocabulary", "has_weights", "misfit"]


def check_folder(folder: Path) -> None:
    """Refuse a folder whose files could not be read as what they say, or would score nonsense.

    Raises:
        ValueError: names the first file, tensor or setting.
    """
    check_links(folder)
    _check_depth(folder)
    _check_files(folder)
    if (folder / "config.json").is_file():
        _check_kinds(folder)
        _check_settings(folder)


def _check_files(folder: Path) -> None:
    """Refuse pickled weights, and an index that names files outside the folder.

    Raises:
        ValueError: names the file and what to do instead.
    """
    index = folder / INDEX
    adapter = (folder / ADAPTER).is_file()
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(one.name for one in folder.iterdir() if one.suffix in (".bin", ".pt"))
        if pickled and not adapter:
            raise Refused(
                f"{str(folder)!r} has only pickled weights ({pickled[0]}), which may hold code; "
                "only safetensors are read. Convert them with save_pretrained(folder)"
            )
    if index.is_file():
        try:
            named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused(f"{index} is no index of weights: {described(error)}") from error
        check_named(index, named)


def _check_depth(folder: Path) -> None:
    """Refuse a configuration with more layers than the files have weights, before building it."""
    files = sorted(folder.glob("*.safetensors")) if (folder / "config.json").is_file() else []
    if not files:
        return
    from safetensors import safe_open

    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise Refused(
            f"{folder / 'config.json'} is no JSON object; compare it with the published file"
        )
    held = 0
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            held += len(tensors.keys())
    for name, value in settings.items():
        if re.search(r"layers?$", name) and isinstance(value, int) and value > held:
            raise Refused(
                f"config.json of {str(folder)!r} has {name}={value}, and its weights are only "
                f"{held} tensors; compare it with the published file"
            )


def _check_kinds(folder: Path) -> None:
    """Refuse weights that are not floating point of 16 bits or more, unless the model is quantised.

    Raises:
        ValueError: names the first such tensor.
    """
    from safetensors import safe_open

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if isinstance(config, dict) and config.get("quantization_config") is not None:
        return
    for file in sorted(folder.glob("*.safetensors")):
        if file.name == WEIGHTS:
            continue
        with safe_open(file, framework="pt") as held:
            for name in held.keys():  # noqa: SIM118
                part = held.get_slice(name)
                kind = part.get_dtype()
                whole = kind == "BOOL" or kind[0] in "IU"
                mask = name.endswith(".bias") and len(part.get_shape()) > 1  # GPT-2's causal mask
                if kind in FLOATS or (whole and (mask or not name.endswith((".weight", ".bias")))):
                    continue
                raise Refused(
                    f"{str(folder)!r}: {name} holds {kind}, and weights are floating-point numbers "
                    f"({', '.join(FLOATS)}); save the model again with save_pretrained(folder)"
                )


def _check_settings(folder: Path) -> None:
    """Refuse a config.json whose epsilons are not in (0, 1): its scores would be NaN or constant.

    And one whose activation is no name, which transformers 4.57 meets at the first forward.

    Raises:
        ValueError: names the first such setting.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name, value in config.items() if isinstance(config, dict) else ():
        if name == "hidden_act" and not isinstance(value, str):
            raise Refused(
                f"config.json of {str(folder)!r} has {name}={value!r}, and an activation is a "
                "name, e.g. gelu; compare it with the published file"
            )
        if not re.search(r"(^|_)eps(ilon)?$", name) or value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < 1:
            raise Refused(
                f"config.json of {str(folder)!r} has {name}={value!r}, and an epsilon is a number "
                "in (0, 1), e.g. 1e-12; compare it with the published file"
            )


def check_numbers(model: Any, source: str | Path) -> None:
    """Refuse a model with NaN or infinite weights.

    Raises:
        ValueError: names the first such tensor.
    """
    if getattr(model.config, "quantization_config", None) is not None:
        return
    for name, weight in model.named_parameters():
        if weight.device.type != "meta" and not bool(weight.isfinite().all()):
            raise Refused(
                f"{str(source)!r}: {name} holds numbers that are not finite; save the model again "
                "from weights that are"
            )


def has_weights(folder: Path) -> bool:
    """Whether a folder holds a model of its own, beside an adapter or not."""
    if not (folder / "config.json").is_file():
        return False
    return any(file.name != WEIGHTS for file in folder.glob("*.safetensors"))


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's vocabulary, in any of its usual files."""
    names = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")
    more = ("sentencepiece.bpe.model", "spm.model", "tiktoken.model", "bpe.codes")
    return any((folder / name).is_file() for name in (*names, *more))


def misfit(folder: Path) -> str:
    """The first tensor of a folder whose shape is not the one that config.json asks for."""
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForSequenceClassification

    said = "its weights have other shapes than its config.json says"
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        return said
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(str(folder))
        model = AutoModelForSequenceClassification.from_config(config)
    wanted = {name: list(value.shape) for name, value in model.state_dict().items()}
    for file in files:
        with safe_open(file, framework="pt") as held:
            for name in held.keys():  # noqa: SIM118
                shape = list(held.get_slice(name).get_shape())
                if shape != wanted.get(name, shape):
                    return f"{name} has the shape {shape}, and config.json says {wanted[name]}"
    return said
