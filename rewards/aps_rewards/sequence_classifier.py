"""Hugging Face reward models: any `AutoModelForSequenceClassification`, differentiable.

    r = logit                      of a model with one label (a reward model), or of the chosen
                                   label of a regression
    r = log p(label | text)        of a chosen label (a classifier)

Rows are packed before they enter the model: tokens with attention 1 become adjacent, with padding
on one side only. So a score depends neither on the batch nor on the place of the padding, whatever
the model's positions are (rotary, absolute, relative, sliding windows). Heads that read the LAST
token (`.score` of Qwen, Llama, Gemma, GPT-2) are applied here at the last token with attention 1:
the stock forward, given embeddings, reads position -1, which is padding in right-padded batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .classifier_loading import differentiable_tensors, load_classifier, of_classifier
from .classifier_parts import (
    label_column,
    label_names,
    length_limit,
    reads_last_token,
    takes_mask,
    token_embeddings,
    word_ids,
)
from .padding import by_length, check_length, packed
from .protocol import Prompt, last_text
from .row_checks import Rows, rows_of
from .templates import Template, TemplateSpec
from .training_mode import random_part

__all__ = ["SequenceClassifier"]

logger = logging.getLogger(__name__)


class SequenceClassifier:
    """A sequence-classification model as a reward.

    How to game it: reward models tend to prefer long, confident answers and lists; classifiers
    react to words that are typical of a class in their training data. Report a second model that
    did not guide.

    Args:
        model: a folder (of a model or of a PEFT adapter), a hub id, a loaded model (it is put in
            eval mode and frozen; of one in `DataParallel` or `torch.compile` the model inside is
            used), or a `pipeline("text-classification")`.
        tokenizer: a fast tokenizer; default: the model's.
        label: None for a model with one label; else the name or number of one.
        template: `chat`, `pair`, `answer`, a text or a function (see `aps_rewards.templates`);
            `auto` takes `chat` if the tokenizer has a chat template, else `pair` for one label
            (a cross-encoder) and `answer` for several (a classifier).
        system: keep the prompt's system messages.
        reference: the text for a template's `{reference}`; default: the dataset column `reference`.
            For pairwise models, which score an answer against another one.
        extract: `extract(outputs, attention_mask) -> (B,)` from the model's own outputs, for other
            heads; `attention_mask` is that of the packed rows.
        max_length: maximal number of tokens, the frame's included; default: the limit of model and
            tokenizer. A longer answer is truncated on the text side and refused on the embedding
            side.
        padding_side: `left` or `right`, which give the same scores; default: as the head needs.
        batch_size: texts per forward.
        dtype, device: of the weights; default: the stored dtype and the CPU, or those of a loaded
            model. Scores are float32 or wider.
        trust_remote_code: run code that comes with the model; off by default.
        local_files_only, revision: of a hub id.
        name, measures, licence: for reports.

    Raises:
        ValueError: several labels and none chosen, an unknown label, one beside `extract`, a
            head that needs the other padding side, a bad template, `batch_size` or `max_length`
            below 1, weights that the files lack, or a tokenizer without a vocabulary or with more
            ids than the model has embeddings.
        TypeError: a model or pipeline of another task.
        OSError: no model found.
    """

    differentiable = True  # of an instance: whether the model reads embeddings

    @torch.inference_mode(False)  # its tensors become part of gradients
    def __init__(
        self,
        model: str | Path | torch.nn.Module,
        tokenizer: Any = None,
        *,
        label: str | int | None = None,
        template: TemplateSpec = "auto",
        system: bool = False,
        reference: str | None = None,
        extract: Callable[[Any, Tensor], Tensor] | None = None,
        max_length: int | None = None,
        padding_side: str | None = None,
        batch_size: int = 16,
        dtype: torch.dtype | str | None = None,
        device: str | torch.device | None = None,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        revision: str | None = None,
        name: str | None = None,
        measures: str | None = None,
        licence: str = "",
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length is a number of tokens from 1 on, got {max_length}")
        if extract is not None and label is not None:
            raise ValueError(f"extract gives the score itself, so label={label!r} is not read")
        loaded: Any = model
        if isinstance(model, str | Path):
            title = Path(model).name
            hub = {
                "trust_remote_code": trust_remote_code,
                "local_files_only": local_files_only,
                "revision": revision,
            }
            loaded, tokenizer = load_classifier(model, tokenizer, dtype, hub, whole=extract is None)
            dtype = None
        else:
            known = of_classifier(model, tokenizer) if extract is None else None
            if known is not None:
                loaded, tokenizer = known
            title = type(loaded).__name__
        if tokenizer is None:
            raise ValueError("a loaded model also needs tokenizer=... of that model")
        if dtype is not None:
            loaded = loaded.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
        if device is not None:
            loaded = loaded.to(device)
        differentiable_tensors(loaded)
        self.model: Any = loaded.eval().requires_grad_(False)
        self.tokenizer, self.extract, self.batch_size = tokenizer, extract, batch_size
        self.label = label_column(self.model.config, label) if extract is None else None
        if template == "auto":
            chat = bool(getattr(tokenizer, "chat_template", None))
            template = "chat" if chat else "pair" if self.label is None else "answer"
        self.template = Template(template, tokenizer, system=system, reference=reference)
        if getattr(self.model.config, "type_vocab_size", 2) in (0, 1):
            # Whatever its tokenizer says: it has one segment at most.
            self.template.second_from_answer = False
        self._last_token = extract is None and reads_last_token(self.model)
        self._masked = takes_mask(self.model)
        movable = self._last_token or extract is not None
        self.padding_side = padding_side or ("left" if extract is not None else "right")
        if self.padding_side not in ("left", "right"):
            raise ValueError(f"padding_side is 'left' or 'right', got {padding_side!r}")
        if self.padding_side == "left" and not movable:
            raise ValueError(
                f"{type(self.model).__name__} reads its first token, so padding_side='left' would "
                "put padding there; use 'right'"
            )
        self.max_length = max_length or length_limit(self.model, tokenizer)
        self._table = token_embeddings(self.model)
        words = word_ids(tokenizer, len(self._table), name or title)
        pad_id = tokenizer.pad_token_id
        # Padding is masked, so any id works.
        self._pad_id = pad_id if pad_id is not None and pad_id < len(self._table) else 0
        self.name = name or title
        self._rows = Rows()
        # The head's own forward at the last live token needs no trial.
        if not self._last_token:
            self._rows = rows_of(
                self._tried,
                self._table,
                words,
                self.template.bare,
                longest=self.max_length,
                pad_id=self._pad_id,
            )
        if type(self).differentiable and not self._rows.embeds:  # a kind that only reports has none
            self.differentiable = False
            logger.warning("%s steers as a black box: %s", self.name, self._rows.why_not)
        what = "its score"
        if self.label is not None:
            chosen = label_names(self.model.config)[self.label]
            what = chosen if self._regression else f"log-probability of {chosen}"
        self.measures = measures or f"{title}: {what}"
        unbounded = self.label is None or self._regression
        self.range = (-float("inf"), float("inf") if unbounded else 0.0)
        self.licence = licence

    @torch.no_grad()
    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """Scores of texts, B floats."""
        rows, starts = [], []
        for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            own = {name: values[i] for name, values in columns.items()}
            before, after = self.template.frame(prompt, **own)
            room = self.max_length - len(before) - len(after)
            if room < 1:
                raise ValueError(
                    f"prompt {i} takes {len(before) + len(after)} tokens of the {self.max_length} "
                    f"that {self.name!r} reads; shorten it"
                )
            rows.append([*before, *self.template.answer(last_text(completion))[:room], *after])
            starts.append(len(before))
        scores = [0.0] * len(rows)
        device = self._table.device
        for part, ids, mask in by_length(rows, self.batch_size, device, self._pad_id):
            begins = torch.tensor([starts[i] for i in part], device=device)
            found = self._scores(mask.bool(), begins, input_ids=ids)
            for i, value in zip(part, found.tolist(), strict=True):
                scores[i] = value
        return scores

    @property
    def _regression(self) -> bool:
        """Whether the labels' logits are scores of their own, no classes."""
        return bool(self.model.config.problem_type == "regression")

    def embedding_table(self) -> Tensor:
        """Token embeddings `(V, d)` with the model's scaling, detached."""
        return self._table

    def frame(self, prompt: Prompt, **columns: Any) -> tuple[list[int], list[int]]:
        """Token ids before and after the answer to one prompt; columns are that row's values."""
        return self.template.frame(prompt, **columns)

    def score_embeds(
        self,
        embeds: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        *,
        prompts: list[Prompt],
        **columns: list[Any],
    ) -> Tensor:
        """Scores `(B,)`, differentiable in `embeds (B, S, d)`; see `DifferentiableReward`.

        Raises:
            ValueError: more live tokens than `max_length`.
        """
        live = attention_mask.bool()
        check_length(live, self.max_length, repr(self.name))
        begins = torch.zeros(len(embeds), dtype=torch.long, device=embeds.device)
        if self.template.second_from_answer:
            frames = [self.template.frame(prompt) for prompt in prompts]
            begins = torch.tensor([len(before) for before, _ in frames], device=embeds.device)
        return self._scores(live, begins, inputs_embeds=embeds)

    def _tried(self, live: Tensor, **inputs: Tensor) -> Tensor:
        return self._scores(live, live.new_zeros(len(live), dtype=torch.long), **inputs)

    def _scores(self, live: Tensor, begins: Tensor, **inputs: Tensor) -> Tensor:
        """Scores `(B,)` of rows given as ids or embeddings; the answers start at `begins (B,)`."""
        if (part := random_part(self.model)) is not None:
            raise ValueError(
                f"{part} of the model of {self.name!r} is in training mode, which changes "
                "scores at random; call model.eval() before (and model.train() after, to go on "
                "training)"
            )
        one_by_one = self._rows.alone or self.model.config.pad_token_id is None
        if len(live) > 1 and not self._last_token and one_by_one:
            # Heads of decoders refuse a batch if the model has no padding token.
            each = [
                self._scores(
                    live[i : i + 1],
                    begins[i : i + 1],
                    **{k: v[i : i + 1] for k, v in inputs.items()},
                )
                for i in range(len(live))
            ]
            return torch.cat(each)
        mask, inputs = packed(live, inputs, left=self.padding_side == "left")
        position = (mask.cumsum(-1) - 1).clamp_min(0)
        if self.template.second_from_answer:
            inputs["token_type_ids"] = (position >= begins[:, None]).long() * mask
        if self.padding_side == "left" or self._last_token:
            inputs["position_ids"] = position
        if self._last_token:
            hidden = self.model.base_model(attention_mask=mask, **inputs).last_hidden_state
            at = mask.shape[1] - 1 - mask.flip(-1).argmax(-1)  # the last token with attention 1
            rows = torch.arange(len(hidden), device=hidden.device)
            logits = self.model.score(hidden[rows, at])
        else:
            if self._masked:
                inputs["attention_mask"] = mask
            outputs = self.model(**inputs)
            if self.extract is not None:
                return _wide(self.extract(outputs, mask))
            logits = outputs.logits
        logits = _wide(logits)
        if self.label is None:
            return logits[:, 0]
        if self._regression:
            return logits[:, self.label]
        if self.model.config.problem_type == "multi_label_classification":
            return torch.nn.functional.logsigmoid(logits[:, self.label])
        return logits.log_softmax(-1)[:, self.label]


def _wide(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
