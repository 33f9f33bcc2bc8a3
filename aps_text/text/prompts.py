"""Prompts: a question, or a list of chat messages; and how a model reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from aps_rewards.protocol import Message, Prompt

__all__ = ["Message", "Prompt", "as_prompts", "prompt_encoder", "single_question"]

ROLES = ("system", "user", "assistant", "tool")


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


def prompt_encoder(tokenizer: Any, chat: bool | None = None) -> Callable[[Prompt], list[int]]:
    """Prompts to token ids by the tokenizer's chat template, or as plain text without one.

    Args:
        tokenizer: a Hugging Face fast tokenizer.
        chat: True asks for the template, False for plain text (a base model whose tokenizer has a
            template all the same); None takes the template if there is one.

    Raises:
        ValueError: `chat=True` without a template; when encoding, roles that make no conversation,
            or several messages in plain text.
    """
    template = bool(getattr(tokenizer, "chat_template", None))
    if chat and not template:
        raise ValueError("chat=True, but the tokenizer has no chat template; use chat=False")

    def plain(prompt: Prompt) -> list[int]:
        ids: list[int] = tokenizer(single_question(prompt))["input_ids"]
        return ids

    def conversation(prompt: Prompt) -> list[int]:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        roles = [message.get("role") for message in messages]
        if any(role not in ROLES for role in roles) or roles[-1] not in ("user", "tool"):
            raise ValueError(
                f"messages have the roles {', '.join(ROLES)} and end with the user's; got {roles}"
            )
        # Qwen3's template opens a chain of thought unless told not to; others ignore the word.
        text = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, enable_thinking=False
        )
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    return plain if chat is False or not template else conversation
