"""The methods by name on tiny random weights, through the pipeline and the command line."""

from __future__ import annotations

import pytest
from tiny import tiny_text_model

from aps_text import APSConfig, APSPipeline
from aps_text.methods.best_of_n import BestOf
from aps_text.methods.fk_steering import FKSteering
from aps_text.methods.registry import PEERS
from aps_text.pipelines.text import METHODS

QUESTIONS = ["what is a violin ?", "who is the big dog ?", "why ?"]
SMALL = {"steps": 3, "max_new_tokens": 5, "inner_steps": 2, "num_samples": 2}


def many_vowels(prompts, completions, **columns):
    """A black box."""
    return [sum(letter in "aeiou" for letter in text) / 8 for text in completions]


@pytest.fixture(scope="module")
def pipe():
    import torch

    return APSPipeline(tiny_text_model(dtype=torch.float64))


@pytest.mark.parametrize("name", [name for name in PEERS if name != "twisted-smc"])
def test_every_peer_answers_by_name_and_the_batch_does_not_matter(pipe, name):
    out = pipe(
        QUESTIONS, many_vowels, method=name, config=APSConfig(num_return_sequences=2, **SMALL)
    )
    assert len(out) == 6
    banned = set(pipe.model.parts.suppressed)
    assert all(ids and not banned & set(ids) for ids in out.token_ids)
    single = APSPipeline(pipe.model, batch_size=1)
    alone = single(
        QUESTIONS, many_vowels, method=name, config=APSConfig(num_return_sequences=2, **SMALL)
    )
    assert alone.text == out.text
    assert out.cost.reward_forwards > 0


def test_selection_goes_on_top_of_any_method(pipe):
    plain = pipe.generate(QUESTIONS, reward=many_vowels, config=APSConfig(**SMALL))
    best = pipe(QUESTIONS, many_vowels, method=BestOf(samples=12), config=APSConfig(**SMALL))
    assert sum(best.rewards["many_vowels"]) > sum(plain.rewards["many_vowels"])
    fk = FKSteering(2, every=1, draws=1)
    one = pipe(QUESTIONS, many_vowels, method=fk, config=APSConfig(**SMALL))
    four = pipe(QUESTIONS, many_vowels, method=BestOf(fk, 4), config=APSConfig(**SMALL))
    assert four.cost.denoiser_forwards == 4 * one.cost.denoiser_forwards
    assert sum(four.rewards["many_vowels"]) >= sum(one.rewards["many_vowels"])


def test_steered_methods_need_a_reward_and_names_are_known(pipe):
    with pytest.raises(ValueError, match="method 'fk' steers by a reward and got none"):
        pipe("why ?", method="fk", config=APSConfig(**SMALL))
    with pytest.raises(ValueError, match="black box; use method 'aps-smc' or 'fk'"):
        pipe("why ?", many_vowels, method="twisted-smc", config=APSConfig(**SMALL))
    assert set(PEERS) < set(METHODS)
