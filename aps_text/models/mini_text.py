"""The embedded model: a BERT-shaped masked diffusion answerer for English word knowledge.

`[CLS] question [SEP] canvas`; `[SEP]` ends an answer and `[PAD]`, not attended, fills the rest.
Its card, with what was measured, is `aps_text/weights/mini_text/README.md`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..text.capitals import join_punctuation, restore_capitals
from ..text.prompts import Prompt, single_question
from .text_model import TextModel
from .transformer import Anatomy

__all__ = ["FOLDER", "load_mini", "wrap_bert"]

FOLDER = Path(__file__).parent.parent / "weights" / "mini_text"


def load_mini(
    folder: Path, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> TextModel:
    """Load a folder: config.json, model.safetensors, tokenizer.json, and optionally aps.json.

    `dtype` None is float32, whatever the file stores.
    """
    from transformers import AutoTokenizer, BertForMaskedLM

    settings_file = folder / "aps.json"
    settings = json.loads(settings_file.read_text()) if settings_file.is_file() else {}
    model = BertForMaskedLM.from_pretrained(
        folder, dtype=dtype or torch.float32, use_safetensors=True, local_files_only=True
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return wrap_bert(model.to(device or "cpu"), tokenizer, folder.name, settings)


def wrap_bert(
    model: nn.Module, tokenizer: Any, name: str = "bert", settings: dict[str, Any] | None = None
) -> TextModel:
    """A `BertForMaskedLM` and its tokenizer; `settings` are those of aps.json."""
    settings = settings or {}
    model.eval().requires_grad_(False)
    config: Any = model.config
    specials = {
        name: getattr(tokenizer, f"{name}_token_id") for name in ("mask", "sep", "cls", "pad")
    }
    missing = [name for name, token in specials.items() if token is None]
    if missing:
        raise ValueError(f"the tokenizer has no {missing[0]} token; a masked model needs one")
    stop_id, pad_id = settings.get("stop_id", specials["sep"]), specials["pad"]
    vocab_size = config.vocab_size
    never = {token for token in tokenizer.all_special_ids if token != stop_id}
    never |= set(range(len(tokenizer), vocab_size))
    bert: Any = model
    anatomy = Anatomy(
        model=model,
        layers_path="bert.encoder.layer",
        final=nn.Identity(),
        head=bert.cls,
        mask_id=specials["mask"],
        pad_id=pad_id,
        vocab_size=vocab_size,
        suppressed=tuple(sorted(never)),
    )

    def encode(prompt: Prompt) -> list[int]:
        ids = tokenizer(single_question(prompt), add_special_tokens=False)["input_ids"]
        return [specials["cls"], *ids, specials["sep"]]

    def finish(text: str) -> str:
        return restore_capitals(join_punctuation(text))

    return TextModel(
        name=name,
        anatomy=anatomy,
        tokenizer=tokenizer,
        encode=encode,
        stop_ids=(stop_id,),
        fill_id=pad_id,
        max_new_tokens=settings.get("max_new_tokens", 24),
        context=settings.get("context", config.max_position_embeddings),
        finish=finish if getattr(tokenizer, "do_lower_case", True) else str,
    )
