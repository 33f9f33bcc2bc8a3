"""The beta of a call that names none."""

from __future__ import annotations

import pytest
import torch
from aps_rewards import RewardError, load_reward
from tiny import tiny_text_model

from aps_text import APSConfig, APSPipeline
from aps_text.text.reward_operator.guidance import BETA, beta_of

SMALL = {"steps": 2, "max_new_tokens": 4, "inner_steps": 0}


def scaled(beta):
    def reward(prompts, completions, **columns):
        return [float(len(text)) for text in completions]

    reward.steering_beta = beta
    return reward


class Raises:
    def __getattr__(self, name):
        raise OSError(name)


@pytest.mark.parametrize(
    ("rewards", "beta"),
    [
        ([(1.0, scaled(0.3))], 0.3),
        ([(-2.0, scaled(0.3))], 0.3),
        ([(1.0, scaled(0.3)), (3.0, scaled(0.7))], 0.6),
        ([(1.0, scaled(0.3)), (-1.0, print)], (0.3 + BETA) / 2),
        ([(0.0, scaled(0.3))], BETA),
        ([], BETA),
        *([([(1.0, scaled(bad))], BETA) for bad in (None, 0, -1.0, "1", True, float("nan"))]),
    ],
)
def test_several_rewards_have_the_mean_by_weight(rewards, beta):
    assert beta_of([("r", weight, one) for weight, one in rewards]) == pytest.approx(beta)


def test_a_reward_that_raises_where_it_would_declare_one_is_named():
    with pytest.raises(RewardError, match="'r' raised in steering_beta: OSError: steering_beta"):
        beta_of([("r", 1.0, Raises())])


def test_the_call_takes_the_rewards_beta_unless_one_is_typed():
    pipe = APSPipeline(tiny_text_model(dtype=torch.float64))
    own = pipe("why ?", scaled(0.7), **SMALL).config
    assert own.sampler.beta == own.reward.beta == 0.7
    assert pipe("why ?", scaled(0.7), beta=0.2, **SMALL).config.sampler.beta == 0.2
    whole = pipe("why ?", scaled(0.7), config=APSConfig(**SMALL)).config
    assert whole == own
    assert pipe("why ?", scaled(None), **SMALL).config.sampler.beta == BETA
    assert (
        pipe("why ?", (scaled(0.7), 2.0), **SMALL).text
        == pipe("why ?", (scaled(0.7), 2.0), beta=0.7, **SMALL).text
    )


@pytest.mark.parametrize(
    ("name", "beta"),
    [
        ("answer-quality", 0.25),
        ("dale-chall", 0.05),
        ("distinctness", 0.1),
        ("flesch", 0.05),
        ("keywords", 0.075),
        ("rhyme", 0.1),
        ("sentiment", 0.05),
        ("simple-words", BETA),
        ("valence", 0.05),
    ],
)
def test_rewards_declare_their_own(name, beta):
    assert beta_of([(name, 1.0, load_reward(name))]) == beta
