"""Fluency: the pseudo-likelihood of the answer under the embedded text model. Differentiable.

    r = 1/(L+1) sum_{i=0..L} log p(a_i | question, answer with every G-th token from i mod G masked)

a_0 .. a_{L-1} are the answer's tokens and a_L the stop token, so that an unfinished answer scores
low. It takes G passes per answer (rows of one batch) instead of L+1: with G = 4 a quarter of the
answer is masked at a time. Salazar et al. 2020 mask one token at a time (`groups` >= L+1).

The output layer shares the word embeddings e_k: logit_k = h . e_k + b_k. With b_k as a further
column of the embedding table, a distribution over tokens has E[logit] = h . E[e] + E[b], so on soft
embeddings r is the EXPECTED log-probability, and on hard ones exactly the text's.

Only the weights are read from the package `aps_text`; none of its code is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .links import check_links
from .padding import by_length, check_length
from .paths import package_folder, typed_path
from .protocol import Prompt, last_text
from .tokenizing import token_ids

__all__ = ["Fluency", "mini_folder"]


def mini_folder() -> Path:
    """Folder of the embedded text model's weights.

    Raises:
        ModuleNotFoundError: aps_text is not installed.
    """
    mend = (
        "the fluency reward needs the embedded text model: install aps-text, or give "
        "weights=<folder of a BertForMaskedLM>"
    )
    return package_folder("aps_text", mend) / "weights" / "mini_text"


class Fluency:
    """Log-likelihood per token of the answer under the embedded text model, in nats, <= 0.

    Sentences like its training data score -2 to 0, random words about -10.

    How to game it: say what the model expects, true or not; "A violin is a violin." scores above
    any definition. It is the same model that answers as "mini": steering "mini" by it sharpens the
    model and is no evidence of better answers; `aps_eval.judge` measures fluency by a model that
    never guides.

    Args:
        groups: passes per answer; every `groups`-th token is masked at a time.
        weights: folder of a BERT masked language model trained on `[CLS] question [SEP] answer
            [SEP]`; default: the embedded one.
        device: of the model; default: CPU.
        dtype: of its weights.
        batch_size: answers per forward on the text side (`groups` rows each).

    Raises:
        ModuleNotFoundError: no weights are installed and none were given.
        ValueError: `groups` or `batch_size` below 1, or a folder without a model.
    """

    name = "fluency"
    measures = "log-likelihood per token under the embedded text model"
    range = (float("-inf"), 0.0)
    differentiable = True
    licence = "Apache-2.0 (mini_text; trained on WordNet and on sentences of SmolLM2)"

    @torch.inference_mode(False)  # its tensors become part of gradients
    def __init__(
        self,
        groups: int = 4,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        batch_size: int = 16,
    ) -> None:
        if groups < 1 or batch_size < 1:
            raise ValueError(f"groups and batch_size must be >= 1, got {groups}, {batch_size}")
        self.groups, self.batch_size = groups, batch_size
        folder = mini_folder() if weights is None else typed_path(weights)
        check_links(folder)
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"no text model at {folder}; give a folder with config.json, tokenizer.json and "
                "model.safetensors"
            )
        from transformers import AutoTokenizer, BertForMaskedLM

        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        with torch.random.fork_rng(devices=[]):
            model = BertForMaskedLM.from_pretrained(folder, local_files_only=True, dtype=dtype)
        self.model = model.to(device or "cpu").eval().requires_grad_(False)
        self.max_tokens = int(model.config.max_position_embeddings)
        words, bias = model.get_input_embeddings().weight, model.get_output_embeddings().bias
        self._table = torch.cat([words, bias[:, None]], 1).detach()

    @torch.no_grad()
    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """Mean log-probabilities, B floats <= 0. Text past the model's 512 tokens is not read."""
        rows = []
        for prompt, completion in zip(prompts, completions, strict=True):
            before, after = self.frame(prompt)
            room = self.max_tokens - len(before) - len(after)
            rows.append([*before, *self._ids(last_text(completion), room), *after])
        scores = [0.0] * len(rows)
        for chunk, ids, mask in by_length(rows, self.batch_size, self._table.device):
            positions = (mask.cumsum(-1) - 1).clamp_min(0)
            found = self.score_embeds(
                self._table[ids], mask, positions, prompts=[prompts[i] for i in chunk]
            )
            for i, score in zip(chunk, found.tolist(), strict=True):
                scores[i] = score
        return scores

    def embedding_table(self) -> Tensor:
        """`(V, 384 + 1)`: word embeddings and, last, each token's bias in the output layer."""
        return self._table

    def frame(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """`[CLS] question [SEP]` and the `[SEP]` that ends an answer."""
        question = self._ids(last_text(prompt), self.max_tokens // 2)
        end = self.tokenizer.sep_token_id
        return [self.tokenizer.cls_token_id, *question, end], [end]

    def score_embeds(
        self,
        embeds: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        *,
        prompts: list[Prompt],
        **columns: list[Any],
    ) -> Tensor:
        """Expected log-probabilities per token `(B,)`, differentiable in `embeds (B, S, 385)`.

        Raises:
            ValueError: more live tokens than the model has positions.
        """
        check_length(attention_mask, self.max_tokens, "the fluency model")
        starts = [len(self.frame(prompt)[0]) for prompt in prompts]
        place = position_ids - torch.tensor(starts, device=position_ids.device)[:, None]
        scored = (place >= 0) & attention_mask.bool()  # (B, S): the answer and its stop token
        group = place.remainder(self.groups)
        words, bias = embeds[..., :-1], embeds[..., -1]
        hidden_word = self._table[self.tokenizer.mask_token_id, :-1]
        masked = torch.cat(
            [
                torch.where((scored & (group == g))[..., None], hidden_word, words)
                for g in range(self.groups)
            ]
        )
        states = self.model.bert(
            inputs_embeds=masked,
            attention_mask=attention_mask.repeat(self.groups, 1),
            position_ids=position_ids.repeat(self.groups, 1),
        ).last_hidden_state
        row, column = scored.nonzero(as_tuple=True)
        # Each token is predicted in the pass in which it is masked.
        states = states[group[row, column] * len(embeds) + row, column]
        states = self.model.cls.predictions.transform(states)
        table = self._table
        normaliser = (states @ table[:, :-1].T + table[:, -1]).float().logsumexp(-1)
        own = (states * words[row, column]).sum(-1) + bias[row, column]
        log_prob = own.float() - normaliser
        total = log_prob.new_zeros(len(embeds)).index_add(0, row, log_prob)
        return total / scored.sum(1).clamp_min(1)

    def _ids(self, text: str, room: int) -> list[int]:
        ids: list[int] = token_ids(
            self.tokenizer,
            text,
            add_special_tokens=False,
            split_special_tokens=True,
            verbose=False,
        )
        return ids[: max(0, room)]
