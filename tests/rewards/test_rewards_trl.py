"""Rewards written for TRL's GRPOTrainer run unchanged: trl's own, plain, chat, sync, async."""

from __future__ import annotations

import pytest
import transformers
from aps_rewards import Clipped, RewardError, WeightedSum, call_reward, load_reward, reward_name
from aps_rewards.trainer import TrainerState
from tiny import tiny_text_model
from trl.rewards import (
    accuracy_reward,
    get_cosine_scaled_reward,
    get_repetition_penalty_reward,
    get_soft_overlong_punishment,
    think_format_reward,
)

from aps_text import APSPipeline

SMALL = {"steps": 3, "max_new_tokens": 6, "inner_steps": 1}


def chat(*texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


def asked(*texts):
    return [[{"role": "user", "content": text}] for text in texts]


def test_accuracy():
    prompts = asked("a third?", "a third?", "a half?", "what?")
    answers = chat(r"\boxed{\frac{1}{3}}", r"\boxed{\frac{1}{2}}", "no idea", r"\boxed{1}")
    columns = {"solution": [r"\frac{1}{3}", r"\frac{1}{3}", r"\frac{1}{2}", "Ceci n'est pas"]}
    # The last solution does not parse: None there, which counts as 0 and makes a sum skip it.
    assert call_reward(accuracy_reward, prompts, answers, columns) == [1.0, 0.0, 0.0, 0.0]
    assert accuracy_reward(answers, columns["solution"])[-1] is None
    both = WeightedSum([(accuracy_reward, 2.0), (lambda completions, **kw: [1.0] * 4, 1.0)])
    assert call_reward(both, prompts, answers, columns) == [3.0, 1.0, 1.0, 1.0]
    clipped = Clipped(accuracy_reward, high=0.5)
    assert clipped(prompts, answers, **columns) == [0.5, 0.0, 0.0, None]
    # math_verify sets alarms, which only work in the main thread; under a timeout it is in another.
    late = call_reward(accuracy_reward, prompts, answers, columns, timeout=60)
    assert late == [1.0, 0.0, 0.0, 0.0]


def test_format():
    good, bad = "<think>\nwhy\n</think>\nso", "<think>\nwhy\nso"
    assert call_reward(think_format_reward, asked("q", "q"), chat(good, bad)) == [1.0, 0.0]
    with pytest.raises(RewardError, match=r"'think_format_reward'.*pass prompts as messages"):
        call_reward(think_format_reward, ["q"], [good])


def test_rewards_of_token_ids():
    ids = [[1, 2, 3, 4], [5, 5, 5, 5, 5], [7]]
    prompts, answers = ["q"] * 3, ["a", "b", "c"]
    repetition = get_repetition_penalty_reward(ngram_size=2, max_penalty=-1.0)
    found = call_reward(repetition, prompts, answers, completion_ids=ids)
    assert found == repetition(completion_ids=ids) == [0.0, -0.75, 0.0]
    overlong = get_soft_overlong_punishment(max_completion_len=4, soft_punish_cache=2)
    assert call_reward(overlong, prompts, answers, completion_ids=ids) == [-1.0, -1.0, 0.0]
    assert reward_name(repetition) == "repetition_penalty_reward"


def test_cosine_needs_ids_column_and_chat_at_once():
    cosine = get_cosine_scaled_reward(max_len=100)
    answers = chat(r"\boxed{\frac{1}{3}}", r"\boxed{\frac{1}{2}}")
    found = call_reward(
        cosine,
        asked("q", "q"),
        answers,
        {"solution": [r"\frac{1}{3}"] * 2},
        completion_ids=[[1] * 50] * 2,
    )
    assert found == pytest.approx([0.75, -0.75])


def test_loading_by_name():
    assert load_reward("trl.rewards:think_format_reward") is think_format_reward
    punish = load_reward("trl.rewards:get_soft_overlong_punishment", **SOFT)
    assert call_reward(punish, ["q"], ["a"], completion_ids=[[1] * 9]) == [-0.5]


SOFT = {"max_completion_len": 10, "soft_punish_cache": 2}


@pytest.mark.slow
def test_they_steer_and_are_measured():
    pipe = APSPipeline(tiny_text_model())
    prompts = asked("what is a violin ?", "why ?")
    repetition = get_repetition_penalty_reward(ngram_size=1)
    overlong = get_soft_overlong_punishment(max_completion_len=5, soft_punish_cache=4)

    async def remote(prompts, completions, solution, **columns):
        return [float(s in c[0]["content"]) for s, c in zip(solution, completions, strict=True)]

    rewards = [repetition, (overlong, 0.5), (think_format_reward, 0.1), remote, accuracy_reward]
    columns = {"solution": ["1", "2"]}
    out = pipe(prompts, rewards, columns=columns, **SMALL)
    expected = repetition(completion_ids=out.token_ids)
    assert out.rewards["repetition_penalty_reward"] == pytest.approx(expected)
    expected = overlong(completion_ids=out.token_ids)
    assert out.rewards["soft_overlong_punishment_reward"] == pytest.approx(expected)
    assert out.rewards["think_format_reward"] == [0.0, 0.0]
    assert out.rewards["accuracy_reward"] == [0.0, 0.0]
    plain = pipe.generate(["what is a violin ?"], reward=repetition, max_new_tokens=6)
    expected = repetition(completion_ids=plain.token_ids)
    assert plain.rewards["total"] == pytest.approx(expected)


def test_every_keyword_of_the_trainer_arrives():
    """As `GRPOTrainer._calculate_rewards` passes them, required ones too."""
    logged = []

    def strict(
        prompts, completions, completion_ids, solution, trainer_state, log_extra, log_metric
    ):
        log_extra("solution", list(solution))
        log_metric("share", 0.5)
        logged.append(trainer_state.global_step / trainer_state.max_steps)  # a schedule's progress
        return [float(c == s) for c, s in zip(completions, solution, strict=True)]

    async def loose(completions, **kwargs):
        kwargs["log_metric"]("n", len(completions))
        return [kwargs["trainer_state"].epoch] * len(completions)

    def ours(completions, **columns):  # columns are data, a value a row
        assert all(len(values) == len(completions) for values in columns.values() if values)
        return [float(len(columns))] * len(completions)

    columns = {"solution": ["b", "b"]}
    assert call_reward(strict, ["p", "q"], ["a", "b"], columns, completion_ids=[[1], [2]]) == [0, 1]
    assert logged == [1.0]
    assert call_reward(loose, ["p"], ["a"]) == [1.0]
    assert call_reward(ours, ["p"], ["a"], {"solution": ["b"]}) == [3.0]  # prompts, ids, solution
    pipe = APSPipeline(tiny_text_model())
    out = pipe(["what ?", "why ?"], [strict, loose], columns=columns, **SMALL)
    assert out.rewards["loose"] == [1.0, 1.0]


def test_the_trainer_state_has_transformers_fields():
    import dataclasses

    from aps_rewards.trainer import TrainerState
    from transformers import TrainerState as Theirs

    theirs = {field.name for field in dataclasses.fields(Theirs)}
    assert {field.name for field in dataclasses.fields(TrainerState)} == theirs


def test_the_state_of_no_trainer_has_the_fields_of_one():
    """One step of one epoch is done; all else is as transformers begins."""
    ours, theirs = vars(TrainerState()), vars(transformers.TrainerState())
    begun = ("epoch", "global_step", "max_steps", "train_batch_size", "num_train_epochs")
    assert {name: ours[name] for name in begun} == dict.fromkeys(begun, 1)
    others = ours.keys() - set(begun)
    assert {name: ours[name] for name in others} == {name: theirs[name] for name in others}
