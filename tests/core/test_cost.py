"""Cost counters against the formulas of the method, in rows."""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from worlds import (
    TableDenoiser,
    enumerated_reward,
    factor_world,
    joint_table,
    noise_for,
    open_canvas,
    table_reward,
)

from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.cost import Cost, MeteredDenoiser, metered
from aps_text.core.operator import ZeroOperator, weighted_sum
from aps_text.core.sampler import run
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS

LENGTH, SYMBOLS, BATCH = 3, 4, 5
STEPS, INNER, SAMPLES = LENGTH, 4, 6
CONFIG = APSConfig(
    adapter="logits",
    steps=STEPS,
    inner_steps=INNER,
    pool_size=1,
    num_samples=SAMPLES,
    trust_region=None,
    gradient_gate=0.0,
    min_new_tokens=0,
    beta=1.0,
)


def spent(operator, config=CONFIG, method=None, lengths=None) -> Cost:
    lengths = lengths or [LENGTH] * BATCH
    denoiser = factor_world(max(lengths), SYMBOLS, seed=0, batch=len(lengths))
    canvas = Canvas.open(lengths, mask_id=SYMBOLS, fill_id=SYMBOLS + 1)
    noise = noise_for(range(len(lengths)))
    return run(method or APS(), denoiser, operator, canvas, config, noise).cost


def counts(cost: Cost) -> tuple[int, ...]:
    return (
        cost.trunk_forwards,
        cost.denoiser_forwards,
        cost.denoiser_backwards,
        cost.reward_forwards,
        cost.reward_backwards,
    )


def test_plain_decoding_is_t_forwards():
    reward = table_reward(LENGTH, SYMBOLS, 1, batch=BATCH)
    assert counts(spent(reward, method=Ancestral())) == (BATCH * STEPS, BATCH * STEPS, 0, 0, 0)


@pytest.mark.parametrize("relaxation", ["quantized", "expectation", "entropy", "gumbel"])
def test_logits_adapter_is_t_forwards_and_tm_rewards(relaxation):
    reward = table_reward(LENGTH, SYMBOLS, 1, batch=BATCH)
    cost = spent(reward, CONFIG.replace(relaxation=relaxation))
    forwards, scored = BATCH * STEPS, BATCH * STEPS * INNER
    assert counts(cost) == (forwards, forwards, 0, scored, scored)


@pytest.mark.parametrize(("estimator", "extra"), [("rloo", 0), ("remax", 1)])
def test_score_functions_are_tmk_reward_forwards(estimator, extra):
    reward = table_reward(LENGTH, SYMBOLS, 1, batch=BATCH)
    cost = spent(reward, CONFIG.replace(estimator=estimator))
    forwards, scored = BATCH * STEPS, BATCH * STEPS * INNER * (SAMPLES + extra)
    assert counts(cost) == (forwards, forwards, 0, scored, 0)


def test_the_parts_of_a_sum_are_counted_each():
    smooth = table_reward(LENGTH, SYMBOLS, 1, batch=BATCH)
    black = enumerated_reward(LENGTH, SYMBOLS, 2, differentiable=False)
    silent = table_reward(LENGTH, SYMBOLS, 3, batch=BATCH)
    cost = spent(weighted_sum((1.0, smooth), (-0.5, black), (0.0, silent)))
    once = BATCH * STEPS * INNER
    assert counts(cost)[2:] == (0, once * (1 + SAMPLES), once)


def test_rows_are_counted_while_they_work():
    """Lengths 6, 2, 4 at one token a step: 12 forwards, and as many steps steered."""
    reward = table_reward(6, SYMBOLS, 1, batch=3)
    cost = spent(reward, CONFIG.replace(steps=6), lengths=[6, 2, 4])
    assert counts(cost) == (12, 12, 0, 12 * INNER, 12 * INNER)


def test_a_skipped_step_is_not_paid_for():
    """Without a gradient and without draws the first inner step ends the search."""
    config = CONFIG.replace(gradient_gate=1e-6, relaxation="expectation")
    cost = spent(ZeroOperator(), config)
    assert cost.reward_forwards == BATCH * STEPS
    assert cost.denoiser_forwards == BATCH * STEPS


def test_the_meters_count_gradients_that_arrive():
    cost, batch = Cost(), 2
    table = joint_table(LENGTH, SYMBOLS, 4, batch=batch).requires_grad_()
    denoiser = MeteredDenoiser(TableDenoiser(table), cost)
    canvas = open_canvas(batch, LENGTH, SYMBOLS)
    where = (canvas.z == SYMBOLS).nonzero().unbind(-1)
    logits = denoiser.logits(denoiser.trunk(canvas.z), where)
    assert (cost.denoiser_forwards, cost.denoiser_backwards) == (2, 0)
    logits.sum().backward()
    assert (cost.denoiser_forwards, cost.denoiser_backwards) == (2, 2)
    one = denoiser.take(torch.tensor([1]))
    one.logits(one.trunk(canvas.z[1:]), (torch.tensor([0]), torch.tensor([2])))
    assert (cost.trunk_forwards, cost.denoiser_forwards) == (3, 3)


def test_metering_changes_no_number():
    reward = table_reward(LENGTH, SYMBOLS, 1, batch=BATCH)
    total = weighted_sum((2.0, reward), (1.0, replace(reward, name="again")))
    ids = torch.randint(0, SYMBOLS, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
    cost = Cost()
    for operator in (reward, total):
        counted = metered(operator, cost)
        assert counted.differentiable == operator.differentiable
        plain, scores = operator.log_prob_ids(ids), counted.log_prob_ids(ids)
        assert scores.total.equal(plain.total)
        assert scores.terms.keys() == plain.terms.keys()
    assert cost.reward_forwards == 3 * BATCH


def test_time_and_memory_are_measured():
    cost = spent(table_reward(LENGTH, SYMBOLS, 1, batch=BATCH))
    assert cost.seconds > 0
    assert cost.peak_memory_mb > 10
    assert set(cost.as_dict()) == {
        "trunk_forwards",
        "denoiser_forwards",
        "denoiser_backwards",
        "reward_forwards",
        "reward_backwards",
        "reward_calls",
        "seconds",
        "peak_memory_mb",
    }


@pytest.mark.parametrize(("system", "unit"), [("linux", 2**10), ("darwin", 2**20)])
def test_the_processs_peak_is_in_mebibytes_on_either_system(system, unit, monkeypatch):
    """`ru_maxrss` counts KiB on Linux and bytes on macOS."""
    monkeypatch.setattr(sys, "platform", system)
    peak = SimpleNamespace(ru_maxrss=3 * unit)
    monkeypatch.setattr(resource, "getrusage", lambda who: peak)
    assert Cost().stop().peak_memory_mb == 3


def test_the_accelerators_peak_is_in_mebibytes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    assert Cost().stop("cuda:0").peak_memory_mb == 3
