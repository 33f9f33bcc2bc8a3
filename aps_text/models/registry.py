"""Loading of models: `load` by name, folder or hub id, `wrap` for objects already loaded.

A new model is one file with a function that returns a `TextModel`, and one line in `LAYOUTS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from .causal import wrap_causal
from .checkpoint import Checkpoint
from .masked_lm import wrap_masked_lm
from .placement import as_backend, as_device, as_dtype
from .refused import refuse_known
from .search import find, find_adapter
from .text_model import TextModel

__all__ = ["LAYOUTS", "load", "wrap"]

INSTEAD = {
    "trust_remote_code": "a checkpoint's own code is never run, so leave it out",
    "torch_dtype": "use dtype",
    "use_flash_attention_2": "use attn_implementation",
}


def load(
    name: str | Path,
    *,
    device: torch.device | str | int | None = None,
    dtype: torch.dtype | str | None = None,
    device_map: Any = None,
    quantization_config: Any = None,
    load_in_8bit: bool = False,
    load_in_4bit: bool = False,
    attn_implementation: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
    chat: bool | None = None,
    gradient_checkpointing: bool = False,
    compile: bool | str = False,
    special_tokens_in_text: bool = False,
    adapter: str | Path | None = None,
    **unknown: Any,
) -> TextModel:
    """Load a model; its config.json selects the layout.

    Args:
        name: `"mini"` or `"smol"` (the embedded models), a folder, or a hub id, of a model that
            `docs/models.md` lists, or of a PEFT adapter (LoRA), whose adapter_config.json names the
            base.
        device: of the weights; None is the CPU.
        dtype: of the weights, or its name; None is the dtype stored in the file (float32 for BERT).
        device_map: accelerate's placement, e.g. `"auto"`; excludes `device`.
        quantization_config: of transformers, e.g. `BitsAndBytesConfig`; LoRA works on it.
        load_in_8bit, load_in_4bit: a `quantization_config` of bitsandbytes (4 bit is NF4, computed
            in `dtype` or bfloat16). `smol`, put together in memory, takes no quantisation and no
            `device_map`.
        attn_implementation: `sdpa` (default), `eager`, or a flash attention for unpadded batches;
            `smol` always takes a mask, so it refuses the last.
        revision, local_files_only, cache_dir: of a hub id; see `search.find`.
        chat: True for the chat template, False for plain text, None for the template if there is
            one.
        gradient_checkpointing: less memory and about a third more time in steered passes.
        compile: `torch.compile` the layers (a string names the backend). Under a LoRA they run
            eagerly, so only the trunk, plain decoding and `adapter="logits"` get faster.
        special_tokens_in_text: parse control tokens in prompts and given texts (`<|im_end|>`,
            `[MASK]`); by default they are read as text.
        adapter: a fine-tuned PEFT LoRA of this model, its folder or hub id: merged into the
            weights, or kept beside them where these are quantised. A prompt's phi comes on top.

    Raises:
        ValueError: no model or adapter found, an adapter of another model, an unsupported layout,
            or options that exclude each other.
        TypeError: an unknown option; for options of transformers the message names the substitute.
    """
    for option in unknown:
        raise TypeError(f"unknown option {option!r}; {INSTEAD.get(option, 'see docs/models.md')}")
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"a model is a name, a hub id or a folder, got {name!r}")
    refuse_known(name)
    number, compiled = as_dtype(dtype), as_backend(compile)
    if device is not None and device_map is not None:
        raise ValueError(f"device={device!r} and device_map={device_map!r}: give one of them")
    place = as_device(device)
    if load_in_8bit or load_in_4bit:
        if quantization_config is not None or (load_in_8bit and load_in_4bit):
            raise ValueError(
                "load_in_8bit, load_in_4bit and quantization_config exclude each other; give one"
            )
        quantization_config = _bits(load_in_8bit, number)
    if quantization_config is not None and place is not None:  # quantise on the target device
        place, device_map = None, {"": place}
    options = {
        "device_map": device_map,
        "quantization_config": quantization_config,
        "attn_implementation": attn_implementation,
    }
    found = find(
        name,
        _loader,
        revision=revision,
        local_files_only=local_files_only,
        cache_dir=cache_dir,
    )
    tuned = found.adapter
    if adapter is not None:
        if tuned is not None:
            raise ValueError(
                f"{str(name)!r} is an adapter itself, and adapter={str(adapter)!r} a second one; "
                "merge one of them into its base, or leave it out"
            )
        tuned = find_adapter(adapter, local_files_only=local_files_only, cache_dir=cache_dir)
    return _loader(found.config)(
        Checkpoint(
            folder=found.folder,
            name=Path(name).name if Path(name).is_dir() else str(name),
            config=found.config,
            device=place,
            dtype=number,
            options={key: value for key, value in options.items() if value is not None},
            chat=chat,
            checkpointing=gradient_checkpointing,
            compiled=compiled,
            special_tokens_in_text=special_tokens_in_text,
            adapter=tuned,
        )
    )


def _bits(eight: bool, dtype: torch.dtype | None) -> Any:
    from transformers import BitsAndBytesConfig

    if eight:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype or torch.bfloat16,
    )


# model_type: (module in this folder, its loader, the `architectures` it reads; None is any).
LAYOUTS: dict[str, tuple[str, str, str | None]] = {
    "Dream": ("dream", "load_dream", "DreamModel"),
    "llada": ("llada", "load_llada", "LLaDAModelLM"),
    "mmada": ("mmada", "load_mmada", "MMadaModelLM"),
    "smol": ("smol", "load_smol", None),
    **{
        prefix + kind: ("causal", "load_causal", None)
        for kind in ("qwen2", "qwen3", "llama")
        for prefix in ("", "a2d-")
    },
    **{
        kind: ("masked_lm", "load_masked_lm", "ForMaskedLM")
        for kind in ("bert", "modernbert", "roberta", "xlm-roberta")
    },
}


def _loader(config: Mapping[str, Any]) -> Callable[[Any], TextModel]:
    """The function that loads a checkpoint with this config.json; raises `ValueError` if none."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in LAYOUTS:
        raise ValueError(
            f"no adapter for model_type {kind!r}; supported: {', '.join(LAYOUTS)}. "
            "docs/models.md shows how to add one"
        )
    module, function, wanted = LAYOUTS[kind]
    found = config.get("architectures") or []
    if not isinstance(found, list):
        raise ValueError(f"config.json has architectures={found!r}; it is a list of class names")
    if wanted is not None and found and not any(wanted in str(name) for name in found):
        raise ValueError(
            f"the checkpoint is a {found[0]}, whose head is not read here; of model_type "
            f"{kind!r}, {'*' if wanted[0] == 'F' else ''}{wanted} is supported"
        )
    loader: Callable[[Any], TextModel] = getattr(import_module(f".{module}", __package__), function)
    return loader


def _base_network(model: Any) -> nn.Module:
    """The network inside a `PeftModel`, with the adapter's modules; any other model unchanged.

    Raises:
        TypeError: an adapter that prepends tokens to the prompt.
    """
    configs = getattr(model, "peft_config", None)
    if configs is None or not hasattr(model, "get_base_model"):
        return cast(nn.Module, model)
    for config in configs.values():
        if config.is_prompt_learning:
            raise TypeError(
                f"a {config.peft_type} adapter puts tokens in front of the prompt, which is not "
                "supported; LoRA and other adapters of linear maps are"
            )
    return cast(nn.Module, model.get_base_model())


def wrap(model: nn.Module, tokenizer: Any) -> TextModel:
    """A `TextModel` around objects already loaded; the model is put in eval mode and frozen.

    A `PeftModel` is used with its active adapter. A Dream model in a `Qwen2ForCausalLM` needs
    `models.causal.wrap_causal(..., shift=1)` instead.

    Raises:
        TypeError: an unsupported architecture, or a PEFT adapter that prepends tokens.
    """
    model = _base_network(model)
    kind = type(model).__name__
    if kind in ("Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"):
        return wrap_causal(model, tokenizer, kind)
    if kind.endswith("ForMaskedLM") and cast(Any, model).config.model_type in LAYOUTS:
        return wrap_masked_lm(model, tokenizer, kind)
    raise TypeError(
        f"no adapter for {kind}; supported: BertForMaskedLM, ModernBertForMaskedLM, "
        "RobertaForMaskedLM, and Qwen2, Qwen3 and Llama ForCausalLM with a mask token. "
        "docs/models.md shows how to add one"
    )
