"""Properties of every method: batches, seeds, early ends, infill, masks; its cost, its base law."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from worlds import (
    TableDenoiser,
    enumerated_reward,
    factor_world,
    joint_table,
    noise_for,
    open_canvas,
    table_reward,
)

from aps_text.core import noise
from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.operator import ZeroOperator, weighted_sum
from aps_text.core.sampler import run
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps_smc import APSSMC
from aps_text.methods.best_of_n import BestOf
from aps_text.methods.entrgi import EntRGi, aps_logits, expectation
from aps_text.methods.ets import ETS
from aps_text.methods.fk_steering import FKSteering
from aps_text.methods.particle_gibbs import ParticleGibbs
from aps_text.methods.registry import PEERS, make_method
from aps_text.methods.svdd import SVDD
from aps_text.methods.twisted_smc import TwistedSMC
from aps_text.methods.vgb import VGB

LENGTH, SYMBOLS, BATCH = 3, 4, 5
CONFIG = APSConfig(
    adapter="logits", temperature=1.0, top_p=1.0, min_new_tokens=0, steps=LENGTH, beta=0.5
)

METHODS = {
    "plain": Ancestral(),
    "best": BestOf(samples=3),
    "best of fk": BestOf(FKSteering(2, every=1, draws=1), samples=2),
    "svdd": SVDD(3),
    "svdd sample": SVDD(3, fill="sample"),
    "svdd greedy": SVDD(2, beta=0.0),
    "fk": FKSteering(3, every=1, resample=0.9),
    "fk max": FKSteering(3, potential="max", every=2, final="weight", resample=2.0),
    "fk sum": FKSteering(3, potential="sum", every=1),
    "entrgi": EntRGi(),
    "expectation": expectation(),
    "aps-logits": aps_logits(),
    "twisted": TwistedSMC(3, resample=0.9),
    "twisted random": TwistedSMC(2, order="random", final="weight", resample=2.0),
    "aps-smc": APSSMC(3, resample=0.9),
    "aps-smc origin": APSSMC(3, order="origin", twist="prior", final="weight", resample=2.0),
    "aps-smc anchored": APSSMC(2, order="anchored", draws=2, resample=2.0),
    "gibbs": ParticleGibbs(2, 2, every=1, draws=1, resample=2.0),
    "gibbs weight": ParticleGibbs(3, 3, every=2, final="weight", resample=0.9),
    "vgb": VGB(2, limit=4),
    "vgb drawn": VGB(1, answers=3, limit=6, draws=2, final="last"),
    "vgb last": VGB(2, answers=3, limit=5, remask="last"),
    "ets": ETS(3, draws=2, points=2),
    "ets sampler": ETS(2, draws=2, points=3, rollout="sampler"),
}
every_method = pytest.mark.parametrize("name", METHODS)


def drive(name, denoiser, operator, canvas, config=CONFIG, seeds=None, particles=None):
    noise = noise_for(range(len(canvas.z)) if seeds is None else seeds, particles)
    return run(METHODS[name], denoiser, operator, canvas, config, noise, keep_trajectory=True)


@every_method
@pytest.mark.parametrize("options", [{}, {"block_length": 2}, {"temperature": 0.7, "top_p": 0.8}])
def test_a_batch_gives_what_its_rows_give_alone(name, options):
    """Other lengths, other seeds, other finishing times beside a row change nothing in it."""
    lengths = [6, 1, 4, 6, 2, 5]
    denoiser = factor_world(6, SYMBOLS, seed=1, batch=len(lengths))
    reward = table_reward(6, SYMBOLS, 2, batch=len(lengths))
    config = CONFIG.replace(steps=4, min_new_tokens=1, **options)
    layout = {"mask_id": SYMBOLS, "fill_id": SYMBOLS + 1, "stop_ids": [0]}
    layout["block_length"] = options.get("block_length")
    canvas = Canvas.open(lengths, **layout)
    together = drive(name, denoiser, reward, canvas, config, seeds=range(50, 56)).z
    for row, length in enumerate(lengths):
        at = torch.tensor([row])
        alone = Canvas.open([length], **layout)
        z = drive(name, denoiser.take(at), reward.take(at), alone, config, seeds=[50 + row]).z
        assert z[0].equal(together[row, :length])
    assert not (together == SYMBOLS).any()


@every_method
def test_a_seed_decides_and_particles_differ(name):
    """`num_return_sequences` are particles of one seed."""
    rows = torch.zeros(40, dtype=torch.long)
    denoiser = factor_world(6, SYMBOLS, seed=3, sharp=0.5).take(rows)
    reward = table_reward(6, SYMBOLS, 4).take(rows)
    canvas, config = open_canvas(40, 6, SYMBOLS), CONFIG.replace(steps=4, beta=3.0)
    one = drive(name, denoiser, reward, canvas, config, seeds=rows, particles=range(40)).z
    same = drive(name, denoiser, reward, canvas, config, seeds=rows, particles=range(40)).z
    other = drive(name, denoiser, reward, canvas, config, seeds=rows + 1, particles=range(40)).z
    assert one.equal(same)
    assert not one.equal(other)
    # The least varied here climb hardest; the bound only says that they are not one answer.
    assert len({tuple(row) for row in one.tolist()}) > 4


@every_method
def test_given_tokens_stay_and_states_stream(name):
    batch, length = 8, 6
    denoiser = factor_world(length, SYMBOLS, seed=5, batch=batch)
    reward = table_reward(length, SYMBOLS, 6, batch=batch)
    canvas = open_canvas(batch, length, SYMBOLS, stop_ids=[0])
    z, editable = canvas.z.clone(), canvas.editable.clone()
    z[:, [1, 4]], editable[:, [1, 4]] = 3, False
    canvas = replace(canvas, z=z, editable=editable)
    result = drive(name, denoiser, reward, canvas, CONFIG.replace(steps=4))
    assert 1 <= len(result.trajectory) <= result.trajectory[0].steps
    for state in result.trajectory:
        assert 0 <= state.step < state.steps
        assert (state.z[:, [1, 4]] == 3).all()
        assert state.z.shape == (batch, length)
        shown = state.revealed & (state.z != canvas.fill_id)
        assert state.z[shown].equal(state.candidates[shown])
        assert (state.tilted[state.candidates == canvas.fill_id] == 0).all()
        assert ((state.tilted >= 0) & (state.tilted <= 1 + 1e-9)).all()
    assert [state.step for state in result.trajectory] == list(range(len(result.trajectory)))
    assert not (result.z == SYMBOLS).any()
    assert (canvas.z == z).all()
    for row in result.z.tolist():  # behind a stop only fill and given tokens
        if 0 in row:
            behind = row[row.index(0) + 1 :]
            assert set(behind) <= {canvas.fill_id, 3}


@every_method
def test_a_canvas_without_masks_is_returned_at_no_cost(name):
    done = replace(open_canvas(2, LENGTH, SYMBOLS), z=torch.tensor([[0, 1, 2], [3, 3, 3]]))
    denoiser = factor_world(LENGTH, SYMBOLS, seed=7, batch=2)
    result = drive(name, denoiser, table_reward(LENGTH, SYMBOLS, 8, batch=2), done)
    assert result.z.equal(done.z)
    assert result.cost.denoiser_forwards == result.cost.reward_forwards == 0
    half = replace(done, z=torch.tensor([[0, 1, 2], [4, 3, 3]]))
    mixed = drive(name, denoiser, table_reward(LENGTH, SYMBOLS, 8, batch=2), half)
    assert mixed.z[0].tolist() == [0, 1, 2]
    assert mixed.z[1, 0] < SYMBOLS


def one_particle(order):
    return [
        BestOf(samples=1),
        SVDD(1),
        FKSteering(1),
        ETS(1, points=3),
        TwistedSMC(1, order=order),
        APSSMC(1, order=order),
    ]


@pytest.mark.parametrize(
    ("order", "options"),
    [
        ("entropy", {"alg": "entropy"}),
        ("topk_margin", {"alg": "topk_margin", "block_length": 2}),
        ("topk_margin", {"alg": "topk_margin", "reveal_rule": "dream"}),
        ("origin", {"alg": "origin", "schedule": "cosine"}),
        ("random", {"remasking": "random", "temperature": 0.6, "top_p": 0.7}),
        ("entropy", {"alg": "entropy", "alg_temp": 0.4, "eos_penalty": 0.5, "top_k": 2}),
        ("entropy", {"alg": "entropy", "threshold": 0.3, "temperature": 0.0}),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_one_particle_without_a_reward_is_the_base_sampler_token_for_token(
    order, options, large, monkeypatch
):
    if large:  # a vocabulary that is drawn from by a race, here of two tokens and the others
        monkeypatch.setattr(noise, "LARGE", 1)
        monkeypatch.setattr(noise, "RACING", 2)
    batch = 40
    denoiser = factor_world(6, SYMBOLS, seed=9, batch=batch)
    canvas = open_canvas(batch, 6, SYMBOLS, stop_ids=[0], block_length=options.get("block_length"))
    config = CONFIG.replace(steps=4, **{"remasking": "standard", **options})
    draws = noise_for(range(batch))
    base = run(Ancestral(), denoiser, ZeroOperator(), canvas, config, draws, keep_trajectory=True)
    for method in one_particle(order):
        found = run(method, denoiser, ZeroOperator(), canvas, config, draws, keep_trajectory=True)
        assert len(found.trajectory) == len(base.trajectory)
        for one, two in zip(found.trajectory, base.trajectory, strict=True):
            assert one.z.equal(two.z)
            assert one.revealed.equal(two.revealed)
            seen = two.prior > 0  # a filter looks at all masks, plain at the open blocks
            assert one.prior[seen].equal(two.prior[seen])


@pytest.mark.parametrize(
    "method",
    [
        FKSteering(3, every=1),
        TwistedSMC(3),
        APSSMC(3),
        SVDD(3),
        BestOf(samples=3),
        ETS(3, points=3),
        ParticleGibbs(2, 2, every=1),
        VGB(2, 3, 100, "last"),
        ETS(2, points=2, rollout="sampler"),
    ],
    ids=lambda m: type(m).__name__,
)
def test_many_particles_without_a_reward_follow_the_base_law(method):
    rows = 6000
    table = joint_table(LENGTH, SYMBOLS, 10, sharp=1.5)
    denoiser = TableDenoiser(table.expand(rows, -1, -1, -1))
    config = CONFIG.replace(alg="entropy", remasking="standard")
    z = run(
        method,
        denoiser,
        ZeroOperator(),
        open_canvas(rows, LENGTH, SYMBOLS),
        config,
        noise_for(range(rows)),
    ).z
    counts = torch.zeros(SYMBOLS, SYMBOLS, SYMBOLS).double()
    counts.index_put_(tuple(z.unbind(-1)), torch.ones(rows).double(), accumulate=True)
    assert 0.5 * (counts / rows - table[0]).abs().sum() < 0.05


def spent(method, operator=None, lengths=None, **options):
    lengths = lengths or [LENGTH] * BATCH
    width = max(lengths)
    denoiser = factor_world(width, SYMBOLS, seed=0, batch=len(lengths))
    operator = operator or table_reward(width, SYMBOLS, 1, batch=len(lengths))
    canvas = Canvas.open(lengths, mask_id=SYMBOLS, fill_id=SYMBOLS + 1)
    config = CONFIG.replace(trust_region=None, gradient_gate=0.0, **options)
    cost = run(method, denoiser, operator, canvas, config, noise_for(range(len(lengths)))).cost
    return (
        cost.denoiser_forwards,
        cost.denoiser_backwards,
        cost.reward_forwards,
        cost.reward_backwards,
    )


def test_costs_are_those_of_the_formulas():
    """Per row, T = 3 steps, one token a step; see docs/methods.md."""
    b, t = BATCH, LENGTH
    assert spent(Ancestral()) == (b * t, 0, 0, 0)
    assert spent(BestOf(samples=4)) == (b * 4 * t, 0, b * 4, 0)
    assert spent(SVDD(4)) == (b * (1 + 4 * (t - 1)), 0, b * 4 * t, 0)
    assert spent(FKSteering(4, every=1, draws=2)) == (b * 4 * t, 0, b * 4 * (2 * (t - 1) + 1), 0)
    assert spent(VGB(4, answers=1)) == (b * (1 + 4 * (t - 1)), 0, b * (1 + 4 * t), 0)
    assert spent(VGB(4, answers=1, draws=2)) == (b * (1 + 4 * (t - 1)), 0, b * (2 + 16 + 4), 0)
    # In one step: down, back (which looks at the draft again), down, each way beside the old one.
    assert spent(VGB(4, answers=3), steps=1) == (b * (1 + 2), 0, b * (1 + 4 + 2 * (1 + 3)), 0)
    gibbs = ParticleGibbs(4, 3, every=1, draws=2)
    assert spent(gibbs) == (3 * b * 4 * t, 0, 3 * b * 4 * (2 * (t - 1) + 1), 0)
    assert spent(ETS(4, 3, 1)) == (b * 4 * t, 0, b * 4, 0)
    assert spent(ETS(4, 3, 2)) == (b * 4 * (t + 1), 0, b * 4 * (3 + 1), 0)
    rolled = b * 4 * (t + 3 * (2 + 1))  # three rollouts of two steps, then of one
    assert spent(ETS(4, 3, 3, "sampler")) == (rolled, 0, b * 4 * (3 * 2 + 1), 0)
    assert spent(FKSteering(4, every=2, draws=3)) == (b * 4 * t, 0, b * 4 * (3 * 1 + 1), 0)
    for method in (EntRGi(), expectation(), aps_logits()):
        assert spent(method) == (b * t, 0, b * t * 3, b * t * 3)
    assert spent(TwistedSMC(4)) == (b * 4 * t, 0, b * 4 * (t + 1), b * 4 * t)
    m = CONFIG.inner_steps
    want = (b * 4 * t, 0, b * 4 * (t * m + (t - 1) + 1), b * 4 * t * m)
    assert spent(APSSMC(4)) == want
    assert spent(BestOf(TwistedSMC(4), 2)) == (b * 8 * t, 0, b * 8 * (t + 1) + b * 2, b * 8 * t)


def test_a_black_box_costs_aps_smc_its_samples():
    b, t, m, k = BATCH, LENGTH, CONFIG.inner_steps, CONFIG.num_samples
    black = enumerated_reward(LENGTH, SYMBOLS, 2, differentiable=False)
    want = (b * 2 * t, 0, b * 2 * (t * m * k + (t - 1) + 1), 0)
    assert spent(APSSMC(2), black) == want


def test_finished_rows_and_silent_rewards_cost_nothing():
    """Lengths 6, 2, 4 at one token a step are 12 row steps; weight 0 is never scored."""
    lengths = [6, 2, 4]
    loud = table_reward(6, SYMBOLS, 1, batch=3)
    silent = table_reward(6, SYMBOLS, 2, batch=3)
    operator = weighted_sum((1.0, loud), (0.0, silent))
    assert spent(SVDD(2), operator, lengths, steps=6) == (3 + 2 * 9, 0, 2 * 12, 0)
    assert spent(ETS(2, 1, 6), operator, lengths, steps=6) == (2 * (12 + 9), 0, 2 * 12, 0)
    fk = FKSteering(2, every=1, draws=1)
    assert spent(fk, operator, lengths, steps=6) == (2 * 12, 0, 2 * (9 + 3), 0)
    assert spent(BestOf(samples=2), operator, lengths, steps=6) == (24, 0, 6, 0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FKSteering(0), ValueError, "particles must be >= 1, got 0"),
        (lambda: FKSteering(2.5), TypeError, "particles is an integer, got 2.5"),
        (lambda: FKSteering(potential="min"), ValueError, "difference, max, sum; got 'min'"),
        (lambda: FKSteering(beta=0), ValueError, "beta must be > 0, got 0"),
        (lambda: APSSMC(order="maskgit_plus"), ValueError, "anchored; got 'maskgit_plus'"),
        (lambda: APSSMC(floor=2), ValueError, "floor must be"),
        (lambda: TwistedSMC(final="best"), ValueError, "weight, reward; got 'best'"),
        (lambda: SVDD(beta=-1), ValueError, "beta must be >= 0, got -1"),
        (lambda: SVDD(fill="mean"), ValueError, "argmax, sample; got 'mean'"),
        (lambda: VGB(answers=0), ValueError, "answers must be >= 1, got 0"),
        (lambda: VGB(draws=-1), ValueError, "draws must be >= 0, got -1"),
        (lambda: VGB(remask="all"), ValueError, "any, last; got 'all'"),
        (lambda: VGB(final="weight"), ValueError, "last, reward; got 'weight'"),
        (lambda: ParticleGibbs(1), ValueError, "particles must be >= 2, got 1"),
        (lambda: ParticleGibbs(sweeps=0), ValueError, "sweeps must be >= 1, got 0"),
        (lambda: ETS(points=0), ValueError, "points must be >= 1, got 0"),
        (lambda: ETS(draws=1.5), TypeError, "draws is an integer, got 1.5"),
        (lambda: ETS(rollout="full"), ValueError, "x_theta, sampler; got 'full'"),
        (lambda: ETS(beta=0), ValueError, "beta must be > 0, got 0"),
        (lambda: BestOf(samples=0), ValueError, "samples must be >= 1, got 0"),
        (lambda: EntRGi(relaxation="soft"), ValueError, "relaxation is one of"),
        (lambda: make_method(PEERS, "fkk"), ValueError, "best-of-n, svdd, .*; got 'fkk'"),
        (lambda: make_method(PEERS, "fk", ["particles"]), ValueError, "NAME=VALUE"),
        (lambda: make_method(PEERS, "fk", ["k=3"]), TypeError, "no setting 'k'; it has: particles"),
        (lambda: make_method(PEERS, "best-of-n", ["method=fk"]), TypeError, "samples, best_of"),
        (lambda: make_method(PEERS, "fk", ["best_of=0"]), ValueError, "samples must be >= 1"),
    ],
)
def test_bad_settings_name_the_value_and_the_mend(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_temperature_of_svdd_has_an_earlier_name():
    for make in (lambda: SVDD(alpha=0.5), lambda: make_method(PEERS, "svdd", ["alpha=0.5"])):
        with pytest.warns(DeprecationWarning, match="alpha is called beta now"):
            assert make() == SVDD(beta=0.5)
    with pytest.warns(DeprecationWarning, match="beta") as heard:
        SVDD(alpha=0.0)
    assert heard[0].filename == __file__
    with pytest.raises(TypeError, match="alpha and beta are one option; give beta"):
        SVDD(alpha=0.5, beta=0.5)
    assert replace(SVDD(beta=0.5), candidates=2) == SVDD(2, 0.5)


def test_settings_come_from_a_command_line():
    made = make_method(PEERS, "fk", ["particles=8", "potential=max", "beta=null", "resample=1.5"])
    assert made == FKSteering(8, "max", None, resample=1.5)
    assert make_method(PEERS, "aps-smc") == APSSMC()
    made = make_method(PEERS, "entrgi", ["best-of=4", "inner_steps=5"])
    assert made == BestOf(EntRGi(inner_steps=5), 4)
    assert make_method(PEERS, "expectation") == EntRGi(relaxation="expectation")


@pytest.mark.parametrize("make", [EntRGi, expectation, aps_logits])
def test_the_authors_rank_positions_by_the_prior(make):
    """Which positions come first is the base sampler's choice by entropy, whatever the reward."""
    batch, length = 40, 8
    denoiser = factor_world(length, SYMBOLS, seed=11, batch=batch)
    reward = table_reward(length, SYMBOLS, 12, batch=batch)
    config = CONFIG.replace(steps=4, alg="entropy", remasking="standard")
    first = [
        next(
            iter(
                method.steps(
                    denoiser,
                    reward,
                    open_canvas(batch, length, SYMBOLS),
                    config,
                    noise_for(range(batch)),
                )
            )
        )
        for method in (make(), Ancestral())
    ]
    assert first[0].revealed.equal(first[1].revealed)
    assert not first[0].candidates.equal(first[1].candidates)
    assert not first[0].tilted.equal(first[0].prior)


def test_entrgi_steps_as_torch_adam_at_the_authors_rate():
    """Three steps of the row's Adam are those of `torch.optim.Adam(lr=0.5)` at its default eps."""
    denoiser, rows = factor_world(LENGTH, SYMBOLS, seed=3, batch=2), [0, 0, 0, 1, 1, 1]
    where = torch.tensor(rows), torch.tensor([0, 1, 2] * 2)
    phi = denoiser.new_adapter(EntRGi().settings(CONFIG), noise_for(range(2)))
    state = denoiser.trunk(open_canvas(2, LENGTH, SYMBOLS).z)
    phi.begin(denoiser, state, where)
    theta = phi.logits(denoiser, state, where)
    offset = torch.zeros_like(theta, requires_grad=True)
    adam = torch.optim.Adam([offset], lr=0.5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(EntRGi().inner_steps):
        grad = torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
        phi.update(theta, grad, torch.ones(2, dtype=torch.bool))
        offset.grad = grad
        adam.step()
    moved = phi.logits(denoiser, state, where) - theta
    real = theta > -1e8  # beside a suppressed logit an offset is lost in rounding
    torch.testing.assert_close(moved[real], offset.detach()[real], rtol=1e-4, atol=1e-6)
    # The library's own eps makes another optimiser of it.
    loose = denoiser.new_adapter(CONFIG, noise_for(range(2)))
    loose.begin(denoiser, state, where)
    loose.update(theta, grad, torch.ones(2, dtype=torch.bool))
    first = loose.logits(denoiser, state, where) - theta
    assert not torch.allclose(first[real].abs(), torch.full_like(first[real], 0.5), rtol=1e-2)


def test_what_a_method_cannot_do_is_refused():
    black = enumerated_reward(LENGTH, SYMBOLS, 2, differentiable=False)
    with pytest.raises(ValueError, match="black box; use method 'aps-smc' or 'fk'"):
        spent(TwistedSMC(2), black)
    more = (ETS(2), ParticleGibbs(2), VGB(2))
    for method in (TwistedSMC(2), APSSMC(2), FKSteering(2), SVDD(2), *more):
        with pytest.raises(ValueError, match="remask=True masks written tokens again"):
            spent(method, remask=True)


@pytest.mark.parametrize(
    "method",
    [
        ETS(4, 1, 3, "sampler"),
        ETS(4, 2, 3),
        ParticleGibbs(3, 3, every=1, final="weight"),
        VGB(2, 6, final="last"),
        VGB(2, 6, remask="last", final="last"),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_vetoed_answer_is_left_behind(method):
    """r = -inf where the last token is 0, which the base sampler draws as often as any other."""
    rows = 400
    denoiser = factor_world(LENGTH, SYMBOLS, seed=1, sharp=0.3).take(torch.zeros(rows).long())
    reward = enumerated_reward(LENGTH, SYMBOLS, 2)
    reward.values[:, :, 0] = -torch.inf
    canvas, noise = open_canvas(rows, LENGTH, SYMBOLS), noise_for(range(rows))
    config = CONFIG.replace(alg="entropy", remasking="standard")
    plain = run(Ancestral(), denoiser, reward, canvas, config, noise).z
    found = run(method, denoiser, reward, canvas, config, noise).z
    assert (plain[:, 2] == 0).double().mean() > 0.15
    assert (found[:, 2] == 0).double().mean() < 0.04
    reward.values.fill_(-torch.inf)  # everything is: an answer is returned all the same
    assert (run(method, denoiser, reward, canvas, config, noise).z < SYMBOLS).all()


@every_method
def test_a_state_tells_when_each_token_was_written(name):
    """Of the sample it shows, also where that is another one than before."""
    batch, length = 8, 6
    denoiser = factor_world(length, SYMBOLS, seed=5, batch=batch)
    reward = table_reward(length, SYMBOLS, 6, batch=batch)
    canvas = open_canvas(batch, length, SYMBOLS, stop_ids=[0])
    z, editable = canvas.z.clone(), canvas.editable.clone()
    z[:, 1], editable[:, 1] = 3, False
    canvas = replace(canvas, z=z, editable=editable)
    states = drive(name, denoiser, reward, canvas, CONFIG.replace(steps=4)).trajectory
    for state in states:
        still = state.z == denoiser.mask_id
        assert (state.written[still] == -1).all()
        assert (state.written[:, 1] == -1).all()
        wrote = ~still & editable
        assert ((state.written[wrote] >= 0) & (state.written[wrote] <= state.step)).all()
    if name.startswith(("plain", "svdd", "entrgi", "expectation", "aps-logits")):  # one sample
        for before, after in pairwise(states):
            new = (after.z != before.z).nonzero(as_tuple=True)
            assert (after.written[new] == after.step).all()
    # No step passes without a token, unless a stop took away what it wrote, or a move back did.
    always = "origin" not in name and name not in ("vgb", "vgb drawn")
    whole = states[-1].z.ne(canvas.fill_id).all(-1) & torch.tensor(always)
    for row in states[-1].written[whole]:
        assert set(row[row >= 0].tolist()) == {0, 1, 2, 3}
