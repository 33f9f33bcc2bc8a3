"""The quality figures: what counts as exact, the controls, and the report on a tiny model."""

import math

import pytest
import torch
from aps_eval.word_knowledge import Question, read_questions
from paths import ROOT
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from aps_text import APSPipeline
from recipes.word_knowledge.controls import majority, shuffled
from recipes.word_knowledge.phrases import key_of, normalise
from recipes.word_knowledge.quality import masked_nll, measure, report, score
from recipes.word_knowledge.scoring import is_exact

TUNE = read_questions(ROOT / "eval" / "aps_eval" / "data" / "word_knowledge_tune.jsonl")


@pytest.mark.parametrize(
    ("kind", "answer", "key"),
    [
        ("kind", "An owl is a kind of bird.", "bird"),
        ("kind", "An owl is a bird.", None),
        ("example", "One kind of bird is an owl.", "owl"),
        ("example", "One kind of what is is the owl.", "is the owl"),
        ("opposite", "The opposite of hot is cold.", "cold"),
        ("synonym", "Another word for big is large.", "large"),
        ("choice", "A self-made man is a kind of man.", "self made man"),
        ("yesno", "No, an owl is not a kind of fish.", "no"),
        ("yesno", "Nobody knows.", None),
        ("definition", "An owl is a bird.", None),
        ("kind", "", None),
    ],
)
def test_key_of(kind, answer, key):
    assert key_of(kind, answer) == key


def test_gold_is_exact_and_other_words_are_not():
    for item in TUNE:
        assert all(is_exact(item, gold) for gold in item.gold)
        assert is_exact(item, item.gold[0].upper().replace(".", " ."))
        assert not is_exact(item, "")
        assert not is_exact(item, "A thing.")


def test_gold_scores_full_marks_and_empty_answers_none():
    best = score(TUNE, [item.gold[0] for item in TUNE])
    assert best["exact"]["all"][:3] == [1.0, 1.0, 1.0]
    assert best["f1"]["all"][0] == 1.0
    worst = score(TUNE, [""] * len(TUNE))
    assert worst["exact"]["all"][0] == 0.0
    assert worst["empty"] == 1.0


def test_shuffled_gold_stays_in_its_stratum_and_leaves_its_question():
    answers = shuffled(TUNE)
    for stratum in "ABC":
        rows = [n for n, item in enumerate(TUNE) if item.stratum == stratum]
        assert sorted(answers[n] for n in rows) == sorted(TUNE[n].gold[0] for n in rows)
    moved = sum(a != item.gold[0] for a, item in zip(answers, TUNE, strict=True))
    assert moved > 0.95 * len(TUNE)


def test_majority_puts_the_commonest_key_into_the_sentence():
    pairs = [
        ("kind", "?", f"A {x} is a kind of {h}.")
        for x, h in zip("abc", ["cat", "dog", "dog"], strict=True)
    ]
    pairs += [("yesno", "?", "Yes, a b is a kind of c.")]
    kind = Question(
        "k", "A", "kind", "What is an owl?", ["An owl is a kind of bird."], ["bird"], "owl"
    )
    pick = Question("c", "A", "choice", "Which is a kind of bird, an owl or a fox?",
                ["An owl is a kind of bird."], ["owl"], "owl")  # fmt: skip
    assert majority([kind], pairs) == ["an owl is a kind of dog"]
    assert is_exact(pick, majority([pick], pairs)[0])
    fox_first = "What is a kind of bird, a fox or an owl?"
    pick = Question("c", "A", "choice", fox_first, pick.gold, pick.key, "owl")
    assert not is_exact(pick, majority([pick], pairs)[0])


@pytest.fixture(scope="module")
def pipe():
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    words = {w for i in TUNE for t in (i.question, *i.gold) for w in normalise(t).split()}
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", ",", *sorted(words)]
    core = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, **{f"{k}_token": v for k, v in names.items()}
    )
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(pieces), hidden_size=16, num_hidden_layers=2,
                        num_attention_heads=2, intermediate_size=32,
                        max_position_embeddings=128)  # fmt: skip
    return APSPipeline(BertForMaskedLM(config), tokenizer)


def test_untrained_model_has_chance_likelihood(pipe):
    found = masked_nll(pipe, TUNE[:40], 0.5)
    chance = math.log(pipe.model.parts.vocab_size)
    assert found["all"][0] == pytest.approx(chance, rel=0.05)
    assert found["all"][1] <= found["all"][0] <= found["all"][2]


def test_report_clips_steps_and_says_so(pipe):
    items = TUNE[:6]
    runs = measure(pipe, items, [2, 32], [0.0])
    assert runs["T=2 temperature=0"]["steps_used"] == 2
    assert runs["T=32 temperature=0"]["steps_used"] == 24
    results = {
        "masked_nll": {"50%": masked_nll(pipe, items, 0.5)},
        "runs": runs,
        "controls": {"gold shuffled": score(items, shuffled(items))},
    }
    text = report(results)
    assert "| T=32 temperature=0 | 24 |" in text
    assert f"all (n={len(items)})" in text
