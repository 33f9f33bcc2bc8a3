"""Answers that the canvas cuts off give way to those that end (`prefer_ended`)."""

from __future__ import annotations

import pytest
import torch
from worlds import (
    all_answers,
    enumerated_reward,
    factor_world,
    noise_for,
    open_canvas,
    table_reward,
)

from aps_text.core.canvas import Canvas, end_at_stop
from aps_text.core.completions import ended, ended_first
from aps_text.core.config import APSConfig
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS
from aps_text.methods.best_of_n import BestOf

LENGTH, SYMBOLS, BETA, STOP = 3, 4, 0.8, 0
MASK, FILL = SYMBOLS, SYMBOLS + 1
WORLD = factor_world(LENGTH, SYMBOLS, 2)
REWARD = enumerated_reward(LENGTH, SYMBOLS, 5, differentiable=False)
INF = float("inf")
# One choice among whole answers, each drawn a token at a time in random order: p is a product.
ONE_CHOICE = APSConfig(
    inner_steps=0,
    pool_size=2,
    pool_rollout=LENGTH,
    pool_interval=LENGTH,
    guidance_start=0.0,
    adapter="logits",
    temperature=1.0,
    min_new_tokens=0,
    steps=LENGTH,
    beta=BETA,
    remasking="random",
    prefer_ended=True,
)


def test_an_answer_ends_with_a_stop_token_in_an_open_position():
    layout = {"mask_id": MASK, "fill_id": FILL, "given": [[True, False, False]] * 2}
    canvas = Canvas.of([[STOP, MASK, MASK]] * 2, stop_ids=(STOP, 3), **layout)
    ids = torch.tensor([[[0, 1, 2], [0, 3, FILL]], [[0, 1, 0], [0, 2, 2]]])
    assert ended(canvas, ids).tolist() == [[False, True], [True, False]]
    endless = Canvas.of([[MASK] * 3] * 2, mask_id=MASK, fill_id=FILL, stop_ids=())
    assert ended(endless, ids).all()


@pytest.mark.parametrize(
    ("weights", "ends", "expected"),
    [
        ([3.0, 1.0, 2.0], [0, 1, 1], [-INF, 1.0, 2.0]),
        ([3.0, 1.0, 2.0], [0, 0, 0], [3.0, 1.0, 2.0]),
        ([3.0, 1.0, 2.0], [1, 1, 1], [3.0, 1.0, 2.0]),
        ([3.0, -INF, 2.0], [0, 1, 0], [3.0, -INF, 2.0]),  # the one that ends is out
        ([-INF, -INF, -INF], [0, 1, 0], [-INF, -INF, -INF]),
    ],
)
def test_those_that_do_not_end_are_out_beside_one_that_does(weights, ends, expected):
    found = ended_first(torch.tensor([weights]), torch.tensor([ends]).bool())
    assert found.tolist() == [expected]


def ended_law():
    """Every final canvas, its probability and its reward."""
    answers = all_answers(LENGTH, SYMBOLS)
    laws = WORLD.log_probs[0].double().exp()
    probs = laws[torch.arange(LENGTH), answers].prod(-1)
    open_ = torch.ones_like(answers, dtype=torch.bool)
    final, which = end_at_stop(answers, open_, (STOP,), FILL).unique(dim=0, return_inverse=True)
    mass = torch.zeros(len(final), dtype=torch.double).index_add(0, which, probs)
    return final, mass, REWARD.log_prob_ids(final).total


def chosen_of_two(weigh, prefer):
    """The law of the answer chosen of two draws, by enumeration; `weigh` gives the probability of
    the first beside the second from their rewards."""
    final, mass, values = ended_law()
    ends = (final == STOP).any(1)
    first = weigh(values[:, None], values[None])
    if prefer:
        first = torch.where(ends[:, None] & ~ends, 1.0, first)
        first = torch.where(~ends[:, None] & ends, 0.0, first)
    both = mass[:, None] * mass[None]
    return final, (both * first).sum(1) + (both * (1 - first)).sum(0)


def best(one, other):
    return (one >= other).double()


def tempered(one, other):
    return ((one - other) / BETA).sigmoid()


@pytest.mark.parametrize("prefer", [True, False])
@pytest.mark.parametrize(("method", "weigh"), [(BestOf(samples=2), best), (APS(), tempered)])
def test_the_choice_of_two_answers_has_its_law(method, weigh, prefer):
    rows = 20_000
    final, law = chosen_of_two(weigh, prefer)
    canvas = open_canvas(rows, LENGTH, MASK, stop_ids=(STOP,))
    world = factor_world(LENGTH, SYMBOLS, 2, batch=1).take(torch.zeros(rows, dtype=torch.long))
    config = ONE_CHOICE.replace(prefer_ended=prefer)
    z = run(method, world, REWARD, canvas, config, noise_for(range(rows))).z
    place = {tuple(row): n for n, row in enumerate(final.tolist())}
    counts = torch.zeros(len(final), dtype=torch.double)
    for row in z.tolist():
        counts[place[tuple(row)]] += 1
    assert (counts / rows - law).abs().sum() / 2 < 0.015
    _, other = chosen_of_two(weigh, not prefer)
    assert (other - law).abs().sum() / 2 > 0.08


@pytest.mark.parametrize("method", [BestOf(samples=4), APS()])
def test_a_reward_without_preferences_leaves_the_plain_answer(method):
    rows = 100
    world = factor_world(LENGTH, SYMBOLS, 2).take(torch.zeros(rows, dtype=torch.long))
    canvas = open_canvas(rows, LENGTH, MASK, stop_ids=(STOP,))
    config, noise = ONE_CHOICE.replace(pool_size=4), noise_for(range(rows))
    steered = run(method, world, ZeroOperator(), canvas, config, noise).z
    plain = run(Ancestral(), world, ZeroOperator(), canvas, config, noise).z
    assert steered.equal(plain)
    assert not (plain == STOP).any(1).all()


def test_the_answer_kept_from_step_to_step_gives_way_too():
    """Among many answers one ends at each choice: fewer are cut off, and most of the reward
    stays."""
    rows, length = 300, 6
    world = factor_world(length, SYMBOLS, seed=8, batch=rows)
    reward = table_reward(length, SYMBOLS, 9, batch=rows)
    canvas = open_canvas(rows, length, MASK, stop_ids=(STOP,))
    config = ONE_CHOICE.replace(steps=length, pool_rollout=length, pool_interval=2, pool_size=12)
    cut, worth = {}, {}
    for prefer in (True, False):
        how = config.replace(prefer_ended=prefer, beta=0.05)
        z = run(APS(), world, reward, canvas, how, noise_for(range(rows))).z
        cut[prefer] = int((~(z == STOP).any(1)).sum())
        worth[prefer] = float(reward.log_prob_ids(z).total.mean())
    plain = run(Ancestral(), world, reward, canvas, config, noise_for(range(rows))).z
    assert cut[True] == 0 < 30 < cut[False]
    assert float(reward.log_prob_ids(plain).total.mean()) + 0.5 < worth[True] <= worth[False]
