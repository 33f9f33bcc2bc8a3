"""The answer-quality reward on a tiny random classifier: both sides agree, however it is padded."""

from __future__ import annotations

import itertools

import pytest
import torch
from aps_eval.word_knowledge import word_knowledge
from aps_rewards import describe, is_differentiable, load_reward
from aps_rewards.answer_quality import AnswerQuality, AnswerQualityReport
from tiny import word_tokenizer
from transformers import BertConfig, BertForSequenceClassification

from aps_text.text.reward_operator.bridge import bridge_between
from recipes.answer_quality.model import read_pairs

QUESTIONS = ["What is a violin?", "Why?", "What kind of animal is a dog?"]
ANSWERS = ["A violin is an instrument.", "", "The dog is one of the great red animals"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("quality"))


def tiny_folder(place, **changes):
    tokenizer = word_tokenizer()
    tokenizer.model_max_length = 40
    read_pairs(tokenizer)
    fields = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
              "intermediate_size": 48, "max_position_embeddings": 40, "num_labels": 1,
              "initializer_range": 0.4, **changes}  # fmt: skip
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **fields))
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def quality(folder):
    return AnswerQuality(folder)


def embedded(reward, left=0, middle=0, right=0):
    """Framed answers as embeddings, with junk that is not attended in three places."""
    junk, rows = 7, []
    for question, answer in zip(QUESTIONS, ANSWERS, strict=True):
        before, after = reward.frame(question)
        body = reward.tokenizer(answer, add_special_tokens=False)["input_ids"]
        ids = [junk] * left + before + body + [junk] * middle + after + [junk] * right
        live = [0] * left + [1] * len(before + body) + [0] * middle + [1] * len(after)
        rows.append((ids, live + [0] * right))
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([r + [junk] * (width - len(r)) for r, _ in rows])
    mask = torch.tensor([m + [0] * (width - len(m)) for _, m in rows])
    return reward.embedding_table()[ids], mask, (mask.cumsum(-1) - 1).clamp_min(0)


@pytest.mark.parametrize("pads", [(0, 0, 0), (3, 0, 0), (0, 5, 0), (0, 0, 4), (2, 3, 1)])
def test_text_and_embeddings_agree_under_any_padding(quality, pads):
    text = torch.tensor(quality(QUESTIONS, ANSWERS))
    found = quality.score_embeds(*embedded(quality, *pads), prompts=QUESTIONS)
    torch.testing.assert_close(found, text, atol=1e-4, rtol=0)
    assert text.std() > 1e-3  # the rows differ, so agreement says something


def test_scores_do_not_depend_on_the_batch(quality, folder):
    together = quality(QUESTIONS, ANSWERS)
    alone = [quality([q], [a])[0] for q, a in zip(QUESTIONS, ANSWERS, strict=True)]
    small = AnswerQuality(folder, batch_size=2)(QUESTIONS[::-1], ANSWERS[::-1])[::-1]
    assert alone == pytest.approx(together, abs=1e-4)
    assert small == pytest.approx(together, abs=1e-4)
    assert quality([], []) == []


def test_question_and_answer_both_matter_and_it_is_the_models_own_logit(quality):
    tokenizer, model = quality.tokenizer, quality.model
    ids = [tokenizer.cls_token_id]
    for text in (QUESTIONS[0], ANSWERS[0]):
        ids += [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.sep_token_id]
    pair = tokenizer(QUESTIONS[0], ANSWERS[0])
    assert pair["input_ids"] == ids
    assert not any(pair.get("token_type_ids", []))  # as trl's collator trained it
    with torch.no_grad():
        logit = float(model(input_ids=torch.tensor([ids])).logits)
    score = quality(QUESTIONS[:1], ANSWERS[:1])[0]
    assert score == pytest.approx(logit, abs=1e-5)
    assert score != pytest.approx(quality(QUESTIONS[2:], ANSWERS[:1])[0], abs=1e-3)
    assert score != pytest.approx(quality(QUESTIONS[:1], ANSWERS[2:])[0], abs=1e-3)


def test_the_gradient_is_that_of_finite_differences(folder):
    double = AnswerQuality(folder, dtype=torch.float64)
    embeds, mask, positions = embedded(double)
    embeds = embeds.clone().requires_grad_(True)
    score = double.score_embeds(embeds, mask, positions, prompts=QUESTIONS)
    (gradient,) = torch.autograd.grad(score.sum(), embeds)
    way = torch.randn(embeds.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-5
    sides = [
        double.score_embeds(embeds.detach() + s * way, mask, positions, prompts=QUESTIONS).sum()
        for s in (step, -step)
    ]
    slope = float((sides[0] - sides[1]) / (2 * step))
    assert slope == pytest.approx(float((gradient * way).sum()), rel=1e-5)
    assert gradient[mask == 0].abs().max() == 0  # dead positions are not read


def test_the_same_tokenizer_bridges_exactly(quality):
    other = word_tokenizer()
    bridge = bridge_between(other, quality.tokenizer, vocab_size=len(other))
    text = ~bridge.special
    assert bool(bridge.matched[text].all())
    assert torch.equal(bridge.map[text], torch.arange(len(other))[text])


def test_long_text_is_cut_and_long_embeddings_are_refused(quality):
    long = "dog " * 60
    assert quality(["Why?"], [long]) == pytest.approx(quality(["Why?"], [long + "cat"]))
    with pytest.raises(ValueError, match="prompt 0 takes 63 tokens of the 40"):
        quality(["dog " * 60], [long])
    embeds = torch.zeros(1, 41, 32)
    mask = torch.ones(1, 41, dtype=torch.long)
    with pytest.raises(ValueError, match=r"41 tokens .* exceed the 40 that 'answer-quality'"):
        quality.score_embeds(embeds, mask, mask.cumsum(-1) - 1, prompts=["Why?"])


def test_messages_score_like_their_text(quality):
    chat = [[{"role": "user", "content": QUESTIONS[0]}]]
    answer = [[{"role": "assistant", "content": ANSWERS[0]}]]
    assert quality(chat, answer) == quality(QUESTIONS[:1], ANSWERS[:1])


def test_the_second_opinion_scores_but_offers_no_gradient(folder):
    report = AnswerQualityReport(folder)
    assert report(QUESTIONS, ANSWERS) == AnswerQuality(folder)(QUESTIONS, ANSWERS)
    assert not is_differentiable(report)
    assert is_differentiable(AnswerQuality(folder))
    assert describe(AnswerQualityReport).name == "answer-quality-report"
    loaded = load_reward("aps_rewards.answer_quality:AnswerQuality", weights=folder)
    assert loaded(QUESTIONS, ANSWERS) == AnswerQuality(folder)(QUESTIONS, ANSWERS)


def test_loading_moves_no_seed_and_freezes(folder):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    reward = AnswerQuality(folder)
    assert torch.equal(torch.rand(3), expected)
    assert not reward.model.training
    assert not any(p.requires_grad for p in reward.model.parameters())


def test_errors_name_the_mend(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"recipes.answer_quality.train .* weights="):
        AnswerQuality(tmp_path)
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        AnswerQuality(folder, batch_size=0)
    with pytest.raises(ValueError, match="2 labels"):
        AnswerQuality(tiny_folder(tmp_path / "two", num_labels=2))


@pytest.mark.parametrize(
    ("name", "share"), [("answer-quality", 0.8), ("answer-quality-report", 0.6)]
)
def test_the_shipped_weights_tell_right_from_wrong_on_words_they_never_saw(name, share):
    """A bundled gold answer against that of another word, stratum C, same type of question."""
    items = [item for item in word_knowledge() if item.stratum == "C" and item.type != "choice"]
    pairs = [
        (one.question, one.gold[0], other.gold[0].replace(other.lemma, one.lemma))
        for one, other in itertools.pairwise(items)
        if one.type == other.type and one.lemma != other.lemma
    ]
    pairs = [(q, right, wrong) for q, right, wrong in pairs if right != wrong]
    assert len(pairs) >= 250
    questions, right, wrong = (list(column) for column in zip(*pairs, strict=True))
    reward = load_reward(name)
    won = [a > b for a, b in zip(reward(questions, right), reward(questions, wrong), strict=True)]
    assert sum(won) / len(won) >= share
