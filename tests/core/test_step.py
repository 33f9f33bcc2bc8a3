"""One step in parts: stop bias, threshold, what is decided, when tokens were written, re-masks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from worlds import factor_world, noise_for, open_canvas, step_at, table_reward

from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import run
from aps_text.core.schedule import alpha
from aps_text.core.states import Tilted
from aps_text.core.step import Step
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS

SYMBOLS, MASK, FILL, STOP = 4, 4, 5, 0
PLAIN = APSConfig(adapter="logits", temperature=1.0, top_p=1.0, min_new_tokens=0, num_candidates=1)


def walk(method, denoiser, operator, canvas, config):
    noise = noise_for(range(len(canvas.z)))
    return run(method, denoiser, operator, canvas, config, noise, keep_trajectory=True).trajectory


@pytest.mark.parametrize("given", [0, 1, 3])
def test_min_new_tokens_counts_new_tokens_not_a_given_prefix(given):
    length, least = 7, 2
    canvas = Canvas.of(
        [[1] * given + [MASK] * (length - given)],
        given=[[True] * given + [False] * (length - given)],
        mask_id=MASK,
        fill_id=FILL,
        stop_ids=[STOP],
    )
    step = step_at(canvas, MASK, PLAIN.replace(min_new_tokens=least), noise_for([0]))
    logits = step.bias(torch.zeros(length - given, SYMBOLS))
    forbidden = (logits[:, STOP] < -1e8).tolist()
    assert forbidden == [True] * least + [False] * (length - given - least)
    assert (logits[:, 1:] == 0).all()


@pytest.mark.parametrize("penalty", [0.7, -0.4])
def test_the_stop_penalty_is_subtracted_from_stops_alone(penalty):
    canvas = open_canvas(1, 3, MASK, stop_ids=[STOP, 2])
    step = step_at(canvas, MASK, PLAIN.replace(eos_penalty=penalty), noise_for([0]))
    found = step.bias(torch.zeros(3, SYMBOLS))
    want = torch.zeros(3, SYMBOLS)
    want[:, [STOP, 2]] = -penalty
    torch.testing.assert_close(found, want)


def test_a_threshold_reveals_only_in_the_block_that_is_written():
    """A steered step asks for every mask; sure ones of later blocks wait for their turn."""
    length, batch = 8, 30
    denoiser = factor_world(length, SYMBOLS, seed=1, batch=batch, sharp=6.0)
    reward = table_reward(length, SYMBOLS, 2, batch=batch)
    config = PLAIN.replace(threshold=0.5, steps=8, block_length=4, inner_steps=1)
    canvas = open_canvas(batch, length, MASK, block_length=4)
    for method in (APS(), Ancestral()):
        before, several = canvas.z, 0
        for state in walk(method, denoiser, reward, canvas, config):
            for row in range(batch):
                revealed = canvas.block[row][state.revealed[row]]
                lowest = canvas.block[row][before[row] == MASK]
                if len(revealed):
                    assert set(revealed.tolist()) == {lowest.min().item()}
                    several += len(revealed) > 1
            before = state.z
        assert several > batch


def test_what_a_stop_threw_away_is_not_decided():
    canvas = open_canvas(1, 4, MASK, stop_ids=[STOP])
    step = step_at(canvas, MASK, PLAIN, noise_for([0]), count=3)
    tokens = torch.tensor([1, STOP, 2, 3])
    move = step.write(tokens, torch.tensor([0.9, 0.8, 0.1, 0.7]))
    assert move.canvas.z.tolist() == [[1, STOP, FILL, FILL]]
    assert move.revealed.tolist() == [[True, True, False, True]]
    assert move.decided.tolist() == [[True, True, False, False]]
    assert move.candidates.tolist() == [tokens.tolist()]


@pytest.mark.parametrize("options", [{}, {"revisable": True}, {"block_length": 3}])
def test_written_is_the_step_from_which_a_token_stands(options):
    batch, length = 20, 9
    denoiser = factor_world(length, SYMBOLS, seed=3, batch=batch, sharp=0.4)
    canvas = open_canvas(
        batch, length, MASK, stop_ids=[STOP], block_length=options.get("block_length")
    )
    z, editable = canvas.z.clone(), canvas.editable.clone()
    z[:, 4], editable[:, 4] = 2, False
    canvas = replace(canvas, z=z, editable=editable)
    config = PLAIN.replace(steps=6, eos_penalty=1.0, **options)
    states = walk(Ancestral(), denoiser, ZeroOperator(), canvas, config)
    assert (states[-1].written[:, 4] == -1).all()
    before, changed = canvas.z, torch.full_like(canvas.z, -1)
    for state in states:
        changed = torch.where(state.z != before, state.step, changed)
        assert state.written.equal(changed)
        before = state.z
    assert len(changed.unique()) > 4


@pytest.mark.parametrize("remasking", ["anchored", "standard"])
def test_those_that_compete_again_are_the_weakest_by_the_score_they_won_with(remasking):
    """ReMDM's rate of them, and the probability they had when they were revealed."""
    batch, length, steps = 100, 12, 8
    denoiser = factor_world(length, SYMBOLS, seed=5, batch=batch, sharp=1.5)
    config = PLAIN.replace(steps=steps, revisable=True, remasking=remasking)
    canvas = open_canvas(batch, length, MASK)
    score = torch.zeros(batch, length, dtype=torch.double)
    before, again = canvas.z, 0
    for state in walk(Ancestral(), denoiser, ZeroOperator(), canvas, config):
        t, s = 1 - state.step / steps, 1 - (state.step + 1) / steps
        for row in range(batch):
            settled = before[row] != MASK
            lost = settled & (state.z[row] == MASK)
            if lost.any():
                rate = min(0.5, (1 - alpha(s)) / alpha(t))
                count = int(settled.sum() * rate)
                weakest = score[row][settled].sort().values[count - 1]
                assert (score[row][lost] <= weakest).all()
                again += int(lost.sum())
        score = torch.where(state.revealed, state.prior, score)
        before = state.z
    assert again > 30


def test_a_step_of_other_rows_is_the_same_step():
    denoiser = factor_world(5, SYMBOLS, seed=6, batch=3)
    canvas = Canvas.open([5, 2, 4], mask_id=MASK, fill_id=FILL, stop_ids=[STOP])
    config = PLAIN.replace(min_new_tokens=1, eos_penalty=0.3)
    step = Step.open(canvas, MASK, config, noise_for([1, 2, 3]), 0, everywhere=True)
    log_theta = step.x_theta(denoiser)
    tokens = step.draw(Tilted(log_theta, log_theta))
    rows = torch.tensor([2, 0])
    other = step.take(rows)
    log_other = other.x_theta(denoiser.take(rows))
    entries = torch.cat([(step.where[0] == row).nonzero().squeeze(-1) for row in rows])
    assert log_other.equal(log_theta[entries])
    assert other.draw(Tilted(log_other, log_other)).equal(tokens[entries])
    assert other.count.equal(step.count[rows])


@pytest.mark.parametrize(
    ("options", "index", "fraction"),
    [
        ({"steps": 2}, 0, [4 / 8, 2 / 3]),  # masks - floor(masks / 2)
        ({"steps": 2}, 1, [1.0, 1.0]),
        ({"steps": 4}, 0, [2 / 8, 1 / 3]),
        ({"steps": 4, "alg": "origin"}, 0, [2 / 8, 1 / 3]),  # what its coins are expected to show
        ({"steps": 16, "reveal_rule": "dream"}, 0, [1 / 8, 1 / 3]),  # none, counted as one
        ({"steps": 2, "reveal_rule": "dream"}, 1, [1.0, 1.0]),
        ({"steps": 4, "block_length": 4}, 0, [2 / 8, 1 / 3]),  # of the block in work
    ],
)
def test_the_share_that_a_step_is_expected_to_reveal(options, index, fraction):
    block = options.get("block_length")
    canvas = Canvas.open([8, 3], mask_id=MASK, fill_id=FILL, block_length=block)
    config = PLAIN.replace(**options)
    step = Step.open(canvas, MASK, config, noise_for([0, 1]), index, everywhere=True)
    torch.testing.assert_close(step.reveal_fraction, torch.tensor(fraction))


@pytest.mark.parametrize(
    ("options", "asks"), [({}, False), ({"threshold": 0.5}, True), ({"remask": True}, True)]
)
def test_a_step_that_is_to_reveal_none_asks_where_a_sure_token_or_a_weak_one_may_change(
    options, asks
):
    canvas = open_canvas(1, 8, MASK)
    config = PLAIN.replace(steps=16, reveal_rule="dream", **options)
    step = Step.open(canvas, MASK, config, noise_for([0]), 0, everywhere=False)
    assert step.count.tolist() == [0]
    assert step.asked.any().item() == asks
