"""The canvas: shapes, and what a stop token does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aps_text.core.canvas import Canvas, alive_before_stop, end_at_stop, is_stop

STOPS, FILL = (0, 4), 9
ROWS = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=5, max_size=5), min_size=1
)


def test_open_rows_are_masks_up_to_their_length():
    canvas = Canvas.open([3, 1, 5], mask_id=7, fill_id=9, block_length=2, stop_ids=[0])
    assert canvas.z.tolist() == [[7, 7, 7, 9, 9], [7, 9, 9, 9, 9], [7, 7, 7, 7, 7]]
    assert canvas.editable.equal(canvas.z == 7)
    assert canvas.block.tolist() == [[0, 0, 1, 1, 2]] * 3
    assert canvas.group.tolist() == [0, 1, 2]
    assert canvas.stop_ids == (0,)
    assert canvas.lengths.tolist() == [3, 1, 5]


def test_take_reorders_and_repeats_everything_per_row():
    canvas = Canvas.open([3, 1], mask_id=7, fill_id=9, group=[4, 6])
    taken = canvas.take(torch.tensor([1, 0, 1]))
    assert taken.group.tolist() == [6, 4, 6]
    assert taken.lengths.tolist() == [1, 3, 1]
    assert taken.editable.sum(-1).tolist() == [1, 3, 1]


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 2]])
def test_put_writes_the_rows_that_were_taken(rows):
    canvas, at = Canvas.open([3, 1, 2], mask_id=7, fill_id=9), torch.tensor(rows)
    taken = canvas.take(at)
    back = canvas.put(at, replace(taken, z=taken.z + 1, written=taken.written + 3))
    changed = torch.tensor([[row in rows] for row in range(3)])
    assert back.z.equal(canvas.z + changed.long())
    assert back.written.equal(canvas.written + 3 * changed.long())
    assert back.editable.equal(canvas.editable)
    assert back.group.equal(canvas.group)


@pytest.mark.parametrize("lengths", [[], [3, 0], [-1]])
def test_empty_rows_are_errors(lengths):
    with pytest.raises(ValueError, match="at least one position"):
        Canvas.open(lengths, mask_id=7, fill_id=9)


@given(ROWS)
def test_everything_editable_after_the_first_written_stop_is_filled(rows):
    z = torch.tensor([[token for token, _ in row] for row in rows])
    editable = torch.tensor([[free for _, free in row] for row in rows])
    ended = end_at_stop(z, editable, STOPS, FILL).tolist()
    for row, result in zip(rows, ended, strict=True):
        stopped, expected = False, []
        for token, free in row:
            expected.append(FILL if stopped and free else token)
            stopped = stopped or (free and token in STOPS)
        assert result == expected


@given(ROWS)
def test_alive_is_before_the_first_stop(rows):
    z = torch.tensor([[token for token, _ in row] for row in rows])
    for row, result in zip(z.tolist(), alive_before_stop(z, STOPS).tolist(), strict=True):
        first = next((i for i, token in enumerate(row) if token in STOPS), len(row))
        assert result == [i < first for i in range(len(row))]
    assert is_stop(z, STOPS).equal((z == 0) | (z == 4))


def test_without_stop_tokens_nothing_ends():
    z = torch.tensor([[0, 4, 1]])
    on = torch.ones_like(z, dtype=torch.bool)
    assert end_at_stop(z, on, (), FILL).equal(z)
    assert alive_before_stop(z, ()).all()


def test_lengths_count_given_text_and_what_a_stop_filled():
    canvas = Canvas.open([4, 3], mask_id=7, fill_id=9, stop_ids=[0])
    z = torch.tensor([[1, 0, 9, 9], [2, 2, 2, 9]])
    given_text = canvas.editable & torch.tensor([False, True, True, True])
    done = replace(canvas, z=z, editable=given_text)
    assert done.lengths.tolist() == [4, 3]
