"""The fit of phi: what it climbs is the reward divided by beta."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from worlds import factor_world, noise_for, open_canvas, table_reward

from aps_text.core.config import APSConfig
from aps_text.core.sampler import run
from aps_text.methods.aps import APS

CONFIG = APSConfig(
    adapter="logits", steps=3, inner_steps=2, pool_size=None, learning_rate=0.5, min_new_tokens=0
)


@pytest.mark.parametrize("prior", ["kl", "overlap"])
def test_half_the_reward_at_half_of_beta_is_the_same_fit(prior):
    """Powers of two scale without rounding, so that what is climbed is the same bit for bit."""
    world, canvas = factor_world(4, 3, seed=0, batch=3), open_canvas(3, 4, 3)
    whole = table_reward(4, 3, seed=1, batch=3, linear=True)
    half = replace(whole, weight=whole.weight / 2)
    found = []
    for reward, beta in ((whole, 0.5), (half, 0.25), (whole, 2.0)):
        config = CONFIG.replace(prior=prior, beta=beta)
        out = run(APS(), world, reward, canvas, config, noise_for(range(3)), keep_trajectory=True)
        found.append([state.tilted for state in out.trajectory])
    assert all(one.equal(two) for one, two in zip(*found[:2], strict=True))
    assert not found[0][-1].equal(found[2][-1])


@pytest.mark.parametrize(
    ("block_length", "start", "guided"),
    [
        (None, None, [False, False, True, True]),
        (4, None, [False, False, True, True]),  # one block
        (1, None, [True] * 4),
        (1, 0.5, [False, False, True, True]),
    ],
)
def test_a_canvas_in_blocks_is_steered_from_the_first_step_on(block_length, start, guided):
    world, canvas = factor_world(4, 3, seed=0, batch=1), open_canvas(1, 4, 3)
    if block_length is not None:
        canvas = replace(canvas, block=(torch.arange(4) // block_length)[None])
    config = APSConfig(
        steps=4, inner_steps=0, pool_size=2, pool_rollout=2, min_new_tokens=0, guidance_start=start
    )
    reward = table_reward(4, 3, seed=1, batch=1)
    out = run(APS(), world, reward, canvas, config, noise_for([0]), keep_trajectory=True)
    assert [state.guided for state in out.trajectory] == guided
