"""Masked language models as answerers: the embedded model, BERT, ModernBERT, RoBERTa.

    [CLS] question [SEP] canvas        [SEP] ends an answer; [PAD], not attended, fills the rest

The embedded model (card: `aps_text/weights/mini_text/README.md`) was trained that way. A masked
model that was only pre-trained fills the canvas with what often follows: a base to steer, no
answerer.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..text.capitals import join_punctuation, restore_capitals
from ..text.prompts import Prompt, prompt_encoder, single_question
from .checkpoint import Checkpoint, compile_layers, frozen
from .parts import ModelParts
from .text_model import TextModel

__all__ = ["FOLDER", "load_masked_lm", "masked_lm_layout", "wrap_masked_lm"]

FOLDER = Path(__file__).parent.parent / "weights" / "mini_text"


def masked_lm_layout(model: Any) -> dict[str, Any]:
    """Where a masked language model keeps its blocks and its head: fields of `ModelParts`."""
    kind = model.config.model_type
    if kind == "bert":
        return {"layers_path": "bert.encoder.layer", "final": nn.Identity(), "head": model.cls}
    if kind in ("roberta", "xlm-roberta"):
        return {
            "layers_path": "roberta.encoder.layer",
            "final": nn.Identity(),
            "head": model.lm_head,
            "first_position": model.config.pad_token_id + 1,
        }
    return {
        "layers_path": "model.layers",
        "final": model.model.final_norm,
        "head": nn.Sequential(model.head, model.decoder),
        "alike": False,  # its layers attend globally and locally in turn
    }


def load_masked_lm(checkpoint: Checkpoint) -> TextModel:
    """config.json, model.safetensors, tokenizer files, and optionally aps.json.

    `dtype` None is float32, whatever the file stores: these models are small.
    """
    from transformers import AutoConfig, AutoModelForMaskedLM

    file = checkpoint.folder / "aps.json"
    settings = json.loads(file.read_text()) if file.is_file() else {}
    config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True)
    tokenizer = checkpoint.tokenizer()
    checkpoint = replace(checkpoint, dtype=checkpoint.dtype or torch.float32)
    model = checkpoint.model(AutoModelForMaskedLM, config)
    return wrap_masked_lm(model, tokenizer, checkpoint.name, settings, checkpoint)


def wrap_masked_lm(
    model: nn.Module,
    tokenizer: Any,
    name: str = "masked-lm",
    settings: dict[str, Any] | None = None,
    checkpoint: Checkpoint | None = None,
) -> TextModel:
    """A `BertForMaskedLM`, `ModernBertForMaskedLM` or `RobertaForMaskedLM` and its tokenizer.

    Args:
        model: put in eval mode and frozen.
        tokenizer: a fast tokenizer with mask, cls, sep and pad tokens.
        settings: aps.json's: `stop_id`, `max_new_tokens`, `context`, and `line_end`, the text that
            stands for the end of a line where the tokenizer knows none.
        checkpoint: what it was loaded from.
    """
    settings = settings or {}
    frozen(model)
    config: Any = model.config
    specials = {
        name: getattr(tokenizer, f"{name}_token_id") for name in ("mask", "sep", "cls", "pad")
    }
    missing = [name for name, token in specials.items() if token is None]
    if missing:
        raise ValueError(f"the tokenizer has no {missing[0]} token; a masked model needs one")
    stop_id, pad_id = settings.get("stop_id", specials["sep"]), specials["pad"]
    never = {token for token in tokenizer.all_special_ids if token != stop_id}
    never |= set(range(config.vocab_size)) - set(tokenizer.get_vocab().values())
    parts = ModelParts(
        model=model,
        **masked_lm_layout(model),
        mask_id=specials["mask"],
        pad_id=pad_id,
        vocab_size=config.vocab_size,
        suppressed=tuple(sorted(never)),
        checkpointing=checkpoint.checkpointing if checkpoint else False,
    )
    if checkpoint and checkpoint.compiled:
        compile_layers(parts.layers, checkpoint.compiled)
        parts = replace(parts, compiled=True)
    chat = checkpoint.chat if checkpoint else None
    templated = prompt_encoder(tokenizer, chat) if chat or tokenizer.chat_template else None

    def encode(prompt: Prompt) -> list[int]:
        if templated is not None and chat is not False:
            return templated(prompt)
        ids = tokenizer(single_question(prompt), add_special_tokens=False)["input_ids"]
        return [specials["cls"], *ids, specials["sep"]]

    line_end: str | None = settings.get("line_end")

    def finish(text: str) -> str:
        lines = text.split(line_end) if line_end else [text]
        return "\n".join(restore_capitals(join_punctuation(line)) for line in lines)

    lower = config.model_type == "bert" and getattr(tokenizer, "do_lower_case", True)
    return TextModel(
        name=name,
        parts=parts,
        tokenizer=tokenizer,
        encode=encode,
        stop_ids=(stop_id,),
        fill_id=pad_id,
        max_new_tokens=settings.get("max_new_tokens", 24),
        context=settings.get("context", config.max_position_embeddings - parts.first_position),
        finish=finish if lower else str,
    )
