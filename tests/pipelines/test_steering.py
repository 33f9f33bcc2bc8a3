"""What steering did: roles, gaps, warnings, controls, failures; on tiny random weights."""

from __future__ import annotations

import asyncio
import json
import math
import time

import pytest
import torch
from aps_rewards import (
    Clipped,
    Normalised,
    RewardError,
    Threshold,
    WeightedSum,
    call_reward,
    waiting,
)
from clocks import StandingClock
from test_reward_operator import TinyReward
from tiny import tiny_text_model

from aps_text import APSPipeline
from aps_text.core.codebook import Relaxed
from aps_text.methods.aps import APS
from aps_text.methods.best_of_n import BestOf
from aps_text.pipelines.comparison import compare
from aps_text.pipelines.diagnosis import warnings_of
from aps_text.pipelines.guidance_monitor import GuidanceTrace
from aps_text.pipelines.repetition import repetition
from aps_text.text.reward_operator.controls import Shuffled, token_permutation
from aps_text.text.reward_operator.operator import RewardOperator

QUESTIONS = ["what is a violin ?", "who is the big dog ?", "why ?"]
SMALL = {"steps": 4, "max_new_tokens": 8}


def vowels(prompts, completions, **columns):
    return [sum(letter in "aeiou" for letter in text) / 8 for text in completions]


def words(prompts, completions, **columns):
    return [float(len(text.split())) for text in completions]


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model(dtype=torch.float64))


# Roles


def test_guide_select_and_report_are_told_apart(pipe):
    out = pipe(
        QUESTIONS, [(vowels, 2.0), (words, 0.0)], select=Clipped(words, high=6), report=words,
        num_return_sequences=3, temperature=1.0, **SMALL,
    )  # fmt: skip
    assert set(out.rewards.guide) == {"vowels"}
    assert set(out.rewards.report) == {"words"}
    # The selecting reward is another object, so its parts are numbered apart.
    assert set(out.rewards.select) == {"clipped(words)", "words_2"}
    assert out.rewards["total"] == pytest.approx([2 * v for v in out.rewards["vowels"]])
    assert out.rewards["words"] == words([], out.text)
    assert out.index == [0, 1, 2]
    every = pipe(
        QUESTIONS, [(vowels, 2.0), (words, 0.0)], num_return_sequences=3, temperature=1.0, **SMALL
    )
    for prompt, text in enumerate(out.text):
        mine = every.text[3 * prompt : 3 * prompt + 3]
        scores = [min(v, 6.0) for v in words([], mine)]
        assert text == mine[scores.index(max(scores))]
    assert len(set(every.index)) < len(every.index) == 9


def test_a_reward_in_two_roles_is_asked_once(pipe):
    asked = []

    def once(prompts, completions, **columns):
        asked.append(len(completions))
        return vowels(prompts, completions)

    out = pipe.generate(QUESTIONS, reward=once, select=once, report=once, **SMALL)
    assert sum(asked) == 3
    assert out.cost.reward_calls == 1
    assert out.rewards.guide == out.rewards.select == out.rewards.report
    assert set(out.rewards) == {"total", "once"}


def test_the_gap_is_relaxed_minus_text(pipe):
    seen = []
    out = pipe(QUESTIONS, vowels, on_step=lambda _, state: seen.append(state), **SMALL)
    rewards = out.rewards
    first = next(state for state in seen if state.guided)
    assert rewards.before["vowels"] == pytest.approx(first.rewards["vowels"].tolist())
    told = [state.rewards["vowels"] for state in seen if state.guided]
    for row in range(3):
        last = [reward[row] for reward in told if reward[row] != 0][-1]
        assert rewards.relaxed["vowels"][row] == pytest.approx(float(last))
        assert rewards.gap["vowels"][row] == pytest.approx(float(last) - rewards["vowels"][row])
    record = json.loads(json.dumps(out.as_dicts()[0]))
    assert record["relaxed"]["vowels"] == rewards.relaxed["vowels"][0]
    plain = pipe.generate(QUESTIONS, reward=vowels, **SMALL)
    assert plain.rewards.relaxed == {}
    assert not any("relaxed" in one for one in plain.warnings)


# Composition, through the pipeline


def test_a_composed_reward_steers_by_gradient_where_its_parts_do(pipe):
    tiny = TinyReward()
    through = pipe(QUESTIONS, Clipped(tiny, high=100.0), prior="kl", **SMALL)
    plain = pipe(QUESTIONS, tiny, prior="kl", **SMALL)
    assert through.text == plain.text  # the bound is never reached
    assert through.cost.reward_backwards == plain.cost.reward_backwards > 0
    assert set(through.rewards) == {"total", "clipped(tiny)", "tiny"}
    boxed = pipe(QUESTIONS, Threshold(tiny, at=0.0), **SMALL)
    assert boxed.cost.reward_backwards == 0  # a hard step is a black box
    assert boxed.cost.reward_forwards > through.cost.reward_forwards


def test_auto_takes_the_estimator_a_reward_asks_for(pipe):
    class Sampled(TinyReward):
        estimator = "rloo"

    box, through = (pipe(QUESTIONS, Sampled(), estimator=e, **SMALL) for e in ("auto", "relaxed"))
    assert box.cost.reward_backwards == 0 < through.cost.reward_backwards
    assert box.cost.reward_forwards > through.cost.reward_forwards
    assert through.text == pipe(QUESTIONS, TinyReward(), **SMALL).text
    assert box.text == pipe(QUESTIONS, Sampled(), estimator="rloo", **SMALL).text


def test_the_parts_of_a_sum_each_steer_in_their_own_way(pipe):
    tiny = TinyReward()
    one = pipe(QUESTIONS, WeightedSum([(tiny, 0.5), (vowels, -1.0)]), **SMALL)
    two = pipe(QUESTIONS, [(tiny, 0.5), (vowels, -1.0)], **SMALL)
    assert one.text == two.text
    assert one.cost.reward_backwards == two.cost.reward_backwards > 0
    assert one.rewards == two.rewards


def test_calibration_makes_beta_mean_the_same(pipe):
    def hundredfold(prompts, completions, **columns):
        return [100 * v + 7 for v in vowels(prompts, completions)]

    one, two = Normalised(vowels), Normalised(hundredfold)
    with pytest.raises(ValueError, match=r"normalised\(vowels\) has observed 0 scores"):
        pipe(QUESTIONS, one, **SMALL)
    both = WeightedSum([(one, 1.0), (Clipped(two, -9, 9), 1.0)])
    assert pipe.calibrate(both, QUESTIONS, temperature=1.0, **SMALL) is both
    assert one.count == two.count == 12
    base = pipe.generate(QUESTIONS, num_return_sequences=4, temperature=1.0, **SMALL)
    scores = torch.tensor(vowels([], base.text), dtype=torch.float64)
    assert one.statistics == pytest.approx((float(scores.mean()), float(scores.std(correction=0))))
    options = {"inner_steps": 1, "estimator": "rloo", **SMALL}
    same = pipe(QUESTIONS, one, **options)
    assert pipe(QUESTIONS, two, **options).text == same.text
    assert same.text != pipe.generate(QUESTIONS, **SMALL).text
    with pytest.raises(ValueError, match=r"nothing to calibrate; wrap it"):
        pipe.calibrate(vowels, QUESTIONS)


# Controls


def test_zero_is_the_base_sampler_token_for_token(pipe):
    plain = pipe.generate(QUESTIONS, **SMALL)
    for reward in (vowels, TinyReward()):
        zero = pipe(QUESTIONS, reward, control="zero", prior="kl", **SMALL)
        assert zero.token_ids == plain.token_ids
        assert zero.rewards["total"] == pytest.approx(call_reward(reward, QUESTIONS, zero.text))


@pytest.mark.parametrize("method", [APS(), BestOf(APS(), 2)])
def test_zero_draws_no_answers_to_compare(pipe, method):
    how = {"method": method, "inner_steps": 0, **SMALL}
    zero = pipe(QUESTIONS, vowels, control="zero", **how)
    steered = pipe(QUESTIONS, vowels, **how)
    plainly = pipe.generate(QUESTIONS, num_return_sequences=getattr(method, "samples", 1), **SMALL)
    assert zero.cost.denoiser_forwards == plainly.cost.denoiser_forwards
    assert steered.cost.denoiser_forwards > zero.cost.denoiser_forwards


def test_flipped_lowers_what_steering_raises(pipe):
    options = {"num_return_sequences": 8, "beta": 0.02, **SMALL}
    mean = {
        control: sum(pipe(QUESTIONS, vowels, control=control, **options).rewards["vowels"]) / 24
        for control in (None, "zero", "flipped")
    }
    assert mean["flipped"] < mean["zero"] < mean[None]


def test_shuffled_reads_every_token_as_another(pipe):
    model = pipe.model
    reward = TinyReward()
    operator = RewardOperator(reward, "tiny", ["why"] * 2, model.vocabulary)
    fixed = {*model.parts.suppressed, *model.stop_ids, model.fill_id}
    pi = token_permutation(model.parts.vocab_size, fixed, seed=3)
    assert sorted(pi.tolist()) == list(range(len(pi)))
    assert all(pi[i] == i for i in fixed)
    assert (pi != torch.arange(len(pi))).float().mean() > 0.9
    assert pi.equal(token_permutation(model.parts.vocab_size, fixed, seed=3))
    shuffled = Shuffled(operator, pi)
    ids = torch.tensor([[20, 21, 22], [30, 31, 32]])
    torch.testing.assert_close(
        shuffled.log_prob_ids(ids).total, operator.log_prob_ids(pi[ids]).total
    )
    # One masked position: relaxed on one token is that token, read as another.
    rows, cols = torch.tensor([0, 1]), torch.tensor([1, 2])
    probs = torch.nn.functional.one_hot(ids[rows, cols], len(pi)).double()
    alive = torch.ones_like(ids, dtype=torch.bool)
    for relaxation, quantizer in (("expectation", "nearest"), ("quantized", "nearest")):
        relaxed = Relaxed(ids, rows, cols, probs, alive, relaxation, quantizer)
        hard = Relaxed(pi[ids], rows, cols, probs[:, pi.argsort()], alive, relaxation, quantizer)
        torch.testing.assert_close(shuffled.log_prob(relaxed).total, operator.log_prob(hard).total)
    book = shuffled.codebook
    torch.testing.assert_close(book.embed(ids), operator.codebook.embed(pi[ids]))
    torch.testing.assert_close(book.expect(probs), book.embed(ids[rows, cols]))
    logits = book.tilt(book.embed(ids[0]))  # <u, c_k> of every token k
    torch.testing.assert_close(logits, book.embed(ids[0]) @ book.embed(torch.arange(len(pi))).T)
    seen = operator.codebook.allowed[pi[ids[0]]] if operator.codebook.allowed is not None else None
    if seen is None or bool(seen.all()):
        assert book.embed(book.nearest(book.embed(ids[0]))).equal(book.embed(ids[0]))
    out = pipe(QUESTIONS, reward, control="shuffled", **SMALL)
    assert out.rewards.relaxed == {}  # those values are not the reward's own
    assert out.rewards["tiny"] == pytest.approx(call_reward(reward, QUESTIONS, out.text))
    with pytest.raises(ValueError, match="control is one of zero, shuffled, flipped; got 'half'"):
        pipe(QUESTIONS, vowels, control="half", **SMALL)


# Failures


def failing(on):
    def picky(prompts, completions, **columns):
        if on in prompts:
            raise ZeroDivisionError("no")
        return vowels(prompts, completions)

    return picky


CLOCK = StandingClock()


def hanging(prompts, completions, **columns):
    if QUESTIONS[1] in prompts:
        CLOCK.hangs.set()
        time.sleep(30)
    return vowels(prompts, completions)


async def hanging_async(prompts, completions, **columns):
    if QUESTIONS[1] in prompts:
        CLOCK.hangs.set()
        await asyncio.sleep(30)
    return vowels(prompts, completions)


def nan(prompts, completions, **columns):
    values = vowels(prompts, completions)
    return [math.nan if p == QUESTIONS[1] else v for p, v in zip(prompts, values, strict=True)]


def skipping(prompts, completions, **columns):
    return [
        v for p, v in zip(prompts, vowels(prompts, completions), strict=True) if p != QUESTIONS[1]
    ]


class BrokenFrame(TinyReward):
    """Cannot frame one prompt."""

    def frame(self, prompt):
        if prompt == QUESTIONS[1]:
            raise KeyError("big")
        return super().frame(prompt)


class BrokenGradient(TinyReward):
    """Fails on one prompt, on the relaxed side only."""

    def __init__(self, result):
        super().__init__()
        self.result = result

    def score_embeds(self, embeds, attention_mask, position_ids, *, prompts, **columns):
        scores = super().score_embeds(embeds, attention_mask, position_ids, prompts=prompts)
        bad = torch.tensor([prompt == QUESTIONS[1] for prompt in prompts])
        if self.result is None and bool(bad.any()):
            raise ZeroDivisionError("no")
        if self.result == "device":
            return scores.to("meta") if bool(bad.any()) else scores
        if self.result == "hang":
            if bool(bad.any()):
                CLOCK.hangs.set()
                time.sleep(30)
            return scores
        if self.result == "cut":
            return scores.detach()
        return torch.where(bad, self.result or 0.0, scores)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (failing(QUESTIONS[1]), r"'picky' raised on prompt 1 \('who is the big dog"),
        (nan, r"'nan' returned nan for prompt 1 \('who is the big dog"),
        (skipping, r"'skipping' returned \d+ values for \d+ completions, none for prompt 1 "),
        (BrokenFrame(), r"'tiny' raised in frame on prompt 1 .*KeyError: 'big'"),
        (hanging, r"'hanging' timed out on prompt 1 .*no answer within 0.3 s"),
        (hanging_async, r"'hanging_async' timed out on prompt 1 .*no answer within 0.3 s"),
        (BrokenGradient(None), r"'tiny' raised in score_embeds on prompt 1 .*ZeroDivision"),
        (BrokenGradient("hang"), r"'tiny' timed out in score_embeds on prompt 1 .*within 0.3 s"),
        (BrokenGradient(math.inf), r"'tiny' returned inf from score_embeds for prompt 1 "),
    ],
)
@pytest.mark.parametrize("seed_rows", [1, 2])
def test_a_failure_names_reward_and_prompt_and_the_others_are_answered(
    pipe, reward, message, seed_rows, monkeypatch
):
    monkeypatch.setattr(waiting, "CLOCK", CLOCK)
    options = {"num_return_sequences": seed_rows, "inner_steps": 1, "reward_timeout": 0.3}
    if reward not in (hanging, hanging_async) and getattr(reward, "result", None) != "hang":
        del options["reward_timeout"]
    with pytest.raises(RewardError, match=message) as caught:
        pipe(QUESTIONS, reward, **options, **SMALL)
    assert caught.value.index == 1
    assert len(caught.value.partial) == 0  # one batch, not finished
    kept = pipe(QUESTIONS, reward, on_error="keep", **options, **SMALL)
    others = pipe(QUESTIONS[::2], reward, **options, **SMALL)
    assert kept.text == others.text
    assert kept.rewards == others.rewards
    assert kept.index == [0] * seed_rows + [2] * seed_rows
    assert [(f.index, f.prompt) for f in kept.failures] == [(1, QUESTIONS[1])]
    assert caught.value.reward == kept.failures[0].reward


def test_a_tensor_on_the_wrong_device_is_named(pipe):
    with pytest.raises(RewardError, match=r"'tiny' returned a tensor on meta .* return it on cpu"):
        pipe(QUESTIONS, BrokenGradient("device"), **SMALL)

    def elsewhere(prompts, completions, **columns):
        return torch.zeros(len(prompts), device="meta")

    with pytest.raises(RewardError, match=r"'elsewhere' raised on prompt 0 "):
        pipe(QUESTIONS, elsewhere, **SMALL)


def test_a_time_limit_changes_no_answer(pipe):
    """Under it the forward runs in another thread: same scores, same gradients."""
    options = {"inner_steps": 2, "prior": "kl", **SMALL}
    free = pipe(QUESTIONS, TinyReward(), **options)
    limited = pipe(QUESTIONS, TinyReward(), reward_timeout=60, **options)
    assert limited.token_ids == free.token_ids
    assert limited.rewards.relaxed["tiny"] == pytest.approx(free.rewards.relaxed["tiny"])
    assert limited.cost.reward_backwards == free.cost.reward_backwards > 0


def test_a_gradient_that_is_cut_is_named(pipe):
    message = r"'tiny' says it is differentiable and returned scores without a gradient"
    with pytest.raises(RewardError, match=message):
        pipe(QUESTIONS, BrokenGradient("cut"), **SMALL)
    assert len(pipe.generate(QUESTIONS, reward=BrokenGradient("cut"), **SMALL)) == 3


def test_finished_batches_travel_with_the_error(pipe):
    single = APSPipeline(pipe.model, batch_size=1)
    with pytest.raises(RewardError) as caught:
        single(QUESTIONS, failing(QUESTIONS[2]), **SMALL)
    partial = caught.value.partial
    assert partial.prompts == QUESTIONS[:2]
    assert partial.text == single(QUESTIONS[:2], failing("-"), **SMALL).text
    kept = single(QUESTIONS, failing(QUESTIONS[0]), on_error="keep", adapter="lora", **SMALL)
    assert kept.places == [(0, 0), (1, 0)]
    assert len(kept.adapters) == 2


def test_a_failure_of_the_whole_batch_costs_the_batch_only(pipe):
    def short_list(prompts, completions, **columns):
        return vowels(prompts, completions)[: None if len(prompts) < 2 else -1]

    single = APSPipeline(pipe.model, batch_size=1)
    out = single(QUESTIONS, short_list, on_error="keep", estimator="rloo", **SMALL)
    assert len(out) == 0
    assert [f.index for f in out.failures] == [0, 1, 2]
    assert "returned" in out.failures[0].error
    with pytest.raises(ValueError, match="on_error is 'raise' or 'keep', got 'skip'"):
        pipe(QUESTIONS, vowels, on_error="skip")


# Black boxes


@pytest.mark.parametrize("estimator", ["rloo", "remax"])
def test_samples_go_out_in_one_call_and_duplicates_once(pipe, estimator):
    batches = []

    def counted(prompts, completions, **columns):
        pairs = list(zip(prompts, completions, strict=True))
        assert len(set(pairs)) == len(pairs)
        batches.append(len(pairs))
        return vowels(prompts, completions)

    options = {"inner_steps": 2, "num_samples": 6, "pool_size": 1, "estimator": estimator}
    options |= {"trust_region": None, "top_p": 0.95}  # few enough tokens to draw one twice
    out = pipe(QUESTIONS, counted, **options, **SMALL)
    assert len(batches) == out.cost.reward_calls
    assert len(batches) == 4 * 2 + 1  # steps x inner steps, and the final text
    width = 6 + (estimator == "remax")
    assert max(batches) <= 3 * width
    assert out.cost.reward_forwards <= 8 * 3 * width + 3
    assert sum(batches) < out.cost.reward_forwards  # something was drawn twice


def test_async_rewards_are_awaited_together(pipe):
    active, peaks = [], []

    def waiting(name):
        async def reward(prompts, completions, **columns):
            active.append(name)
            await asyncio.sleep(0.2)
            peaks.append(len(active))
            active.remove(name)
            return vowels(prompts, completions)

        reward.__name__ = name
        return reward

    options = {"steps": 1, "max_new_tokens": 4, "inner_steps": 1}
    pipe(QUESTIONS, [waiting("one"), waiting("two")], **options)
    # The gradient's samples, the pool, the final text: both at work at once.
    assert peaks == [2, 1] * 3


# Warnings


def test_a_reward_that_never_varies_is_named(pipe):
    def flat(prompts, completions, **columns):
        return [0.5] * len(completions)

    out = pipe(QUESTIONS, [flat, vowels], **SMALL)
    (warning,) = [w for w in out.warnings if "never varied" in w]
    assert warning.startswith("reward 'flat' never varied on all 3 answers (always 0.5")
    assert not [w for w in pipe(QUESTIONS, vowels, **SMALL).warnings if "never" in w]


@pytest.mark.parametrize(
    "method", ["best-of-n", "svdd", "fk", "ets", "particle-gibbs", "vgb", "aps-logits", "aps-smc"]
)
def test_every_method_says_that_a_reward_never_varied(pipe, method):
    def flat(prompts, completions, **columns):
        return [0.5] * len(completions)

    options = {"method": method, **SMALL}
    said = [w for w in pipe(QUESTIONS, flat, **options).warnings if "never varied" in w]
    assert len(said) == 1
    assert said[0].startswith("reward 'flat' never varied")
    assert not [w for w in pipe(QUESTIONS, vowels, **options).warnings if "never" in w]
    plain = pipe.generate(QUESTIONS, reward=flat, **SMALL)
    assert not [w for w in plain.warnings if "varied" in w]
    zero = pipe(QUESTIONS, flat, control="zero", **options)
    assert not [w for w in zero.warnings if "never" in w]  # it was not asked


def test_little_mass_is_a_warning_and_the_bridge_is_reported(pipe):
    reward = TinyReward()  # knows few of the generator's words
    out = pipe(QUESTIONS, reward, **SMALL)
    bridge = out.rewards.bridges["tiny"]
    assert bridge.policy == "restrict"
    assert 0 < bridge.mass < 0.5
    assert 0 < bridge.vocabulary < 0.5
    assert 0 <= bridge.retokenised <= 1
    assert any("matched only" in w and "'tiny'" in w for w in out.warnings)
    boxed = pipe(QUESTIONS, reward, bridge="rloo", **SMALL)
    assert boxed.rewards.bridges == {}
    assert boxed.cost.reward_backwards == 0
    with pytest.raises(ValueError, match=r"no counterpart .*choose 'restrict'"):
        pipe(QUESTIONS, reward, bridge="error", **SMALL)


def answers(texts, total):
    from aps_text.core.config import APSConfig
    from aps_text.core.cost import Cost
    from aps_text.pipelines.output import APSOutput, RewardReport

    prompts = [f"q{i}" for i in range(len(texts))]
    rewards = RewardReport(total=list(total), r=list(total))
    return APSOutput(texts, [[1]] * len(texts), prompts, rewards, Cost(), APSConfig())


def test_a_relaxed_rise_that_the_text_lacks_is_a_warning():
    out = answers(["a b", "c d"], [0.5, 0.5])
    out.rewards.relaxed = {"r": [0.9, 0.9]}

    def watched(before):
        return [GuidanceTrace({"r": before}, {"r": 0.9}, {"r": True}, True)] * 2

    (warning,) = warnings_of(out, watched(0.4))
    assert "the relaxed score of 'r' rose by 0.5 on average, the final text's by 0.1" in warning
    assert warnings_of(out, watched(-3.0)) == []  # the text kept most of it
    assert warnings_of(out, watched(0.9)) == []
    still = [GuidanceTrace({"r": 0.9}, {"r": 0.9}, {"r": True}, False)] * 2
    assert "no gradient reached the model on all 2 answers" in warnings_of(out, still)[0]


def test_length_and_repetition_are_named_where_they_did_the_work():
    assert repetition("a b c d") == 0
    assert repetition("a b a b a") == 0.5
    assert repetition("") == repetition("one two") == 0
    plain = answers(["a b c"] * 6, [0.0] * 6)
    longer = answers(["a b c" + " x y" * i for i in range(6)], range(6))
    found = compare(longer, plain)
    assert len(found) == 2
    assert "words went from 3 to 8 an answer (correlation with the gain +1.00)" in found[0]
    assert "repeated word pairs" in found[1]
    shorter = compare(answers(["a"] * 3, [1.0] * 3), answers(["a b c"] * 3, [0.0] * 3))
    assert "words went from 3 to 1 an answer: that may" in shorter[0]
    few = compare(answers(["a b c d"] * 3, [1.0] * 3), answers(["a b c"] * 3, [0.0] * 3))
    assert few == []  # a third longer, and too few to say that it mattered
    other = answers(["d e f"] * 6, range(6))
    assert compare(other, plain) == []
    assert compare(plain, longer) == []  # nothing was gained
    with pytest.raises(ValueError, match="have different prompts"):
        compare(longer, answers(["a"], [0.0]))
    looping = answers(["a b a b a b"] * 2, [0.0, 0.0])
    assert "all 2 answers repeat more than 30%" in warnings_of(looping, [])[0]


@pytest.mark.parametrize("preset", ["fast", "balanced", "paper"])
@pytest.mark.parametrize("method", ["aps", "best-of-n", "svdd"])
def test_a_reward_that_applies_to_nothing_is_said_once(pipe, preset, method):
    def nothing(completions, **columns):
        return [None] * len(completions)

    options = {"preset": preset} if method == "aps" else {}
    out = pipe(QUESTIONS, nothing, method=method, **options, **SMALL)
    said = [warning for warning in out.warnings if "'nothing'" in warning]
    assert len(said) == 1
    assert "returned None for all" in said[0]
