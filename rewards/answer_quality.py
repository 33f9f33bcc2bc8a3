"""Answer quality: a cross-encoder's log-odds that this answer is the better one. Differentiable.

    r = head(encoder([CLS] question [SEP] answer [SEP])),   P(a better than b) = sigmoid(r_a - r_b)

The Bradley-Terry model of TRL's `RewardTrainer`, trained here on answers to word-knowledge
questions (`aps_text/training/answer_quality.py`; each folder of weights has its card). All token
types are 0. Two models: `answer-quality` guides; `answer-quality-report`, from other data, other
faults and another encoder, only reports, so that a rise it sees was not learnt by the guide.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .protocol import Prompt, last_text

__all__ = ["AnswerQuality", "AnswerQualityReport"]


class AnswerQuality:
    """Log-odds that the answer is better than another to the same question.

    0 is the middle of good and bad training answers. Scores of different questions do not compare.

    How to game it: see the card in `rewards/weights/answer_quality`. It was trained on one-sentence
    answers about common words; any other text it has never seen, and what it says of it means
    little. It knows the facts it was shown, not facts.

    Args:
        weights: folder of a sequence classifier (BERT layout, one label) with its fast tokenizer;
            default: the one shipped.
        device: where the model lives; default: CPU.
        dtype: of its weights. Scores are returned in float32 or wider.
        batch_size: texts per forward on the text side.

    Raises:
        FileNotFoundError: no weights in the folder.
        ValueError: `batch_size` below 1, not one label, or no fast tokenizer.
    """

    name = "answer-quality"
    measures = "log-odds that an answer to a word-knowledge question is the better one"
    range = (float("-inf"), float("inf"))
    differentiable = True
    licence = "Apache-2.0 (from MiniLM; trained on WordNet 3.1)"
    _shipped = "answer_quality"

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        batch_size: int = 32,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        self.batch_size = batch_size
        shipped = Path(str(files("rewards"))) / "weights" / self._shipped
        folder = shipped if weights is None else Path(weights)
        self.tokenizer, self.model = _load(folder, torch.device(device or "cpu"), dtype)
        self.max_tokens = int(self.model.config.max_position_embeddings)
        self._table = self.model.get_input_embeddings().weight.detach()

    @torch.no_grad()
    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B log-odds. Text past the model's positions is not read, the answer's end first."""
        answers = [last_text(c) for c in completions]
        bodies = self.tokenizer(answers, add_special_tokens=False)["input_ids"] if answers else []
        rows = []
        for prompt, body in zip(prompts, bodies, strict=True):
            before, after = self.frame(prompt)
            rows.append([*before, *body[: self.max_tokens - len(before) - len(after)], *after])
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        scores = [0.0] * len(rows)
        for start in range(0, len(order), self.batch_size):
            chunk = order[start : start + self.batch_size]
            width = len(rows[chunk[-1]])
            pad = self.tokenizer.pad_token_id
            padded = [rows[i] + [pad] * (width - len(rows[i])) for i in chunk]
            live = [[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in chunk]
            ids = torch.tensor(padded, device=self._table.device)
            mask = torch.tensor(live, device=self._table.device)
            found = self._logits(mask, (mask.cumsum(-1) - 1).clamp_min(0), input_ids=ids)
            for i, score in zip(chunk, found.tolist(), strict=True):
                scores[i] = score
        return scores

    def embedding_table(self) -> Tensor:
        """Word embeddings `(V, d)`, detached."""
        return self._table

    def frame(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """`[CLS] question [SEP]` and `[SEP]`; a question keeps at most half of the positions."""
        tokenizer = self.tokenizer
        question = tokenizer(last_text(prompt), add_special_tokens=False)["input_ids"]
        question = question[: self.max_tokens // 2 - 2]
        sep = tokenizer.sep_token_id
        return [tokenizer.cls_token_id, *question, sep], [sep]

    def score_embeds(
        self,
        embeds: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        *,
        prompts: list[Prompt],
        **columns: list[Any],
    ) -> Tensor:
        """Log-odds `(B,)`, differentiable in `embeds (B, S, d)`; see `DifferentiableReward`.

        Raises:
            ValueError: more live tokens than the model has positions.
        """
        if embeds.shape[1] > self.max_tokens and int(position_ids.max()) >= self.max_tokens:
            raise ValueError(
                f"a question and answer of {int(position_ids.max()) + 1} tokens exceed the "
                f"{self.max_tokens} of {self.name}; shorten max_new_tokens or the question"
            )
        return self._logits(attention_mask, position_ids, inputs_embeds=embeds)

    def _logits(self, mask: Tensor, positions: Tensor, **inputs: Tensor) -> Tensor:
        """Scores `(B,)`; `[CLS]` is the first live token, which padding may precede."""
        model = self.model
        hidden = model.bert(attention_mask=mask, position_ids=positions, **inputs)[0]
        first = hidden[torch.arange(len(mask), device=mask.device), mask.argmax(1)]
        logits = model.classifier(model.bert.pooler(first[:, None]))[:, 0]
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


class AnswerQualityReport(AnswerQuality):
    """A second opinion on answer quality, for reports: other data, faults and encoder.

    It takes `AnswerQuality`'s options. It offers no gradient, so that nothing is guided by it
    unawares; keep it out of guiding altogether, or it measures nothing.
    """

    name = "answer-quality-report"
    measures = "a second, independent log-odds that an answer is the better one; reports only"
    differentiable = False
    licence = "Apache-2.0 (trained on WordNet 3.1)"
    _shipped = "answer_quality_report"


def _load(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and frozen classifier of a folder."""
    from transformers import AutoTokenizer, BertForSequenceClassification

    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"no weights at {folder / 'model.safetensors'}; make them with `python -m "
            "aps_text.training.answer_quality --work DIR --wordnet DICT` or give weights=FOLDER"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not tokenizer.is_fast:
        raise ValueError(f"{folder} holds no fast tokenizer (tokenizer.json)")
    with torch.random.fork_rng(devices=[]):
        model = BertForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype
        )
    if model.config.num_labels != 1:
        raise ValueError(f"{folder} has {model.config.num_labels} labels; a reward model has one")
    return tokenizer, model.to(device).eval().requires_grad_(False)
