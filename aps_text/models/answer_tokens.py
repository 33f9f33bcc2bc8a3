"""The special tokens of a checkpoint: mask, fill, stops, and those that are never drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MASKS", "AnswerTokens", "answer_tokens"]

TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>")
MASKS = ("<|mask|>", "<|mdm_mask|>")


@dataclass(frozen=True)
class AnswerTokens:
    """The special tokens of a causal layout.

    Attributes:
        mask_id: the mask token.
        fill_id: written after a stop token.
        stop_ids: tokens that end an answer.
        suppressed: ids that are never drawn: the mask, the fill unless it is a stop, and the ids
            that the tokenizer lacks.
    """

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
    """Mask, fill and stop tokens, and the ids that are never drawn.

    The mask and the fill (padding, else end of text) are taken from config.json, else from
    generation_config.json, else from the tokenizer (its attribute, else a known name). Stops are
    the end-of-text tokens of all three, and the end-of-turn tokens that the tokenizer has.

    Args:
        tokenizer: its vocabulary may be smaller than the head; the ids it lacks are untrained.
        vocab_size: the head's width K.
        config, generation: the contents of config.json and generation_config.json.
        name: of the model, for errors.

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
            "tokenizer, so it is not a masked diffusion model; a causal one cannot be steered here"
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
    for token in (mask_id, fill_id, *stops):
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < vocab_size:
            raise ValueError(
                f"{name!r}: mask {mask_id!r}, padding {fill_id!r} and stops {stops} must be ids "
                f"below the vocabulary's size {vocab_size}; config.json and tokenizer do not "
                "belong together"
            )
    never = set(range(vocab_size)) - set(vocab.values()) - set(stops) | {mask_id}
    never |= {fill_id} - set(stops)
    return AnswerTokens(mask_id, fill_id, stops, tuple(sorted(never)))
