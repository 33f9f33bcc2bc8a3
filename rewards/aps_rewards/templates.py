"""What a reward model reads around an answer: `[before] answer [after]`, as token ids.

    chat     the tokenizer's chat template around the prompt and the answer
    pair     a cross-encoder's pair: `[CLS] question [SEP] answer [SEP]`
    answer   the answer alone: `[CLS] answer [SEP]`
    "..."    a text with `{answer}`, and if you like `{question}` and `{reference}`
    f        a function `f(prompt, columns) -> (text before, text after)`

Each text is cut by itself and without special tokens of its own: what a chat template writes is
there once (no second BOS), and a pair's come from the tokenizer. The three pieces are then joined,
on the text side and on the embedding side alike, so both score the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .protocol import Prompt, last_text

__all__ = ["Template", "TemplateSpec"]

TemplateSpec = str | Callable[[Prompt, Mapping[str, Any]], tuple[str, str]]

_SLOT = "@@the-answer-goes-here@@"


class Template:
    """Token ids around an answer.

    Args:
        spec: `chat`, `pair`, `answer`, a text with `{answer}`, or a function; see above.
        tokenizer: the reward's, a fast one.
        system: keep a prompt's system messages; reward models trained without them read them as
            something else (Skywork-Reward-V2).
        reference: fills `{reference}`; default is the dataset column `reference`.

    Attributes:
        second_from_answer: whether the answer and what follows are the second segment of a pair
            (`token_type_ids` of 1).

    Raises:
        ValueError: no such template, no or several `{answer}`, `chat` without a chat template.
    """

    def __init__(
        self, spec: TemplateSpec, tokenizer: Any, *, system: bool, reference: str | None
    ) -> None:
        if not tokenizer.is_fast:
            raise ValueError(f"{type(tokenizer).__name__} is not a fast tokenizer; use_fast=True")
        self.spec, self.tokenizer, self.system, self.reference = spec, tokenizer, system, reference
        self.second_from_answer = False
        if spec == "chat" and not getattr(tokenizer, "chat_template", None):
            raise ValueError(
                "template='chat', but the tokenizer has no chat template; use 'pair' or 'answer'"
            )
        if spec == "pair":
            types = tokenizer("x", "x").get("token_type_ids", [0])
            self.second_from_answer = max(types) > 0
        known = not isinstance(spec, str) or spec in ("chat", "pair", "answer")
        if not known and str(spec).count("{answer}") != 1:
            raise ValueError(
                f"template is chat, pair, answer or a text with one {{answer}}; got {spec!r}"
            )
        alone = tokenizer("x")
        ids, part = alone["input_ids"], alone.sequence_ids(0)
        self._open = ids[: part.index(0)]
        self._close = ids[len(part) - part[::-1].index(0) :]

    def frame(self, prompt: Prompt, **columns: Any) -> tuple[list[int], list[int]]:
        """Ids before and after the answer to one prompt; columns are that row's values.

        Raises:
            ValueError: a template that drops or repeats the answer, or no reference for one.
        """
        if self.spec == "chat":
            before, after = self._chat(prompt)
            return self._ids(before), self._ids(after)
        if self.spec == "pair":
            both = self.tokenizer(last_text(prompt), "x")
            ids, part = both["input_ids"], both.sequence_ids(0)
            return ids[: part.index(1)], ids[len(part) - part[::-1].index(1) :]
        if self.spec == "answer":
            before, after = "", ""
        elif callable(self.spec):
            before, after = self.spec(prompt, columns)
        else:
            before, after = self._filled(prompt, columns)
        framed = [*self._open, *self._ids(before)], [*self._ids(after), *self._close]
        if not any(framed):  # an empty answer still is something to read
            return [self._filler()], []
        return framed

    def answer(self, text: str) -> list[int]:
        """Ids of an answer."""
        return self._ids(text)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []

    def _chat(self, prompt: Prompt) -> tuple[str, str]:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if not self.system:
            messages = [message for message in messages if message.get("role") != "system"]
        said = [*messages, {"role": "assistant", "content": _SLOT}]
        text = self.tokenizer.apply_chat_template(said, tokenize=False)
        before, found, after = text.partition(_SLOT)
        if not found or _SLOT in after:
            raise ValueError("the chat template does not print the assistant's answer exactly once")
        return before, after

    def _filled(self, prompt: Prompt, columns: Mapping[str, Any]) -> tuple[str, str]:
        values = {"question": last_text(prompt)}
        if "{reference}" in str(self.spec):
            reference = self.reference or columns.get("reference")
            if not isinstance(reference, str):
                raise ValueError(
                    "the template has a {reference}: give reference=..., or a column 'reference' "
                    f"with a text per prompt; got {reference!r}"
                )
            values["reference"] = reference
        before, _, after = str(self.spec).partition("{answer}")
        for name, value in values.items():
            before, after = (part.replace(f"{{{name}}}", value) for part in (before, after))
        return before, after

    def _filler(self) -> int:
        tokenizer = self.tokenizer
        for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
            if token is not None:
                return int(token)
        return 0
