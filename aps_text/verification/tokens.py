"""Checks of token ids: those stated in the files, the tokenizer's, and the suppressed ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.protocols import SUPPRESSED
from ..models.answer_tokens import MASKS
from ..models.text_model import TextModel
from .logits import Sample
from .report import Check

__all__ = ["check_ids", "check_suppressed"]


def check_ids(model: TextModel, files: Mapping[str, Mapping[str, Any]]) -> Check:
    """Check that the mask, padding and end-of-text ids in config.json, generation_config.json and
    the tokenizer are those in use."""
    parts, tokenizer = model.parts, model.tokenizer
    vocab = tokenizer.get_vocab()
    sources = {name: dict(values) for name, values in files.items()}
    keys = ("mask_token_id", "pad_token_id", "eos_token_id")
    sources["tokenizer"] = {key: getattr(tokenizer, key, None) for key in keys}
    sources["vocabulary"] = {"mask_token_id": next((vocab[m] for m in MASKS if m in vocab), None)}
    stated, wrong = 0, []
    used = {
        "mask_token_id": (parts.mask_id,),
        # A padding token that is the mask is replaced by a stop.
        "pad_token_id": (parts.pad_id, model.fill_id, parts.mask_id),
        "eos_token_id": model.stop_ids,
    }
    masks = 0
    for source, values in sources.items():
        for key, ours in used.items():
            value = values.get(key)
            for token in value if isinstance(value, list) else [value]:
                if token is None:
                    continue
                stated += 1
                masks += key == "mask_token_id"
                if token not in ours:
                    wrong.append(f"{key} is {token} in {source}")
    word = tokenizer.convert_ids_to_tokens(parts.mask_id)
    shown = (
        f"mask {parts.mask_id} {word}, padding {parts.pad_id}, "
        f"stops {' '.join(map(str, model.stop_ids))}"
    )
    if parts.mask_id in model.stop_ids:
        wrong.append("the mask is a stop")
    if wrong:
        return Check("ids", "FAIL", f"{shown}; but {'; '.join(wrong)}")
    if not masks:
        return Check("ids", "SKIP", f"{shown}; cannot tell: no file states the mask")
    return Check("ids", "PASS", f"{shown}; {stated} statements agree")


def check_suppressed(model: TextModel, sample: Sample) -> Check:
    """Check that the mask and ids unknown to the tokenizer have no probability, and stops have."""
    parts = model.parts
    known = set(model.tokenizer.get_vocab().values())
    beyond = sorted(set(range(parts.vocab_size)) - known - set(model.stop_ids))
    logits = sample.logits(model)
    width = logits.shape[-1]
    if width != parts.vocab_size:
        return Check("suppressed", "FAIL", f"{width} logits for a vocabulary of {width}")
    never = [*beyond, parts.mask_id]
    open_ids = [i for i in never if float(logits[:, i].max()) > SUPPRESSED]
    shut = [i for i in model.stop_ids if float(logits[:, i].max()) <= SUPPRESSED]
    figure = f"{len(beyond)} of {width} ids beyond the tokenizer, and the mask"
    if open_ids:
        figure += f"; {len(open_ids)} of them can be answered, e.g. {open_ids[0]}"
    if shut:
        figure += f"; stop {shut[0]} can never be answered"
    return Check("suppressed", "FAIL" if open_ids or shut else "PASS", figure)
