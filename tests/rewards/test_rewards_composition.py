"""Rewards made of rewards: their values, their gradients, and what they say when misused."""

from __future__ import annotations

import asyncio
import math

import pytest
import torch
from aps_rewards import (
    Clipped,
    Minimum,
    Normalised,
    RewardError,
    Threshold,
    WeightedSum,
    call_reward,
    describe,
    is_differentiable,
    steers_by_gradient,
)
from aps_rewards.protocol import is_composed
from hypothesis import given
from hypothesis import strategies as st

PROMPTS = ["p", "p", "q"]
ANSWERS = ["a", "bbb", "cc"]


def length(prompts, completions, **columns):
    return [float(len(c)) for c in completions]


def column(prompts, completions, wanted, **columns):
    return [None if w is None else float(w) for w in wanted]


def score(reward, **columns):
    return call_reward(reward, PROMPTS, ANSWERS, columns)


def test_values():
    assert score(WeightedSum([(length, 2.0), (length, -0.5)])) == [1.5, 4.5, 3.0]
    assert score(WeightedSum({length: 0.0})) == [0.0, 0.0, 0.0]
    assert score(Clipped(length, low=1.5, high=2.5)) == [1.5, 2.5, 2.0]
    assert score(Threshold(length, at=2)) == [0.0, 1.0, 1.0]
    smooth = score(Threshold(length, at=2, width=0.5))
    assert smooth == pytest.approx([1 / (1 + math.exp(2)), 1 / (1 + math.exp(-2)), 0.5])
    low = WeightedSum({length: -1.0})
    assert score(Minimum(length, low)) == [-1.0, -3.0, -2.0]
    assert score(Normalised(length, mean=2, scale=0.5)) == [-2.0, 2.0, 0.0]
    nested = Clipped(WeightedSum([(Normalised(length, mean=2, scale=1), 3.0)]), high=1.0)
    assert score(nested) == [-3.0, 1.0, 0.0]


def test_what_does_not_apply():
    columns = {"wanted": [None, 5, 7]}
    # A sum takes what applies, as TRL does; everything else does not apply either.
    assert score(WeightedSum([(length, 1.0), (column, 1.0)]), **columns) == [1.0, 8.0, 9.0]
    rows = dict(prompts=PROMPTS, completions=ANSWERS, **columns)
    assert WeightedSum({column: 2.0})(**rows) == [None, 10.0, 14.0]
    assert Normalised(column, mean=5, scale=1)(**rows) == [None, 0.0, 2.0]
    assert Minimum(length, column)(**rows) == [None, 3.0, 2.0]
    assert Threshold(column, at=6)(**rows) == [None, 0.0, 1.0]


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12), st.integers(1, 11))
def test_running_statistics_are_those_of_all_scores(values, cut):
    reward = Normalised(column)
    for part in (values[:cut], values[cut:]):
        reward.observe(["p"] * len(part), ["c"] * len(part), wanted=part)
    found = torch.tensor(values, dtype=torch.float64)
    scale = float(found.std(correction=0))
    if scale < 1e-6:
        return
    mean, got = reward.statistics
    assert mean == pytest.approx(float(found.mean()), abs=1e-9 + 1e-9 * float(found.abs().max()))
    assert got == pytest.approx(scale, rel=1e-6)


def test_an_uncalibrated_or_constant_normalisation_says_so():
    with pytest.raises(RewardError, match=r"has observed 0 scores, .*pipe.calibrate"):
        score(Normalised(length))
    flat = Normalised(length)
    flat.observe(["p"] * 2, ["aa", "bb"])
    with pytest.raises(ValueError, match="all 2 observed scores were 2"):
        flat.statistics  # noqa: B018
    skipped = Normalised(column)
    skipped.observe(["p"] * 3, ["x"] * 3, wanted=[None, 1.0, 3.0])
    assert skipped.statistics == (2.0, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Minimum(), "at least one reward, got none"),
        (lambda: WeightedSum([]), "at least one reward"),
        (lambda: WeightedSum({length: math.inf}), "weights are finite"),
        (lambda: Clipped(length, 2, 1), "low < high, got 2 and 1"),
        (lambda: Clipped(length, 1, 1), "low < high, got 1 and 1"),
        (lambda: Threshold(length, at=math.nan), "finite number, got nan"),
        (lambda: Threshold(length, at=0, width=0), "width must be > 0"),
        (lambda: Normalised(length, mean=1), "mean and scale, or neither"),
        (lambda: Normalised(length, mean=1, scale=0), "scale must be > 0"),
        (lambda: Clipped("relevence"), "Did you mean 'relevance'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Smooth:
    """Only what `steers_by_gradient` asks for."""

    name, range, differentiable, licence = "smooth", (-1.0, 1.0), True, "CC0"
    tokenizer = None

    def embedding_table(self):
        raise NotImplementedError

    frame = score_embeds = __call__ = embedding_table


def test_metadata_follows_the_parts():
    smooth = Smooth()
    both = WeightedSum([(smooth, 2.0), (length, -1.0)])
    assert describe(both).name == "2 smooth + -1 length"
    assert describe(both).range == (-math.inf, math.inf)
    assert describe(WeightedSum([(smooth, -2.0), (length, 0.0)])).range == (-2.0, 2.0)
    assert describe(Clipped(smooth, low=0)).range == (0.0, 1.0)
    assert describe(Clipped(smooth, low=2, high=3)).range == (2.0, 2.0)
    assert describe(Normalised(smooth, mean=0.5, scale=0.25)).range == (-6.0, 2.0)
    assert describe(both).licence == "CC0"
    # Which of them steer by gradient.
    assert not is_differentiable(both)
    for reward, expected in (
        (both, False),
        (WeightedSum([(smooth, 2.0), (length, 0.0)]), True),
        (Clipped(Minimum(smooth, smooth)), True),
        (Threshold(smooth, at=0), False),
        (Threshold(smooth, at=0, width=0.1), True),
        (Minimum(smooth, length), False),
    ):
        assert steers_by_gradient(reward) == expected
        assert describe(reward).differentiable == expected


def test_a_failing_part_is_named_with_its_prompt():
    def picky(prompts, completions, **columns):
        return [1.0 / (c != "cc") for c in completions]

    with pytest.raises(RewardError, match=r"'picky' raised on prompt 2 \('q', answer 'cc'") as c:
        score(Clipped(WeightedSum([(length, 1.0), (picky, 1.0)]), high=2))
    assert (c.value.reward, c.value.index) == ("picky", 2)
    # Duplicates before it shift no index.
    with pytest.raises(RewardError) as c:
        call_reward(Clipped(picky, high=2), ["p", "p", "q"], ["a", "a", "cc"])
    assert c.value.index == 2


def test_async_parts_are_awaited_together():
    active, peaks = [], []

    async def slow(prompts, completions, **columns):
        active.append(1)
        await asyncio.sleep(0.2)
        peaks.append(len(active))
        active.pop()
        return [1.0] * len(completions)

    assert score(WeightedSum([(slow, 1.0), (slow, 2.0)])) == [3.0] * 3
    assert peaks == [2, 1]


def test_the_range_of_a_normalised_reward_is_known_from_two_scores_on():
    def length(prompts, completions, **columns):
        return [float(len(text)) for text in completions]

    length.range = (0.0, 10.0)
    reward = Normalised(length)
    assert reward.range == (-math.inf, math.inf)
    reward.observe(["?"], ["a"])
    assert reward.range == (-math.inf, math.inf)
    reward.observe(["?"], ["abc"])
    mean, scale = reward.statistics
    assert reward.range == ((0 - mean) / scale, (10 - mean) / scale)


@pytest.mark.parametrize("name", ["parts", "combine"])
def test_a_reward_with_parts_alone_or_combine_alone_is_made_of_none(name):
    def spoken(prompts, completions, **columns):
        return [0.0] * len(prompts)

    setattr(spoken, name, ["subject", "verb"])
    assert not is_composed(spoken)
    assert is_composed(Minimum(spoken, length))
