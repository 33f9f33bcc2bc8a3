"""The schedule, and counts per row that sum exactly to the row's masks."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aps_text.core.canvas import Canvas
from aps_text.core.schedule import (
    alpha,
    block_clock,
    dream_count,
    keep_masked,
    reveal_count,
    time_grid,
)

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


def in_blocks(canvas: Canvas, mask_id: int, steps: int, schedule="linear") -> list[list[int]]:
    """How many tokens each step reveals in each row, left to right and block by block."""
    z, found = canvas.z.clone(), []
    for index in range(steps):
        masked = z == mask_id
        due, (at, own) = block_clock(masked, canvas.editable, canvas.block, index, steps, schedule)
        keep = keep_masked(1 - at / own, 1 - (at + 1) / own, schedule)
        counts = reveal_count(due, keep)
        for row, count in enumerate(counts.tolist()):
            z[row, masked[row].nonzero().squeeze(-1)[:count]] = 0
        found.append(counts.tolist())
    assert not (z == mask_id).any()
    return [list(row) for row in zip(*found, strict=True)]


def published(length: int, block_length: int, steps: int) -> list[int]:
    """LLaDA's rule: each block has `steps / blocks` steps, its masks are shared out evenly among
    them, and what is left over goes to the first ones."""
    blocks = length // block_length
    own = steps // blocks
    one = [block_length // own + (i < block_length % own) for i in range(own)]
    return one * blocks


PUBLISHED = [
    (length, block, steps)
    for length in (8, 16, 24, 32, 48, 64)
    for block in range(1, length + 1)
    for steps in range(1, length + 1)
    if length % block == 0 and steps % (length // block) == 0
]


def test_counts_per_block_are_those_published():
    """Every length, block and steps that LLaDA's code accepts, 32 tokens in 2 blocks at 12 steps
    among them; at most as many steps as tokens (beyond, it only waits)."""
    assert (32, 16, 12) in PUBLISHED
    assert len(PUBLISHED) > 300
    for length, block, steps in PUBLISHED:
        canvas = Canvas.open([length], mask_id=9, fill_id=8, block_length=block)
        assert in_blocks(canvas, 9, steps) == [published(length, block, steps)]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    block=st.integers(1, 15),
    steps=st.integers(1, 50),
    schedule=st.sampled_from(SCHEDULES),
)
def test_blocks_of_any_length_are_done_in_order_and_in_time(lengths, block, steps, schedule):
    canvas = Canvas.open(lengths, mask_id=9, fill_id=8, block_length=block)
    found = in_blocks(canvas, 9, steps, schedule)
    for length, counts in zip(lengths, found, strict=True):
        assert sum(counts) == length
        blocks = -(-length // block)
        if blocks <= steps:  # no step spans two blocks, and each is done where its share ends
            ends = list(itertools.accumulate(counts))
            for index, done in enumerate(ends):
                assert (ends[index - 1] if index else 0) // block == max(done - 1, 0) // block or (
                    counts[index] == 0
                )
            share = [steps // blocks + (i < steps % blocks) for i in range(blocks)]
            for i, end in enumerate(itertools.accumulate(share)):
                assert ends[end - 1] >= min((i + 1) * block, length)
        elif schedule == "linear":  # as even as it can be
            assert max(counts) <= -(-blocks // steps) * block
        else:  # a block at least at each step, and ever more
            shares = [-(-done // block) for done in itertools.accumulate(counts)]
            many = [b - a for a, b in itertools.pairwise([0, *shares])]
            assert min(many) >= 1
            for k, done in enumerate(shares, 1):
                wanted = blocks * alpha(1 - k / steps, schedule)
                assert done == k or wanted - 1 <= done <= wanted + 1e-9
            assert all(b >= a - 1 for a, b in itertools.pairwise(many))
        alone = Canvas.open([length], mask_id=9, fill_id=8, block_length=block)
        assert in_blocks(alone, 9, steps, schedule) == [counts]


def test_a_given_block_takes_no_steps_and_a_row_ahead_spreads_its_block():
    given = [[True] * 4 + [False] * 8]
    canvas = Canvas.of([[0] * 4 + [9] * 8], given=given, mask_id=9, fill_id=8, block_length=4)
    assert in_blocks(canvas, 9, 4) == [[2, 2, 2, 2]]
    masked = torch.tensor([[False] * 4 + [True] * 4])  # the first block came early
    block = torch.arange(8)[None] // 4
    due, (at, own) = block_clock(masked, torch.ones_like(masked), block, 1, 8)
    assert (due.item(), at.item(), own.item()) == (4, 0, 7)
    keep = keep_masked(1 - at / own, 1 - (at + 1) / own)
    assert reveal_count(due, keep).item() == 1


def test_dreams_counts_in_blocks_are_those_of_each_block():
    index, steps = torch.tensor([0.0, 2.0, 3.0]).double(), torch.tensor([4.0, 4.0, 4.0]).double()
    masked = torch.tensor([9, 5, 3])
    found = dream_count(masked, index, steps)
    assert found.tolist() == [
        int(dream_count(masked[i : i + 1], j, 4)) for i, j in ((0, 0), (1, 2), (2, 3))
    ]


@given(masks=st.integers(1, 300), keep=st.floats(0, 1))
def test_a_step_reveals_at_least_one_mask_and_never_more_than_there_are(masks, keep):
    found = reveal_count(torch.tensor([masks, 0]), keep).tolist()
    assert 1 <= found[0] <= masks
    assert found[1] == 0
    assert found[0] >= masks * (1 - keep) - 1e-6


@pytest.mark.parametrize(
    ("keep", "counts"),
    [
        (0.0, [0, 1, 2, 3, 4, 12]),
        (0.25, [0, 1, 2, 3, 3, 9]),
        (0.5, [0, 1, 1, 2, 2, 6]),
        (0.75, [0, 1, 1, 1, 1, 3]),
        (1.0, [0, 1, 1, 1, 1, 1]),
    ],
)
def test_counts_by_hand(keep, counts):
    masked = torch.tensor([0, 1, 2, 3, 4, 12])
    assert reveal_count(masked, keep).tolist() == counts
    each = torch.full((6,), keep, dtype=torch.double)
    assert reveal_count(masked, each).tolist() == counts
