"""Infilling, drafts, guidance by the prompt's absence, thresholds, and others' names for knobs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_text_model
from worlds import TableDenoiser, joint_table, noise_for, open_canvas

from aps_text import APSConfig, APSPipeline
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.core.schedule import dream_count
from aps_text.methods.ancestral import Ancestral
from aps_text.models.guided import GuidedDenoiser

SMALL = {"steps": 4, "max_new_tokens": 8}


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model(dtype=torch.float64))


def vowels(prompts, completions, **columns):
    return [sum(letter in "aeiou" for letter in text) / 8 for text in completions]


@pytest.mark.parametrize("steered", [False, True])
def test_prefix_and_suffix_stay_and_the_span_between_is_filled(pipe, steered):
    start = {"prefix": "a violin is", "suffix": "of music ."}
    reward = vowels if steered else None
    method = "aps" if steered else "plain"
    out = pipe("what is a violin ?", reward, method=method, start=start, **SMALL)
    assert out.text[0].lower().startswith("a violin is")
    assert out.text[0].lower().replace(" .", ".").endswith("of music.")
    assert len(out.token_ids[0]) == 8


def test_a_suffix_asks_for_a_chosen_length(pipe, caplog):
    start = {"suffix": "of music ."}
    pipe.generate("what is a violin ?", start=start, steps=4, max_new_tokens=8)
    pipe.generate("why ?", start={"template": "the [MASK:2] dog ."}, steps=2)
    pipe.generate("why ?", start={"prefix": "the"}, steps=2)
    assert "suffix" not in caplog.text
    pipe.generate("what is a violin ?", start=start, steps=4)
    (said,) = [r.getMessage() for r in caplog.records if "suffix" in r.getMessage()]
    assert f"a canvas of {pipe.model.max_new_tokens} tokens" in said
    assert "max_new_tokens" in said


def test_a_template_fills_its_spans_and_keeps_its_own_length(pipe):
    start = {"template": "the [MASK:2] is a [MASK] dog ."}
    out = pipe.generate(["why ?", "who ?"], start=start, **SMALL)
    for ids in out.token_ids:
        words = pipe.model.tokenizer.convert_ids_to_tokens(ids)
        assert (words[0], words[3:5], words[6:]) == ("the", ["is", "a"], ["dog", "."])
        assert len(words) == 8


def test_a_prompts_own_start_decides_whatever_the_batch(pipe):
    prefixes = ["a dog is", None, "the cat"]
    prompts = ["what is a dog ?", "who ?", "why ?"]
    together = pipe.generate(prompts, start={"prefix": prefixes}, **SMALL).text
    for prompt, prefix, text in zip(prompts, prefixes, together, strict=True):
        alone = pipe.generate(prompt, start={"prefix": prefix}, **SMALL).text
        assert alone == [text]


def test_a_draft_keeps_what_is_not_masked_again(pipe):
    text = "red blue tree house word sound"
    ids = pipe.model.tokenizer(text, add_special_tokens=False)["input_ids"]
    kept = []
    for strength in (0.2, 0.9):
        out = pipe.generate(
            "why ?",
            start={"init_text": text, "init_strength": strength},
            eos_penalty=50.0,
            num_return_sequences=8,
            **SMALL,
        )
        same = [a == b for row in out.token_ids for a, b in zip(row, ids, strict=False)]
        kept.append(sum(same) / len(same))
    assert kept[0] > 0.6 > kept[1]


@pytest.mark.parametrize(
    ("start", "error", "message"),
    [
        ({"template": "no span"}, ValueError, r"no \[MASK\] or \[MASK:n\] span"),
        ({"template": "a [MASK]", "prefix": "x"}, ValueError, "template excludes prefix"),
        ({"prefix": "a " * 8}, ValueError, "prefix and suffix have 8 tokens and the canvas 8"),
        ({"init_text": "a " * 9}, ValueError, "init_text has 9 tokens for 8 open positions"),
        ({"init_text": "a", "init_strength": 0}, ValueError, r"lies in \(0, 1\], got 0"),
        ({"prefixx": "a"}, TypeError, "unknown start 'prefixx'"),
        ({"prefix": ["a", "b"]}, ValueError, "'prefix' has 2 values for 1 prompts"),
    ],
)
def test_bad_starts_name_the_value(pipe, start, error, message):
    with pytest.raises(error, match=message):
        pipe.generate("why ?", start=start, **SMALL)


def test_suffixes_for_some_prompts_only_are_refused(pipe):
    with pytest.raises(ValueError, match="some prompts have a suffix"):
        pipe.generate(["why ?", "who ?"], start={"suffix": ["dog", None]}, **SMALL)


def test_guidance_mixes_both_sides_and_adapts_the_conditional_one():
    one, two = (TableDenoiser(joint_table(3, 4, seed, 2)) for seed in (0, 1))
    z = torch.full((2, 3), 4)
    where = (torch.tensor([0, 1]), torch.tensor([2, 0]))
    guided = GuidedDenoiser(one, two, 0.7)
    got = guided.logits(guided.trunk(z), where)
    want = 1.7 * one.logits(z, where) - 0.7 * two.logits(z, where)
    torch.testing.assert_close(got[:, :4], want[:, :4])
    assert (got[:, 4] < -1e8).all()
    second = guided.take(torch.tensor([1]))
    found = second.logits(second.trunk(z[1:]), (torch.tensor([0]), torch.tensor([0])))
    assert torch.equal(found, got[1:])


def test_cfg_scale_changes_answers_and_costs_one_more_forward(pipe):
    off = pipe.generate("what is a dog ?", **SMALL)
    steps = []
    on = pipe.generate(
        "what is a dog ?", cfg_scale=2.0, on_step=lambda step, state: steps.append(step), **SMALL
    )
    assert on.text != off.text
    assert on.cost.trunk_forwards == on.cost.denoiser_forwards == 2 * len(steps)
    steered = pipe("what is a dog ?", vowels, cfg_scale=1.0, **SMALL)
    assert steered.cost.denoiser_backwards > 0


def plain(config, batch=1, seed=0):
    denoiser = TableDenoiser(joint_table(5, 4, seed, batch, sharp=3.0))
    canvas = open_canvas(batch, 5, denoiser.mask_id)
    return run(
        Ancestral(), denoiser, ZeroOperator(), canvas, config, noise_for(range(batch)),
        keep_trajectory=True,
    )  # fmt: skip


def test_a_threshold_reveals_all_that_is_sure_and_saves_forwards():
    base = APSConfig(steps=5, temperature=0.0)
    slow = plain(base, batch=20)
    fast = plain(base.replace(threshold=0.6), batch=20)
    never = plain(base.replace(threshold=1.0), batch=20)
    assert fast.cost.denoiser_forwards < slow.cost.denoiser_forwards
    assert torch.equal(never.z, slow.z)
    for state in fast.trajectory:
        waiting = (state.candidates != 5) & ~state.revealed
        assert (state.prior[waiting] < 0.6).all()


@given(st.integers(0, 40), st.integers(1, 12))
def test_dreams_counting_reveals_everything_by_the_last_step(masks, steps):
    left = torch.tensor([masks])
    for index in range(steps):
        left = left - dream_count(left, index, steps)
        assert (left >= 0).all()
    assert (left == 0).all()


def test_dreams_counting_with_as_many_steps_as_masks_starts_with_none_and_ends_with_two():
    left, counts = torch.tensor([8]), []
    for index in range(8):
        counts.append(int(dream_count(left, index, 8)))
        left = left - counts[-1]
    assert (counts[0], counts[-1], sum(counts)) == (0, 2, 8)
    config = APSConfig(steps=5, reveal_rule="dream", temperature=0.0)
    states = plain(config).trajectory
    assert [state.step for state in states] == [1, 2, 3, 4]  # what reveals none is not computed
    assert [int(state.revealed.sum()) for state in states] == [1, 1, 1, 2]


def test_lladas_names_are_standard_remasking_and_a_random_order():
    base = APSConfig(steps=5, remasking="standard", temperature=0.0)
    assert torch.equal(plain(base.replace(remasking="low_confidence"), 10).z, plain(base, 10).z)
    orders = [
        tuple(
            int(s.revealed[0].nonzero()[0])
            for s in plain(base.replace(remasking="random"), 1, seed).trajectory
        )
        for seed in range(3)
    ]
    assert len(set(orders)) == 1  # the order is the noise's, whatever the model says


def test_alg_temp_draws_positions_and_nearly_zero_takes_the_best():
    base = APSConfig(steps=5, temperature=0.0)
    assert torch.equal(plain(base.replace(alg_temp=1e-6), 20).z, plain(base, 20).z)
    # One table for all rows: the best position is always the same, a draw is any of the five.
    table = joint_table(5, 4, 0, 1, sharp=3.0).expand(400, *(4,) * 5)
    shares = []
    for alg_temp in (None, 1e3):
        config = base.replace(alg_temp=alg_temp)
        canvas = open_canvas(400, 5, 4)
        noise = noise_for(range(400))
        states = Ancestral().steps(TableDenoiser(table), ZeroOperator(), canvas, config, noise)
        shares.append(next(iter(states)).revealed.float().mean(0))
    assert shares[0].max() == 1
    assert (shares[1] - 0.2).abs().max() < 0.08  # four standard errors


def test_zero_alg_temp_is_off_as_in_dreams_own_example():
    assert APSConfig(alg_temp=0.0, threshold=0.9) == APSConfig(threshold=0.9)


def test_lladas_name_of_the_length_is_told_ours(pipe):
    with pytest.raises(TypeError, match="unknown option 'gen_length'; did you mean 'max_new_tok"):
        pipe.generate("Who?", gen_length=8)
