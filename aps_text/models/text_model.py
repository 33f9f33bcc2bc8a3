"""A text model: a transformer's anatomy with its tokenizer and its way of putting a question.

`wrap` recognises models that are already loaded, `load` a name or a folder. A new model is one
file that returns a `TextModel`, and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..text.prompts import Prompt
from .transformer import Anatomy, TransformerDenoiser

__all__ = ["TextModel", "load", "wrap"]


@dataclass(frozen=True)
class TextModel:
    """Everything the pipeline needs to know of a model.

    Attributes:
        name: for reports.
        anatomy: the transformer's parts.
        tokenizer: a Hugging Face fast tokenizer.
        encode: a prompt (text or chat messages) to token ids, template included.
        stop_ids: tokens that end an answer.
        fill_id: written after a stop token.
        max_new_tokens: canvas length when none is asked for.
        context: most tokens of prompt and canvas together.
        finish: last touch on decoded text (capitals by rule, for lower-casing tokenizers).
    """

    name: str
    anatomy: Anatomy
    tokenizer: Any
    encode: Callable[[Prompt], list[int]]
    stop_ids: tuple[int, ...]
    fill_id: int
    max_new_tokens: int
    context: int
    finish: Callable[[str], str] = str

    def bind(
        self, prompts: Sequence[Sequence[int]], lengths: Sequence[int], adapted_layers: int | None
    ) -> TransformerDenoiser:
        """A denoiser for these prompts (token ids) and canvas lengths."""
        return TransformerDenoiser.bind(self.anatomy, prompts, lengths, adapted_layers)


def load(
    name: str | Path,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> TextModel:
    """The embedded model `"mini"`, or a folder in its layout.

    Raises:
        ValueError: nothing there, or a layout that is not recognised.
    """
    from .mini_text import FOLDER, load_mini

    folder = FOLDER if str(name) == "mini" else Path(name)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"no model at {str(name)!r}: expected 'mini' or a folder with a config.json "
            f"(looked at {folder.name!r})"
        )
    return load_mini(folder, device=device, dtype=dtype)


def wrap(model: nn.Module, tokenizer: Any) -> TextModel:
    """A `TextModel` around objects already loaded; the model is put in eval mode and frozen.

    Raises:
        TypeError: an architecture that has no adapter.
    """
    from .mini_text import wrap_bert

    if hasattr(model, "bert") and hasattr(model, "cls"):
        return wrap_bert(model, tokenizer)
    raise TypeError(
        f"no adapter for {type(model).__name__}; supported: BertForMaskedLM. "
        "docs/models.md shows how to add one"
    )
