"""A PEFT adapter's folder: reads the base it names and applies its low-rank maps to that base.

    adapter_config.json            names the base (`base_model_name_or_path`) and the kind
    adapter_model.safetensors      base_model.model.<module>.lora_A.weight, .lora_B.weight

The maps are merged into the base's weights, W + (alpha / r) B A; on a quantised base they stay
separate. A pickled adapter_model.bin is never opened. PEFT itself applies what it finds: a file
that lacks some of the maps which the configuration names is refused here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from .checkpoint_files import read_header, read_json

__all__ = ["ADAPTER", "base_of", "check_numbers", "with_adapter"]

ADAPTER = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def base_of(folder: Path) -> str:
    """The base model an adapter names: a folder, possibly relative to the adapter's, or a hub id.

    Raises:
        ValueError: the adapter's configuration names none.
    """
    base = read_json(folder / ADAPTER).get("base_model_name_or_path")
    if not isinstance(base, str) or not base.strip():
        raise ValueError(
            f"{folder / ADAPTER} names no base model (base_model_name_or_path); write its folder "
            "or hub id there"
        )
    beside = folder / base
    return str(beside) if not Path(base).is_dir() and beside.is_dir() else base


def with_adapter(
    model: nn.Module, folder: Path, rename: Callable[[str], str], *, merge: bool
) -> nn.Module:
    """The network with an adapter applied.

    Args:
        model: a transformers model.
        folder: of the adapter.
        rename: maps a module's name in the adapter to the network's.
        merge: add the maps to the weights instead of keeping them as separate modules.

    Raises:
        ValueError: no weights, an adapter that is not LoRA, one of another network, or one whose
            file lacks maps or holds other numbers than floating-point ones.
    """
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from peft import set_peft_model_state_dict as put
    from safetensors.torch import load_file

    if not (folder / WEIGHTS).is_file():
        found = next((f.name for f in folder.glob("adapter_model.*")), None)
        raise ValueError(
            f"{folder} has an {ADAPTER} and {f'only {found}' if found else 'no weights'}; "
            f"{WEIGHTS} is needed, which save_pretrained writes"
        )
    stated = read_json(folder / ADAPTER)
    if stated.get("peft_type") != "LORA":
        raise ValueError(
            f"{folder} is a {stated.get('peft_type')!r} adapter and only LORA is read; merge it "
            "into its base with PEFT and load the result"
        )
    check_numbers(folder, stated)
    try:
        config: Any = LoraConfig.from_pretrained(str(folder))
        state = {}
        for key, value in load_file(folder / WEIGHTS).items():
            state[PREFIX + rename(key.removeprefix(PREFIX))] = value
        # By full name, because the network's module names may differ from the adapter's.
        config.target_modules = sorted(
            {key.removeprefix(PREFIX).partition(".lora_")[0] for key in state if ".lora_" in key}
        )
        adapted: Any = get_peft_model(model, config)
        unknown = put(adapted, state).unexpected_keys
        asked = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    except Exception as error:  # a damaged file may raise anything
        text = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the adapter in {folder} does not fit its base ({type(error).__name__}: {text}); "
            f"{ADAPTER} must name the base it was trained on"
        ) from error
    if unknown:
        raise ValueError(
            f"the adapter in {folder} does not fit its base, which has no {unknown[0]!r}; "
            f"{ADAPTER} must name the base it was trained on"
        )
    lacking = sorted(asked - state.keys()) or _left_out(stated, config.target_modules, model)
    if lacking:
        raise ValueError(
            f"the adapter in {folder} lacks {len(lacking)} of the maps that its {ADAPTER} names, "
            f"e.g. {lacking[0].removeprefix(PREFIX)!r}; its file is incomplete, save it again"
        )
    merged: nn.Module = adapted.merge_and_unload() if merge else adapted.get_base_model()
    return merged


def check_numbers(folder: Path, stated: Mapping[str, Any]) -> None:
    """Refuse tensors that are not floating point, and a scale that is not a positive number."""
    for name, header in read_header(folder / WEIGHTS).items():
        if not header.floating:
            raise ValueError(
                f"{folder / WEIGHTS}: {name!r} holds {header.kind}, and weights are floating-point "
                "numbers; save the adapter again"
            )
    alpha = stated.get("lora_alpha", 8)
    number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
    if not (number and 0 < alpha < math.inf):
        raise ValueError(
            f"{folder / ADAPTER} has lora_alpha={alpha!r}, and it is a number above 0: the scale "
            "of the maps"
        )


def _left_out(stated: Mapping[str, Any], held: list[str], model: nn.Module) -> list[str]:
    """The modules that the configuration names by their last names and the file has no maps for.

    A configuration that leaves modules out on purpose, or names them by patterns, is not followed.
    """
    named = stated.get("target_modules")
    chosen = ("layers_to_transform", "layers_pattern", "exclude_modules", "modules_to_save")
    if not isinstance(named, list) or any(stated.get(key) for key in chosen):
        return []
    ends = {name.rpartition(".")[2] for name in held} & {str(name) for name in named}
    maps = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return [name for name in maps if name.rpartition(".")[2] in ends and name not in held]
