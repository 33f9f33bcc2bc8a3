"""What a call returns: read one by one, printed, saved; the bar and the stream's texts."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from tiny import tiny_text_model

from aps_text import APSPipeline
from aps_text.pipelines.diagnosis import warnings_of
from aps_text.pipelines.guidance_monitor import GuidanceTrace
from aps_text.pipelines.output import Answer, APSOutput, RewardReport
from aps_text.text.reward_operator.bridge_stats import BridgeStats

QUESTIONS = ["what is a violin ?", "who is the big dog ?", "why ?"]
SMALL = {"steps": 4, "max_new_tokens": 8}
PRESETS = [None, "fast", "balanced", "paper"]


def vowels(prompts, completions, **columns):
    return [sum(letter in "aeiou" for letter in text) / 8 for text in completions]


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model(dtype=torch.float64), batch_size=2)


@pytest.fixture(scope="module")
def out(pipe):
    return pipe(QUESTIONS, vowels, **SMALL)


def test_answers_are_read_one_by_one(out):
    assert len(out) == 3
    assert [answer.text for answer in out] == out.text
    assert [answer.prompt for answer in out] == out.prompts
    assert out[-1] == out[2] == list(out)[2]
    assert out[1] == Answer(out.text[1], QUESTIONS[1], {k: v[1] for k, v in out.rewards.items()}, 1)
    assert str(out[0]) == out.text[0]
    some = out[1:]
    assert isinstance(some, APSOutput)
    assert some.text == out.text[1:]
    with pytest.raises(IndexError, match="answer 3 of 3"):
        out[3]


def test_what_is_taken_of_an_output_is_all_that_an_answer_has(out):
    rows = [2, 0]
    out = replace(out, cut_off=[True, False, False], answer_warnings=[["a"], ["b"], []])
    some = out.take(rows)
    by_answer = {"text", "token_ids", "prompts", "index", "places", "cut_off", "answer_warnings"}
    for name in (one.name for one in fields(out)):
        whole, part = getattr(out, name), getattr(some, name)
        if isinstance(whole, list) and len(whole) == len(out):
            assert part == [whole[i] for i in rows] != whole[:2], name
            by_answer.remove(name)
        else:
            assert part is whole or name == "rewards", name
    assert by_answer == set()
    for kept in ("guide", "relaxed", "before", "gap"):
        whole, part = getattr(out.rewards, kept), getattr(some.rewards, kept)
        assert set(whole) == set(part) == set(out.rewards) - {"total"}, kept
        for name, values in whole.items():
            assert repr(part[name]) == repr([values[i] for i in rows]), kept  # NaN is NaN
    assert some.rewards["total"] == [out.rewards["total"][i] for i in rows]
    assert some.rewards.best == out.rewards.best
    assert out.alone(1) == replace(out.take([1]), warnings=["b"])


def test_an_output_prints_what_a_person_reads(pipe, out):
    shown = str(out)
    for text in (*QUESTIONS, *out.text, f"vowels {out.rewards['vowels'][0]:.3f}", "3 answers in"):
        assert text in shown
    assert "tensor" not in shown
    assert repr(out).startswith("APSOutput(3 answers")
    assert len(repr(out)) < 200
    kept = pipe.generate([QUESTIONS[0], " "], on_error="keep", **SMALL)
    assert "failed: prompt 1 is empty" in str(kept)
    assert "1 failed" in repr(kept)
    chat = pipe.generate([{"role": "user", "content": "why ?"}], **SMALL)
    assert str(chat).startswith("user: why ?\n")


def test_a_pipeline_says_what_it_is(pipe):
    assert repr(pipe) == f"APSPipeline({pipe.model.name!r}, BertForMaskedLM on cpu, batch_size=2)"
    assert pipe.device == torch.device("cpu")
    assert pipe.tokenizer is pipe.model.tokenizer


def test_the_last_text_of_a_stream_is_the_answer(pipe):
    capital = tiny_text_model(dtype=torch.float64)
    object.__setattr__(capital, "finish", str.upper)
    for model in (pipe.model, capital):
        single = APSPipeline(model, batch_size=4)
        for options in ({}, {"preset": "fast"}, {"method": "plain"}, {"eos_penalty": -1000.0}):
            stream = single.stream(QUESTIONS, vowels, **SMALL, **options)
            texts: list[str] = []
            for _, now in stream:
                texts = now
            assert texts == stream.output().text


def test_an_output_before_the_end_is_a_copy(pipe):
    stream = pipe.stream(QUESTIONS, vowels, **SMALL)
    early = stream.output()
    assert (len(early), early.text) == (0, [])
    assert early.warnings == ["the stream is not at its end: 0 of 3 answers are there"]
    while len(stream.output()) == 0:
        next(stream)
    middle = stream.output()
    assert len(middle) == 2
    list(stream)
    assert len(early) == 0
    assert len(middle) == 2
    assert len(stream.output()) == 3
    assert "not at its end" not in str(stream.output())


def test_an_output_keeps_of_phi_what_saving_needs(out):
    numbers = sum(adapter.record.numel() for adapter in out.adapters)
    kept = [v for a in out.adapters for v in vars(a).values() if isinstance(v, torch.Tensor)]
    assert sum(value.numel() for value in kept) <= numbers + len(out)


def test_nothing_is_saved_where_nothing_was_fitted(pipe, tmp_path):
    fast = pipe(QUESTIONS[0], vowels, preset="fast", **SMALL)
    with pytest.raises(
        ValueError, match=r"no LoRA adapter for answer 0: .*inner_steps=0 fits none"
    ):
        fast.save_adapter(0, tmp_path / "fast")
    still = pipe(QUESTIONS[0], lambda prompts, completions: [0.0] * len(completions), **SMALL)
    with pytest.raises(ValueError, match="adapter of answer 0 was never updated"):
        still.save_adapter(0, tmp_path / "still")
    plain = pipe.generate(QUESTIONS[0], **SMALL)
    with pytest.raises(ValueError, match="no LoRA adapter for answer 0"):
        plain.save_adapter(0, tmp_path / "plain")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("value", [None, 0.5], ids=str)
def test_a_reward_that_says_nothing_is_named_in_every_preset(pipe, preset, value):
    def silent(prompts, completions, **columns):
        return [value] * len(completions)

    out = pipe(QUESTIONS, silent, preset=preset, max_new_tokens=8, steps=8, min_new_tokens=7)
    said = "'silent' returned None for all" if value is None else "'silent' never varied"
    (warning,) = (warning for warning in out.warnings if said in warning)
    assert "aps_rewards.call_reward(reward, " in warning  # a function has no name to type


def test_answers_that_were_finished_before_the_window_are_counted(pipe):
    late = pipe(QUESTIONS, vowels, preset="fast", max_new_tokens=4, steps=16)
    assert "all 3 answers were finished before any step was steered" in late.warnings[0]
    assert (
        late.text == pipe.generate(QUESTIONS, max_new_tokens=4, steps=16, remasking="anchored").text
    )


@pytest.mark.parametrize("size", [None, 1])
def test_a_call_in_which_nothing_steers_says_so(pipe, size):
    out = pipe(QUESTIONS, vowels, preset="fast", pool_size=size, max_new_tokens=4, steps=4)
    assert out.warnings[0].startswith("nothing steered: inner_steps=0 fits no adapter")
    assert not any("finished before" in line for line in out.warnings)
    pooled = pipe(QUESTIONS, vowels, preset="fast", pool_size=2, max_new_tokens=4, steps=4)
    assert not any("nothing steered" in line for line in pooled.warnings)


def test_a_reward_that_told_texts_apart_did_vary():
    """The chosen answer's value was the same at all steps, and others were passed over for it."""
    rewards = RewardReport({"r": [0.5]})
    rewards.assign("guide", ["r"])
    rewards.relaxed["r"] = rewards.before["r"] = [0.5]
    out = APSOutput(["a"], [[1]], ["q"], rewards, None, None, index=[4])
    traces = [GuidanceTrace({"r": 0.5}, {"r": 0.5}, {"r": False}, True)]
    stats = BridgeStats()
    stats.count_scores([0.5, 0.2, None], [4, 4, 4])
    assert warnings_of(out, traces, {"r": stats}) == []
    other = BridgeStats()
    other.count_scores([0.5, 0.5, 0.2], [4, 4, 3])  # it varied, but not for this prompt
    assert (
        "'r' never varied on the answer (always 0.5), so"
        in warnings_of(out, traces, {"r": other})[0]
    )


def test_a_model_that_is_sure_of_its_answer_is_no_fault_of_the_reward():
    """One text is drawn each time: no candidate could be preferred, whatever the reward."""
    mini = APSPipeline.from_pretrained("mini")
    (said,) = mini("Is a cat an animal?", vowels, preset="fast").warnings
    assert "drew one text again and again for the answer" in said
    assert "reward" in said
    assert "gradient" not in said
    assert not [w for w in mini("What is a lion?", vowels, preset="fast").warnings if "again" in w]


def test_one_text_again_and_again_is_told_from_a_reward_that_never_varied():
    rewards = RewardReport({"r": [0.5, 0.5]})
    rewards.assign("guide", ["r"])
    rewards.relaxed["r"] = rewards.before["r"] = [0.5, 0.5]
    out = APSOutput(["a", "b"], [[1], [1]], ["q", "p"], rewards, None, None, index=[4, 7])
    traces = [GuidanceTrace({"r": 0.5}, {"r": 0.5}, {"r": False}, True)] * 2
    stats = BridgeStats()
    stats.count_scores([0.5] * 4, [4, 4, 7, 7])
    stats.count_same(["a", "a", "b", "c"], [4, 4, 7, 7])
    flat, sure = warnings_of(out, traces, {"r": stats})
    assert flat.startswith("reward 'r' never varied on 1 of 2 answers (always 0.5), so")
    assert sure.startswith("the model drew one text again and again for 1 of 2 answers")
    stats.count_same(["a", "d"], [4, 4])
    assert [stats.certain(prompt) for prompt in (4, 7, 9)] == [False] * 3
    assert len(warnings_of(out, traces, {"r": stats})) == 1


def test_a_draft_of_which_little_is_masked_names_init_strength(pipe):
    start = {"init_text": "a king is a king", "init_strength": 0.01}
    out = pipe("why ?", vowels, start=start, max_new_tokens=11, steps=4)
    (late,) = (one for one in out.warnings if "before any step" in one)
    assert "of the draft (init_text) was masked; raise init_strength" in late
    assert late in out.answer_warnings[0]


def test_one_text_of_one_guided_step_is_no_fault_of_the_reward():
    rewards = RewardReport({"r": [0.5, 0.5]})
    rewards.assign("guide", ["r"])
    out = APSOutput(["a", "b"], [[1], [1]], ["q", "p"], rewards, None, None, index=[4, 7])
    traces = [GuidanceTrace({"r": 0.5}, {"r": 0.5}, {"r": True}, True)] * 2  # of one step
    stats = BridgeStats()
    stats.count_scores([0.5] * 6, [4, 4, 4, 7, 7, 7])
    stats.count_same(["a", "a", "a", "b", "b", "b"], [4, 4, 4, 7, 7, 7])
    (said,) = warnings_of(out, traces, {"r": stats})
    assert said.startswith("the model drew one text again and again for all 2 answers")
    stats.count_same(["c"], [7])
    (said,) = warnings_of(out, traces, {"r": stats})
    assert said.startswith("reward 'r' never varied: it scored all 6 texts 0.5")


def test_where_nothing_is_fitted_no_gradient_is_spoken_of(pipe):
    def flat(prompts, completions, **columns):
        return [0.5] * len(completions)

    fast = pipe(QUESTIONS[0], flat, preset="fast", max_new_tokens=8, steps=4).warnings[0]
    assert "(always 0.5), so none was preferred and it steered nothing" in fast
    fitted = pipe(QUESTIONS[0], flat, max_new_tokens=8, steps=4).warnings[0]
    assert "(always 0.5), so it had no gradient there and it steered nothing" in fitted


def test_select_returns_the_best_and_the_first_among_equals(pipe):
    def length(prompts, completions, **columns):
        return [float(len(text)) for text in completions]

    options = {"num_return_sequences": 4, "temperature": 1.0, **SMALL}
    every = pipe.generate(QUESTIONS, **options)
    for weight in (1.0, -1.0):
        best = pipe.generate(QUESTIONS, select=[(length, weight)], **options)
        want = [
            max((every.text[i] for i in range(12) if every.index[i] == q),
                key=lambda text: weight * len(text))
            for q in range(3)
        ]  # fmt: skip
        assert best.text == want
    ties = pipe.generate(
        QUESTIONS, select=lambda completions, **_: [1.0] * len(completions), **options
    )
    assert ties.text == every.text[::4]


def test_a_bar_is_shown_where_asked_for(pipe, capsys, monkeypatch):
    monkeypatch.setattr("aps_text.pipelines.progress.DELAY", 0.0)
    monkeypatch.setattr("aps_text.pipelines.progress.INTERVAL", 0.0)
    quiet = pipe(QUESTIONS, vowels, **SMALL)
    assert capsys.readouterr().err == ""
    loud = pipe(QUESTIONS, vowels, progress=True, **SMALL)
    shown = capsys.readouterr()
    assert "aps:" in shown.err
    assert "of 3 answers" in shown.err
    assert shown.out == ""
    assert loud.text == quiet.text
    with pytest.raises(TypeError, match="progress is True, False or None"):
        pipe(QUESTIONS, vowels, progress="yes", **SMALL)
