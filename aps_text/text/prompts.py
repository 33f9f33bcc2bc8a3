"""Prompts: a question, or a list of chat messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

__all__ = ["Message", "Prompt", "as_prompts", "single_question"]

Message = dict[str, str]
Prompt = str | list[Message]


def as_prompts(prompts: Prompt | Iterable[Prompt]) -> list[Prompt]:
    """A list of prompts from one prompt or an iterable of them, none of them empty."""
    if isinstance(prompts, str):
        asked: list[Prompt] = [prompts]
    else:
        items = list(prompts)
        one_chat = bool(items) and all(isinstance(item, Mapping) for item in items)
        asked = cast(list[Prompt], [items] if one_chat else items)
    if not asked:
        raise ValueError("no prompts were given; pass a question or a list of them")
    for index, prompt in enumerate(asked):
        texts = [prompt] if isinstance(prompt, str) else [m.get("content") for m in prompt]
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ValueError(f"prompt {index} is empty: {prompt!r}; ask a question")
    return asked


def single_question(prompt: Prompt) -> str:
    """The question of a prompt; this model has no chat template and no turns.

    Raises:
        ValueError: messages other than one from the user.
    """
    if isinstance(prompt, str):
        return prompt
    roles = [message.get("role") for message in prompt]
    if roles != ["user"]:
        raise ValueError(
            f"this model answers one question and was given messages with roles {roles}; "
            "pass the last user message alone"
        )
    return prompt[0]["content"]
