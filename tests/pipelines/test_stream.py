"""A call step by step: the same answers, roles, failures and warnings as the call itself."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
import torch
from aps_rewards import RewardError
from test_steering import QUESTIONS, SMALL, failing, vowels, words
from tiny import tiny_text_model

from aps_text import APSPipeline


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model(dtype=torch.float64), batch_size=4)


def test_a_drained_stream_gives_the_calls_output(pipe):
    asked = {
        "select": words, "report": [words], "num_return_sequences": 3, "temperature": 1.0,
        "keep_trajectory": True, "adapter": "lora", **SMALL,
    }  # fmt: skip
    call = pipe(QUESTIONS, vowels, **asked)
    stream = pipe.stream(QUESTIONS, vowels, **asked)
    seen, rows = [], []
    for state, texts in stream:
        assert torch.is_grad_enabled()
        assert len(texts) == len(state.z) == len(stream.rows)
        assert any("_" in text for text in texts) == bool(
            (state.z == pipe.model.parts.mask_id).any()
        )
        seen.append(state.z)
        rows.append(tuple(stream.rows))
    out = stream.output()
    assert out.text == call.text
    assert out.rewards == call.rewards
    assert set(out.rewards.select) == set(out.rewards.report) == {"words"}
    assert out.warnings == call.warnings
    assert out.places == call.places
    assert len(out.adapters) == len(call.adapters) == 3
    states = [state for batch in out.trajectory for state in batch]
    assert all(torch.equal(z, state.z) for z, state in zip(seen, states, strict=True))
    batches = list(dict.fromkeys(rows))  # nine rows, four at a time
    assert [len(batch) for batch in batches] == [4, 4, 1]
    every = [(prompt, copy) for prompt in range(3) for copy in range(3)]
    assert [row for batch in batches for row in batch] == every


def test_failures_are_kept_and_the_others_start_again(pipe):
    picky = failing(QUESTIONS[1])
    early = {"guidance_start": 0.0, **SMALL}
    stream = pipe.stream(QUESTIONS, picky, on_error="keep", **early)
    steps = [(state.step, len(texts)) for state, texts in stream]
    assert steps[0] == (0, 2)  # the failing prompt's batch never came to its first state
    out = stream.output()
    assert out.index == [0, 2]
    assert [(f.index, f.reward) for f in out.failures] == [(1, "picky")]
    assert out.text == pipe(QUESTIONS[::2], picky, **early).text
    raising = pipe.stream(QUESTIONS, picky, **early)
    with pytest.raises(RewardError, match=r"'picky' raised on prompt 1 ") as caught:
        list(raising)
    assert len(caught.value.partial) == 0


def test_a_stream_that_is_left_has_its_finished_batches(pipe):
    single = APSPipeline(pipe.model, batch_size=1)
    stream = single.stream(QUESTIONS, vowels, **SMALL)
    assert len(stream.output()) == 0
    while stream.rows != [(1, 0)]:
        next(stream)
    assert stream.output().text == single(QUESTIONS[0], vowels, **SMALL).text
    rest = [texts for _, texts in stream]
    assert rest
    assert stream.output().text == single(QUESTIONS, vowels, **SMALL).text
    with pytest.raises(StopIteration):
        next(stream)


def test_a_step_has_the_texts_of_its_own_rows_whoever_goes_on(pipe):
    """Another thread comes to the next batch, of one row, before the first has read its texts."""
    alone = [texts for _, texts in pipe.stream([QUESTIONS[0]] * 5, **SMALL)]
    stream = pipe.stream([QUESTIONS[0]] * 5, **SMALL)
    step, others = stream._step, []

    def overtaken():
        found = step()
        if threading.current_thread() is threading.main_thread():
            other = threading.Thread(target=lambda: others.extend(texts for _, texts in stream))
            other.start()
            other.join()
        return found

    stream._step = overtaken
    _, first = next(stream)
    assert [first, *others] == alone
    with pytest.raises(StopIteration):
        next(stream)


def test_it_warns_as_the_call_does(pipe):
    def flat(prompts, completions, **columns):
        return [0.5] * len(completions)

    stream = pipe.stream(QUESTIONS, flat, **SMALL)
    list(stream)
    assert "'flat' never varied" in stream.output().warnings[0]


def test_arguments_are_checked_before_the_first_step(pipe):
    with pytest.raises(ValueError, match="steers by a reward and got none"):
        pipe.stream(QUESTIONS, method="aps", **SMALL)
    with pytest.raises(ValueError, match="on_error is 'raise' or 'keep', got 'skip'"):
        pipe.stream(QUESTIONS, vowels, on_error="skip", **SMALL)
    with pytest.raises(TypeError, match="did you mean 'steps'"):
        pipe.stream(QUESTIONS, vowels, stepz=3)
    plain = pipe.stream(QUESTIONS, **SMALL)  # without a reward: the base sampler
    list(plain)
    assert plain.output().text == pipe.generate(QUESTIONS, **SMALL).text


def test_a_method_that_steers_needs_a_reward_here_too(pipe):
    for method in ("aps", "svdd"):
        for call in (pipe, pipe.stream):
            with pytest.raises(ValueError, match="steers by a reward and got none"):
                call(QUESTIONS, method=method, **SMALL)


@pytest.mark.parametrize(("begun", "capital"), [("A lion is", False), ("It is a lion.", True)])
def test_the_embedded_model_continues_a_begun_answer_as_it_does_a_prefix(begun, capital):
    mini = APSPipeline.from_pretrained("mini")
    asked = {"role": "user", "content": "What is a lion?"}
    chat = [asked, {"role": "assistant", "content": begun}]
    length = len(mini.tokenizer(begun, add_special_tokens=False)["input_ids"])
    options = {"steps": 3, "temperature": 0.0}
    whole = mini.generate(asked["content"], start={"prefix": begun}, max_new_tokens=8, **options)
    seen = []

    def heard(prompts, completions, **columns):
        seen.extend(one[0]["content"] for one in completions)
        return [0.0] * len(completions)

    stream = mini.stream([chat], heard, method="plain", max_new_tokens=8 - length, **options)
    texts = [texts[0] for _, texts in stream]
    (text,) = stream.output().text
    assert whole.text == [f"{begun} {text}"]
    assert text[0].isupper() is capital
    assert texts[-1] == text
    assert seen[-1] == text


def test_a_long_prompt_is_refused_by_us_alone(caplog, capfd):
    mini = APSPipeline.from_pretrained("mini")
    with pytest.raises(ValueError, match="shorten the prompt"):
        mini.generate("lion " * 3000)
    shown = capfd.readouterr()
    assert shown.out + shown.err + caplog.text == ""


def test_arguments_of_a_call_by_a_wrong_kind_are_named(pipe):
    with pytest.raises(TypeError, match=r"on_step is called as on_step\(step, state\); got .*int"):
        pipe(QUESTIONS, vowels, on_step=5, **SMALL)
    with pytest.raises(ValueError, match=r"between -3\.4e\+38 and 3\.4e\+38, got 1e\+39"):
        pipe(QUESTIONS, [(vowels, 1e39)], **SMALL)
    with pytest.raises(ValueError, match=r"a list: \['length', 'sentiment'\]"):
        pipe(QUESTIONS, "length sentiment", **SMALL)
    with pytest.raises(ValueError, match="no hub id, which is written owner/name"):
        APSPipeline.from_pretrained("./x")


def test_a_weight_is_any_number(pipe):
    for weight in (Decimal("0.5"), torch.tensor(0.5), 0.5):
        out = pipe(QUESTIONS[0], [(vowels, weight), words], method="plain", **SMALL)
        total = 0.5 * out.rewards["vowels"][0] + out.rewards["words"][0]
        assert out.rewards["total"][0] == pytest.approx(total)


def test_an_output_taken_early_keeps_its_cost(pipe):
    stream = pipe.stream([*QUESTIONS, *QUESTIONS], vowels, **SMALL)
    next(stream)
    early = stream.output()
    before = early.cost.as_dict()
    list(stream.states)
    assert stream.output().cost.trunk_forwards > before["trunk_forwards"]
    assert early.cost.as_dict() == before


def test_a_step_that_compares_answers_says_which_pass_it_is_at(pipe):
    asked = {**SMALL, "temperature": 1.0, "steps": 8, "max_new_tokens": 8, "inner_steps": 0}
    asked |= {"guidance_start": 0.0, "pool_size": 3, "pool_rollout": 4, "pool_interval": 2}
    seen = []
    out = pipe(QUESTIONS[:2], vowels, **asked, on_pass=seen.append)
    assert out.text == pipe(QUESTIONS[:2], vowels, **asked).text
    by_step = {step: [one for one in seen if one.step == step] for step in range(8)}
    for step, found in by_step.items():
        assert [one.passes for one in found] == list(range(1, len(found) + 1))
        assert {one.steps for one in found} <= {8}
        compares = step % 2 == 0
        assert {(one.answers, one.most) for one in found} <= {(3, 4) if compares else (0, 0)}
        assert len(found) <= (4 if compares else 1)
    assert len(by_step[0]) == 4
    said = [str(one) for one in by_step[0]]
    assert said[0] == "step 1 of 8: comparing 3 answers"
    assert said[2] == "step 1 of 8: comparing 3 answers, pass 3 of at most 4"
    assert str(by_step[1][0]) == "step 2 of 8: pass 1"


@pytest.mark.parametrize(
    ("how", "reward"),
    [({"method": "plain"}, vowels), ({"temperature": 0.0}, vowels), ({}, {"vowels": 0.0})],
)
def test_a_step_that_compares_none_does_not_say_so(pipe, how, reward):
    seen, reward = [], reward if callable(reward) else [(vowels, 0.0)]
    pipe(QUESTIONS[0], reward, **{"temperature": 1.0, **SMALL, **how}, on_pass=seen.append)
    assert seen
    assert {one.answers for one in seen} == {0}


def test_what_hears_of_passes_can_end_the_call(pipe):
    class Enough(Exception):
        pass

    def leave(progress):
        if progress.step == 1:
            raise Enough

    with pytest.raises(Enough):
        pipe(QUESTIONS[0], vowels, **SMALL, on_pass=leave)
    with pytest.raises(TypeError, match=r"on_pass is called as on_pass\(progress\); got"):
        pipe(QUESTIONS[0], vowels, **SMALL, on_pass=3)
