"""Tiny random models in the published layout, and their tokenizers, made on the spot."""

from __future__ import annotations

import torch

from aps_text.models.registry import wrap
from aps_text.models.text_model import TextModel

WORDS_TEXT = """what is a an the violin piano dog cat means kind of instrument animal string music
big small hot cold good bad happy sad no yes play run red blue tree house word sound make use one
two three four five six seven eight nine ten great love hate terrible ? . , who why how"""
WORDS = WORDS_TEXT.split()


def word_tokenizer():
    """A WordPiece fast tokenizer over WORDS and single letters, uncased."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = list(dict.fromkeys([*specials, *WORDS, *letters, *(f"##{c}" for c in letters)]))
    vocab = {piece: index for index, piece in enumerate(pieces)}
    core = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def tiny_bert(tokenizer, *, layers: int = 3, dtype=torch.float32, seed: int = 0):
    """A random BertForMaskedLM; a wide init, so that no two logits nearly tie."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.4,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertForMaskedLM(config).to(dtype).eval()


def tiny_text_model(**kwargs) -> TextModel:
    tokenizer = word_tokenizer()
    return wrap(tiny_bert(tokenizer, **kwargs), tokenizer)


def write_tiny(folder) -> str:
    """A tiny masked language model and its tokenizer, saved; the folder's name."""
    tokenizer = word_tokenizer()
    tiny_bert(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
