"""A PEFT adapter of a reward model: its folder, checked, and merged into its base.

    adapter_config.json            names the base (`base_model_name_or_path`) and the kind
    adapter_model.safetensors      base_model.model.<module>.lora_A.weight, ..., and the head

PEFT loads what it finds: an adapter of another model, or one that lacks half of its maps, would be
applied in part or not at all. Here the tensors in the file are those that its configuration asks
for, each of them, or the folder is refused.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from .guard import Refused
from .paths import typed_path

__all__ = [
    "ADAPTER",
    "FLOATS",
    "WEIGHTS",
    "base_of",
    "check_adapter",
    "check_names",
    "head_of",
    "merged",
    "plain",
    "tensors_of",
]

ADAPTER = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
HEADS = ("score.weight", "classifier.weight", "classifier.out_proj.weight", "out_proj.weight")
FLOATS = ("F64", "F32", "F16", "BF16")
"""safetensors' names of the types that weights may have."""
PROMPTS = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "MULTITASK_PROMPT_TUNING", "CPT")
"""Kinds that put vectors before the text, which no merged model can hold."""


def check_adapter(folder: Path) -> None:
    """Check an adapter's configuration and the types of its tensors.

    Raises:
        ValueError: not a JSON object, a kind that cannot be merged, a scale that is not a positive
            number, no safetensors, or tensors that are not floating point; names the mend.
    """
    settings = _settings(folder)
    kind = settings.get("peft_type")
    if not isinstance(kind, str) or kind in PROMPTS:
        raise Refused(
            f"the adapter {str(folder)!r} is of peft_type {kind!r}, which cannot be merged into "
            "its base; give one that changes weights, e.g. LoRA"
        )
    scale = settings.get("lora_alpha", 1)
    number = isinstance(scale, int | float) and not isinstance(scale, bool)
    if kind == "LORA" and not (number and 0 < scale < math.inf):
        raise Refused(
            f"{folder / ADAPTER} has lora_alpha={scale!r}, and it is a number above 0: the scale "
            "of what the adapter adds"
        )
    for name, (_, dtype) in _read(folder).items():
        if dtype not in FLOATS:
            raise Refused(
                f"{str(folder)!r}: {name} holds {dtype}, and weights are floating-point numbers "
                f"({', '.join(FLOATS)}); save the adapter again with save_pretrained(folder)"
            )


def base_of(folder: Path) -> str:
    """The base that an adapter names: a folder or a hub id.

    Raises:
        ValueError: none, an adapter of another task, or a folder that is no model's.
    """
    settings = _settings(folder)
    base, task = settings.get("base_model_name_or_path"), settings.get("task_type")
    if not isinstance(base, str) or not base:
        raise Refused(
            f"{folder / ADAPTER} names no base_model_name_or_path; write the base's folder or hub "
            "id there"
        )
    if task not in (None, "SEQ_CLS"):
        raise Refused(
            f"the adapter {str(folder)!r} is for task {task!r}; a reward model's is 'SEQ_CLS'"
        )
    place = typed_path(base)
    if place.is_dir():
        if not (place / "config.json").is_file():
            raise Refused(
                f"the base {base!r} of the adapter {str(folder)!r} holds no config.json; write the "
                f"folder of a whole model to base_model_name_or_path in its {ADAPTER}"
            )
        return str(place)
    if place.is_absolute() or base.startswith(".") or base.count("/") > 1 or "\\" in base:
        raise Refused(
            f"the base {base!r} of the adapter {str(folder)!r} is not there; write its folder or "
            f"hub id to base_model_name_or_path in its {ADAPTER}"
        )
    return base


def tensors_of(folder: Path) -> dict[str, list[int]]:
    """The shapes of the tensors in an adapter's file, by name."""
    return {name: shape for name, (shape, _) in _read(folder).items()}


def plain(name: str) -> str:
    """The name of an adapter's tensor inside the base."""
    return name.removeprefix("base_model.model.")


def head_of(folder: Path, base: str, options: dict[str, Any]) -> dict[str, Any]:
    """`{"num_labels": n}` if the adapter has a head of another width than the base's, else {}."""
    from transformers import AutoConfig

    for name, shape in tensors_of(folder).items():
        if "lora_" not in name and name.endswith(HEADS):
            if AutoConfig.from_pretrained(base, **options).num_labels != shape[0]:
                return {"num_labels": shape[0], "ignore_mismatched_sizes": True}
            return {}
    return {}


def merged(model: Any, folder: Path) -> Any:
    """The base with the adapter merged into its weights.

    Raises:
        ModuleNotFoundError: PEFT is not installed.
        ValueError: see `check_names`.
    """
    try:
        from peft import PeftModel
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{str(folder)!r} is a PEFT adapter: pip install peft") from error
    try:
        adapted = PeftModel.from_pretrained(model, str(folder))
    except KeyError as error:
        name = str(error.args[0]) if error.args else ""
        if name == plain(name):  # no tensor's name
            raise
        raise Refused(
            f"the adapter {str(folder)!r} lacks {plain(name)}; save it again with "
            "save_pretrained(folder)"
        ) from error
    check_names(adapted, folder)
    return adapted.merge_and_unload()


def check_names(model: Any, folder: Path) -> None:
    """Refuse an adapter whose file lacks tensors of the adapted model, or has others.

    Raises:
        ValueError: names the first such tensor.
    """
    from peft import get_peft_model_state_dict

    asked = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    wanted = {plain(name) for name in asked}
    held = {plain(name) for name in tensors_of(folder)}
    missing = sorted(wanted - held)
    if missing:
        raise Refused(
            f"the adapter {str(folder)!r} lacks {len(missing)} of its {len(wanted)} tensors, e.g. "
            f"{missing[0]}: it would be applied in part only. Save it again with "
            "save_pretrained(folder)"
        )
    known = {plain(name) for name in model.state_dict()}
    beyond = sorted(held - wanted - known)
    if beyond:
        raise Refused(
            f"the adapter {str(folder)!r} has {len(beyond)} tensors that its base and "
            f"{ADAPTER} have no place for, e.g. {beyond[0]}; it was trained on another model or "
            "with other target_modules"
        )


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
    except ValueError as error:
        raise Refused(f"{folder / ADAPTER} is not a JSON object: {error}") from error
    if not isinstance(settings, dict):
        raise Refused(f"{folder / ADAPTER} is not a JSON object: it holds {settings!r:.80}")
    return settings


def _read(folder: Path) -> dict[str, tuple[list[int], str]]:
    """Shape and type of each tensor in the adapter's file."""
    from safetensors import safe_open

    file = folder / WEIGHTS
    if not file.is_file():
        raise Refused(f"the adapter {str(folder)!r} holds no {WEIGHTS}")
    found = {}
    with safe_open(file, framework="pt") as held:
        for name in held.keys():  # noqa: SIM118
            part = held.get_slice(name)
            found[name] = list(part.get_shape()), part.get_dtype()
    return found
