"""`smol`: SmolLM2-135M-Instruct made a masked diffusion model by a LoRA of ours.

    W' = W + up down                              each linear layer; q, k, v and gate, up share down
    x_theta(z)_i = softmax(head(h_{i-1}))         Dream's shift
    query i attends to key j                      if z_j is no mask, or j = i
    query i of the prompt, but its last token     only if j <= i
    a canvas in blocks: query i                   only if j's block is not behind i's

So a mask tells nothing but where it is, and all that the causal model knows of a prompt and of
what stands left of a mask is kept. The base is in a package (`smollm2`); the LoRA, the mask's
embedding and the recipe (`recipes/smol_text`) are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.config import APSConfig
from ..core.own_settings import own_settings
from ..core.presets import TEXT_PRESETS, text_preset
from .causal import wrap_causal
from .checkpoint import Checkpoint, check_finite
from .checkpoint_files import check_sizes, read_json
from .frozen import frozen
from .modes import outside_modes
from .peft_folder import with_adapter
from .smollm2 import smollm2
from .text_model import TextModel

__all__ = ["JOINED", "TEMPLATE", "load_smol", "merge", "pack", "read_lora"]

LORA, SCALE = "lora.safetensors", "_scale"
OWN = ("max_new_tokens", "context", "block_length")
JOINED = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""The linear layers of a block that share an input, and so the lower matrix of the LoRA."""
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""SmolLM2's chat template without the system message that it adds by itself."""


def _check_settings(own: Any) -> None:
    """Raise `ValueError` unless the settings of aps.json hold for every preset of texts."""
    try:
        if not isinstance(own, Mapping) or not isinstance(own.get("presets", {}), Mapping):
            raise ValueError(f"settings and presets are mappings, got {own!r:.80}")
        for preset in (*own.get("presets", {}), *TEXT_PRESETS):
            APSConfig(text_preset(preset), **own_settings(own, preset))
    except (TypeError, ValueError) as error:
        raise ValueError(f"aps.json: settings: {error}") from error


def pack(lora: dict[str, Tensor]) -> dict[str, Tensor]:
    """The maps with 8 bits a number and a scale for each row: `{name}` int8, `{name}_scale`."""
    packed = {"mask": lora["mask"].float()}
    for name in lora.keys() - {"mask"}:
        rows = lora[name].float()
        scale = rows.abs().amax(1).clamp_min(1e-12) / 127
        packed[name] = (rows / scale[:, None]).round().to(torch.int8)
        packed[name + SCALE] = scale
    return packed


def read_lora(path: Path) -> dict[str, Tensor]:
    """The maps of a file of packed ones (`pack`), as float32.

    Raises:
        ValueError: no such file, a damaged one, or a map without a scale.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        packed = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); install the published wheel, or export it again"
        ) from error
    lora = {}
    for name, value in packed.items():
        if name.endswith(SCALE):
            continue
        if name != "mask":
            if name + SCALE not in packed:
                raise ValueError(f"{path}: the map {name!r} has no scale; export it again")
            value = value.float() * packed[name + SCALE][:, None]
        lora[name] = value
    return lora


def maps_of(model: Any) -> set[str]:
    """The names of all maps of a LoRA for a `LlamaForCausalLM`."""
    count = len(model.model.layers)
    return {f"{n}_{name}_{half}" for n in range(count) for name in JOINED for half in "ab"}


@torch.no_grad()
def merge(model: Any, lora: dict[str, Tensor], mask_id: int, where: str = "the LoRA") -> None:
    """Add the LoRA to the weights of a `LlamaForCausalLM` in place, and set the mask's embedding.

    Args:
        lora: `{layer}_{name}_a (R, in)` and `_b (out, R)` for each name of `JOINED`, and `mask
            (d,)`.
        where: it was read, for errors.

    Raises:
        ValueError: maps are missing, unknown, or of other sizes.
    """
    if odd := sorted(lora.keys() ^ {"mask", *maps_of(model)}):
        what = "has an unknown" if odd[0] in lora else "lacks the"
        raise ValueError(f"{where} {what} map {odd[0]!r}, as do {len(odd) - 1} more; take it anew")
    for number, layer in enumerate(model.model.layers):
        for name, paths in JOINED.items():
            down, up = (lora[f"{number}_{name}_{half}"].float() for half in "ab")
            weights = [layer.get_submodule(path).weight for path in paths]
            shape = sum(map(len, weights)), weights[0].shape[1]
            if (len(up), down.shape[1]) != shape or up.shape[1] != len(down):
                raise ValueError(
                    f"{where}: {number}_{name} of {tuple(up.shape)} by {tuple(down.shape)} does "
                    f"not make {shape}; it belongs to another base"
                )
            parts = (up @ down).split([len(weight) for weight in weights])
            for weight, part in zip(weights, parts, strict=True):
                weight += part
    model.get_input_embeddings().weight[mask_id] = lora["mask"].float()


@outside_modes
def load_smol(checkpoint: Checkpoint) -> TextModel:
    """The folder of the embedded model, with the base out of its package; float32 unless asked.

    Raises:
        ImportError: the package with the base is missing.
        ValueError: options that a model which is put together in memory does not take; a folder
            that lacks something, or belongs to another base.
    """
    kind = checkpoint.options.get("attn_implementation")
    if kind not in (None, "sdpa", "eager"):
        raise ValueError(
            f"attn_implementation={kind!r}: each query of {checkpoint.name!r} has keys of its "
            "own; use 'sdpa' or 'eager'"
        )
    for option in ("quantization_config", "device_map"):
        if option in checkpoint.options:
            raise ValueError(
                f"{checkpoint.name!r} takes no {option}: it has 135 million parameters and is put "
                "together in memory; use device and dtype"
            )
    (mask_id, pad_id) = checkpoint.need("mask_token_id", "pad_token_id")
    settings = read_json(checkpoint.folder / "aps.json")
    check_sizes(settings, OWN, "aps.json")
    _check_settings(settings.get("settings", {}))
    lora = read_lora(checkpoint.folder / LORA)
    model, tokenizer = smollm2(f"the model {checkpoint.name!r}")
    if kind is not None:
        model.set_attn_implementation(kind)
    tokenizer.chat_template = TEMPLATE
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad_id)
    merge(model, lora, mask_id, f"{checkpoint.name}/{LORA}")
    if checkpoint.adapter is not None:
        model = with_adapter(model, checkpoint.adapter, lambda name: name, merge=True)
    check_finite(model, checkpoint.name)
    model.to(checkpoint.device or "cpu", checkpoint.dtype or torch.float32)
    found = wrap_causal(frozen(model), tokenizer, checkpoint.name, shift=1, checkpoint=checkpoint)
    controls = set(tokenizer.get_added_vocab().values()) - set(found.stop_ids)
    return replace(
        found,
        parts=replace(
            found.parts,
            attend_fill=False,
            attend_masks=False,
            causal_prompt=True,
            block_causal=True,
            suppressed=tuple(sorted({*found.parts.suppressed, *controls})),
        ),
        max_new_tokens=settings.get("max_new_tokens", 32),
        block_length=settings.get("block_length"),
        settings=settings.get("settings", {}),
        context=settings.get("context", 512),
    )
