"""Rollouts of a canvas in blocks: from left to right, R steps for the blocks that have masks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from worlds import (
    NeighbourDenoiser,
    TableDenoiser,
    joint_table,
    noise_for,
    open_canvas,
    table_reward,
)

from aps_text import APSConfig
from aps_text.core.canvas import Canvas
from aps_text.core.step import Step
from aps_text.methods.aps import APS
from aps_text.methods.pool import AnswerPool
from aps_text.methods.rollouts import draw_rollouts, rollout_config, unwritten_blocks

LENGTH, SYMBOLS = 8, 5


def rollout(z, block_length, steps):
    """Tokens `(L,)` of one rollout at temperature 0, and the denoiser."""
    denoiser = NeighbourDenoiser.draw(LENGTH, SYMBOLS, seed=3)
    mask = denoiser.mask_id
    canvas = Canvas.of([z], mask_id=mask, fill_id=mask + 1, block_length=block_length)
    config = APSConfig(steps=4, temperature=0.0, remasking="standard", alg="entropy")
    step = Step.open(canvas, mask, config, noise_for([0]), 0, everywhere=True)
    log_theta = step.x_theta(denoiser)
    drawn = draw_rollouts(denoiser, step, log_theta, 1, rollout_config(config, steps))
    return canvas.z.index_put(step.where, drawn[:, 0])[0], denoiser


def from_left_to_right(denoiser, z, groups):
    """The likeliest tokens of each group of positions, all at once, group after group."""
    z = torch.tensor([z])
    for group in groups:
        z[0, group] = denoiser.trunk(z)[0, group].argmax(-1)
    return z[0]


@pytest.mark.parametrize(
    ("written", "block_length", "steps", "groups"),
    [
        (0, 1, 8, [[i] for i in range(8)]),
        (3, 1, 8, [[i] for i in range(3, 8)]),
        (0, 1, 4, [[0, 1], [2, 3], [4, 5], [6, 7]]),
        (4, 1, 2, [[4, 5], [6, 7]]),  # the written half gets none of the steps
        (5, 1, 3, [[5], [6], [7]]),
        (4, 2, 2, [[4, 5], [6, 7]]),
        (3, 2, 3, [[3], [4, 5], [6, 7]]),
    ],
)
def test_blocks_are_written_from_left_to_right(written, block_length, steps, groups):
    mask = SYMBOLS
    z = [1, 3, 0, 2, 4, 1, 0, 3][:written] + [mask] * (LENGTH - written)
    found, denoiser = rollout(z, block_length, steps)
    assert found.tolist() == from_left_to_right(denoiser, z, groups).tolist()


def test_one_block_is_the_whole_canvas_in_any_order():
    z = [SYMBOLS] * LENGTH
    whole, denoiser = rollout(z, None, LENGTH)
    assert whole.tolist() == rollout(z, LENGTH, LENGTH)[0].tolist()
    assert whole.tolist() != from_left_to_right(denoiser, z, [[i] for i in range(8)]).tolist()


def test_written_blocks_join_the_first_that_has_masks():
    mask = SYMBOLS
    rows = [[1, 1, mask, 1, mask, mask, 1, 1], [mask] * 8, [1, 1, 1, 1, 1, 1, 1, mask]]
    canvas = Canvas.of(rows, mask_id=mask, fill_id=mask + 1, block_length=2)
    block = unwritten_blocks(canvas, mask).block
    assert block.tolist() == [
        [1, 1, 1, 1, 2, 2, 1, 1],
        [0, 0, 1, 1, 2, 2, 3, 3],
        [3, 3, 3, 3, 3, 3, 3, 3],
    ]
    assert unwritten_blocks(replace(canvas, block=None), mask).block is None


@dataclass(frozen=True)
class Counting:
    """A denoiser that notes how many positions of each row it computes logits of."""

    inner: TableDenoiser
    most: list[int]

    @property
    def mask_id(self):
        return self.inner.mask_id

    @property
    def vocab_size(self):
        return self.inner.vocab_size

    def take(self, rows):
        return replace(self, inner=self.inner.take(rows))

    def trunk(self, z):
        return self.inner.trunk(z)

    def new_adapter(self, config, noise):
        return self.inner.new_adapter(config, noise)

    def logits(self, state, where, phi=None):
        self.most.append(int(where[0].bincount().max()))
        return self.inner.logits(state, where, phi)


def steered(options, block_length, stop_ids=(0,)):
    """The states of APS with a pool of rollouts, and the most logits a row had in each forward."""
    rows, length, symbols = 6, 6, 3
    denoiser = Counting(TableDenoiser(joint_table(length, symbols, 4, rows)), [])
    mask = symbols
    usual = {"inner_steps": 0, "pool_size": 3, "guidance_start": 0.0, "min_new_tokens": 0}
    usual |= {"steps": length, "pool_rollout": length, "temperature": 1.0}
    config = APSConfig(**usual | options)
    reward = table_reward(length, symbols, 9, batch=rows)
    canvas = open_canvas(rows, length, mask, stop_ids=stop_ids, block_length=block_length)
    states = APS().steps(denoiser, reward, canvas, config.replace(beta=0.2), noise_for(range(rows)))
    return list(states), denoiser.most


@pytest.mark.parametrize("block_length", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pool_interval": 2},
        {"pool_rollout": 2},
        {"pool_rollout": 3, "steps": 4, "schedule": "cosine"},
        {"steps": 3, "alg": "entropy"},
        {"steps": 8, "reveal_rule": "dream"},
        {"remask": True},
        {"threshold": 0.5},
        {"alg": "origin"},
        {"temperature": 0.0},
        {"alg_temp": 0.5},
        {"guidance_interval": 2},
        {"guidance_start": 0.4, "remask": True},
    ],
)
def test_rollouts_are_the_same_where_only_what_they_write_is_computed(
    options, block_length, monkeypatch
):
    narrow, few = steered(options, block_length)
    monkeypatch.setattr(AnswerPool, "asked", lambda self, step: step.asked)
    wide, many = steered(options, block_length)
    assert len(narrow) == len(wide) > 1
    for one, other in zip(narrow, wide, strict=True):
        assert one.z.equal(other.z)
        assert one.pool.keys() == other.pool.keys()
        assert all(one.pool[name].equal(other.pool[name]) for name in one.pool)
        assert one.rewards.keys() == other.rewards.keys()
        assert all(one.rewards[name].equal(other.rewards[name]) for name in one.rewards)
    assert all(a <= b for a, b in zip(few, many, strict=True))


def test_no_logits_are_computed_that_neither_the_step_nor_a_rollout_can_write():
    assert max(steered({}, 1)[1]) == 1
    assert max(steered({}, 3)[1]) == 3
    assert max(steered({"pool_rollout": 3}, 1)[1]) == 2  # six blocks in three steps
    assert max(steered({}, None)[1]) == 6
    assert max(steered({"pool_rollout": 1}, 1)[1]) == 6  # whole answers from x_theta alone


def test_at_a_choice_the_state_holds_the_answers_it_was_made_among():
    states, _ = steered({"pool_interval": 3}, 1, stop_ids=())
    first, fill = states[0], 3 + 1
    assert first.revealed.sum(1).tolist() == [1] * 6
    assert (first.candidates != fill).sum(1).tolist() == [1] * 6  # only where there are logits
    assert first.pool["answers"].shape == (6, 3, 6)
    rows = torch.arange(6)
    chosen = first.pool["answers"][rows, first.pool["chosen"]]
    assert states[2].z[:, :3].equal(chosen[:, :3])
    assert first.rewards["table"].equal(first.pool["rewards"][rows, first.pool["chosen"]])
    assert [bool(state.pool) for state in states] == [True, False, False] * 2
    assert not any(state.pool["out"].any() for state in states if state.pool)


def test_a_kept_answer_that_was_written_over_is_out_of_the_choice():
    states, _ = steered({"guidance_interval": 2}, 1, stop_ids=())
    pools = [state.pool for state in states if state.pool]
    assert any(bool(pool["out"].any()) for pool in pools)
    for pool in pools:
        assert pool["rewards"].isfinite().all()
        assert not pool["out"].gather(1, pool["chosen"][:, None]).any()
        assert not pool["out"][:, :-1].any()


def test_a_fitted_phi_has_logits_at_every_mask():
    fit = {"inner_steps": 2, "adapter": "logits", "learning_rate": 0.5}
    states, most = steered(fit, 1)
    assert most[0] == 6
    assert (states[0].candidates != 4).sum(1).max() > 1
