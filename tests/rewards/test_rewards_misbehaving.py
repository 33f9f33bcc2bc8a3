"""A reward that misbehaves on a prompt costs that prompt, names it, and changes nothing else."""

from __future__ import annotations

import asyncio
import copy
import os
import random
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from aps_rewards import RewardError, call_reward, load_reward
from aps_rewards.guard import copied, described, undisturbed
from hypothesis import given, settings
from hypothesis import strategies as st
from misbehaving import DEEDS, VALUES, NotEvenAnException, Unprintable, reward_of, score, switches
from test_reward_operator import TinyReward
from tiny import tiny_text_model

from aps_text import APSPipeline

QUESTIONS = ["what is a violin ?", "who is the big dog ?", "why ?", "is it a good cat ?"]
SMALL = {"steps": 3, "max_new_tokens": 6, "inner_steps": 1}
WAYS = sorted([*VALUES, *DEEDS])


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model(dtype=torch.float64))


def surroundings():
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(),
        torch.get_rng_state().tolist(),
        random.getstate(),
        str(np.random.get_state()),
        os.getcwd(),
    )


@given(st.sampled_from(WAYS), st.sampled_from(range(4)), st.booleans(), st.booleans())
def test_the_prompt_at_fault_is_named_and_nothing_is_changed(name, at, coroutine, limited):
    before, columns = surroundings(), {"note": [{"of": [q]} for q in QUESTIONS]}
    given_columns, asked, answers = copy.deepcopy(columns), [*QUESTIONS], ["a"] * 4
    reward = reward_of(name, {QUESTIONS[at]}, coroutine)
    with pytest.raises(RewardError) as caught:
        call_reward(reward, asked, answers, columns, timeout=600 if limited else None)
    assert caught.value.index == at
    assert QUESTIONS[at] in str(caught.value)
    str(caught.value).encode("utf-8")  # any terminal prints it
    assert surroundings() == before
    assert (asked, answers, columns) == (QUESTIONS, ["a"] * 4, given_columns)


@settings(max_examples=40)
@given(
    st.sampled_from(WAYS),
    st.sets(st.sampled_from(range(4)), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(["fast", "balanced"]),
)
def test_the_other_prompts_are_answered_as_if_it_had_not_been_asked(
    pipe, name, bad, coroutine, preset
):
    reward = reward_of(name, {QUESTIONS[i] for i in bad}, coroutine)
    before = surroundings()
    kept = pipe(QUESTIONS, reward, on_error="keep", preset=preset, **SMALL)
    assert surroundings() == before
    good = [i for i in range(4) if i not in bad]
    assert kept.index == good
    assert sorted(failure.index for failure in kept.failures) == sorted(bad)
    others = pipe([QUESTIONS[i] for i in good], reward, preset=preset, **SMALL)
    assert kept.text == others.text
    assert kept.rewards == others.rewards


class Broken(TinyReward):
    """Misbehaves on its embedding side on one prompt."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def score_embeds(self, embeds, attention_mask, position_ids, *, prompts, **columns):
        good = super().score_embeds(embeds, attention_mask, position_ids, prompts=prompts)
        bad = torch.tensor([prompt == QUESTIONS[1] for prompt in prompts])
        return self.how(good, bad, prompts) if bool(bad.any()) else good


class RaisesBackwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, bad):
        ctx.bad = bad
        return scores.clone()

    @staticmethod
    def backward(ctx, grad):
        raise Unprintable


class NanBackwards(RaisesBackwards):
    @staticmethod
    def backward(ctx, grad):
        return torch.where(ctx.bad, torch.nan, grad), None


def cleared(scores, bad, prompts):
    prompts.clear()
    raise KeyError(1)


RELAXED = {
    "raises backwards": lambda scores, bad, prompts: RaisesBackwards.apply(scores, bad),
    "a gradient of nan": lambda scores, bad, prompts: NanBackwards.apply(scores, bad),
    "switches": lambda scores, bad, prompts: switches(),
    "no Exception": lambda scores, bad, prompts: (_ for _ in ()).throw(NotEvenAnException),
    "empties the prompts": cleared,
    "a list": lambda scores, bad, prompts: scores.tolist(),
}


@pytest.mark.parametrize("how", RELAXED)
def test_the_embedding_side_too(pipe, how):
    reward, before = Broken(RELAXED[how]), surroundings()
    options = {"prior": "kl", "relaxation": "expectation", **SMALL}
    with pytest.raises(RewardError, match="'tiny'"):
        pipe(QUESTIONS, reward, **options)
    kept = pipe(QUESTIONS, reward, on_error="keep", **options)
    assert surroundings() == before
    others = pipe([QUESTIONS[i] for i in (0, 2, 3)], reward, **options)
    assert (kept.text, kept.rewards) == (others.text, others.rewards)
    assert [failure.index for failure in kept.failures] == [1]


@pytest.mark.parametrize("part", ["embedding_table", "frame", "tokenizer", "score_embeds"])
def test_a_part_of_the_embedding_side_that_fails_is_the_rewards_failure(pipe, part):
    armed = []

    class Failing(TinyReward):
        def __getattribute__(self, name):
            if name == part and armed:
                raise Unprintable
            return super().__getattribute__(name)

    def fails(*args, **kwargs):
        raise Unprintable

    reward = Failing()
    if part != "tokenizer":
        setattr(reward, part, fails)
        kept = pipe(QUESTIONS, reward, on_error="keep", **SMALL)
        assert [failure.index for failure in kept.failures] == [0, 1, 2, 3]
    else:
        armed.append(True)
        with pytest.raises(RewardError, match="'tiny' raised in tokenizer: Unprintable"):
            pipe(QUESTIONS, reward, on_error="keep", **SMALL)


@pytest.mark.parametrize("kind", [OSError, AttributeError])
@pytest.mark.parametrize(
    "part", ["differentiable", "tokenizer", "estimator", "steering_beta", "range"]
)
def test_a_property_that_raises_at_its_first_reading_only_is_named(pipe, part, kind):
    failures = []

    def read(self):
        if failures:
            raise failures.pop()
        return vars(self).get(part, getattr(TinyReward, part, None))

    # A property of a name that objects hold, too: a data descriptor comes first.
    own = property(read, lambda self, value: vars(self).update({part: value}))
    reward = type("Once", (TinyReward,), {part: own})()
    failures.append(kind("busy"))
    with pytest.raises(RewardError, match=f"'tiny' raised in {part}: {kind.__name__}: busy"):
        pipe(QUESTIONS[0], reward, **SMALL)
    assert pipe(QUESTIONS[0], reward, **SMALL).text


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("coroutine", [False, True])
@pytest.mark.parametrize("timeout", [None, 600])
def test_what_ends_a_program_passes_through_and_nothing_hangs(pipe, end, coroutine, timeout):
    def ends(completions, **columns):
        raise end

    async def ends_later(completions, **columns):
        await asyncio.sleep(0)
        raise end

    async def leaves_a_task_behind(completions, **columns):
        async def rude():
            raise end

        task = asyncio.ensure_future(rude())
        await asyncio.sleep(0)
        await task
        return [0.0] * len(completions)

    for reward in (ends_later, leaves_a_task_behind) if coroutine else (ends,):
        with pytest.raises(end):
            call_reward(reward, ["q", "r"], ["a", "b"], timeout=timeout)
        with pytest.raises(end):
            pipe(QUESTIONS[:1], reward, on_error="keep", **SMALL)
    later = reward_of("none", set(), True)  # the loop is still there
    assert call_reward(later, ["q"], ["a"]) == [score("q", "a")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_an_async_reward_in_a_forked_child():
    program = """
import os
from aps_rewards import call_reward
async def r(completions, **columns):
    return [1.0] * len(completions)
assert call_reward(r, ["q"], ["a"]) == [1.0]  # the parent's loop runs
child = os.fork()
if child == 0:
    os._exit(0 if call_reward(r, ["q"], ["a"]) == [1.0] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=300).returncode == 0


def test_signals_under_a_time_limit_say_what_to_do():
    def alarmed(completions, **columns):
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
        return [0.0] * len(completions)

    assert call_reward(alarmed, ["q"], ["a"]) == [0.0]
    with pytest.raises(RewardError, match=r"main thread only.*set no reward_timeout"):
        call_reward(alarmed, ["q"], ["a"], timeout=600)


def test_a_callable_without_a_signature_gets_everything():
    class Hidden:
        __signature__ = "none of your business"

        def __call__(self, prompts, completions, completion_ids, **rest):
            return [float(len(completions)) for _ in prompts]

    assert call_reward(Hidden(), ["q", "r"], ["a", "b"]) == [2.0, 2.0]
    with pytest.raises(RewardError, match="'max' raised on prompt 0"):
        call_reward(max, ["q"], ["a"])


def test_a_coroutine_keeps_its_own_modes_from_step_to_step():
    """What it switches holds until it ends, and is never seen by what runs between."""
    seen, turn = [], threading.Event()

    async def switches_off(completions, **columns):
        torch.manual_seed(11)
        first = torch.rand(1)
        with torch.no_grad():
            for _ in range(3):
                seen.append(torch.is_grad_enabled())
                await asyncio.sleep(0)
        turn.set()
        return [float(first), float(torch.rand(1))][: len(completions)]

    async def looks(completions, **columns):
        while not turn.is_set():
            seen.append(torch.is_grad_enabled() or "changed")
            await asyncio.sleep(0)
        return [0.0] * len(completions)

    from aps_rewards import RewardCall

    torch.manual_seed(11)
    wanted = torch.rand(2).tolist()
    before = surroundings()
    calls = [RewardCall(r, ["q", "r"], ["a", "b"]) for r in (switches_off, looks)]
    assert calls[0].result() == pytest.approx(wanted)
    assert calls[1].result() == [0.0, 0.0]
    assert seen.count(False) == 3
    assert "changed" not in seen
    assert surroundings() == before


everything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner, inner)
        | st.builds(lambda x: np.array([x], dtype=object), inner)
    ),
    max_leaves=12,
)


@given(everything)
def test_a_copy_is_equal_and_shares_nothing_that_changes(value):
    twin = copied(value)
    assert repr(twin) == repr(value)

    def lists(x):
        if isinstance(x, (list, dict, np.ndarray)):
            yield id(x)
        if isinstance(x, (list, tuple)):
            for item in x:
                yield from lists(item)
        if isinstance(x, np.ndarray):
            for item in x.ravel().tolist():
                yield from lists(item)
        if isinstance(x, dict):
            for item in x.values():
                yield from lists(item)

    assert not set(lists(value)) & set(lists(twin))


def test_what_cannot_be_copied_is_shared():
    lock = threading.Lock()
    loop = [lock]
    loop.append(loop)
    assert copied([lock, {"a": lock}]) == [lock, {"a": lock}]
    twin = copied(loop)  # it holds itself
    assert twin[0] is lock or twin is loop
    assert copied(torch.ones(2)) is not None


@given(st.one_of(st.text(), st.binary(), st.integers(), st.floats(), everything))
def test_every_description_can_be_printed(value):
    assert described(value).encode("utf-8")
    assert described(ValueError(value)).startswith("ValueError")
    assert len(described([value] * 10_000)) <= 2000  # and takes no time


def test_nothing_is_left_switched_whatever_happens_inside():
    before = surroundings()
    with pytest.raises(KeyError, match="switched"), undisturbed():
        switches()
    assert surroundings() == before


def test_options_of_a_reward_given_as_a_partial_are_not_columns():
    seen = []

    def reward(completions, *, bonus=0.0, **kwargs):
        seen.append(kwargs)
        return [bonus] * len(completions)

    assert call_reward(load_reward(reward, bonus=2.0), ["q"], ["a"]) == [2.0]
    assert {"prompts", "trainer_state", "log_extra", "log_metric"} <= set(seen[0])


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("x" * 198, 200),
        ("x" * 199, 200),
        ("x" * 5000, 200),
        (slice("x" * 500), 200),
        (10**59, 60),
        (10**4000, 60),
        (ValueError("x" * 1988), 2000),
        (ValueError("x" * 1989), 2000),
        (ValueError("x" * 9999), 2000),
        (ValueError(), len("ValueError")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_description_is_as_long_as_it_may_be(value, length):
    assert len(described(value)) == length


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("inference", [True, False])
def test_the_callers_modes_hold_inside_and_come_back(grad, inference):
    with torch.inference_mode(inference), torch.set_grad_enabled(grad):
        for _ in range(2):
            with undisturbed():
                modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
                assert modes == (grad, inference)
                torch.set_grad_enabled(not grad)
            modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            assert modes == (grad, inference)
