"""Warnings of plain and steered answers side by side."""

from __future__ import annotations

import math

import pytest
from tiny import tiny_text_model

from aps_text import APSConfig, APSPipeline
from aps_text.core.cost import Cost
from aps_text.pipelines.batch import best_values
from aps_text.pipelines.comparison import already_best, compare, full_canvases, unraised
from aps_text.pipelines.output import APSOutput, RewardReport

SMALL = {"steps": 4, "max_new_tokens": 8}


def answers(total, best=math.inf, cut=()):
    rewards = RewardReport(total=list(total), r=list(total))
    rewards.assign("guide", ["r"])
    rewards.best = {"r": best, "total": best}
    prompts = [f"q{i}" for i in range(len(total))]
    out = APSOutput(
        ["a"] * len(total), [[1, 2]] * len(total), prompts, rewards, Cost(), APSConfig()
    )
    out.cut_off = list(cut) or [False] * len(total)
    return out


def test_a_reward_that_steering_did_not_raise_is_said():
    (said,) = unraised(answers([0.25]), answers([0.5]))
    assert said == "steering did not raise the reward (0.25, plain 0.5); try another seed"
    assert compare(answers([0.25]), answers([0.25])) == unraised(answers([0.25]), answers([0.25]))
    assert unraised(answers([0.5]), answers([0.25])) == []
    (some,) = unraised(answers([1.0, 0.0, 0.5]), answers([0.0, 0.0, 0.75]))
    assert "of 2 of 3 answers (answer 2: 0, plain 0; answer 3: 0.5, plain 0.75); try" in some
    # Of many answers some do not rise by their draws alone.
    assert unraised(answers([1.0, 1.0, 0.5]), answers([0.0, 0.0, 0.75])) == []
    assert unraised(answers([1.0, 0.5]), answers([0.0, 0.75]))
    (every,) = unraised(answers([0.0, 0.0]), answers([0.0, 0.0]))
    assert "raise the reward (answer 1: 0, plain 0; answer 2: 0, plain 0); try" in every
    (many,) = unraised(answers([0.0] * 7), answers([0.0] * 7))
    assert "answer 5: 0, plain 0; ...); try" in many


def test_an_answer_that_cannot_be_better_is_no_failure():
    assert unraised(answers([1.0], best=1.0), answers([1.0])) == []
    assert unraised(answers([0.9], best=1.0), answers([1.0]))
    nothing = answers([0.0])
    nothing.rewards._roles["guide"] = []
    assert unraised(nothing, answers([0.0])) == []  # a weight of 0 is a warning of its own


def test_a_plain_answer_that_cannot_be_better_is_said():
    (said,) = compare(answers([1.0], best=1.0), answers([1.0]))
    assert said == "the plain answer has the highest r there is (1): nothing to gain"
    (some,) = already_best(answers([1.0, 0.5], best=1.0), answers([1.0, 0.25]))
    assert some.startswith("1 of 2 plain answers have the highest r there is")
    assert already_best(answers([1.0], best=1.0), answers([0.5])) == []
    assert already_best(answers([1.0]), answers([1.0])) == []  # an open range has no best


def test_the_best_of_a_reward_with_a_negative_weight_is_its_lowest():
    pipe = APSPipeline(tiny_text_model())

    def low(prompts, completions, **columns):
        return [-1.0] * len(completions)

    low.range = (-1.0, 1.0)
    plain = pipe.generate("why ?", reward=(low, -2.0), **SMALL)
    (said,) = already_best(pipe("why ?", (low, -2.0), **SMALL), plain)
    assert said == "the plain answer has the lowest low there is (-1): nothing to gain"


class Bounded:
    name, range = "bounded", (-1.0, 0.5)

    def __call__(self, prompts, completions, **columns):
        return [0.0] * len(completions)


class Odd(Bounded):
    range = None


def test_the_best_of_a_sum_is_known_where_all_ranges_are_closed():
    one = ("bounded", 2.0, Bounded())
    assert best_values([one]) == {"bounded": 0.5, "total": 1.0}
    assert best_values([("bounded", -2.0, Bounded())]) == {"bounded": -1.0, "total": 2.0}
    assert best_values([("bounded", 0.0, Bounded())]) == {"total": 0.0}
    assert best_values([one, ("open", 1.0, len)])["total"] == math.inf
    assert best_values([("odd", 1.0, Odd())])["total"] == math.inf


@pytest.mark.parametrize(
    ("method", "tried"),
    [
        ("aps", "another seed or a larger pool_size than 3"),  # no answer with more was met
        ("fk", "another seed or a smaller beta than 0.3"),
        ("best-of-n", "another seed"),
    ],
)
def test_the_advice_names_what_the_method_reads(method, tried):
    pipe = APSPipeline(tiny_text_model())
    options = {"config": APSConfig(pool_size=3, beta=0.3, **SMALL)}
    plain = pipe.generate("why ?", reward=Bounded(), **options)
    (said,) = unraised(pipe("why ?", Bounded(), method=method, **options), plain)
    assert said == f"steering did not raise the reward (0, plain 0); try {tried}"


def test_a_smaller_beta_is_advised_where_more_was_met_and_not_kept():
    pipe, options = APSPipeline(tiny_text_model()), {"config": APSConfig(pool_size=3, **SMALL)}
    steered = pipe("why ?", Bounded(), **options)
    plain = pipe.generate("why ?", reward=Bounded(), **options)
    plain.rewards["total"][0] = 0.25
    (said,) = unraised(steered, plain)
    tried = "another seed, a larger pool_size than 3 or a smaller beta than 0.02"
    assert said == f"steering did not raise the reward (0, plain 0.25); try {tried}"


def test_full_canvases_are_named_with_their_method():
    assert full_canvases({"plain": answers([0.0]), "aps": answers([0.0])}) == []
    one = {"plain": answers([0.0], cut=[True]), "aps": answers([0.0], cut=[False])}
    assert full_canvases(one) == [
        "the canvas of 2 tokens was full within a sentence: plain; raise max_new_tokens"
    ]
    cut = answers([0.0] * 3, cut=[True, False, True])
    (said,) = full_canvases({"plain": cut, "aps": cut})
    assert "plain (2 of 3 answers), aps (2 of 3 answers); raise max_new_tokens" in said
