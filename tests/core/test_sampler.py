"""The loop every method shares: laws by enumeration, counts, blocks, stop tokens, revision."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worlds import (
    TableDenoiser,
    all_answers,
    factor_world,
    index_of,
    joint_table,
    noise_for,
    open_canvas,
)

from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.operator import ZeroOperator
from aps_text.core.sampler import Result, run
from aps_text.core.schedule import block_clock, keep_masked, reveal_count, time_grid
from aps_text.core.step import Step
from aps_text.methods.ancestral import Ancestral

LENGTH, SYMBOLS = 3, 4
PLAIN = APSConfig(adapter="logits", temperature=1.0, top_p=1.0, min_new_tokens=0)
ALGS = ("maskgit_plus", "topk_margin", "entropy", "origin")


def sample(denoiser, canvas: Canvas, config: APSConfig, seeds=None, particles=None) -> Result:
    noise = noise_for(range(len(canvas.z)) if seeds is None else seeds, particles)
    return run(Ancestral(), denoiser, ZeroOperator(), canvas, config, noise, keep_trajectory=True)


def law_of(answers: torch.Tensor, symbols: int) -> torch.Tensor:
    """Shares of all `symbols ** L` answers among the rows."""
    counts = torch.bincount(index_of(answers, symbols), minlength=symbols ** answers.shape[-1])
    return counts.double() / len(answers)


def distance(one: torch.Tensor, two: torch.Tensor) -> float:
    """Total variation."""
    return 0.5 * (one - two.flatten()).abs().sum().item()


def test_the_table_denoiser_gives_the_exact_conditionals():
    table = joint_table(LENGTH, SYMBOLS, seed=0)
    denoiser = TableDenoiser(table)
    for pattern in itertools.product([SYMBOLS, SYMBOLS + 1, 0, 2], repeat=LENGTH):
        z = torch.tensor([pattern])
        where = (z == SYMBOLS).nonzero().unbind(-1)
        found = denoiser.logits(z, where).softmax(-1)
        for (_, col), row in zip(torch.stack(where, -1).tolist(), found, strict=True):
            expected = torch.zeros(SYMBOLS + 2, dtype=torch.float64)
            for answer in all_answers(LENGTH, SYMBOLS).tolist():
                if all(p >= SYMBOLS or p == a for p, a in zip(pattern, answer, strict=True)):
                    expected[answer[col]] += table[0][tuple(answer)]
            torch.testing.assert_close(row, expected / expected.sum())


def test_the_transition_is_normalised_and_one_step_follows_it():
    """p(z_s | z_t) = prod_l (keep on the mask, 1 - keep on x_theta), summed over all z_s."""
    denoiser, rows = factor_world(2, 3, seed=1), 40_000
    grid = time_grid(3)
    keep = keep_masked(grid[0], grid[1])
    each = torch.cat(
        [(1 - keep) * denoiser.log_probs[0].exp(), torch.full((2, 1), keep).double()], -1
    )
    law = each[0][:, None] * each[1]
    assert law.sum().item() == pytest.approx(1)
    wide = replace(denoiser, log_probs=denoiser.log_probs.expand(rows, -1, -1))
    config = PLAIN.replace(alg="origin", steps=3)
    first = next(
        Ancestral().steps(
            wide, ZeroOperator(), open_canvas(rows, 2, 3), config, noise_for(range(rows))
        )
    )
    assert distance(law_of(first.z, 4), law) < 0.02


@pytest.mark.parametrize("how", ["many steps", "one at a time"])
def test_revealing_one_by_one_samples_the_joint(how):
    table, rows = joint_table(LENGTH, SYMBOLS, seed=2, sharp=2.5), 20_000
    options = (
        {"alg": "origin", "steps": 40}
        if how == "many steps"
        else {"alg": "maskgit_plus", "steps": LENGTH, "block_length": 1}
    )
    wide = TableDenoiser(table.expand(rows, -1, -1, -1))
    canvas = open_canvas(rows, LENGTH, SYMBOLS, block_length=options.get("block_length"))
    config = PLAIN.replace(**options)
    assert distance(law_of(sample(wide, canvas, config).z, SYMBOLS), table) < 0.035
    # All at once is the product of the marginals instead, and the bound can tell.
    at_once = law_of(sample(wide, canvas, config.replace(steps=1)).z, SYMBOLS)
    marginals = [table[0].sum([a for a in range(3) if a != axis]) for axis in range(3)]
    product = torch.einsum("i,j,k->ijk", *marginals)
    assert distance(at_once, product) < 0.035
    assert distance(at_once, table) > 0.15


@st.composite
def settings(draw):
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    block = draw(st.none() | st.integers(1, 6))
    stops = draw(st.sampled_from([(), (0,), (0, 2)]))
    config = PLAIN.replace(
        steps=draw(st.integers(1, 15)),
        schedule=draw(st.sampled_from(["linear", "cosine"])),
        alg=draw(st.sampled_from(ALGS)),
        block_length=block,
        remask=draw(st.booleans()),
        min_new_tokens=draw(st.integers(0, 3)),
        temperature=draw(st.sampled_from([0.0, 0.7, 1.0])),
    )
    canvas = Canvas.open(
        lengths, mask_id=SYMBOLS, fill_id=SYMBOLS + 1, stop_ids=stops, block_length=block
    )
    return canvas, config, draw(st.integers(0, 10_000))


@given(settings())
def test_counts_blocks_and_stops_hold_for_uneven_rows(setting):
    canvas, config, seed = setting
    batch = len(canvas.z)
    denoiser = factor_world(12, SYMBOLS, seed=seed, batch=batch)
    result = sample(denoiser, canvas, config, seeds=range(seed, seed + batch))
    z, steps = canvas.z, config.steps
    for state in result.trajectory:
        masks = (z == SYMBOLS).sum(-1)
        left = (state.z == SYMBOLS).sum(-1)
        due, at, own = masks, state.step, steps
        if canvas.block is not None:
            masked = z == SYMBOLS
            law = "linear" if config.reveal_rule == "dream" else config.schedule
            due, (at, own) = block_clock(masked, canvas.editable, canvas.block, at, steps, law)
        keep = keep_masked(1 - at / own, 1 - (at + 1) / own, config.schedule)
        if config.alg != "origin":
            shown = reveal_count(due, keep)
            if not canvas.stop_ids:
                assert left.equal(masks - shown)
            assert (left <= masks - shown).all()
            if not config.remask:
                assert state.revealed.sum(-1).equal(shown)
        assert not (state.revealed & (z != SYMBOLS)).any()
        if config.block_length is not None and not config.remask:
            for row in range(batch):
                if state.revealed[row].any():
                    last = canvas.block[row][state.revealed[row]].max()
                    assert not (state.z[row][canvas.block[row] < last] == SYMBOLS).any()
        if not config.remask:  # what is written stays written, until a stop is before it
            kept = (z != SYMBOLS) & (state.z != z)
            assert (state.z[kept] == canvas.fill_id).all()
        z = state.z
    assert not (z == SYMBOLS).any()
    for row, length in zip(z.tolist(), canvas.lengths.tolist(), strict=True):
        stop = next((i for i, token in enumerate(row) if token in canvas.stop_ids), length)
        assert all(token < SYMBOLS for token in row[: min(stop + 1, length)])
        assert all(token == canvas.fill_id for token in row[stop + 1 :])
        if stop < length:
            assert stop >= config.min_new_tokens


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [2] * 16), ("cosine", [1] * 7 + [2, 2, 3, 2, 3, 3, 3, 3, 4])],
)
def test_more_blocks_than_steps_are_shared_out_by_the_schedule(schedule, expected):
    canvas = Canvas.open([32], mask_id=SYMBOLS, fill_id=SYMBOLS + 1, block_length=1)
    config = APSConfig(steps=16, max_new_tokens=32, schedule=schedule, block_length=1)
    result = sample(factor_world(32, SYMBOLS, seed=1, batch=1), canvas, config, seeds=[1])
    assert [int(state.revealed.sum()) for state in result.trajectory] == expected


def test_origin_reveals_random_counts_in_random_order():
    rows = 4000
    denoiser = factor_world(6, 3, seed=3).take(torch.zeros(rows, dtype=torch.long))
    config = PLAIN.replace(alg="origin", steps=4)
    states = sample(denoiser, open_canvas(rows, 6, 3), config).trajectory
    counts = states[0].revealed.sum(-1)
    assert counts.min() == 0  # a row may reveal none
    assert counts.double().mean().item() == pytest.approx(6 / 4, abs=0.08)
    assert counts.double().var().item() == pytest.approx(6 * 3 / 16, abs=0.1)
    assert ((states[0].revealed.double().mean(0) - 0.25).abs() < 0.03).all()


@pytest.mark.parametrize(
    ("options", "blocks"),
    [({"alg": "origin"}, None), ({"alg": "origin"}, 4), ({"reveal_rule": "dream"}, None)],
    ids=["origin", "origin in blocks", "dream"],
)
def test_a_step_that_reveals_nothing_is_not_computed(options, blocks, monkeypatch):
    rows, length, steps = 3, 8, 64
    denoiser = factor_world(length, 5, seed=6, batch=rows)
    canvas = open_canvas(rows, length, 5, block_length=blocks)
    config = PLAIN.replace(steps=steps, block_length=blocks, **options)
    saving = sample(denoiser, canvas, config)
    assert all(state.revealed.any() for state in saving.trajectory)
    assert saving.cost.denoiser_forwards == sum(
        int(state.revealed.any(-1).sum()) for state in saving.trajectory
    )
    everywhere = partial(Step.open, everywhere=True)
    monkeypatch.setattr(Step, "open", lambda *a, **_: everywhere(*a))
    whole = sample(denoiser, canvas, config)
    assert whole.z.equal(saving.z)
    assert len(whole.trajectory) > len(saving.trajectory)
    assert whole.cost.denoiser_forwards > 2 * saving.cost.denoiser_forwards


def test_confidence_orders_are_what_their_names_say():
    denoiser = factor_world(8, 5, seed=4)
    log_probs = denoiser.log_probs[0]
    config = PLAIN.replace(steps=8, temperature=0.0)
    for alg, score in {
        "maskgit_plus": log_probs.amax(-1),
        "topk_margin": log_probs.exp().topk(2).values @ torch.tensor([1.0, -1.0]).double(),
        "entropy": (log_probs.exp() * log_probs).sum(-1),
    }.items():
        result = sample(denoiser, open_canvas(1, 8, 5), config.replace(alg=alg))
        order = [state.revealed[0].nonzero().item() for state in result.trajectory]
        assert order == score.argsort(descending=True).tolist()


@pytest.mark.parametrize("alg", ALGS)
def test_temperature_does_not_change_the_decoding_order(alg):
    """Candidates are equal at every temperature when only one token is left to draw."""
    denoiser = factor_world(9, 6, seed=5, batch=4)
    runs = [
        sample(
            denoiser,
            open_canvas(4, 9, 6),
            PLAIN.replace(alg=alg, steps=7, temperature=temperature, top_k=1),
        )
        for temperature in (0.0, 0.05, 1.0, 20.0)
    ]
    for other in runs[1:]:
        for one, two in zip(runs[0].trajectory, other.trajectory, strict=True):
            assert one.revealed.equal(two.revealed)
            assert one.z.equal(two.z)


@pytest.mark.parametrize("alg", ALGS)
@pytest.mark.parametrize("block_length", [None, 2])
def test_a_batch_gives_what_its_rows_give_alone(alg, block_length):
    """Other lengths, other seeds, other finishing times beside a row change nothing in it."""
    lengths, batch = [7, 1, 4, 7, 2, 5, 6, 3], 8
    denoiser = factor_world(7, SYMBOLS, seed=6, batch=batch)
    config = PLAIN.replace(
        alg=alg, steps=5, block_length=block_length, remask=True, min_new_tokens=1
    )
    layout = {
        "mask_id": SYMBOLS,
        "fill_id": SYMBOLS + 1,
        "stop_ids": [0],
        "block_length": block_length,
    }
    together = sample(denoiser, Canvas.open(lengths, **layout), config, seeds=range(50, 58)).z
    for row, length in enumerate(lengths):
        alone = sample(
            denoiser.take(torch.tensor([row])),
            Canvas.open([length], **layout),
            config,
            seeds=[50 + row],
        ).z
        assert alone[0].equal(together[row, :length])
    assert len({tuple(row) for row in together.tolist()}) > 4


def test_a_batch_gives_what_its_rows_give_alone_on_tables():
    batch = 40
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, seed=7, batch=batch))
    config = PLAIN.replace(steps=3)
    canvas = open_canvas(batch, LENGTH, SYMBOLS, stop_ids=[1])
    together = sample(denoiser, canvas, config).z
    order = torch.arange(batch - 1, -1, -1)
    backwards = sample(denoiser.take(order), canvas, config, seeds=order).z
    assert backwards.flip(0).equal(together)
    for row in range(batch):
        at = torch.tensor([row])
        alone = sample(denoiser.take(at), canvas.take(at), config, seeds=[row]).z
        assert alone[0].equal(together[row])


def test_particles_of_one_seed_differ_and_repeat():
    rows = torch.zeros(50, dtype=torch.long)
    denoiser = factor_world(6, SYMBOLS, seed=8).take(rows)
    canvas, config = open_canvas(50, 6, SYMBOLS), PLAIN.replace(steps=6, alg="origin")
    one = sample(denoiser, canvas, config, seeds=rows, particles=range(50)).z
    assert len({tuple(row) for row in one.tolist()}) > 35
    assert one.equal(sample(denoiser, canvas, config, seeds=rows, particles=range(50)).z)
    assert not one.equal(sample(denoiser, canvas, config, seeds=rows + 1, particles=range(50)).z)


def test_eos_penalty_is_taken_from_the_stop_logit():
    denoiser = factor_world(1, SYMBOLS, seed=9)
    rows = torch.zeros(4000, dtype=torch.long)
    canvas = open_canvas(4000, 1, SYMBOLS, stop_ids=[2])
    for penalty in (-1.5, 0.0, 2.0):
        config = PLAIN.replace(eos_penalty=penalty, steps=1)
        state = sample(denoiser.take(rows), canvas, config).trajectory[0]
        logits = denoiser.log_probs[0, 0].clone()
        logits[2] -= penalty
        law = logits.softmax(-1)
        torch.testing.assert_close(state.prior, law[state.z])
        share = (state.z == 2).double().mean().item()
        assert share == pytest.approx(law[2].item(), abs=0.035)


def test_min_new_tokens_forbids_empty_answers():
    rows, length = torch.zeros(500, dtype=torch.long), 5
    denoiser = factor_world(length, SYMBOLS, seed=10)
    denoiser.log_probs[..., 0] += 5  # the stop token is by far the likeliest
    denoiser = replace(denoiser, log_probs=denoiser.log_probs.log_softmax(-1)).take(rows)
    canvas = open_canvas(500, length, SYMBOLS, stop_ids=[0])
    for least in (0, 1, 3, 9):
        z = sample(denoiser, canvas, PLAIN.replace(min_new_tokens=least, steps=5)).z
        first = torch.where((z == 0).any(-1), (z == 0).long().argmax(-1), length)
        assert first.min() == min(least, length)


@pytest.mark.parametrize("order", [{}, {"alg": "origin"}, {"remasking": "random"}])
def test_revision_changes_tokens_but_never_stops_or_given_text(order):
    batch, length = 60, 10
    denoiser = factor_world(length, SYMBOLS, seed=11, batch=batch, sharp=0.3)
    canvas = open_canvas(batch, length, SYMBOLS, stop_ids=[0])
    z, editable = canvas.z.clone(), canvas.editable.clone()
    z[:, [2, 3]], editable[:, [2, 3]] = 3, False
    canvas = replace(canvas, z=z, editable=editable)
    config = PLAIN.replace(steps=10, remask=True, min_new_tokens=1, eos_penalty=2.0, **order)
    revised, before, stops = 0, canvas.z, torch.zeros_like(canvas.editable)
    for state in sample(denoiser, canvas, config).trajectory:
        reopened = (before != SYMBOLS) & (state.z == SYMBOLS)
        revised += reopened.sum().item()
        assert not (reopened & stops).any()
        assert (state.z[:, [2, 3]] == 3).all()
        stops = (state.z == 0) & canvas.editable
        before = state.z
    assert revised > 20
    assert not (before == SYMBOLS).any()
    plain = sample(denoiser, canvas, config.replace(remask=False)).trajectory
    for one, two in itertools.pairwise(plain):
        assert not ((one.z != SYMBOLS) & (two.z == SYMBOLS)).any()


@pytest.mark.parametrize("order", [{"alg": "origin"}, {"remasking": "random"}])
def test_a_random_order_revises_any_token_whenever_it_was_written(order):
    """At step 4 of 8, with four masks: ReMDM's rate is capped at 1/2, so two of the four written
    tokens compete with the four masks. With counts three places are theirs: each of the six has one
    with probability 1/2, so a written token is masked again with probability 1/4."""
    rows, length = 20_000, 8
    denoiser = factor_world(length, SYMBOLS, seed=12).take(torch.zeros(rows, dtype=torch.long))
    config = PLAIN.replace(steps=8, remask=True, **order)
    states = sample(denoiser, open_canvas(rows, length, SYMBOLS), config).trajectory
    since = torch.zeros(rows, length)
    for state in states[:4]:
        since[state.revealed] = state.step
    before, after = states[3].z, states[4].z
    written = (before != SYMBOLS) & ((before == SYMBOLS).sum(-1) == 4)[:, None]
    shares = []
    for asked in (since <= 1, since == 2, since == 3):
        at = written & asked
        assert at.sum() > 2000
        shares.append((after[at] == SYMBOLS).double().mean().item())
    assert max(shares) - min(shares) < 0.03
    if "remasking" in order:
        assert shares == pytest.approx([0.25] * 3, abs=0.02)
        masks = before == SYMBOLS
        assert states[4].revealed[masks].double().mean().item() == pytest.approx(0.5, abs=0.01)


def test_given_text_is_kept_and_conditioned_on():
    table = joint_table(LENGTH, SYMBOLS, seed=12, sharp=2.0)
    rows = 8000
    canvas = open_canvas(rows, LENGTH, SYMBOLS)
    z, editable = canvas.z.clone(), canvas.editable.clone()
    z[:, 1], editable[:, 1] = 2, False
    canvas = replace(canvas, z=z, editable=editable)
    config = PLAIN.replace(alg="origin", steps=30)
    out = sample(TableDenoiser(table.expand(rows, -1, -1, -1)), canvas, config).z
    assert (out[:, 1] == 2).all()
    exact = table[0, :, 2] / table[0, :, 2].sum()
    assert distance(law_of(out[:, [0, 2]], SYMBOLS), exact) < 0.035


def test_a_canvas_without_masks_is_returned_at_no_cost():
    canvas = open_canvas(2, LENGTH, SYMBOLS)
    done = replace(canvas, z=torch.tensor([[0, 1, 2], [SYMBOLS, 1, 2]]))
    denoiser = factor_world(LENGTH, SYMBOLS, seed=13, batch=2)
    full = sample(denoiser.take(torch.tensor([0])), done.take(torch.tensor([0])), PLAIN)
    assert full.z.tolist() == [[0, 1, 2]]
    assert full.cost.denoiser_forwards == 0
    mixed = sample(denoiser, done, PLAIN.replace(steps=4))
    assert mixed.z[0].tolist() == [0, 1, 2]
    assert mixed.z[1, 0] < SYMBOLS
    assert mixed.cost.denoiser_forwards == 1


def test_rows_stop_costing_when_they_end():
    """Row 0 is 8 long, row 1 is 2 long: 8 + 2 forwards, not 16."""
    canvas = Canvas.open([8, 2], mask_id=SYMBOLS, fill_id=SYMBOLS + 1)
    denoiser = factor_world(8, SYMBOLS, seed=14, batch=2)
    assert sample(denoiser, canvas, PLAIN.replace(steps=8)).cost.denoiser_forwards == 10


def test_states_stream_and_can_be_left():
    denoiser = factor_world(6, SYMBOLS, seed=15)
    canvas, config = open_canvas(1, 6, SYMBOLS), PLAIN.replace(steps=6)
    seen = []
    result = run(
        Ancestral(),
        denoiser,
        ZeroOperator(),
        canvas,
        config,
        noise_for([0]),
        on_step=lambda index, state: seen.append((index, state.z)),
    )
    assert [index for index, _ in seen] == list(range(6))
    assert seen[-1][1].equal(result.z)
    assert result.trajectory == []
    stream = Ancestral().steps(denoiser, ZeroOperator(), canvas, config, noise_for([0]))
    third = next(itertools.islice(stream, 2, None))
    assert (third.z == SYMBOLS).sum() == 3
    assert third.z.equal(seen[2][1])
    assert (canvas.z == SYMBOLS).all()  # the caller's canvas is not written


def test_a_state_reports_candidates_and_their_probabilities():
    denoiser = factor_world(5, SYMBOLS, seed=16, batch=2)
    canvas = Canvas.open([5, 3], mask_id=SYMBOLS, fill_id=SYMBOLS + 1)
    before = canvas.z
    for state in sample(denoiser, canvas, PLAIN.replace(steps=4)).trajectory:
        masked = before == SYMBOLS
        law = denoiser.log_probs.exp().gather(-1, state.candidates.clamp(max=3)[..., None])
        torch.testing.assert_close(state.prior, torch.where(masked, law.squeeze(-1), 0.0))
        assert state.tilted.equal(state.prior)
        assert state.guided is False
        assert state.kl is None
        assert (state.candidates[~masked] == canvas.fill_id).all()
        assert state.z[state.revealed].equal(state.candidates[state.revealed])
        before = state.z


def test_the_global_generator_is_not_touched():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    sample(factor_world(3, SYMBOLS, seed=17), open_canvas(1, 3, SYMBOLS), PLAIN)
    assert torch.get_rng_state().equal(before)
