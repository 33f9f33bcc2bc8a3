"""Encoding of prompts: by the tokenizer's chat template, as plain text, or `[CLS] question [SEP]`.

A control token such as `<|im_end|>` or `[SEP]` in a user's text is encoded as ordinary characters,
unless `special_tokens_in_text` is set. A conversation that ends with the assistant's turn is
continued (prefill).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import Any

from aps_rewards.protocol import Message, Prompt
from aps_rewards.tokenizing import token_ids

__all__ = ["ChatEncoder", "PlainEncoder", "QuestionEncoder", "encode_text", "prompt_encoder"]

ROLES = ("system", "user", "assistant", "tool")
TEMPLATE_LINES = 2_000_000  # limit on the lines that a chat template may run for one prompt
TEMPLATE_DEPTH = 100  # limit on the macros and blocks of a template that call each other


def encode_text(
    tokenizer: Any, text: str, *, special_tokens: bool = False, framed: bool = False
) -> list[int]:
    """The tokens of a text.

    Args:
        tokenizer: a Hugging Face fast tokenizer.
        text: what a user typed, or a part of it.
        special_tokens: whether control tokens written in the text are parsed.
        framed: whether the tokenizer adds its own tokens around it (beginning of text, ...).
    """
    if not text and not framed:
        return []
    ids: list[int] = token_ids(
        tokenizer,
        text,
        add_special_tokens=framed,
        split_special_tokens=not special_tokens,
        verbose=False,  # too long a prompt is refused by its number, in `pipelines.request`
    )
    return ids


def prompt_encoder(
    tokenizer: Any, chat: bool | None = None, special_tokens_in_text: bool = False
) -> Callable[[Prompt], list[int]]:
    """A function from prompts to token ids, by the tokenizer's chat template or as plain text.

    Args:
        tokenizer: a Hugging Face fast tokenizer.
        chat: True uses the template, False plain text (for a base model whose tokenizer has a
            template nevertheless); None uses the template if there is one.
        special_tokens_in_text: parse control tokens in prompts.

    Raises:
        ValueError: `chat=True` without a template, or a template that cannot be rendered; when
            encoding, an invalid order of roles, or several messages in plain text.
    """
    template = bool(getattr(tokenizer, "chat_template", None))
    if chat and not template:
        raise ValueError("chat=True, but the tokenizer has no chat template; use chat=False")
    if chat is False or not template:
        return PlainEncoder(tokenizer, special_tokens_in_text)
    encoder = ChatEncoder(tokenizer, special_tokens_in_text)
    encoder.rendered([{"role": "user", "content": "Hello"}])
    return encoder


@dataclass(frozen=True)
class PlainEncoder:
    """Encodes one question as plain text, with the tokens the tokenizer adds around any text."""

    tokenizer: Any
    special_tokens: bool = False

    def __call__(self, prompt: Prompt) -> list[int]:
        """Token ids."""
        question, begun = question_of(prompt)
        text = question + begun
        return encode_text(self.tokenizer, text, special_tokens=self.special_tokens, framed=True)


@dataclass(frozen=True)
class QuestionEncoder:
    """Encodes `[CLS] question [SEP]`, followed by the beginning of an answer if one is given."""

    tokenizer: Any
    cls_id: int
    sep_id: int
    special_tokens: bool = False

    def __call__(self, prompt: Prompt) -> list[int]:
        """Token ids."""
        question, begun = (
            encode_text(self.tokenizer, text, special_tokens=self.special_tokens)
            for text in question_of(prompt)
        )
        return [self.cls_id, *question, self.sep_id, *begun]


def question_of(prompt: Prompt) -> tuple[str, str]:
    """The question of a prompt and the given beginning of its answer, for a model without turns.

    Raises:
        ValueError: messages other than one of the user and, after it, one to be continued.
    """
    if isinstance(prompt, str):
        return prompt, ""
    roles = [message.get("role") for message in prompt]
    if roles not in (["user"], ["user", "assistant"]):
        raise ValueError(
            f"this model answers one question and was given messages with roles {roles}; "
            "pass the last user message alone"
        )
    return prompt[0]["content"], prompt[1]["content"] if len(prompt) == 2 else ""


@dataclass(frozen=True)
class ChatEncoder:
    """Encodes a conversation by the tokenizer's chat template."""

    tokenizer: Any
    special_tokens: bool = False

    def __call__(self, prompt: Prompt) -> list[int]:
        """Token ids.

        Raises:
            ValueError: unknown roles, an invalid order of them, or a template that fails.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        roles = [message.get("role") for message in messages]
        if not roles or any(role not in ROLES for role in roles) or roles[-1] == "system":
            raise ValueError(
                f"messages have the roles {', '.join(ROLES)} and end with the user's, or with the "
                f"assistant's to be continued; got {roles}"
            )
        if self.special_tokens or not self._special.search(_all_text(messages)):
            return encode_text(self.tokenizer, self.rendered(messages), special_tokens=True)
        return self._apart(messages)

    def _apart(self, messages: Sequence[Message]) -> list[int]:
        """Token ids with control tokens from the template parsed and those in messages as text."""
        marks = _unused(_all_text(messages))
        stood: dict[str, str] = {}

        def hide(text: str) -> str:
            def mark(found: re.Match[str]) -> str:
                stood[char := next(marks)] = found[0]
                return char

            return self._special.sub(mark, text)

        text = self.rendered([_mapped(message, hide) for message in messages])
        vocab, ids, at = self.tokenizer.get_vocab(), [], 0
        back = re.compile("|".join(map(re.escape, stood)))

        def typed(part: str) -> list[int]:
            return encode_text(self.tokenizer, back.sub(lambda m: stood[m[0]], part))

        for found in self._special.finditer(text):
            ids += [*typed(text[at : found.start()]), vocab[found[0]]]
            at = found.end()
        return [*ids, *typed(text[at:])]

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """A pattern that matches any control token of the tokenizer, the longest first."""
        added = getattr(self.tokenizer, "added_tokens_decoder", {}).values()
        names = {str(token) for token in added if token.special}
        names |= set(self.tokenizer.all_special_tokens)
        return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")

    def rendered(self, messages: Sequence[Message]) -> str:
        """The conversation as text.

        If the template refuses a system message, its text is prepended to the first user message.

        Raises:
            ValueError: the template fails (the message has its error) or does not end.
        """
        failure: Exception | None = None
        try:
            text = self._template(messages)
        except Exception as error:  # a template's code may raise anything
            failure, text = error, ""
        first = messages[0]
        if first.get("role") == "system" and (failure or first["content"].strip() not in text):
            folded = _folded(messages)
            try:
                return self._template(folded)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise ValueError(
                f"the tokenizer's chat template fails on messages with the roles "
                f"{[message.get('role') for message in messages]}: "
                f"{' '.join(str(failure).split())[:200] or type(failure).__name__}; "
                "change the messages, or load with chat=False"
            ) from failure
        return text

    def _template(self, messages: Sequence[Message]) -> str:
        prefill = messages[-1].get("role") == "assistant"
        with _Budget(TEMPLATE_LINES, TEMPLATE_DEPTH):
            # Qwen3's template opens a chain of thought by default; other templates ignore this.
            text: str = self.tokenizer.apply_chat_template(
                list(messages),
                add_generation_prompt=not prefill,
                continue_final_message=prefill,
                tokenize=False,
                enable_thinking=False,
            )
        return text


class _Budget:
    """Context that stops an endless template after a number of executed template lines, or of
    calls within calls: Python's own limit may have been raised beyond what the C stack holds."""

    def __init__(self, lines: int, depth: int) -> None:
        self.left, self.most, self.depth = lines, depth, 0

    def __enter__(self) -> None:
        self.before = sys.gettrace()
        sys.settrace(self._called)

    def __exit__(self, *_: Any) -> None:
        sys.settrace(self.before)

    def _called(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename != "<template>":
            return None
        self.depth += 1
        if self.depth > self.most:
            raise RuntimeError(f"it calls itself more than {self.most} times")
        return self._line

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "return":
            self.depth -= 1
            return self._line
        self.left -= 1
        if self.left < 0:
            raise RuntimeError(f"it did not end within {TEMPLATE_LINES} lines")
        return self._line


def _folded(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system message's text prepended to the first user message."""
    system, *rest = (dict(message) for message in messages)
    for message in rest:
        if message.get("role") == "user":
            message["content"] = f"{system['content']}\n\n{message['content']}"
            return rest
    return [{"role": "user", "content": system["content"]}, *rest]


def _all_text(value: Any) -> str:
    """Every string in a message, joined."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    return "\n".join(map(_all_text, value)) if isinstance(value, list | tuple) else ""


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The message with `change` applied to every string except its role."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {k: v if k == "role" else _mapped(v, change) for k, v in value.items()}
    return [_mapped(v, change) for v in value] if isinstance(value, list | tuple) else value


def _unused(text: str) -> Iterator[str]:
    """Private-use characters that do not occur in the text."""
    for code in (*range(0xE000, 0xF900), *range(0xF0000, 0x10FFFE)):
        if chr(code) not in text:
            yield chr(code)
