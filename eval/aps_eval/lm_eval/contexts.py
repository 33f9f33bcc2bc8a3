"""Conversion of the harness's contexts to prompts.

A text becomes the prompt; if it does not fit, it is truncated at its beginning. Chat messages are
kept for a model with chat turns. For a model without, they are joined into one question: an answer
follows its question directly, other messages are separated by an empty line. Messages that end with
the assistant's (`gen_prefix`) are continued in both cases.
"""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

from aps_rewards.protocol import Message, Prompt

__all__ = ["Contexts", "begun", "joined", "messages_of"]

logger = logging.getLogger(__name__)


class Contexts:
    """Converts contexts for one model; logs each kind of change once.

    Args:
        model: a `TextModel`.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._said: set[str] = set()

    def read(self, context: str) -> Prompt:
        """The prompt of a context; chat messages are joined if the model has no turns."""
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
        """The prompt and its ids; a text is truncated at its beginning to leave `room` tokens.

        Raises:
            ValueError: chat messages that do not fit, or no room for the answer.
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
                # Tokens that are parts of one character have one place: cut behind it.
                text = text[next((at for at, _ in offsets[over:] if at), len(text)) :]
                prompt = _asked(text, prompt)
                ids = model.encode(prompt)
                over = len(ids) + room - model.context
        if over > 0:
            raise ValueError(
                f"{room} tokens of an answer and a prompt of {len(ids)} exceed the context of "
                f"{model.name} ({model.context}); shorten the prompt or max_gen_toks"
            )
        return prompt, ids

    def _say(self, what: str) -> None:
        kind = what.split(":")[0]
        if kind not in self._said:
            self._said.add(kind)
            logger.warning(what)


def messages_of(context: str) -> Prompt:
    """The chat messages if `apply_chat_template` made the context, else the text itself."""
    if context.startswith('[{"role": '):
        with contextlib.suppress(json.JSONDecodeError):
            found = json.loads(context)
            if all(map(_is_message, found)):
                return list(found)
    return context


def _is_message(found: Any) -> bool:
    if not isinstance(found, dict):
        return False
    return all(isinstance(found.get(name), str) for name in ("role", "content"))


def joined(messages: list[Message]) -> list[Message]:
    """All turns joined into one user message, and the assistant's last one to be continued."""
    continued = messages[-1]["role"] == "assistant"
    text = ""
    for message in messages[:-1] if continued else messages:
        gap = "" if not text else " " if message["role"] == "assistant" else "\n\n"
        text += gap + message["content"].strip()
    return [{"role": "user", "content": text}, *(messages[-1:] if continued else [])]


def begun(prompt: Prompt) -> str:
    """The text directly before an answer: the given beginning of it, or the question."""
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def _question(prompt: Prompt) -> str | None:
    """The part that may be truncated: a text, or the question of joined turns."""
    if isinstance(prompt, str):
        return prompt
    roles = [message["role"] for message in prompt]
    return prompt[0]["content"] if roles in (["user"], ["user", "assistant"]) else None


def _asked(text: str, prompt: Prompt) -> Prompt:
    """The prompt with another question."""
    if isinstance(prompt, str):
        return text
    return [{**prompt[0], "content": text}, *prompt[1:]]
