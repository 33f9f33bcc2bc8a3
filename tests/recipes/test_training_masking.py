"""Masked rows must be canvases the sampler can reach, and ask only what is hidden."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.word_knowledge.masking import (
    TokenIds,
    canvas_of,
    cut_after_stop,
    draw_times,
    make_batches,
    mask_canvas,
    own_lengths,
)

IDS = TokenIds()
LENGTH = 12
answers = st.lists(
    st.lists(st.integers(5, 40), min_size=0, max_size=LENGTH - 1), min_size=1, max_size=9
)


@given(answers, st.floats(0.0, 1.0), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_masked_canvas_is_a_sampler_canvas(rows, t, seed):
    generator = torch.Generator().manual_seed(seed)
    canvas = canvas_of(rows, LENGTH, IDS)
    z, weight = mask_canvas(canvas, torch.full((len(rows),), t), IDS, 0.1, generator)
    for clean, row, w, answer in zip(canvas, z, weight, rows, strict=True):
        shown = (row != IDS.mask) & (row != IDS.pad)
        assert torch.equal(row[shown], clean[shown])
        assert int((row == IDS.stop).sum()) <= 1
        stops = (row == IDS.stop).nonzero()
        if len(stops):
            assert (row[int(stops[0]) + 1 :] == IDS.pad).all()
        else:
            assert (row != IDS.pad).all()
        assert (w[row != IDS.mask] == 0).all()
        upto = torch.arange(LENGTH) <= len(answer)
        asked = (row == IDS.mask) & upto
        assert asked.any()
        assert (w[asked] == 1).all()
        tail = w[(row == IDS.mask) & ~upto]
        assert torch.all((tail == 0) | torch.isclose(tail, torch.tensor(0.4)))


@given(answers, st.integers(0, 2**31), st.integers(20, 200))
@settings(max_examples=40, deadline=None)
def test_batches_hold_every_row_once(rows, seed, budget):
    prompts = [[IDS.cls, 5 + i, IDS.stop] for i in range(len(rows))]
    generator = torch.Generator().manual_seed(seed)
    batches = make_batches(
        prompts, rows, canvas_length=LENGTH, budget=budget, ids=IDS, generator=generator
    )
    seen = sorted(int(row[1]) - 5 for batch in batches for row in batch.ids)
    assert seen == list(range(len(rows)))
    for batch in batches:
        assert batch.tokens <= budget or len(batch.ids) == 1
        assert (batch.weight[:, :3] == 0).all()
        assert (batch.ids[batch.weight > 0] == IDS.mask).all()
        assert not (batch.target[batch.weight > 0] == IDS.pad).any()
        parts = batch.split(3)
        assert torch.equal(torch.cat([p.ids for p in parts]), batch.ids)


def test_same_generator_state_same_batches():
    rows = [[7, 8, 9], [10], [11, 12]]
    prompts = [[IDS.cls, 5, IDS.stop]] * 3
    runs = [
        make_batches(
            prompts, rows, canvas_length=LENGTH, budget=40, ids=IDS,
            generator=torch.Generator().manual_seed(3),
        )
        for _ in range(2)
    ]  # fmt: skip
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(*runs, strict=True))


def test_times_are_skewed_to_one_and_stratified():
    t = draw_times(4000, 0.0, torch.Generator().manual_seed(0))
    assert abs(float(t.mean()) - 2 / 3) < 0.005
    full = draw_times(4000, 0.2, torch.Generator().manual_seed(0))
    assert abs(float((full == 1).float().mean()) - 0.2) < 0.03


def test_cut_keeps_masks_before_the_stop_token():
    m, s, p = IDS.mask, IDS.stop, IDS.pad
    z = torch.tensor([[m, 9, s, m, s], [m, m, m, m, m]])
    assert cut_after_stop(z, IDS).tolist() == [[m, 9, s, p, p], [m] * 5]


def test_an_answer_too_long_is_refused():
    with pytest.raises(ValueError, match="at most 11 do"):
        canvas_of([[9] * LENGTH], LENGTH, IDS)


@given(answers, st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_shorter_canvases_hold_their_answers(rows, seed):
    prompts = [[IDS.cls, 5 + i, IDS.stop] for i in range(len(rows))]
    batches = make_batches(
        prompts, rows, canvas_length=LENGTH, budget=200, ids=IDS, full=1.0, shorter=(4, 8),
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    for batch in batches:
        for ids, target in zip(batch.ids, batch.target, strict=True):
            answer = rows[int(ids[1]) - 5]
            length = int((ids == IDS.mask).sum())
            assert length in {4, 8, LENGTH}
            assert length > len(answer)
            assert target[3 : 3 + length].tolist() == answer + [IDS.stop] * (length - len(answer))


def test_each_length_that_fits_is_as_likely():
    rows = [[9] * 3] * 3000 + [[9] * 5] * 3000
    drawn = own_lengths(rows, (4, 8, 12), torch.Generator().manual_seed(0))
    short, long = drawn[:3000], drawn[3000:]
    assert all(abs(float((short == n).float().mean()) - 1 / 3) < 0.04 for n in (4, 8, 12))
    assert all(abs(float((long == n).float().mean()) - 1 / 2) < 0.04 for n in (8, 12))


def test_an_answer_that_no_length_holds_is_refused():
    generator = torch.Generator().manual_seed(0)
    assert own_lengths([[9] * 3], (4,), generator).tolist() == [4]
    with pytest.raises(ValueError, match=r"of 4 pieces fits none of the canvases \[3, 4\]"):
        own_lengths([[9], [9] * 4], (4, 3), generator)
