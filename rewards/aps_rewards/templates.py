"""The token ids that a reward model reads before and after an answer: `[before] answer [after]`.

    chat     the tokenizer's chat template around the prompt and the answer
    pair     a cross-encoder's pair: `[CLS] question [SEP] answer [SEP]`
    answer   the answer alone: `[CLS] answer [SEP]`
    "..."    a text with `{answer}`, and optionally `{question}` and `{reference}`
    f        a function `f(prompt, columns) -> (text before, text after)`

The three texts are tokenised separately and without added special tokens: those of a chat come from
its template (so no second BOS), those of a pair from the tokenizer. In a user's text a special
token such as `[SEP]` or `<|im_end|>` is tokenised as ordinary characters. The ids are then joined,
on the text side and on the embedding side alike, so both score the same tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .protocol import Prompt, last_text
from .tokenizing import token_ids, tokenized

__all__ = ["Template", "TemplateSpec"]

TemplateSpec = str | Callable[[Prompt, Mapping[str, Any]], tuple[str, str]]

_SLOT = "@@the-answer-goes-here@@"
_CONTROL = re.compile(r"(@@control-token-\d+@@)")


class Template:
    """Token ids around an answer.

    Args:
        spec: `chat`, `pair`, `answer`, a text with `{answer}`, or a function; see above.
        tokenizer: the reward's, a fast one.
        system: keep a prompt's system messages; off for reward models that were trained without
            them (Skywork-Reward-V2).
        reference: fills `{reference}`; default is the dataset column `reference`.

    Attributes:
        second_from_answer: whether the answer and what follows are the second segment of a pair
            (`token_type_ids` of 1).

    Raises:
        ValueError: an unknown template, one without exactly one `{answer}`, `chat` without a chat
            template.
    """

    def __init__(
        self, spec: TemplateSpec, tokenizer: Any, *, system: bool, reference: str | None
    ) -> None:
        if not tokenizer.is_fast:
            raise ValueError(
                f"{type(tokenizer).__name__} is not a fast tokenizer; load it with use_fast=True"
            )
        self.spec, self.tokenizer, self.system, self.reference = spec, tokenizer, system, reference
        self.second_from_answer = False
        if spec == "chat" and not getattr(tokenizer, "chat_template", None):
            raise ValueError(
                "template='chat', but the tokenizer has no chat template; use 'pair' or 'answer'"
            )
        if spec == "pair":
            types = tokenized(tokenizer, "x", "x").get("token_type_ids", [0])
            self.second_from_answer = max(types) > 0
        known = not isinstance(spec, str) or spec in ("chat", "pair", "answer")
        if not known and str(spec).count("{answer}") != 1:
            raise ValueError(
                f"template is chat, pair, answer or a text with one {{answer}}; got {spec!r}"
            )
        special = {*tokenizer.all_special_tokens}
        special |= {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
        self._control = sorted(special, key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, self._control)) or "(?!)")
        alone = tokenized(tokenizer, "x")
        ids, part = alone["input_ids"], alone.sequence_ids(0)
        self._open = ids[: part.index(0)]
        self._close = ids[len(part) - part[::-1].index(0) :]

    @property
    def bare(self) -> tuple[list[int], list[int]]:
        """Ids that the tokenizer puts before and after a text alone."""
        return self._open, self._close

    def frame(self, prompt: Prompt, **columns: Any) -> tuple[list[int], list[int]]:
        """Token ids before and after the answer to one prompt; columns are that row's values.

        Raises:
            ValueError: a chat template that drops or repeats the answer, or a missing reference.
        """
        prompt = self._as_text(prompt)
        columns = {name: self._as_text(value) for name, value in columns.items()}
        if self.spec == "chat":
            before, after = self._chat(prompt)
            return self._ids(before), self._ids(after)
        if self.spec == "pair":
            question = _CONTROL.sub(self._restored, last_text(prompt))
            both = tokenized(
                self.tokenizer, question, "x", split_special_tokens=True, verbose=False
            )
            ids, part = both["input_ids"], both.sequence_ids(0)
            return ids[: part.index(1)], ids[len(part) - part[::-1].index(1) :]
        if self.spec == "answer":
            before, after = "", ""
        elif callable(self.spec):
            before, after = self.spec(prompt, columns)
        else:
            before, after = self._filled(prompt, columns)
        framed = [*self._open, *self._ids(before)], [*self._ids(after), *self._close]
        if not any(framed):  # a model cannot read an empty row, which an empty answer would be
            return [self._filler()], []
        return framed

    def answer(self, text: str) -> list[int]:
        """Ids of an answer."""
        return self._ids(self._as_text(text))

    def _as_text(self, value: Any) -> Any:
        """A user's text or messages, special tokens in it replaced by placeholder characters."""
        if isinstance(value, str):
            return self._controls.sub(self._slot, value)
        if isinstance(value, list):
            return [self._as_text(one) for one in value]
        if isinstance(value, dict) and isinstance(value.get("content"), str):
            return {**value, "content": self._as_text(value["content"])}
        return value

    def _slot(self, found: re.Match[str]) -> str:
        return f"@@control-token-{self._control.index(found[0])}@@"

    def _restored(self, slot: re.Match[str]) -> str:
        number = int(slot[0].strip("@").rpartition("-")[2])
        return self._control[number] if number < len(self._control) else slot[0]

    def _ids(self, text: str) -> list[int]:
        """Ids of a text; placeholders are tokenised as the ordinary characters they replaced."""
        ids: list[int] = []
        for piece in _CONTROL.split(text):
            plain = _CONTROL.fullmatch(piece) is not None
            said = _CONTROL.sub(self._restored, piece) if plain else piece
            if said:
                ids += token_ids(
                    self.tokenizer,
                    said,
                    add_special_tokens=False,
                    split_special_tokens=plain,
                    verbose=False,
                )
        return ids

    def _chat(self, prompt: Prompt) -> tuple[str, str]:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if not self.system:
            messages = [message for message in messages if message.get("role") != "system"]
        slot = _SLOT
        while any(slot in str(message.get("content")) for message in messages):
            slot += "@"
        said = [*messages, {"role": "assistant", "content": slot}]
        text = self.tokenizer.apply_chat_template(said, tokenize=False)
        before, found, after = text.partition(slot)
        if not found or slot in after:
            raise ValueError(
                "the chat template does not print the assistant's answer exactly once; use another "
                "template=, e.g. a text with {answer}"
            )
        return before, after

    def _filled(self, prompt: Prompt, columns: Mapping[str, Any]) -> tuple[str, str]:
        values = {"question": last_text(prompt)}
        if "{reference}" in str(self.spec):
            reference = self._as_text(self.reference) or columns.get("reference")
            if not isinstance(reference, str):
                raise ValueError(
                    "the template has a {reference}: give reference=..., or a column 'reference' "
                    f"with a text per prompt; got {reference!r}"
                )
            values["reference"] = reference

        def fill(part: str) -> str:  # in one pass: a question may hold the text "{reference}"
            return re.sub(r"\{(question|reference)\}", lambda slot: values[slot[1]], part)

        before, _, after = str(self.spec).partition("{answer}")
        return fill(before), fill(after)

    def _filler(self) -> int:
        tokenizer = self.tokenizer
        for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
            if token is not None:
                return int(token)
        return 0
