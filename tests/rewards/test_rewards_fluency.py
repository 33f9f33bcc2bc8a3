"""Fluency: the pseudo-likelihood against one written out token by token, and how it is gamed."""

from __future__ import annotations

import pytest
import torch
from aps_rewards.fluency import Fluency

QUESTION = "What is a violin?"
ANSWER = "A violin is a stringed instrument played with a bow."


@pytest.fixture(scope="module")
def fluency():
    return Fluency()


@torch.no_grad()
def by_hand(fluency, question: str, answer: str, groups: int) -> float:
    """Masks by ids, through the whole model, one group after the other."""
    tokenizer = fluency.tokenizer
    ids = tokenizer(question, answer)["input_ids"]
    start = len(tokenizer(question)["input_ids"])
    found = []
    for group in range(groups):
        hidden = torch.tensor([ids])
        places = list(range(start + group, len(ids), groups))
        if not places:
            continue
        hidden[0, places] = tokenizer.mask_token_id
        logits = fluency.model(input_ids=hidden, attention_mask=torch.ones_like(hidden)).logits
        found += [float(logits[0, i].log_softmax(-1)[ids[i]]) for i in places]
    assert len(found) == len(ids) - start
    return sum(found) / len(found)


@pytest.mark.parametrize("groups", [1, 3, 4, 100])
def test_it_is_the_mean_log_probability_of_hidden_tokens(groups, fluency):
    # token_type_ids differ in the plain call of a pair; the model was trained without them
    expected = by_hand(fluency, QUESTION, ANSWER, groups)
    found = Fluency(groups=groups)([QUESTION], [ANSWER])[0]
    assert found == pytest.approx(expected, abs=1e-4)


def test_soft_embeddings_give_the_expected_log_probability(fluency):
    """Between two words: linear in what is scored, with the context held."""
    before, after = fluency.frame(QUESTION)
    ids = fluency.tokenizer("a violin is an instrument", add_special_tokens=False)["input_ids"]
    words = fluency.tokenizer.convert_tokens_to_ids(["instrument", "animal"])
    table = fluency.embedding_table()
    rows = torch.tensor([[*before, *ids[:-1], word, *after] for word in words])
    mask = torch.ones_like(rows)
    place = mask.cumsum(-1) - 1
    hard = table[rows]
    soft = (0.3 * hard[0] + 0.7 * hard[1])[None]
    one = Fluency(groups=1)  # everything hidden at once: the context is the question alone
    each = one.score_embeds(hard, mask, place, prompts=[QUESTION] * 2)
    mixed = one.score_embeds(soft, mask[:1], place[:1], prompts=[QUESTION])
    assert float(mixed) == pytest.approx(float(0.3 * each[0] + 0.7 * each[1]), abs=1e-4)
    assert abs(float(each[0] - each[1])) > 0.01


def test_order(fluency):
    answers = [
        ANSWER,
        "A violin is a stringed",
        "instrument a of violin kind is",
        "",
    ]
    good, broken_off, salad, empty = fluency([QUESTION] * 4, answers)
    assert 0 > good > broken_off > salad > empty


def test_it_is_gamed_by_saying_what_the_model_expects(fluency):
    own = "A violin is an string that is the the highest rest of the violin and the violin."
    answers = ["A violin is a kind of violin.", own, ANSWER]
    tautology, nonsense, definition = fluency([QUESTION] * 3, answers)
    assert min(tautology, nonsense) > definition


def test_a_long_question_leaves_room_for_the_answer(fluency):
    long = "word " * 2000
    scores = fluency([long] * 2, ["a word is a word.", "violin of the"])
    assert scores[0] > scores[1]


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="groups and batch_size must be >= 1, got 0, 16"):
        Fluency(groups=0)
    with pytest.raises(ValueError, match=r"no text model at .*; give a folder"):
        Fluency(weights=tmp_path)
