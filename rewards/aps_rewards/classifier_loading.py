"""A sequence-classification model with its tokenizer, from a folder, a hub id or a PEFT adapter.

Incomplete files are refused: missing weights (as the head of a causal language model) would be
random and differ at every load, and a tokenizer without vocabulary files would encode every text
alike.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .classifier_files import check_folder, check_numbers, has_vocabulary, has_weights, misfit
from .guard import PASSED_ON, Refused, described
from .links import check_links
from .peft_adapter import (
    ADAPTER,
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
            what = misfit(folder_of(source, hub))
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
    check_links(folder)
    beside = (folder / ADAPTER).is_file()
    adapter = beside and not has_weights(folder)
    place = str(folder if folder.is_dir() else source)
    base = place
    if adapter:  # the given revision is the adapter's
        named = base_of(folder)
        above = folder_of(named, {**hub, "revision": None})
        base = str(above) if above.is_dir() else named
    for one in dict.fromkeys((folder, Path(base))):
        if one.is_dir():
            check_folder(one)
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
    check_numbers(model, source)
    if tokenizer is None:
        own = adapter and not has_vocabulary(folder)
        place = base if own else place
        if Path(place).is_dir() and not has_vocabulary(Path(place)):
            raise Refused(
                f"{place!r} holds no tokenizer (no tokenizer.json, vocab.txt, ...); save "
                "it there with tokenizer.save_pretrained(folder), or give tokenizer=..."
            )
        tokenizer = AutoTokenizer.from_pretrained(place, **(options if own else hub))
    return model, tokenizer


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
