"""A sequence-classification model with its tokenizer, from a folder, a hub id or a PEFT adapter.

Incomplete files are refused: missing weights (as the head of a causal language model) would be
random and differ at every load, and a tokenizer without vocabulary files would encode every text
alike.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .guard import PASSED_ON, Refused, described
from .peft_adapter import (
    ADAPTER,
    FLOATS,
    WEIGHTS,
    base_of,
    check_adapter,
    check_names,
    head_of,
    merged,
    plain,
    tensors_of,
)
from .snapshots import folder_of

__all__ = [
    "differentiable_tensors",
    "load_classifier",
    "of_classifier",
    "quiet",
    "unwrapped",
]


class _Quiet:
    """Counts the threads that load: the first hides transformers' reports, the last shows them."""

    def __init__(self) -> None:
        self._lock, self._depth = threading.Lock(), 0
        self._bars, self._level = True, 0

    def enter(self) -> None:
        from transformers.utils import logging

        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._bars, self._level = logging.is_progress_bar_enabled(), logging.get_verbosity()
                logging.disable_progress_bar()
                logging.set_verbosity(logging.CRITICAL)

    def leave(self) -> None:
        from transformers.utils import logging

        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                logging.set_verbosity(self._level)
                if self._bars:
                    logging.enable_progress_bar()


_QUIET = _Quiet()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context in which transformers shows no progress bars and no reports of what it loads.

    What is wrong with the files is in our own errors. The level of its logger is restored when the
    last thread has left the context.
    """
    _QUIET.enter()
    try:
        yield
    finally:
        _QUIET.leave()


def load_classifier(
    source: str | Path,
    tokenizer: Any,
    dtype: torch.dtype | str | None,
    hub: dict[str, Any],
    *,
    whole: bool = True,
) -> tuple[Any, Any]:
    """Load model and tokenizer.

    Args:
        source: a folder or a hub id. A folder with an `adapter_config.json` and no model of its own
            is a PEFT adapter: its base is loaded and the adapter merged into it.
        tokenizer: a loaded tokenizer; None loads that of `source` (or of an adapter's base).
        dtype: of the weights; None is the stored one.
        hub: `trust_remote_code`, `local_files_only`, `revision`.
        whole: refuse a model whose files lack weights; False if its head is not used.

    Raises:
        ValueError: missing weights (they are named), a tokenizer without vocabulary, or an adapter
            that names no base or is of another task.
        OSError: no model at `source`.
    """
    try:
        with quiet():
            return _loaded(source, tokenizer, dtype, hub, whole)
    except (*PASSED_ON, Refused, OSError, ModuleNotFoundError):
        raise
    except Exception as error:  # from transformers, safetensors, tokenizers or torch
        what = described(error)
        if "ignore_mismatched_sizes" in what:  # it speaks of a report that is not shown
            what = _misfit(folder_of(source, hub))
        raise ValueError(
            f"{str(source)!r} cannot be loaded as a reward model: {what}; download its files "
            "again, or compare its config.json with the published file"
        ) from error


def _loaded(
    source: str | Path,
    tokenizer: Any,
    dtype: torch.dtype | str | None,
    hub: dict[str, Any],
    whole: bool,
) -> tuple[Any, Any]:
    folder = folder_of(source, hub)
    beside = (folder / ADAPTER).is_file()
    adapter = beside and not _has_weights(folder)
    place = str(folder if folder.is_dir() else source)
    base = place
    if adapter:  # the given revision is the adapter's
        named = base_of(folder)
        above = folder_of(named, {**hub, "revision": None})
        base = str(above) if above.is_dir() else named
    for one in dict.fromkeys((folder, Path(base))):
        if one.is_dir():
            _check_depth(one)
            _check_files(one)
            if (one / "config.json").is_file():
                _check_kinds(one)
                _check_epsilons(one)
    options = dict(hub)
    extra: dict[str, Any] = {}
    if beside:
        check_adapter(folder)
    if adapter:
        options["revision"] = None
        try:
            extra = head_of(folder, base, options)
        except OSError as error:
            raise Refused(
                f"the base {base!r} of the adapter {str(folder)!r} cannot be read: {error}; "
                f"correct base_model_name_or_path in its {ADAPTER}"
            ) from error
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, found = AutoModelForSequenceClassification.from_pretrained(
        base, dtype=dtype or "auto", output_loading_info=True, **options, **extra
    )
    missing = set(found["missing_keys"])
    # With `ignore_mismatched_sizes` weights of other shapes than config.json's are drawn at random.
    missing |= {one if isinstance(one, str) else one[0] for one in found["mismatched_keys"]}
    if adapter:
        missing -= {plain(name) for name in tensors_of(folder)}
        model = merged(model, folder)
    elif beside:  # transformers itself has applied the adapter
        check_names(model, folder)
    if missing and whole:
        kinds = ", ".join(getattr(model.config, "architectures", None) or []) or "model"
        raise Refused(
            f"{str(source)!r} is no reward model: it lacks {', '.join(sorted(missing)[:5])}"
            f"{', ...' if len(missing) > 5 else ''} of {type(model).__name__} (its config.json "
            f"says {kinds}); random weights would give random scores. Give a model that was "
            "trained for sequence classification"
        )
    beyond = sorted(name for name in found["unexpected_keys"] if re.search(r"\.\d+\.", name))
    if beyond:
        raise Refused(
            f"{str(source)!r} has {len(beyond)} weights of layers that its config.json does not "
            f"have, e.g. {beyond[0]}; correct num_hidden_layers there"
        )
    _check_numbers(model, source)
    if tokenizer is None:
        own = adapter and not _has_vocabulary(folder)
        place = base if own else place
        if Path(place).is_dir() and not _has_vocabulary(Path(place)):
            raise Refused(
                f"{place!r} holds no tokenizer (no tokenizer.json, vocab.txt, ...); save "
                "it there with tokenizer.save_pretrained(folder), or give tokenizer=..."
            )
        tokenizer = AutoTokenizer.from_pretrained(place, **(options if own else hub))
    return model, tokenizer


def _check_files(folder: Path) -> None:
    """Refuse pickled weights, and an index that names files outside the folder.

    Raises:
        ValueError: names the file and what to do instead.
    """
    index = folder / "model.safetensors.index.json"
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
        for file in named:
            if not isinstance(file, str) or file != Path(file).name or "\\" in file:
                raise Refused(
                    f"{index} names {file!r}; only files in the index's own folder are read. Move "
                    "it there and correct the index"
                )
            if not file.endswith(".safetensors"):
                raise Refused(f"{index} names {file!r}; only safetensors are read")


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


def _check_epsilons(folder: Path) -> None:
    """Refuse a config.json whose epsilons are not in (0, 1): its scores would be NaN or constant.

    Raises:
        ValueError: names the first such setting.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name, value in config.items() if isinstance(config, dict) else ():
        if not re.search(r"(^|_)eps(ilon)?$", name) or value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < 1:
            raise Refused(
                f"config.json of {str(folder)!r} has {name}={value!r}, and an epsilon is a number "
                "in (0, 1), e.g. 1e-12; compare it with the published file"
            )


def _check_numbers(model: Any, source: str | Path) -> None:
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


def unwrapped(model: Any) -> Any:
    """The module inside `DataParallel`, `DistributedDataParallel` and `torch.compile`."""
    while isinstance(model, torch.nn.Module):
        inner = model._modules.get("_orig_mod")
        if isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            inner = model.module
        if inner is None:
            break
        model = inner
    return model


def differentiable_tensors(model: torch.nn.Module) -> None:
    """Replace, in place, tensors made under `torch.inference_mode`, which no gradient can pass.

    Shared ones stay shared. The caller is outside of that mode.
    """
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None and tensor.is_inference():
                    if id(tensor) not in made:
                        copy = tensor.detach().clone()
                        whole = held is module._parameters
                        made[id(tensor)] = torch.nn.Parameter(copy, False) if whole else copy
                    held[name] = made[id(tensor)]  # type: ignore[assignment]


def of_classifier(model: Any, tokenizer: Any = None) -> tuple[Any, Any] | None:
    """The network and tokenizer of a loaded Hugging Face model or pipeline; None for others.

    If `tokenizer` is None, that of the model is loaded from where the model was loaded from.

    Raises:
        TypeError: a model or pipeline of another task.
        ValueError: no tokenizer, and the model does not record where it was loaded from.
    """
    if hasattr(model, "task") and hasattr(model, "model") and hasattr(model, "tokenizer"):
        if model.task not in ("text-classification", "sentiment-analysis"):
            raise TypeError(
                f"a pipeline for {model.task!r} is no reward; use pipeline('text-classification')"
            )
        return unwrapped(model.model), tokenizer or model.tokenizer
    model = unwrapped(model)
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "get_input_embeddings"):
        return None
    inner: Any = model
    if hasattr(inner, "get_base_model"):
        if getattr(inner.active_peft_config, "is_prompt_learning", False):
            raise TypeError(
                f"a PeftModel of {inner.active_peft_config.peft_type.value} puts vectors "
                "of its own before the text, which a reward cannot; give an adapter that changes "
                "weights, e.g. LoRA"
            )
        inner = inner.get_base_model()
    if not any("SequenceClassification" in kind.__name__ for kind in type(inner).__mro__):
        raise TypeError(
            f"a {type(inner).__name__} is no reward: it must score a text. Load the model with "
            "AutoModelForSequenceClassification, or wrap it: SequenceClassifier(model, tokenizer, "
            "extract=...)"
        )
    if tokenizer is None:
        place = getattr(inner.config, "_name_or_path", "")
        if not place:
            raise ValueError(
                f"this {type(inner).__name__} does not record where it was loaded from; give its "
                "tokenizer: load_reward(model, tokenizer=...)"
            )
        from transformers import AutoTokenizer

        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(place)
    return inner, tokenizer


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


def _has_weights(folder: Path) -> bool:
    """Whether a folder holds a model of its own, beside an adapter or not."""
    if not (folder / "config.json").is_file():
        return False
    return any(file.name != WEIGHTS for file in folder.glob("*.safetensors"))


def _has_vocabulary(folder: Path) -> bool:
    names = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")
    more = ("sentencepiece.bpe.model", "spm.model", "tiktoken.model", "bpe.codes")
    return any((folder / name).is_file() for name in (*names, *more))


def _misfit(folder: Path) -> str:
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
