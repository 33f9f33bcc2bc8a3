"""The schedule, and counts per row that sum exactly to the row's masks."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aps_text.core.schedule import alpha, keep_masked, reveal_count, time_grid

SCHEDULES = ("linear", "cosine")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_alpha_falls_from_one_to_zero(schedule):
    values = [alpha(t / 50, schedule) for t in range(51)]
    assert values[0] == 1
    assert values[-1] == 0
    assert all(a > b for a, b in itertools.pairwise(values))


def test_linear_coefficient_is_one_over_the_steps_left():
    grid = time_grid(10)
    for index in range(10):
        share = 1 - keep_masked(grid[index], grid[index + 1])
        assert share == pytest.approx(1 / (10 - index), abs=1e-12)


def test_keep_masked_is_the_ratio():
    assert keep_masked(0.75, 0.5, "cosine") == pytest.approx(
        (1 - alpha(0.5, "cosine")) / (1 - alpha(0.75, "cosine"))
    )
    assert keep_masked(0.3, 0.0) == 0


@pytest.mark.parametrize("t", [-0.1, 1.1, float("nan")])
def test_time_outside_the_unit_interval_is_an_error(t):
    with pytest.raises(ValueError, match=str(t)):
        alpha(t)


def test_bad_schedules_steps_and_order_are_errors():
    with pytest.raises(ValueError, match="'sine'"):
        alpha(0.5, "sine")
    with pytest.raises(ValueError, match="0"):
        time_grid(0)
    with pytest.raises(ValueError, match=r"t=0\.5, s=0\.5"):
        keep_masked(0.5, 0.5)


@given(
    masks=st.lists(st.integers(0, 300), min_size=1, max_size=8),
    steps=st.integers(1, 70),
    schedule=st.sampled_from(SCHEDULES),
    data=st.data(),
)
def test_counts_sum_exactly_for_uneven_rows_and_early_stops(masks, steps, schedule, data):
    left = torch.tensor(masks)
    shown, ended = torch.zeros_like(left), torch.zeros_like(left)
    grid = time_grid(steps)
    for t, s in itertools.pairwise(grid):
        keep = keep_masked(t, s, schedule)
        count = reveal_count(left, keep)
        assert (count <= left).all()
        assert (count[left > 0] >= 1).all()
        # The number is the expectation of independent coins, rounded by less than one token.
        assert ((count - left * (1 - keep)).abs() <= 1 + 1e-6).all()
        left, shown = left - count, shown + count
        if data.draw(st.booleans()):  # a stop token fills some of what was left in one row
            row = data.draw(st.integers(0, len(masks) - 1))
            gone = data.draw(st.integers(0, int(left[row])))
            left[row] -= gone
            ended[row] += gone
    assert (left == 0).all()
    assert (shown + ended).tolist() == masks


@given(masks=st.integers(1, 400))
def test_one_token_a_step_when_steps_equal_masks(masks):
    left, grid = torch.tensor([masks]), time_grid(masks)
    for t, s in itertools.pairwise(grid):
        count = reveal_count(left, keep_masked(t, s))
        assert count.item() == 1
        left = left - count
