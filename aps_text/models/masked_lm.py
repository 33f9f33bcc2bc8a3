"""The layout of masked language models: the embedded model, BERT, ModernBERT, RoBERTa.

    [CLS] question [SEP] canvas        [SEP] ends an answer; [PAD], not attended, fills the rest

The embedded model (card: `aps_text/weights/mini_text/README.md`) was trained on this format. A
masked model that was only pre-trained does not answer questions: it fills the canvas with frequent
continuations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ..text.capitals import join_punctuation, restore_capitals
from ..text.prompt_encoding import QuestionEncoder, prompt_encoder
from ..text.prompts import Prompt
from .checkpoint import Checkpoint
from .checkpoint_files import check_sizes, read_json
from .frozen import compile_layers, frozen
from .parts import ModelParts
from .text_model import TextModel

__all__ = ["load_masked_lm", "masked_lm_layout", "wrap_masked_lm"]

SIZES = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "max_position_embeddings"),
)


def masked_lm_layout(model: Any) -> dict[str, Any]:
    """The fields of `ModelParts` that locate a masked language model's blocks and head."""
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
        "alike": False,  # its layers alternate between global and local attention
    }


def load_masked_lm(checkpoint: Checkpoint) -> TextModel:
    """The model of a checkpoint whose folder may hold an aps.json (see `wrap_masked_lm`).

    A `dtype` of None is float32, whatever the file stores: these models are small.
    """
    from transformers import CONFIG_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    file = checkpoint.folder / "aps.json"
    settings = read_json(file) if file.is_file() else {}
    check_sizes(settings, ("max_new_tokens", "context"), "aps.json")
    check_sizes(checkpoint.config, SIZES, checkpoint.name)
    fields = dict(checkpoint.config)
    kind = CONFIG_MAPPING[fields.pop("model_type")]
    config = checkpoint.network_config(kind, fields)
    tokenizer = checkpoint.tokenizer()
    checkpoint = replace(checkpoint, dtype=checkpoint.dtype or torch.float32)
    model = checkpoint.model(MODEL_FOR_MASKED_LM_MAPPING[kind], config)
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
        name: for reports and errors.
        settings: the contents of aps.json: `stop_id`, `max_new_tokens`, `context`, and `line_end`,
            the text that encodes a line break if the tokenizer has no token for it.
        checkpoint: the one it was loaded from.

    Raises:
        ValueError: the tokenizer lacks one of these tokens, or has ids beyond the vocabulary; a
            config that attends to one side, or cuts layers up.
    """
    settings = settings or {}
    frozen(model)
    config: Any = model.config
    for field in ("is_decoder", "chunk_size_feed_forward"):
        if value := getattr(config, field, None):
            raise ValueError(
                f"the config of {name!r} has {field}={value!r}; a masked model attends to both "
                f"sides and is read whole: set it to {type(value)(0)!r} before loading"
            )
    specials = {
        name: getattr(tokenizer, f"{name}_token_id") for name in ("mask", "sep", "cls", "pad")
    }
    missing = [name for name, token in specials.items() if token is None]
    if missing:
        raise ValueError(
            f"the tokenizer of {name!r} has no {missing[0]} token, which a masked model needs; add "
            "it to the tokenizer's files"
        )
    stop_id, pad_id = settings.get("stop_id", specials["sep"]), specials["pad"]
    for what, token in {**specials, "stop": stop_id}.items():
        if not isinstance(token, int) or not 0 <= token < config.vocab_size:
            raise ValueError(
                f"{name!r}: the {what} token {token!r} must be below the vocabulary's size "
                f"{config.vocab_size}; config.json and tokenizer do not belong together"
            )
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
    special_tokens = bool(checkpoint and checkpoint.special_tokens_in_text)
    encode: Callable[[Prompt], list[int]]
    if chat or (tokenizer.chat_template and chat is not False):
        encode = prompt_encoder(tokenizer, chat, special_tokens)
    else:
        encode = QuestionEncoder(tokenizer, specials["cls"], specials["sep"], special_tokens)
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
        finish=_Finish(settings.get("line_end")) if lower else str,
        special_tokens_in_text=special_tokens,
    )


@dataclass(frozen=True)
class _Finish:
    """Post-processes decoded text: capitals by rule, and `line_end`, if set, as line breaks."""

    line_end: str | None

    def __call__(self, text: str) -> str:
        lines = text.split(self.line_end) if self.line_end else [text]
        return "\n".join(restore_capitals(join_punctuation(line)) for line in lines)
