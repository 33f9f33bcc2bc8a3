"""Rewards that told hardly any texts apart; what else is warned of is in `test_steering`."""

from __future__ import annotations

import pytest
import torch
from aps_rewards import Clipped, WeightedSum
from tiny import tiny_text_model

from aps_text import APSConfig, APSPipeline
from aps_text.pipelines.diagnosis import warnings_of
from aps_text.pipelines.guidance_monitor import GuidanceTrace
from aps_text.pipelines.output import APSOutput, RewardReport
from aps_text.text.reward_operator.bridge_stats import DISTINCT, BridgeStats

VARIED = GuidanceTrace({"r": 0.0}, {"r": 0.0}, {"r": True}, True, guided=9)


def said(final, scores, best=None):
    """The warnings of one answer of `final`, after these scores of texts; steps varied."""
    rewards = RewardReport({"r": [final]})
    rewards.assign("guide", ["r"])
    rewards.relaxed["r"] = rewards.before["r"] = [0.0]
    rewards.best = {} if best is None else {"r": best}
    stats = BridgeStats()
    stats.count_scores(scores, [4] * len(scores))
    out = APSOutput(["a"], [[1]], ["q"], rewards, None, None, index=[4])
    return warnings_of(out, [VARIED], {"r": stats})


def test_a_reward_that_varied_once_is_named():
    (one,) = said(0.0, [0.0] * 39 + [0.2])
    assert one.startswith("reward 'r' hardly varied on the answer: it scored all but 1 of 40 texts")
    assert said(0.0, [0.0] * 38 + [0.2, 0.3])
    assert said(0.0, [0.0] * 37 + [0.2, 0.3, 0.4]) == []  # more than one of twenty


def test_an_answer_that_was_picked_for_its_score_was_steered():
    assert said(0.2, [0.0] * 39 + [0.2]) == []


def test_an_answer_with_the_best_score_needs_no_others():
    assert said(1.0, [1.0] * 39 + [0.0], best=1.0) == []
    assert said(1.0, [1.0] * 39 + [0.0], best=2.0)


def test_rounding_is_no_variation():
    (one,) = said(0.3, [0.3] * 20 + [0.3 + 1e-9] * 20)
    assert one.startswith("reward 'r' never varied: it scored all 40 texts 0.3, so")


PYTHON = 'differ: aps_rewards.call_reward({}, ["question"], ["answer"])'
LOADED = PYTHON.format("aps_rewards.load_reward({!r})")
SHELL = 'differ: aps rewards try {} "question" "answer"'
KING = "keywords:present=old king"


def flat(prompts, completions, **columns):
    return [0.5] * len(completions)


def mixed():
    return WeightedSum([(flat, 2.0)])


def clipped():
    return Clipped(flat, 0.0, 1.0)


@pytest.mark.parametrize(
    ("spec", "shell", "ends"),
    [
        (flat, False, PYTHON.format("reward")),
        (flat, True, PYTHON.format("reward")),  # no shell knows an object
        (f"{__file__}:flat", False, LOADED.format(f"{__file__}:flat")),
        (f"{__file__}:flat", True, SHELL.format(f"{__file__}:flat")),
        (f"{__file__}:mixed", True, SHELL.format(f"{__file__}:mixed")),
        (f"{__file__}:clipped", True, SHELL.format(f"{__file__}:clipped")),
        (KING, False, LOADED.format(KING)),
        (KING, True, SHELL.format(f"'{KING}'")),
    ],
)
def test_a_reward_is_tried_as_its_caller_named_it(spec, shell, ends):
    """A Python caller gets Python, a shell's a command, never both."""
    pipe = APSPipeline(tiny_text_model())
    pipe.shell = shell
    out = pipe("why ?", spec, steps=4, max_new_tokens=8)
    advised = [one for one in out.warnings if "differ: " in one]  # of a composed one and its part
    assert advised
    assert all(one.endswith(ends) for one in advised)


def test_a_reward_of_the_name_of_one_that_was_loaded_is_not_taken_for_it():
    pipe = APSPipeline(tiny_text_model())
    pipe("why ?", f"{__file__}:flat", steps=2, max_new_tokens=8)

    def mine(prompts, completions, **columns):
        return [0.5] * len(completions)

    mine.__name__ = f"{__file__}:flat"
    out = pipe("why ?", mine, steps=4, max_new_tokens=8)
    (one,) = [said for said in out.warnings if "differ: " in said]
    assert one.endswith(PYTHON.format("reward"))


def by_question(prompts, completions, **columns):
    """Flat, without an answer, or by the vowels, as the question asks for."""
    values = {"flat ?": lambda text: 0.5, "none ?": lambda text: None}
    other = lambda text: sum(letter in "aeiou" for letter in text) / 9  # noqa: E731
    pairs = zip(prompts, completions, strict=True)
    return [values.get(prompt, other)(text) for prompt, text in pairs]


@pytest.mark.parametrize("method", ["aps", "best-of-n", "fk", "svdd", "plain"])
@pytest.mark.parametrize("preset", ["fast", "balanced"])
def test_the_warnings_of_an_answer_are_those_it_has_alone(method, preset):
    pipe = APSPipeline(tiny_text_model(dtype=torch.float64))
    options = {"method": method, "config": APSConfig(preset, steps=4, max_new_tokens=8)}
    questions = ["flat ?", "why is it ?", "none ?", "who is it ?"]
    together = pipe(questions, by_question, **options)
    alone = [pipe(one, by_question, **options) for one in questions]
    assert together.text == [one.text[0] for one in alone]
    assert together.answer_warnings == [one.warnings for one in alone]
    assert [one.answer_warnings for one in alone] == [[one.warnings] for one in alone]
    if method != "plain":
        assert any("'by_question' never varied" in one for one in together.answer_warnings[0])
        assert any("None for all" in one for one in together.answer_warnings[2])
    if method == "aps":
        assert any(" of 4 answers" in one for one in together.warnings)


def test_answers_of_one_question_share_what_was_drawn_for_it():
    pipe, options = APSPipeline(tiny_text_model()), {"steps": 4, "max_new_tokens": 8}
    options |= {"num_return_sequences": 3, "temperature": 1.0}
    plain = pipe.generate(["why ?", "who ?"], reward=flat, **options)
    assert not any("varied" in one for said in plain.answer_warnings for one in said)
    out = pipe(["why ?", "who ?"], flat, select="length", **options)
    assert len(out) == len(out.answer_warnings) == 2
    assert all(any("'flat' never varied" in one for one in said) for said in out.answer_warnings)


def test_what_is_said_of_the_call_is_said_of_each_answer():
    pipe = APSPipeline(tiny_text_model())
    stream = pipe.stream(["why ?", "who ?"], {flat: 0.0}, steps=4, max_new_tokens=8)
    next(stream)
    assert stream.output().answer_warnings == []
    list(stream)
    out = stream.output()
    said = ["every guiding reward has weight 0, so nothing steered;"] * 3
    assert [one[0][: len(said[0])] for one in (out.warnings, *out.answer_warnings)] == said
    assert out.alone(1).warnings == out.answer_warnings[1]


def test_scores_beyond_a_number_are_counted_together():
    stats = BridgeStats()
    stats.count_scores([i / 7 for i in range(DISTINCT + 10)], [0] * (DISTINCT + 10))
    assert len(stats.scores[0]) == DISTINCT + 1
    assert stats.others(0, 0.0) == (DISTINCT + 9, DISTINCT + 10)
    assert stats.others(0, (DISTINCT + 1) / 7) == (DISTINCT + 10, DISTINCT + 10)
    assert stats.others(1, 0.0) == (0, 0)


@pytest.mark.parametrize("method", ["aps", "best-of-n", "fk", "svdd"])
def test_prompts_whose_answers_score_alike_are_no_variation(method):
    """Each prompt has a score of its own, so no answer to it could be preferred."""
    pipe = APSPipeline(tiny_text_model())

    def by_prompt(prompts, completions, **columns):
        return [float(len(prompt)) for prompt in prompts]

    out = pipe(["why ?", "who is it ?"], by_prompt, method=method, steps=4, max_new_tokens=8)
    assert len([one for one in out.warnings if "'by_prompt' never varied" in one]) == 1
    assert not [one for one in out.warnings if "hardly" in one]


@pytest.mark.parametrize("method", ["aps", "fk", "svdd"])
def test_one_score_of_a_whole_call_is_no_steering(method):
    pipe, judged = APSPipeline(tiny_text_model()), []

    def once(prompts, completions, **columns):
        judged.extend(completions)
        first = judged[:3]
        return [1e-3 if text == first[-1] else 0.5 for text in completions]

    options = {"steps": 8, "max_new_tokens": 16, "seed": 3, "method": method}
    out = pipe("why ?", once, **options)
    assert out.rewards["once"] == [0.5]
    assert [one for one in out.warnings if one.startswith("reward 'once' hardly varied on the")]
