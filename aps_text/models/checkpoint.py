"""A published checkpoint in a folder, read without running its own code.

    config.json                     names the model (`model_type`, `architectures`)
    *.safetensors                   weights; pickled ones (.bin, .pt) are never opened
    tokenizer files, generation_config.json

`auto_map` and every .py file are ignored: `trust_remote_code` is not offered.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..tensor_files import check_written
from .checkpoint_files import (
    Header,
    check_headers,
    check_memory,
    layers_in,
    read_headers,
    read_json,
    stored_dtype,
)
from .frozen import frozen
from .modes import outside_modes
from .peft_folder import with_adapter

__all__ = ["Checkpoint", "quiet"]


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a config.json, and how to load its weights.

    Attributes:
        folder: of the files.
        name: as the user gave it.
        config: the contents of config.json.
        device, dtype: of the loaded weights; None is the CPU, and the dtype stored in the file.
        options: passed on to `from_pretrained` (`device_map`, `quantization_config`,
            `attn_implementation`).
        chat: see `text.prompt_encoding.prompt_encoder`.
        special_tokens_in_text: see `text.prompt_encoding`.
        checkpointing, compiled: see `ModelParts`; `compiled` may name a backend of `torch.compile`.
        adapter: folder of a PEFT adapter to apply to the model.
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
    special_tokens_in_text: bool = False
    adapter: Path | None = None

    def need(self, *keys: str) -> list[Any]:
        """The values of required keys of config.json.

        Raises:
            ValueError: naming the missing ones.
        """
        missing = [key for key in keys if self.config.get(key) is None]
        if missing:
            raise ValueError(
                f"config.json of {self.name!r} has no {', '.join(missing)}, which a model of type "
                f"{self.config.get('model_type')!r} needs; is the checkpoint complete?"
            )
        return [self.config[key] for key in keys]

    def generation(self) -> dict[str, Any]:
        """The contents of generation_config.json; empty if there is no such file."""
        path = self.folder / "generation_config.json"
        return read_json(path) if path.is_file() else {}

    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer, in the transformers class that fits its files.

        Raises:
            ValueError: no tokenizer files, or unreadable or empty ones.
        """
        from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2TokenizerFast

        folder = self.folder
        if self.adapter is not None and (self.adapter / "tokenizer_config.json").is_file():
            folder = self.adapter
        has = {file.name for file in folder.iterdir()}
        if {"vocab.json", "merges.txt"} <= has and self.config.get("model_type") == "Dream":
            kind: Any = Qwen2TokenizerFast
        elif "tokenizer.json" in has and (
            "auto_map" in self.config or self.config.get("model_type") == "mmada"
        ):
            kind = PreTrainedTokenizerFast
        elif has & {"tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model"}:
            kind = AutoTokenizer
        else:
            raise ValueError(
                f"{self.name!r} has no tokenizer (tokenizer.json, or vocab.json with merges.txt); "
                "copy the published tokenizer files next to config.json"
            )
        try:
            tokenizer = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # a damaged file may raise anything
            raise ValueError(
                f"the tokenizer files of {self.name!r} cannot be read ({_first_line(error)}); "
                "copy the published ones next to config.json"
            ) from error
        if not tokenizer.get_vocab():
            raise ValueError(
                f"the tokenizer of {self.name!r} has an empty vocabulary; copy the published files"
            )
        return tokenizer

    def network_config(self, kind: Any, fields: Mapping[str, Any]) -> Any:
        """A transformers configuration of class `kind` with these fields.

        Raises:
            ValueError: fields or values that the class refuses.
        """
        act = fields.get("hidden_act")
        if act is not None:
            from transformers.activations import ACT2FN

            if act not in ACT2FN:
                raise ValueError(
                    f"config.json of {self.name!r} has hidden_act={act!r}; known are "
                    f"{', '.join(sorted(ACT2FN))}"
                )
        try:
            found, default = kind(**fields), kind()
        except Exception as error:  # a wrong field may raise anything
            raise self._not_described(kind, error) from error
        for name, value in fields.items():  # transformers 4.57 does not look at them
            if isinstance(getattr(default, name, None), float) and isinstance(value, str):
                raise self._not_described(kind, TypeError(f"{name}={value!r} is no number"))
        return found

    def _not_described(self, kind: Any, error: Exception) -> ValueError:
        return ValueError(
            f"config.json of {self.name!r} describes no {kind.__name__.removesuffix('Config')} "
            f"({_first_line(error)}); compare it with the published file"
        )

    @outside_modes
    def model(
        self,
        kind: Any,
        config: Any,
        key_mapping: Mapping[str, str] | None = None,
        exact: bool = False,
    ) -> Any:
        """The weights in the stock class `kind`, in eval mode and frozen.

        The headers of the files are compared with the configuration first, so that a checkpoint
        that does not fit is refused before its weights take memory.

        Args:
            kind: a class of transformers.
            config: its configuration.
            key_mapping: regular expressions of names in the files, and their names in `kind`.
            exact: whether weights that `kind` does not have are refused.

        Raises:
            ValueError: no safetensors, files that are damaged or of another layout, weights that
                are NaN or infinite, matrices of zeros alone.
        """
        stored = stored_dtype(self.config, self.name)
        headers = read_headers(self.folder, self.name)
        self._check_layers(config, headers)
        if "quantization_config" not in self.config:
            expected, rename = self._expected(kind, config), renamer(key_mapping)
            check_headers(headers, expected, rename, self.name, exact)
        options = {"key_mapping": dict(key_mapping)} if key_mapping else {}
        placed = {"device_map", "quantization_config"} & self.options.keys()
        if not placed:
            check_memory(headers, self.dtype.itemsize if self.dtype else None, self.name)
        if "quantization_config" in self.options:
            logging.getLogger("bitsandbytes.autograd._functions").addFilter(_Once())
        with quiet():
            try:
                model, report = kind.from_pretrained(
                    self.folder,
                    config=config,
                    dtype=self.dtype or stored or "auto",
                    use_safetensors=True,
                    local_files_only=True,
                    output_loading_info=True,
                    **options,
                    **self.options,
                )
            except (ImportError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # a damaged file may raise anything
                raise ValueError(
                    f"the weights of {self.name!r} cannot be loaded as {kind.__name__} "
                    f"({_first_line(error)}); compare config.json with the published one"
                ) from error
        lacking = sorted(report["missing_keys"])
        if lacking:
            raise ValueError(
                f"{self.name!r} lacks {len(lacking)} of the weights of {kind.__name__}, e.g. "
                f"{lacking[0]!r}; its files are incomplete or of another layout"
            )
        if self.device is not None and not placed:
            model = model.to(self.device)
        check_finite(model, self.name)
        check_written(model, self.name)
        if self.adapter is not None:
            model = with_adapter(
                model, self.adapter, renamer(key_mapping), merge="quantization_config" not in placed
            )
            check_finite(model, str(self.adapter))
        return frozen(model)

    def _check_layers(self, config: Any, headers: Mapping[str, Header]) -> None:
        """Raise `ValueError` if the files hold another number of blocks than config.json states."""
        found, stated = layers_in(headers), config.num_hidden_layers
        if found != stated:
            raise ValueError(
                f"config.json of {self.name!r} states {stated} layers and its files hold {found}; "
                "they do not belong together"
            )

    def _expected(self, kind: Any, config: Any) -> dict[str, torch.Size]:
        """Shapes of the network's weights by name, without allocating them."""
        try:
            with torch.device("meta"):
                return {
                    name: value.shape
                    for name, value in kind._from_config(copy.deepcopy(config)).named_parameters()
                }
        except Exception as error:  # a wrong field may raise anything
            raise self._not_described(kind, error) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Context in which transformers shows no progress bars."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def renamer(mapping: Mapping[str, str] | None) -> Callable[[str], str]:
    """The function from names in the files to names in the network, as `key_mapping` defines it."""

    def rename(name: str) -> str:
        for pattern, replacement in (mapping or {}).items():
            name, found = re.subn(pattern, replacement, name)
            if found:
                break
        return name

    return rename


def check_finite(model: nn.Module, name: str) -> None:
    """Raise `ValueError` for a weight that is NaN or infinite, naming the tensor."""
    for key, value in model.named_parameters():
        if not value.is_floating_point() or value.device.type == "meta":
            continue
        wide = torch.promote_types(value.dtype, torch.float32)
        if bool(value.sum(dtype=wide).isfinite()):  # faster than testing every number
            continue
        bad = int((~value.isfinite()).sum())
        if bad:
            raise ValueError(
                f"{name!r}: {bad} of the {value.numel()} numbers in {key!r} are NaN or infinite; "
                "the file is damaged, or the dtype too narrow (use bfloat16 or float32)"
            )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__


class _Once(logging.Filter):
    """Passes a message once: bitsandbytes repeats one in every pass of every 8-bit layer."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is new."""
        message = record.getMessage()
        new = message not in self.said
        self.said.add(message)
        return new
