"""Calling a reward: what is passed, what is scored once, and what every failure says."""

from __future__ import annotations

import asyncio
import re
import threading
import time

import numpy as np
import pytest
import torch
from aps_rewards import RewardCall, RewardError, call_reward, waiting
from clocks import StandingClock
from hypothesis import given
from hypothesis import strategies as st

PROMPTS = ["What is a violin?", "What is a lion?", "What is a rock?"]
ANSWERS = ["a fiddle", "a cat", "a stone"]


def length(prompts, completions, completion_ids=None, **columns):
    return [len(c) for c in completions]


pairs = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "x", "yy"])), max_size=12)


@given(pairs)
def test_duplicates_are_scored_once_and_land_in_their_rows(rows):
    seen = []

    def reward(prompts, completions, **columns):
        seen.extend(zip(prompts, completions, strict=True))
        return length(prompts, completions)

    scores = call_reward(reward, [p for p, _ in rows], [c for _, c in rows])
    assert scores == [float(len(c)) for _, c in rows]
    assert sorted(seen) == sorted(set(rows))


def test_rows_that_differ_in_a_column_are_not_duplicates():
    def reward(completions, reference, **columns):
        return [float(c == r) for c, r in zip(completions, reference, strict=True)]

    columns = {"reference": ["x", "y", "x"]}
    assert call_reward(reward, ["p"] * 3, ["x"] * 3, columns) == [1.0, 0.0, 1.0]
    # 1, 1.0 and True are equal in Python and not the same value.
    kinds = call_reward(
        lambda kind, **kw: [float(type(k) is bool) for k in kind],
        ["p"] * 3,
        ["x"] * 3,
        {"kind": [1, True, 1.0]},
    )
    assert kinds == [0.0, 1.0, 0.0]


def test_only_named_arguments_are_passed_without_kwargs():
    assert call_reward(lambda completions: [1.0] * len(completions), ["p"], ["c"]) == [1.0]
    ids = call_reward(
        lambda completions, completion_ids: [len(i) for i in completion_ids],
        ["p", "q"],
        ["c", "c"],
        {"unused": [0, 0]},
        completion_ids=[[1, 2], [3]],
    )
    assert ids == [2.0, 1.0]


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0, 3.0],
        (1, 2, 3),
        torch.tensor([1.0, 2.0, 3.0]),
        torch.tensor([1.0, 2.0, 3.0], requires_grad=True),
        np.array([1, 2, 3], dtype=np.float32),
        [np.float32(1), torch.tensor(2.0), np.int64(3)],
    ],
)
def test_numbers_of_every_make(values):
    assert call_reward(lambda **kw: values, PROMPTS, ANSWERS) == [1.0, 2.0, 3.0]


def test_none_is_not_applicable_and_contributes_nothing():
    assert call_reward(lambda **kw: [None, 2, None], PROMPTS, ANSWERS) == [0.0, 2.0, 0.0]


def test_messages_arrive_as_messages():
    prompts = [[{"role": "user", "content": "hi"}]]
    answers = [[{"role": "assistant", "content": "hello"}]]

    def reward(prompts, completions, **columns):
        return [len(completions[0][0]["content"])]

    assert call_reward(reward, prompts, answers) == [5.0]


def test_coroutines_are_awaited_also_inside_a_running_loop():
    async def reward(prompts, completions, **columns):
        await asyncio.sleep(0)
        return [float(len(c)) for c in completions]

    async def notebook():
        return call_reward(reward, PROMPTS, ANSWERS)

    expected = [8.0, 5.0, 7.0]
    assert call_reward(reward, PROMPTS, ANSWERS) == expected
    assert asyncio.run(notebook()) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, float("nan"), 0.0], r"returned nan for prompt 1 \('What is a lion\?'.*finite"),
        ([1.0, 0.0, float("inf")], r"returned inf for prompt 2 \('What is a rock\?'"),
        (["good", 0.0, 0.0], r"returned 'good' for prompt 0 \('What is a violin\?'"),
        ([[1.0], 0.0, 0.0], r"returned \[1\.0\] for prompt 0"),
        ([1.0, 2.0], r"returned 2 values for 3 completions"),
        (torch.tensor(1.0), "returned a Tensor for 3 completions"),
        (1.0, "returned a float for 3 completions"),
        ("abc", "returned a str for 3 completions"),
        (None, "returned a NoneType for 3 completions"),
    ],
)
def test_bad_results_name_reward_prompt_and_mend(values, message):
    def mood(prompts, completions, **columns):
        return values

    with pytest.raises(RewardError, match=message) as caught:
        call_reward(mood, PROMPTS, ANSWERS)
    assert "'mood'" in str(caught.value)
    assert caught.value.reward == "mood"


def test_an_exception_names_the_row_at_fault_and_is_chained():
    def picky(prompts, completions, **columns):
        return [1 / (c != "a cat") for c in completions]

    with pytest.raises(RewardError, match=r"'picky' raised on prompt 1 .*lion.*ZeroDivision") as c:
        call_reward(picky, PROMPTS, ANSWERS)
    assert c.value.index == 1
    assert isinstance(c.value.__cause__, ZeroDivisionError)
    # Its place in the caller's batch, not among the distinct rows.
    with pytest.raises(RewardError) as caught:
        call_reward(picky, [PROMPTS[0], *PROMPTS], [ANSWERS[0], *ANSWERS])
    assert caught.value.index == 2


def test_an_exception_of_the_batch_as_such():
    def single(completions, **columns):
        if len(completions) > 1:
            raise MemoryError("too many")
        return [0.0]

    with pytest.raises(
        RewardError, match=r"batch of 3 \(the first: 'What is a v.*none of its rows alone: Mem"
    ):
        call_reward(single, PROMPTS, ANSWERS)


def test_a_wrong_number_of_values_is_traced_to_its_row():
    def skips_cats(completions, **columns):
        return [1.0 for c in completions if "cat" not in c]

    message = r"returned 2 values for 3 completions, none for prompt 1 \('What is a lion"
    with pytest.raises(RewardError, match=message) as caught:
        call_reward(skips_cats, PROMPTS, ANSWERS)
    assert caught.value.index == 1

    def one_too_few(completions, **columns):  # of any batch: no row is at fault
        return [1.0] * max(1, len(completions) - 1)

    with pytest.raises(RewardError, match=r"2 values for 3 completions \(the first: ") as caught:
        call_reward(one_too_few, PROMPTS, ANSWERS)
    assert caught.value.index is None

    def none_at_all(completions, **columns):
        return []

    message = r"returned 0 values for 1 completions, none for prompt 0 \('What is a v"
    with pytest.raises(RewardError, match=message) as caught:
        call_reward(none_at_all, PROMPTS[:1], ANSWERS[:1])
    assert caught.value.index == 0
    with pytest.raises(RewardError, match=r"0 values for 2 completions \(the first: "):
        call_reward(none_at_all, PROMPTS[:2], ANSWERS[:2])


def test_interrupts_pass_through():
    def stopped(**columns):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_reward(stopped, PROMPTS, ANSWERS)


@pytest.mark.parametrize("at", ["prompts", "completions", "reference"])
def test_a_text_in_place_of_a_list_is_refused(at):
    given = {"prompts": ["q", "r"], "completions": ["a", "b"], "reference": ["x", "y"], at: "no"}
    prompts, completions = given.pop("prompts"), given.pop("completions")
    with pytest.raises(ValueError, match=f"{at} is a list with a value per row, got 'no'"):
        call_reward(lambda completions, **kw: [0.0, 0.0], prompts, completions, given)


def test_lists_of_unequal_length():
    with pytest.raises(ValueError, match="3 prompts but 1 values of 'completions'"):
        call_reward(length, PROMPTS, ["x"])
    with pytest.raises(ValueError, match="3 prompts but 2 values of 'reference'"):
        call_reward(length, PROMPTS, ANSWERS, {"reference": ["a", "b"]})
    with pytest.raises(ValueError, match="cannot be named 'prompts'"):
        call_reward(length, PROMPTS, ANSWERS, {"prompts": ["a", "b", "c"]})


def test_no_rows():
    assert call_reward(length, [], []) == []


def test_a_reward_that_hangs_is_given_up_and_named(monkeypatch):
    clock, release = StandingClock(), threading.Event()
    monkeypatch.setattr(waiting, "CLOCK", clock)

    def hangs(prompts, completions, **columns):
        if "a cat" in completions:
            clock.hangs.set()
            release.wait(60)
        return length(prompts, completions)

    async def hangs_async(prompts, completions, **columns):
        return hangs(prompts, completions)  # it blocks its loop as well

    for reward in (hangs, hangs_async):
        with pytest.raises(RewardError, match=r"timed out on prompt 1 .*no answer within 0.2 s"):
            call_reward(reward, PROMPTS, ANSWERS, timeout=0.2)
        assert not release.is_set()  # nobody waited for it to end
        assert call_reward(reward, PROMPTS[:1], ANSWERS[:1], timeout=5) == [8.0]
    release.set()


def test_what_a_function_has_spent_is_not_left_to_the_awaitable_it_returns(monkeypatch):
    clock = StandingClock()
    monkeypatch.setattr(waiting, "CLOCK", clock)

    async def hangs():
        clock.hangs.set()
        await asyncio.Event().wait()

    def slow(spent):
        clock.time += spent
        return hangs()

    for spent, end in ((3, 3.5), (7, 10.5)):  # half a second is left, and none
        with pytest.raises(waiting.RewardTimeout, match=r"within 3\.5 s"):
            waiting.start(slow, {"spent": spent}, 3.5)()
        assert clock.time == end


def test_a_rewards_own_timeout_error_is_its_own():
    async def gives_up(**columns):
        raise TimeoutError("the server said 504")

    with pytest.raises(RewardError, match=r"raised on prompt 0 .*TimeoutError: the server said"):
        call_reward(gives_up, PROMPTS[:1], ANSWERS[:1], timeout=5)


def test_an_async_reward_may_call_another():
    async def inner(completions, **columns):
        await asyncio.sleep(0)
        return [float(len(c)) for c in completions]

    async def outer(prompts, completions, **columns):
        return [2 * v for v in call_reward(inner, prompts, completions)]

    assert call_reward(outer, PROMPTS, ANSWERS) == [16.0, 10.0, 14.0]


def test_calls_started_together_run_together():
    async def slow(completions, **columns):
        await asyncio.sleep(0.3)
        return [0.0] * len(completions)

    start = time.perf_counter()
    calls = [RewardCall(slow, PROMPTS, ANSWERS) for _ in range(4)]
    assert [call.result() for call in calls] == [[0.0] * 3] * 4
    assert time.perf_counter() - start < 0.9
    assert RewardCall(length, ["p"] * 3, ["a", "a", "b"]).distinct == 2


def test_a_chat_reward_given_strings_says_what_it_wants():
    def chat(completions, **columns):
        return [float(len(c[0]["content"])) for c in completions]

    with pytest.raises(RewardError, match="if it reads chat messages, pass prompts as messages"):
        call_reward(chat, PROMPTS, ANSWERS)


def test_a_reward_of_texts_given_messages_says_how_to_read_them():
    said = r"too: a reward of texts reads completion\[-1\]\['content'\]"
    wrong = [
        lambda prompts, completions: [len(text.split()) for text in completions],
        lambda prompts, completions: [len(re.findall("a", text)) for text in completions],
        lambda prompts, completions: [len("" + text) for text in completions],
    ]
    for reward in wrong:
        with pytest.raises(RewardError, match=said):
            call_reward(reward, [[{"role": "user", "content": "q"}]], [[{"content": "a"}]])

    def broken(prompts, completions):
        raise TypeError("of its own")

    with pytest.raises(RewardError) as caught:
        call_reward(broken, [[{"role": "user", "content": "q"}]], [[{"content": "a"}]])
    assert str(caught.value).endswith("of its own")


def test_a_name_is_no_reward_and_the_error_says_what_loads_it():
    with pytest.raises(TypeError, match=r"load_reward\('sentiment'\) loads it"):
        call_reward("sentiment", PROMPTS, ANSWERS)
    with pytest.raises(TypeError, match=r"reward is a callable, got None$"):
        call_reward(None, PROMPTS, ANSWERS)

    class Scorer:
        def score(self, prompts, completions, **columns):
            return [1.0] * len(prompts)

    with pytest.raises(TypeError, match="reward is the class Scorer; pass an instance of it"):
        call_reward(Scorer, PROMPTS, ANSWERS)
    with pytest.raises(RewardError, match="a method of a class: pass that of an instance"):
        call_reward(Scorer.score, PROMPTS, ANSWERS)
    assert call_reward(Scorer().score, PROMPTS, ANSWERS) == [1.0] * len(PROMPTS)


@pytest.mark.parametrize("made", [torch.tensor, np.array])
def test_a_heads_logits_are_one_number_a_row(made):
    def head(prompts, completions, **columns):
        return made([[0.5], [1.5], [2.5]])

    assert call_reward(head, PROMPTS, ANSWERS) == [0.5, 1.5, 2.5]

    def two(prompts, completions, **columns):
        return made([[0.5, 1.0]] * 3)

    with pytest.raises(RewardError, match="return a finite number"):
        call_reward(two, PROMPTS, ANSWERS)


def test_a_column_that_was_not_given_is_named_with_the_mend():
    def judged(prompts, completions, answer):
        return [1.0] * len(prompts)

    with pytest.raises(RewardError, match=r"pass columns=.* for 'answer'"):
        call_reward(judged, PROMPTS, ANSWERS)


def test_a_wrapper_whose_inner_reward_lacks_a_column_is_told_of_the_column():
    def inner(prompts, completions, label, **rest):
        return [1.0] * len(prompts)

    def outer(**columns):
        return inner(**columns)

    with pytest.raises(RewardError, match=r"pass columns=.* for 'label'"):
        call_reward(outer, PROMPTS, ANSWERS)


def test_an_error_of_a_prompt_without_its_text_reads_as_a_sentence():
    error = RewardError("mine", "returned 2 values", 3, more="; return a list")
    assert str(error) == "reward 'mine' returned 2 values; return a list (prompt 3)"


def test_a_reward_that_stops_its_loop_stops_no_other():
    async def stops(prompts, completions, **columns):
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return [1.0] * len(prompts)

    async def other(prompts, completions, **columns):
        await asyncio.sleep(0)
        return [2.0] * len(prompts)

    assert call_reward(stops, PROMPTS, ANSWERS, timeout=600) == [1.0] * 3
    assert call_reward(other, PROMPTS, ANSWERS, timeout=600) == [2.0] * 3


def test_a_loop_that_hangs_is_given_up_for_a_new_one(monkeypatch):
    clock, release = StandingClock(), threading.Event()
    monkeypatch.setattr(waiting, "CLOCK", clock)

    async def hangs(completions, **columns):
        clock.hangs.set()
        release.wait(600)

    before = waiting._SHARED.running()
    try:
        with pytest.raises(RewardError, match="timed out"):
            call_reward(hangs, PROMPTS[:1], ANSWERS[:1], timeout=0.2)
        after = waiting._SHARED.running()
        assert after is not before
        assert after.thread is not before.thread
    finally:
        release.set()
    waiting._SHARED.give_up(before)  # somebody else waited for it, too
    assert waiting._SHARED.running() is after


def test_a_table_is_no_list_of_values():
    pandas = pytest.importorskip("pandas")

    def named_by_number(prompts, completions, **columns):
        return pandas.DataFrame([[5.0, 6.0], [7.0, 8.0]])  # iterating gives its names, 0 and 1

    with pytest.raises(RewardError, match="returned a DataFrame for 2 completions"):
        call_reward(named_by_number, ["a", "b"], ["c", "d"])

    def column(prompts, completions, **columns):
        return named_by_number(prompts, completions)[1]

    assert call_reward(column, ["a", "b"], ["c", "d"]) == [6.0, 8.0]


def test_a_reward_of_one_row_or_without_names_is_told_how_it_is_called():
    def single(prompt, completion):
        return 1.0

    def nameless(prompts, completions, /):
        return [1.0] * len(completions)

    for reward in (single, nameless, lambda p, c: [1.0] * len(c)):
        with pytest.raises(RewardError, match=r"def reward\(prompts, completions, \*\*kwargs\)"):
            call_reward(reward, ["why ?"], ["no"])


def test_a_function_of_one_text_is_told_how_a_reward_is_called():
    def one(text):
        return 1.0

    with pytest.raises(RewardError, match=r"with lists: def reward\(prompts, compl"):
        call_reward(one, ["q"], ["a"])
