"""The vocabulary bridge on tokenizers of every make, trained here on a few sentences."""

from __future__ import annotations

import gc
import itertools

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from aps_text.text.reward_operator.bridge import VocabularyBridge, bridge_between
from aps_text.text.reward_operator.token_forms import TokenForms

CORPUS = [
    "A violin is a stringed instrument, played with a bow.",
    "Violin players in Berlin begin within the inn; the violin sings in the evening.",
    'A lion is a large cat: "the lion sings", said the cat. Isn\'t it so?',
    "The café is large (and Zoë plays the violin in it).\nA new line: begin again!",
] * 4
TEXTS = [
    "the violin is a large instrument",
    "a lion, a cat; a violin.",
    "A cat in Berlin plays the violin",
]


def wrapped(tokenizer: Tokenizer, **special) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def byte_bpe(size: int = 420, mask: bool = True) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<|end|>", "<|pad|>", "<|mask|>"]
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=names,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return wrapped(tokenizer, eos_token=names[0], pad_token=names[1], mask_token=names[2])


def wordpiece(lowercase: bool, size: int = 300) -> PreTrainedTokenizerFast:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.WordPieceTrainer(vocab_size=size, special_tokens=names, show_progress=False),
    )
    return wrapped(
        tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def unigram(size: int = 120) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=size, special_tokens=["<pad>", "<unk>"], unk_token="<unk>"
        ),
    )
    return wrapped(tokenizer, pad_token="<pad>", unk_token="<unk>")


MAKES = {
    "byte_bpe": byte_bpe,
    "cased": lambda: wordpiece(False),
    "uncased": lambda: wordpiece(True),
    "unigram": unigram,
}


@pytest.fixture(scope="module")
def tokenizers():
    return {name: make() for name, make in MAKES.items()}


def bridge(source, target, **options):
    return VocabularyBridge(source, target, vocab_size=len(source), **options)


def spoken(tokenizer, token: int) -> str:
    """Text of one token in running text, spelled by the tokenizer's own decoder."""
    before = tokenizer("a", add_special_tokens=False)["input_ids"]
    return tokenizer.decode([*before, token], clean_up_tokenization_spaces=False)[1:]


@pytest.mark.parametrize(("one", "two"), itertools.product(MAKES, MAKES))
def test_matched_tokens_say_the_same(tokenizers, one, two):
    """Through the decoders, which the bridge does not use: text equal up to case and accents,
    and a token with a leading space never lands on one without."""
    source, target = tokenizers[one], tokenizers[two]
    found = bridge(source, target)
    fold = normalizers.BertNormalizer(lowercase=True).normalize_str
    assert found.matched.sum() > 20
    for k in found.matched.nonzero().flatten().tolist():
        said, heard = spoken(source, k), spoken(target, int(found.map[k]))
        if two == "uncased":
            said = fold(said)
        assert said.strip(" ") == heard.strip(" ")
        if said.startswith(" ") and said.strip(" ").isalpha():
            assert heard.startswith(" ")


@pytest.mark.parametrize("name", MAKES)
def test_the_same_tokenizer_maps_to_itself(tokenizers, name):
    found = bridge(tokenizers[name], tokenizers[name])
    special = set(tokenizers[name].all_special_ids)
    for k, to in enumerate(found.map.tolist()):
        assert to == (-1 if k in special else k)
    assert found.matched_share == 1


@pytest.mark.parametrize(("one", "two"), itertools.product(MAKES, MAKES))
def test_running_text_lands_on_the_same_words(tokenizers, one, two):
    """A sentence cut by the source and mapped reads the same in the target."""
    source, target = tokenizers[one], tokenizers[two]
    found, whole = bridge(source, target), 0
    for text in TEXTS:
        ids = found.map[source(" " + text, add_special_tokens=False)["input_ids"]]
        heard = target.decode(ids[ids >= 0])
        same = text.lower() if two == "uncased" or one == "uncased" else text
        if (ids >= 0).all():
            whole += 1
            assert heard.replace(" ", "") == same.replace(" ", "")
    if "unigram" not in (one, two):  # its bare `▁` has no counterpart
        assert whole >= 2


def test_roles_word_initial_against_continuation():
    """`Ġviolin` and `▁violin` are WordPiece `violin`; `in` inside a word is `##in`."""
    vocab = ["violin", "##in", "in", "##violin", "x", "##,", ",", "[UNK]"]
    piece = Tokenizer(models.WordPiece({v: i for i, v in enumerate(vocab)}, unk_token="[UNK]"))
    piece.normalizer = normalizers.BertNormalizer(lowercase=True)
    piece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    target = wrapped(piece, unk_token="[UNK]")
    names = ["Ġviolin", "ĠViolin", "violin", "in", "Ġin", ",", "Ġ,", "x", "Ġ", "Ċ", "Ã", "Ġq"]
    bpe = Tokenizer(models.BPE({v: i for i, v in enumerate(names)}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    found = bridge(wrapped(bpe), target)
    got = {n: vocab[i] if i >= 0 else None for n, i in zip(names, found.map.tolist(), strict=True)}
    assert got == {
        "Ġviolin": "violin",
        "ĠViolin": "violin",
        "violin": "##violin",
        "in": "##in",
        "Ġin": "in",
        ",": ",",  # WordPiece splits punctuation off: the continuation form never occurs
        "Ġ,": ",",
        "x": "x",  # no `##x`: an unmarked piece also opens a text
        "Ġ": None,
        "Ċ": None,
        "Ã": None,  # half a character
        "Ġq": None,
    }
    back = bridge(target, wrapped(bpe))
    there = {v: names[i] if i >= 0 else None for v, i in zip(vocab, back.map.tolist(), strict=True)}
    assert there["violin"] == "Ġviolin"
    assert there["##in"] == "in"
    assert there["##violin"] == "violin"
    assert there["x"] is None  # never glued to the word before
    assert there["[UNK]"] is None


def test_byte_fallback_pieces():
    """`<0x0A>` is a line feed, not six characters."""
    pieces = [("<unk>", 0.0), ("<0x0A>", -1.0), ("▁a", -1.0), ("a", -2.0)]
    model = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    model.pre_tokenizer = pre_tokenizers.Metaspace()
    source = wrapped(model, unk_token="<unk>")
    target = byte_bpe()
    found = bridge(source, target)
    assert target.convert_ids_to_tokens(int(found.map[1])) == "Ċ"
    assert target.convert_ids_to_tokens(int(found.map[3])) == "a"


def test_special_and_untrained_ids_are_unmatched_by_design(tokenizers):
    source = tokenizers["byte_bpe"]
    width = len(source) + 7
    cat = source("the cat", add_special_tokens=False)["input_ids"][-1]
    found = VocabularyBridge(source, tokenizers["uncased"], vocab_size=width, exclude=[cat])
    for k in [*source.all_special_ids, cat, *range(len(source), width)]:
        assert found.special[k]
        assert found.map[k] == -1
    # A vocabulary cut short is fine too.
    assert VocabularyBridge(source, tokenizers["uncased"], vocab_size=300).map.shape == (300,)


def test_mass(tokenizers):
    found = bridge(tokenizers["byte_bpe"], tokenizers["uncased"])
    probs = torch.rand(5, len(found.map), generator=torch.Generator().manual_seed(0))
    probs = probs / probs.sum(-1, keepdim=True)
    expected = probs[:, found.map >= 0].sum(-1)
    torch.testing.assert_close(found.mass(probs), expected)
    assert (found.mass(probs) <= found.text_mass(probs) + 1e-6).all()
    torch.testing.assert_close(found.text_mass(probs), 1 - probs[:, found.special].sum(-1))


def test_policies_in_the_codebook(tokenizers):
    source, target = tokenizers["byte_bpe"], tokenizers["uncased"]
    table = torch.randn(len(target), 6, generator=torch.Generator().manual_seed(1))
    restrict = bridge(source, target)
    k = int(restrict.matched.nonzero()[3])
    lost = int((~restrict.matched & ~restrict.special).nonzero()[0])
    probs = torch.zeros(1, len(source))
    probs[0, k], probs[0, lost] = 0.25, 0.75
    code = table[restrict.map[k]]
    expected = {"restrict": code, "zero": 0.25 * code}
    expected["unk"] = 0.25 * code + 0.75 * table[target.unk_token_id]
    for policy, value in expected.items():
        book = bridge(source, target, policy=policy).codebook(table)
        torch.testing.assert_close(book.expect(probs)[0], value)
        torch.testing.assert_close(book.embed(torch.tensor([k]))[0], code)
    assert int(restrict.codebook(table).nearest(code[None])) in (
        (restrict.map == restrict.map[k]).nonzero().flatten().tolist()
    )


def test_the_error_policy_and_other_refusals(tokenizers, caplog):
    caplog.set_level("INFO")
    source, target = tokenizers["byte_bpe"], tokenizers["uncased"]
    with pytest.raises(ValueError, match=r"\d+ generator tokens .*choose 'restrict'"):
        bridge(source, target, policy="error")
    assert bridge(target, target, policy="error").matched_share == 1
    assert "100.0% of the generator's text tokens matched, policy error" in caplog.text
    with pytest.raises(ValueError, match="unknown policy 'rloo!'; choose error"):
        bridge(source, target, policy="rloo!")
    with pytest.raises(ValueError, match="vocab_size must be >= 1, got 0"):
        VocabularyBridge(source, target, vocab_size=0)
    with pytest.raises(ValueError, match="no unknown token"):
        bridge(target, source, policy="unk")
    with pytest.raises(ValueError, match="str is not a fast tokenizer"):
        VocabularyBridge("gpt2", target, vocab_size=4)
    with pytest.raises(ValueError, match="has 3 rows"):
        bridge(source, target).codebook(torch.zeros(3, 2))
    strange = Tokenizer(models.WordPiece({"ж": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(ValueError, match=r"share no piece .*rloo"):
        bridge(source, wrapped(strange, unk_token="[UNK]"))


def test_built_once_per_pair_and_forgotten_with_it(tokenizers):
    source, target = byte_bpe(300), tokenizers["uncased"]
    first = bridge_between(source, target, vocab_size=300)
    assert bridge_between(source, target, vocab_size=300) is first
    assert bridge_between(source, target, vocab_size=300, policy="zero") is not first
    assert bridge_between(source, target, vocab_size=300, exclude=(5,)) is not first
    table = torch.randn(len(target), 2)
    assert first.codebook(table) is first.codebook(table)
    changed = first.codebook(table)
    table += 1
    assert first.codebook(table) is not changed
    from aps_text.text.reward_operator.bridge import _BRIDGES

    before = len(_BRIDGES)
    del source
    gc.collect()
    assert len(_BRIDGES) < before


def test_a_real_pruned_wordpiece_maps_whole():
    """The embedded model's vocabulary is a subset of MiniLM's, so every text token is carried."""
    from aps_rewards.relevance import minilm_folder
    from transformers import AutoTokenizer

    from recipes.word_knowledge.pruned_tokenizer import prune_tokenizer, pruned_ids

    full = AutoTokenizer.from_pretrained(minilm_folder())
    used = full("a violin is a stringed instrument")["input_ids"]
    kept = pruned_ids(full.get_vocab(), used, 3000)
    small = prune_tokenizer(full, kept, 64)
    found = bridge(small, full, policy="error")
    text = [k for k in range(len(kept)) if not found.special[k]]
    assert found.map[text].tolist() == [kept[k] for k in text]
    assert len(text) == len(kept) - 5


def test_pieces_of_bytes_are_read_as_a_byte_level_tokenizer_writes_them():
    forms = TokenForms(byte_bpe(300))
    write = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for code in [*range(33, 0x600), *range(0x2000, 0x2100), 0x4E00, 0x1F3BB]:
        text = chr(code)
        (piece, _), *more = write.pre_tokenize_str(f"a{text}")
        assert not more
        assert forms.form(piece) == (f"a{text}", False)
        ((piece, _),) = write.pre_tokenize_str(f" a{text}")
        assert forms.form(piece) == (f"a{text}", True)
    (piece, _), *_ = write.pre_tokenize_str("é")
    assert [forms.form(part) for part in piece] == [None, None]  # halves of a character
