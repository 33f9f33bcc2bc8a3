"""What a classifier and its tokenizer bring: labels, head, length limit, words, embeddings."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "label_column",
    "label_names",
    "length_limit",
    "reads_last_token",
    "takes_mask",
    "token_embeddings",
    "word_ids",
]


def label_names(config: Any) -> dict[int, str]:
    """The labels by the column of their logit."""
    return {int(i): str(name) for i, name in config.id2label.items()}


def label_column(config: Any, label: str | int | None) -> int | None:
    """The column of the logits to score, of a label's name or number; None if there is only one.

    Raises:
        ValueError: several labels and none chosen, an unknown label, or a name of several.
    """
    names = label_names(config)
    if label is None:
        if config.num_labels == 1:
            return None
        raise ValueError(
            f"the model has {config.num_labels} labels ({', '.join(names.values())}); "
            "choose one: label=..."
        )
    if isinstance(label, str):
        found = [i for i, name in names.items() if name == label]
        found = found or [i for i, name in names.items() if name.lower() == label.lower()]
    else:
        found = [i for i in names if label == i and not isinstance(label, bool)]
    if len(found) > 1:
        raise ValueError(
            f"{len(found)} labels are called {label!r}; choose one by its number: "
            f"{', '.join(map(str, found))}"
        )
    if not found:
        raise ValueError(f"no label {label!r}; the model has {', '.join(names.values())}")
    return found[0] if len(names) > 1 else None  # the softmax of one logit is always 1


def reads_last_token(model: Any) -> bool:
    """Whether the head is a linear map of the last token (`.score`)."""
    score = getattr(model, "score", None)
    score = getattr(score, "original_module", score)  # PEFT wraps a head that it trains
    return isinstance(score, torch.nn.Linear)


def takes_mask(model: Any) -> bool:
    """Whether the forward takes an attention mask; that of transformers 4.57's FNet does not."""
    named = inspect.signature(model.forward).parameters
    return "attention_mask" in named or any(one.kind is one.VAR_KEYWORD for one in named.values())


def word_ids(tokenizer: Any, rows: int, name: str) -> list[int]:
    """Ids of ordinary tokens, in order.

    Args:
        rows: number of the model's embeddings.
        name: the reward's, for messages.

    Raises:
        ValueError: tokenizer and model do not belong together.
    """
    vocabulary = tokenizer.get_vocab()
    special = set(tokenizer.all_special_ids)
    words = [token_id for token_id in vocabulary.values() if token_id not in special]
    if not words:
        raise ValueError(
            f"the tokenizer of {name!r} has only {len(vocabulary)} special tokens: its "
            "files are missing. Give tokenizer=..., or save it beside the model"
        )
    beyond = [token_id for token_id in words if token_id >= rows]
    if beyond:
        raise ValueError(
            f"the tokenizer of {name!r} has ids up to {max(beyond)} and the model {rows} "
            "embeddings: they do not belong together; give tokenizer=... of this model"
        )
    return sorted(words)


def length_limit(model: Any, tokenizer: Any) -> int:
    """The maximal number of tokens that model and tokenizer allow."""
    positions = getattr(model.config, "max_position_embeddings", None) or 0
    positions = positions if positions > 0 else 10**6  # XLNet says -1
    for name, module in model.named_modules():
        table = isinstance(module, torch.nn.Embedding) and name.endswith("position_embeddings")
        if table and module.padding_idx is not None:  # positions start after the padding id
            positions = min(positions, module.num_embeddings - module.padding_idx - 1)
    return int(min(positions, tokenizer.model_max_length))


def token_embeddings(model: Any) -> Tensor:
    """The outputs `(V, d)` of the embedding module for all ids; some modules scale their weight.

    Raises:
        ValueError: the model has no such module with a table.
    """
    try:
        embeddings = model.get_input_embeddings()
    except NotImplementedError:  # transformers finds none
        embeddings = None
    table = getattr(embeddings, "weight", None)
    if not isinstance(table, Tensor) or table.ndim != 2:
        raise ValueError(
            f"{type(model).__name__} has no table of token embeddings (it reads characters or "
            "bytes), and such models are no rewards here; give one of tokens, as BERT or Qwen"
        )
    weight = table.detach()
    with torch.no_grad():
        ids = torch.arange(len(weight), device=weight.device)
        first = embeddings(ids[:64])
        # I-BERT's module returns a scale, too; whether it takes embeddings is tried.
        plain = not isinstance(first, Tensor) or torch.equal(first, weight[:64])
        return weight if plain else embeddings(ids).detach()
