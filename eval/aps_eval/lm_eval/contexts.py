"""A context of the harness as a prompt of ours.

A text is the prompt; what does not fit loses its beginning. Chat messages stay as they are where
the model has turns. On a model without, they are joined into one question: an answer behind its
question, an empty line between the others. Messages that end with the assistant's (`gen_prefix`)
are continued on both.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from aps_rewards.protocol import Message, Prompt

__all__ = ["Contexts", "begun", "joined", "messages_of"]

logger = logging.getLogger(__name__)


class Contexts:
    """Reads contexts for one model; says once what it changes of them.

    Args:
        model: a `TextModel`.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._said: set[str] = set()

    def read(self, context: str) -> Prompt:
        """The prompt of a context, with turns only where the model has them."""
        prompt = messages_of(context)
        if isinstance(prompt, str):
            return prompt
        try:
            self.model.encode(prompt)
        except ValueError as error:
            if len(prompt) < 2:
                raise
            one = joined(prompt)
            try:
                self.model.encode(one)
            except ValueError:
                raise error from None
            roles = ", ".join(message["role"] for message in prompt)
            self._say(
                f"{self.model.name} has no turns: those of a chat ({roles}) are joined into one "
                "question"
            )
            return one
        return prompt

    def fitting(self, context: str, room: int) -> tuple[Prompt, list[int]]:
        """The prompt and its ids, a text shortened from the front to leave `room` tokens.

        Raises:
            ValueError: chat messages, or an answer, that do not fit.
        """
        model = self.model
        prompt = self.read(context)
        ids = model.encode(prompt)
        over = len(ids) + room - model.context
        if over > 0 and (text := _question(prompt)) is not None:
            self._say(f"contexts of more than {model.context} tokens lose their start")
            while over > 0 and text:
                offsets = model.tokenizer(
                    text, add_special_tokens=False, return_offsets_mapping=True
                )["offset_mapping"]
                text = text[offsets[over][0] :] if over < len(offsets) else ""
                prompt = _asked(text, prompt)
                ids = model.encode(prompt)
                over = len(ids) + room - model.context
        if over > 0:
            raise ValueError(
                f"{room} tokens of an answer do not fit behind a prompt of {len(ids)} into the "
                f"context of {model.name} ({model.context})"
            )
        return prompt, ids

    def _say(self, what: str) -> None:
        kind = what.split(":")[0]
        if kind not in self._said:
            self._said.add(kind)
            logger.warning(what)


def messages_of(context: str) -> Prompt:
    """Chat messages, where the context is what `apply_chat_template` made, else the text itself."""
    if context.startswith('[{"role": '):
        try:
            return list(json.loads(context))
        except json.JSONDecodeError:
            return context
    return context


def joined(messages: list[Message]) -> list[Message]:
    """All turns as one of the user's, and the assistant's where that is to be continued."""
    continued = messages[-1]["role"] == "assistant"
    text = ""
    for message in messages[:-1] if continued else messages:
        gap = "" if not text else " " if message["role"] == "assistant" else "\n\n"
        text += gap + message["content"].strip()
    return [{"role": "user", "content": text}, *(messages[-1:] if continued else [])]


def begun(prompt: Prompt) -> str:
    """The text that an answer follows at once: the beginning of it, or the question."""
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def _question(prompt: Prompt) -> str | None:
    """What may be shortened: a text, or the one question of joined turns."""
    if isinstance(prompt, str):
        return prompt
    roles = [message["role"] for message in prompt]
    return prompt[0]["content"] if roles in (["user"], ["user", "assistant"]) else None


def _asked(text: str, prompt: Prompt) -> Prompt:
    """The prompt with another question."""
    if isinstance(prompt, str):
        return text
    return [{**prompt[0], "content": text}, *prompt[1:]]
