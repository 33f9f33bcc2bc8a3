"""A tiny training run: it learns, and a resumed run repeats an uninterrupted one bit for bit."""

import json

import pytest
import torch
from aps_eval.word_knowledge import Question
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from recipes.word_knowledge.articles import Articles
from recipes.word_knowledge.decoding import decode
from recipes.word_knowledge.scoring import exact_match
from recipes.word_knowledge.text_model import batches, train, unused_pieces
from recipes.word_knowledge.trainer import IDS, Recipe, Trainer
from recipes.word_knowledge.wordnet import WordNet
from recipes.word_knowledge.wordnet_facts import Fact
from recipes.word_knowledge.wordnet_qa import KnowledgeData

PAIRS = [("hot", "cold"), ("big", "small"), ("up", "down"), ("wet", "dry"), ("old", "new")]


@pytest.fixture
def data():
    facts = [Fact("opposite", x, {"x": x, "ax": x, "y": y}, [y], 3.0) for x, y in PAIRS]
    gold = ["The opposite of hot is cold."]
    item = Question("t-0", "A", "opposite", "What is the opposite of hot?", gold, ["cold"], "hot")
    return KnowledgeData(facts, {}, {}, Articles(WordNet({}, {})), {"tune": [item]})


@pytest.fixture
def tokenizer(data):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    words = {w for n in range(9) for q, a in data.epoch(n) for w in (q + a).lower().split()}
    words = {w.strip("?.:,") for w in words} | {"?", ".", "the", "tell"}
    words |= {w for pair in PAIRS for w in pair}
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words - {""})]
    core = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    core.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def trainer(tokenizer, frozen=None, **changes):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, initializer_range=0.15,
    )  # fmt: skip
    fields = {"steps": 20, "learning_rate": 3e-3, "batch_tokens": 128, "pool_rows": 16,
              "canvas": 10, "workers": 1, "warmup": 0.1, **changes}  # fmt: skip
    return Trainer(BertForMaskedLM(config).train(), Recipe(**fields), frozen)


def test_resumed_run_is_bit_identical(data, tokenizer, tmp_path):
    whole = trainer(tokenizer)
    (tmp_path / "whole").mkdir()
    train(whole, data, tokenizer, tmp_path / "whole")
    half = trainer(tokenizer)
    (tmp_path / "cut").mkdir()
    train(half, data, tokenizer, tmp_path / "cut", stop_after=7)
    again = trainer(tokenizer)
    again.load(tmp_path / "cut" / "checkpoint.pt")
    assert again.step == 7
    train(again, data, tokenizer, tmp_path / "cut")
    assert again.step == whole.step == 20
    for name in ("parameters", "ema"):
        for p, q in zip(getattr(whole, name), getattr(again, name), strict=True):
            assert torch.equal(p, q)


def test_export_holds_the_average_once(data, tokenizer, tmp_path):
    run = trainer(tokenizer)
    train(run, data, tokenizer, tmp_path, stop_after=4)
    folder = tmp_path / "export"
    facts = json.loads((folder / "aps.json").read_text())
    assert (facts["mask_id"], facts["stop_id"], facts["fill_id"]) == (IDS.mask, IDS.stop, IDS.pad)
    loaded = BertForMaskedLM.from_pretrained(folder, dtype=torch.bfloat16)
    for p, mean in zip(loaded.parameters(), run.ema, strict=True):
        assert torch.equal(p, mean.to(torch.bfloat16))
    table = loaded.get_input_embeddings().weight
    assert table.data_ptr() == loaded.get_output_embeddings().weight.data_ptr()
    weights = sum(p.numel() for p in loaded.parameters())
    assert (folder / "model.safetensors").stat().st_size < 2 * weights + 20_000


def test_workers_give_the_same_gradient(data, tokenizer):
    one, two = trainer(tokenizer, workers=1), trainer(tokenizer, workers=2)
    batch = next(batches(data, tokenizer, one.recipe, 0, 0))
    losses = [t._gradients(batch) for t in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
    a, b = (torch.cat([p.grad.flatten() for p in t.parameters]) for t in (one, two))
    assert torch.cosine_similarity(a, b, dim=0) > 0.999


@pytest.mark.slow
def test_it_learns_the_facts(data, tokenizer, tmp_path):
    run = trainer(tokenizer, steps=300, learning_rate=5e-3, batch_tokens=512, ema=0.98)
    train(run, data, tokenizer, tmp_path)
    run.swap_ema()
    answers = decode(
        run.model.eval(), tokenizer, ["What is the opposite of hot?"], canvas_length=10, steps=6
    )
    assert exact_match(data.items["tune"], answers) == {"A opposite": 1.0}


def test_pieces_no_text_uses_keep_their_rows(data, tokenizer):
    frozen = torch.zeros(len(tokenizer), dtype=torch.bool)
    frozen[-3:] = True
    run = trainer(tokenizer, workers=2, frozen=frozen)
    table = run.model.get_input_embeddings().weight
    before = table.detach().clone()
    for batch in batches(data, tokenizer, run.recipe, 0, 0):
        run.update(batch)
    assert torch.equal(table[-3:], before[-3:])
    assert not torch.equal(table[:-3], before[:-3])
    bias = run.model.cls.predictions.bias
    assert (bias[-3:] == bias[:-3].median()).all()
    assert torch.equal(run.ema[0][-3:], before[-3:])


def test_unused_pieces_are_those_no_text_uses(data, tokenizer):
    tokenizer.add_tokens(["zeppelin"])
    unused = unused_pieces(data, tokenizer)
    assert bool(unused[tokenizer.convert_tokens_to_ids("zeppelin")])
    assert not bool(unused[tokenizer.convert_tokens_to_ids("cold")])
    assert not unused[[IDS.pad, IDS.mask, IDS.stop]].any()
