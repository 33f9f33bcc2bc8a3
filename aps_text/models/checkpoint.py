"""A published checkpoint: found in a folder or on the hub, read natively, never by its own code.

    config.json                     says what the model is (`model_type`, `architectures`)
    *.safetensors                   weights; pickled ones (.bin, .pt) are never opened
    tokenizer files, generation_config.json

`auto_map` and every .py file are ignored: `trust_remote_code` is not offered.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .modes import outside_modes

__all__ = ["Checkpoint", "answer_tokens", "compile_layers", "find", "frozen"]

TEXT_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>")
MASKS = ("<|mask|>", "<|mdm_mask|>")


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a config.json, and how its weights are to be loaded.

    Attributes:
        folder: where the files are.
        name: what the user asked for.
        config: config.json.
        device, dtype: where the weights go, and as what; None is the CPU, and what the file stores.
        options: passed through to `from_pretrained` (`device_map`, `quantization_config`,
            `attn_implementation`).
        chat: see `text.prompts.prompt_encoder`.
        checkpointing, compiled: see `ModelParts`; `compiled` may name a backend of `torch.compile`.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    device: torch.device | str | None = None
    dtype: torch.dtype | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    chat: bool | None = None
    checkpointing: bool = False
    compiled: bool | str = False

    def need(self, *keys: str) -> list[Any]:
        """Values of config.json that must be there.

        Raises:
            ValueError: naming the ones that are not.
        """
        missing = [key for key in keys if self.config.get(key) is None]
        if missing:
            raise ValueError(
                f"config.json of {self.name!r} has no {', '.join(missing)}, which a model of type "
                f"{self.config.get('model_type')!r} needs; is the checkpoint complete?"
            )
        return [self.config[key] for key in keys]

    def generation(self) -> dict[str, Any]:
        """generation_config.json, empty where there is none."""
        path = self.folder / "generation_config.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def tokenizer(self) -> Any:
        """Its tokenizer, by a class of transformers that reads the files that are there.

        Raises:
            ValueError: no tokenizer files.
        """
        from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2TokenizerFast

        has = {file.name for file in self.folder.iterdir()}
        if {"vocab.json", "merges.txt"} <= has and self.config.get("model_type") == "Dream":
            kind: Any = Qwen2TokenizerFast
        elif "tokenizer.json" in has and "auto_map" in self.config:
            kind = PreTrainedTokenizerFast
        elif has & {"tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model"}:
            kind = AutoTokenizer
        else:
            raise ValueError(
                f"{self.name!r} has no tokenizer (tokenizer.json, or vocab.json with merges.txt); "
                "copy the published tokenizer files next to config.json"
            )
        return kind.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)

    @outside_modes
    def model(self, kind: Any, config: Any, **options: Any) -> Any:
        """The weights in the stock class `kind`, in eval mode and frozen.

        Raises:
            ValueError: no safetensors, or weights that are not those the layout names.
        """
        self.check_weights()
        for key, value in self.options.items():
            options.setdefault(key, value)
        stored = self.config.get("dtype") or self.config.get("torch_dtype")
        if "quantization_config" in self.options:
            logging.getLogger("bitsandbytes.autograd._functions").addFilter(_Once())
        dtype: Any = self.dtype or getattr(torch, str(stored), None) or "auto"
        model, report = kind.from_pretrained(
            self.folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
        lacking = sorted(report["missing_keys"])
        if lacking:
            raise ValueError(
                f"{self.name!r} lacks {len(lacking)} of the weights of {kind.__name__}, e.g. "
                f"{lacking[0]!r}; its files are incomplete or of another layout"
            )
        placed = {"device_map", "quantization_config"} & self.options.keys()
        if self.device is not None and not placed:
            model = model.to(self.device)
        return frozen(model)

    def check_weights(self) -> None:
        """Raise `ValueError` unless the folder holds safetensors."""
        if any(self.folder.glob("*.safetensors")):
            return
        pickled = sorted(f.name for f in self.folder.iterdir() if f.suffix in (".bin", ".pt"))
        found = f"only pickled weights ({pickled[0]})" if pickled else "no weights"
        raise ValueError(
            f"{self.name!r} has {found}; only safetensors are read. Convert them with "
            "save_pretrained(folder), or take a revision that has *.safetensors"
        )


def find(
    name: str | Path,
    recognise: Callable[[Mapping[str, Any]], Any],
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Folder and config.json of a checkpoint; a hub id is downloaded, or found in the cache.

    Args:
        name: a folder, or a hub id `owner/name`.
        recognise: called with config.json before weights are downloaded; raises if it is of no
            supported model.
        revision: branch, tag or commit of the hub repository; pin a commit to repeat a result.
        local_files_only: never download.
        cache_dir: of downloads; None is the hub's default.

    Raises:
        ValueError: nothing there.
    """
    folder, remote = Path(name), isinstance(name, str) and name.count("/") == 1
    remote = remote and not folder.is_dir()
    where = (revision, local_files_only, cache_dir)
    if remote:
        folder = _downloaded(str(name), TEXT_FILES, *where)
    elif revision is not None:
        raise ValueError(f"revision={revision!r} is of a hub id, and {str(name)!r} is a folder")
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(
            f"no model at {str(name)!r}: expected 'mini', a folder with a config.json, "
            "or a hub id like 'Dream-org/Dream-v0-Instruct-7B'"
        )
    config = json.loads(path.read_text())
    recognise(config)
    if remote:
        _downloaded(str(name), ("*.safetensors",), *where)
    return folder, config


def _downloaded(
    name: str,
    patterns: Iterable[str],
    revision: str | None,
    local_files_only: bool,
    cache_dir: str | Path | None,
) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                local_files_only=local_files_only,
                cache_dir=cache_dir,
                allow_patterns=list(patterns),
            )
        )
    except (OSError, ValueError) as error:  # the hub's errors are subclasses of these
        where = "in the local cache" if local_files_only else "on the hub or in the local cache"
        raise ValueError(
            f"no model at {name!r}: not a folder, and not found {where}"
            f"{f' at revision {revision!r}' if revision else ''} ({type(error).__name__})"
        ) from error


@dataclass(frozen=True)
class AnswerTokens:
    """What a causal layout's tokens mean, read from its files."""

    mask_id: int
    fill_id: int
    stop_ids: tuple[int, ...]
    suppressed: tuple[int, ...]


def answer_tokens(
    tokenizer: Any,
    vocab_size: int,
    config: Mapping[str, Any],
    generation: Mapping[str, Any] | None = None,
    name: str = "the model",
) -> AnswerTokens:
    """Mask, fill and stop tokens, and what is never an answer.

    The mask and the fill (padding, else end of text) are config.json's, else
    generation_config.json's, else the tokenizer's (its attribute, else a known name). Stops are the
    ends of text of all three, and the ends of a turn that the tokenizer knows by name.

    Args:
        tokenizer: its vocabulary may be smaller than the head: ids it lacks are untrained.
        vocab_size: the head's width K.

    Raises:
        ValueError: no mask token, no end of text, or a mask the head does not reach.
    """
    generation = generation or {}

    def first(key: str) -> Any:
        for value in (config.get(key), generation.get(key), getattr(tokenizer, key, None)):
            if value is not None:
                return value
        return None

    vocab = tokenizer.get_vocab()
    mask_id = first("mask_token_id")
    if mask_id is None:
        mask_id = next((vocab[piece] for piece in MASKS if piece in vocab), None)
    if mask_id is None:
        raise ValueError(
            f"{name!r} names no mask token, neither in config.json (mask_token_id) nor in its "
            "tokenizer, so it is no masked diffusion model; a causal one cannot be steered here"
        )
    ends: list[int] = []
    for value in (config, generation, {"eos_token_id": tokenizer.eos_token_id}):
        eos = value.get("eos_token_id")
        ends += eos if isinstance(eos, list) else [] if eos is None else [eos]
    ends += [vocab[piece] for piece in TURN_ENDS if piece in vocab]
    stops = tuple(dict.fromkeys(ends))
    if not stops:
        raise ValueError(f"{name!r} names no end of text (eos_token_id); add it to config.json")
    pad = first("pad_token_id")
    fill_id = stops[0] if pad is None or pad == mask_id else pad
    if not max(mask_id, fill_id, *stops) < vocab_size:
        raise ValueError(
            f"{name!r}: mask {mask_id}, padding {fill_id} and stops {stops} must be below the "
            f"vocabulary's size {vocab_size}; config.json and tokenizer do not belong together"
        )
    never = set(range(vocab_size)) - set(vocab.values()) - set(stops) | {mask_id}
    never |= {fill_id} - set(stops)
    return AnswerTokens(mask_id, fill_id, stops, tuple(sorted(never)))


def frozen(model: nn.Module) -> nn.Module:
    """In eval mode and without gradients of its own; what goes through it keeps its gradient.

    bitsandbytes converts 4-bit maps on a CPU, in eval mode, for kernels that have no way back (its
    0.50 loses the gradient there without an error); such maps stay in training mode, which changes
    nothing else in them.
    """
    if any(p.is_inference() for p in model.parameters()):
        raise ValueError(
            "the model was made under torch.inference_mode(), so nothing can be differentiated "
            "through it; load it outside of that"
        )
    model.eval().requires_grad_(False)
    for module in model.modules():
        if type(module).__name__ == "Linear4bit" and module.weight.device.type == "cpu":
            module.train()
    return model


def compile_layers(layers: nn.ModuleList, compiled: bool | str) -> bool:
    """Compile each block's forward in place (`torch.compile`, any shapes); whether it was asked."""
    if not compiled:
        return False
    backend = compiled if isinstance(compiled, str) else "inductor"
    for layer in layers:
        layer.forward = torch.compile(layer.forward, backend=backend, dynamic=True)
    return True


class _Once(logging.Filter):
    """Lets a message through once: bitsandbytes repeats one in every pass of every 8-bit map."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is new."""
        message = record.getMessage()
        new = message not in self.said
        self.said.add(message)
        return new
