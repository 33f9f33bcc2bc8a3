"""Rollouts of a canvas in blocks: from left to right, R steps for the blocks that have masks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from worlds import NeighbourDenoiser, noise_for

from aps_text import APSConfig
from aps_text.core.canvas import Canvas
from aps_text.core.step import Step
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
