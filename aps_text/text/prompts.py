"""Prompts, each a question (text) or a list of chat messages: reading and checking them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, cast

from aps_rewards.protocol import Message, Prompt

from .containers import in_order, is_table, kind_of, refuse_lazy, row_names, table_columns

__all__ = [
    "Message",
    "Prompt",
    "as_prompts",
    "begun_answer",
    "checked_text",
    "prompt_items",
    "read_prompt",
]


QUESTIONS = ("question", "prompt", "instruction", "query", "problem", "input", "text")
"""Names of columns that hold prompts, the usual first."""


def prompt_items(prompts: Any) -> list[Any]:
    """The items of `prompts` in order, not yet checked; a single text or chat is one item.

    Raises:
        TypeError: neither a prompt nor a container of prompts.
        ValueError: no prompts, or an iterator that raises.
    """
    if isinstance(prompts, str) or _is_message(prompts):
        return [prompts]
    refuse_lazy("prompts", prompts)
    if is_table(prompts):
        columns = list(map(str, table_columns(prompts)))
        named = f"the columns {', '.join(columns)}" if columns else "columns"
        raise TypeError(
            f"prompts are texts or chats, got a table, a {type(prompts).__name__} with {named}; "
            f"pass one column, e.g. table[{_asked(columns)!r}]"
        )
    if isinstance(prompts, Mapping | bytes | PurePath) or not isinstance(prompts, Iterable):
        raise TypeError(_no_prompt("prompts", prompts))
    if names := row_names(prompts):
        raise TypeError(
            f"prompts are texts or chats, got one row, a {type(prompts).__name__} with the values "
            f"{', '.join(names)}; pass the one that holds the question, e.g. its "
            f"{_asked(names)!r}, or list(row) if each is a prompt"
        )
    items = in_order("prompts", prompts)
    if not items:
        raise ValueError("no prompts were given; pass a question or a list of them")
    if all(isinstance(item, Mapping) for item in items) and any("role" in item for item in items):
        return [items]
    return items


def read_prompt(item: Any, name: str = "the prompt") -> Prompt:
    """One prompt, checked: its text, or a copy of its messages.

    A message's content may be a list of text parts (as in chat APIs); they are joined.

    Args:
        name: for errors.

    Raises:
        TypeError: neither text nor messages.
        ValueError: an empty text or chat, or a text with half of a surrogate pair.
    """
    if isinstance(item, str):
        return _text(item, name)
    if _is_message(item):
        item = [item]
    if isinstance(item, Mapping | bytes | PurePath) or not isinstance(item, Iterable):
        raise TypeError(_no_prompt(name, item))
    messages: list[Any] = in_order(f"the messages of {name}", item)
    if not messages:
        raise ValueError(f"{name} is empty: a chat without messages; ask a question")
    read: list[Message] = []
    for at, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise TypeError(
                f"{name} is a {type(item).__name__}, so a chat, but holds {kind_of(message)} where "
                "a message {'role': ..., 'content': ...} belongs; several prompts are one flat list"
            )
        if not _is_message(message) or not isinstance(message["role"], str):
            raise TypeError(
                f"message {at} of {name} needs a 'role' and a 'content', got {dict(message)!r}"
            )
        content = _content(message["content"], f"message {at} of {name}")
        read.append({**message, "content": _text(content, name)})
    return read


def as_prompts(prompts: Any) -> list[Prompt]:
    """Checked prompts as a list, from one text or chat or from a container of them, by position.

    Raises:
        TypeError, ValueError: as `prompt_items` and `read_prompt`, with the prompt's number.
    """
    return [read_prompt(item, f"prompt {i}") for i, item in enumerate(prompt_items(prompts))]


def _asked(names: Sequence[str]) -> str:
    """The name that most likely is of the question."""
    return next((name for name in (*QUESTIONS, *names) if name in names), QUESTIONS[0])


def begun_answer(prompt: Prompt) -> str:
    """The given beginning of the answer: the content of a last message of the assistant, or ""."""
    if isinstance(prompt, str) or prompt[-1].get("role") != "assistant":
        return ""
    return prompt[-1]["content"]


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and "role" in value and "content" in value


def _content(content: Any, name: str) -> str:
    """A message's text; parts `{"type": "text", "text": ...}` are joined."""
    if isinstance(content, list | tuple):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        if all(isinstance(part, str) for part in parts):
            return "".join(cast(list[str], parts))
    if not isinstance(content, str):
        raise TypeError(f"the content of {name} is a text, got {kind_of(content)}")
    return content


def _text(text: str, name: str) -> str:
    """The text as a plain `str`, checked; an empty one is no question."""
    if not text.strip():
        raise ValueError(f"{name} is empty: {str.__str__(text)!r}; ask a question")
    return checked_text(text, name)


def checked_text(text: str, name: str) -> str:
    """The text as a plain `str`.

    Raises:
        ValueError: it has half of a surrogate pair.
    """
    text = str.__str__(text)  # np.str_ and string enumerations become a plain str
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} has half of a surrogate pair, {text[error.start]!r} at character "
            f"{error.start}, which no tokenizer reads; repair it: "
            "text.encode('utf-8', 'replace').decode()"
        ) from None
    return text


def _no_prompt(name: str, value: Any) -> str:
    mend = "ask a question"
    if isinstance(value, bytes):
        mend = "decode it, e.g. by .decode('utf-8')"
    elif isinstance(value, PurePath):
        mend = "read the file, e.g. by .read_text(encoding='utf-8')"
    elif isinstance(value, Mapping):
        mend = "pass the value of the key that holds the question"
    is_are = "are texts or chats" if name == "prompts" else "is no text or chat"
    return (
        f"{name} {is_are}: a string, or a list of messages {{'role': ..., 'content': ...}}; got "
        f"{kind_of(value)}; {mend}"
    )
