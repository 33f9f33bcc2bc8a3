"""A PEFT adapter's folder: reads the base it names and applies its low-rank maps to that base.

    adapter_config.json            names the base (`base_model_name_or_path`) and the kind
    adapter_model.safetensors      base_model.model.<module>.lora_A.weight, .lora_B.weight

The maps are merged into the base's weights, W + (alpha / r) B A; on a quantised base they stay
separate. A pickled adapter_model.bin is never opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from .checkpoint_files import read_json

__all__ = ["ADAPTER", "base_of", "with_adapter"]

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
        ValueError: no weights, an adapter that is not LoRA, or one of another network.
    """
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
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
        unknown = set_peft_model_state_dict(adapted, state).unexpected_keys
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
    merged: nn.Module = adapted.merge_and_unload() if merge else adapted.get_base_model()
    return merged
