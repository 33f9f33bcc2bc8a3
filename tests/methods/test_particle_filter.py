"""The particle filter's parts against their formulas: weights, potentials, twists, resampling."""

from __future__ import annotations

import math

import pytest
import torch
from worlds import (
    FactorDenoiser,
    enumerated_reward,
    factor_world,
    noise_for,
    open_canvas,
    step_at,
    table_reward,
)

from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.noise import Noise
from aps_text.core.objective import kl_rows
from aps_text.core.sampler import run
from aps_text.core.states import Tilted
from aps_text.core.step import Step
from aps_text.methods.entrgi import EntRGi
from aps_text.methods.fk_steering import FKSteering
from aps_text.methods.particle_filter import ParticleFilter
from aps_text.methods.particles import (
    ParticlePath,
    Weights,
    draw_one,
    effective_size,
    particle_noise,
    systematic,
)
from aps_text.methods.svdd import SVDD
from aps_text.methods.twist import divergence, log_twist
from aps_text.methods.twisted_smc import GradientTilt

LENGTH, SYMBOLS = 4, 4
MASK = SYMBOLS
CONFIG = APSConfig(
    adapter="logits", temperature=1.0, top_p=1.0, min_new_tokens=0, steps=LENGTH, beta=0.7
)
CPU = torch.device("cpu")


@pytest.mark.parametrize("potential", ["difference", "max", "sum"])
def test_potentials_are_their_formulas_and_telescope(potential):
    """log G: v - v before; max of v so far; sum of v so far; and the product is exp(r / beta)."""
    looks = torch.tensor([[0.5, -1.0], [1.5, -2.0], [-0.3, 0.4]]).double()
    weights, slots = Weights.even(2, potential, CPU), torch.arange(2)
    gains = {
        "difference": looks.diff(dim=0, prepend=torch.zeros(1, 2).double()),
        "max": looks.cummax(0).values,
        "sum": looks.cumsum(0),
    }[potential]
    for count in range(len(looks)):
        weights.weigh(slots, looks[count], potential)
        torch.testing.assert_close(weights.log_weight, gains[: count + 1].sum(0))
        torch.testing.assert_close(weights.log_potential, gains[: count + 1].sum(0))
    reward = torch.tensor([2.0, -1.0]).double()
    weights.finish(slots, reward, beta=0.5)
    torch.testing.assert_close(weights.log_weight, reward / 0.5)
    assert weights.reward.equal(reward)


def test_weights_of_some_slots_leave_the_others_and_resampling_evens_them():
    weights = Weights.even(4, "max", CPU)
    weights.weigh(torch.tensor([1, 3]), torch.tensor([2.0, 5.0]).double(), "max")
    assert weights.log_weight.tolist() == [0, 2, 0, 5]
    taken = weights.take(torch.tensor([1, 1, 2, 3]), torch.tensor([True, True, False, False]))
    assert taken.log_weight.tolist() == [0, 0, 0, 5]
    assert taken.log_potential.tolist() == [2, 2, 0, 5]
    assert taken.running.tolist() == [2, 2, -math.inf, 5]


@pytest.mark.parametrize("potential", ["difference", "max", "sum"])
def test_a_veto_at_a_look_says_nothing_and_at_the_end_it_kills(potential):
    """psi_t may be any positive number: where all drawn answers are vetoed it stays what it was."""
    weights, slots = Weights.even(3, potential, CPU), torch.arange(3)
    weights.weigh(slots, torch.tensor([-math.inf, 1.0, -math.inf]).double(), potential)
    weights.weigh(slots, torch.tensor([0.5, -math.inf, -math.inf]).double(), potential)
    assert weights.log_weight.isfinite().all()
    weights.finish(slots, torch.tensor([1.0, -math.inf, 2.0]).double(), beta=1.0)
    torch.testing.assert_close(weights.log_weight, torch.tensor([1.0, -math.inf, 2.0]).double())


def test_log_weights_of_minus_infinity_are_never_drawn_and_all_of_them_are_even():
    log_weights = (
        torch.tensor([[-math.inf, 0.0, -math.inf], [-math.inf] * 3]).double().repeat(500, 1)
    )
    noise = noise_for(range(1000))
    drawn = draw_one(log_weights, noise, 0, "final")
    assert (drawn[::2] == 1).all()
    assert set(drawn[1::2].tolist()) == {0, 1, 2}
    assert effective_size(log_weights[:2]).tolist() == pytest.approx([1.0, 3.0])
    u = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (systematic(log_weights, u)[::2] == 1).all()
    assert systematic(log_weights, u)[1::2].equal(torch.arange(3).expand(500, 3))


def test_resampling_is_unbiased():
    """Over many uniforms a particle of weight w has k w offspring on average."""
    count = 20_000
    log_weights = torch.tensor([[0.1, 0.27, 0.03, 0.6]]).double().log().expand(count, 4)
    u = torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    offspring = torch.stack([(systematic(log_weights, u) == i).sum(1) for i in range(4)], 1)
    error = offspring.double().std(0) / count**0.5
    gap = (offspring.double().mean(0) - 4 * log_weights[0].exp()).abs()
    assert (gap <= 4 * error + 1e-9).all()


def test_a_reference_is_never_resampled_away_and_the_others_draw_among_all():
    rows, k = 20_000, 3
    weights = Weights.even(rows * k, "difference", CPU)
    weights.log_weight = torch.tensor([0.1, 0.2, 0.7]).double().log().repeat(rows)
    filtering = ParticleFilter(k, CONFIG, 1.0, lambda operator, at: None, resample=2.0)
    busy = torch.ones(rows * k, dtype=torch.bool)
    chosen, resampled = filtering._ancestors(
        weights, busy, noise_for(range(rows)), 1, conditional=True
    )
    assert resampled.all()
    own = chosen.view(rows, k) - torch.arange(rows)[:, None] * k
    assert (own[:, 0] == 0).all()
    for slot in (1, 2):
        found = torch.bincount(own[:, slot], minlength=k).double() / rows
        assert (found - torch.tensor([0.1, 0.2, 0.7])).abs().max() < 0.015
    both = ((own[:, 1] == 2) & (own[:, 2] == 2)).double().mean()
    assert abs(both - 0.49) < 0.015  # independent of each other
    weights.log_weight = torch.tensor([-math.inf, 0.0, 0.0]).double().repeat(rows)
    chosen, _ = filtering._ancestors(weights, busy, noise_for(range(rows)), 1, conditional=True)
    assert (chosen.view(rows, k)[:, 0] == torch.arange(rows) * k).all()


def test_a_reference_path_is_walked_as_it_was():
    """Slot 0 holds the path's canvas after every step, stop tokens and cut positions included."""
    batch, length = 30, 5
    rows = torch.zeros(batch, dtype=torch.long)
    denoiser = factor_world(length, SYMBOLS, 21).take(rows)
    reward = table_reward(length, SYMBOLS, 22).take(rows)
    canvas, config = open_canvas(batch, length, MASK, stop_ids=[0]), CONFIG.replace(steps=3)
    trail, again = ParticlePath(), ParticlePath()
    one = ParticleFilter(1, config, 1.0, lambda operator, at: None)
    for _ in one.run(denoiser, reward, canvas, noise_for(range(batch)), trail=trail):
        pass
    for state in one.run(
        denoiser, reward, canvas, noise_for(range(50, 50 + batch)), reference=trail, trail=again
    ):
        assert state.z.equal(trail.after(state.step).z)
        shown = state.revealed & (state.z != canvas.fill_id)
        assert state.z[shown].equal(state.candidates[shown])
    assert again.after(9).z.equal(trail.after(9).z)
    assert again.after(9).written.equal(trail.after(9).written)
    assert (trail.after(9).z == canvas.fill_id).any()
    tilting = ParticleFilter(2, config, 1.0, lambda operator, at: None, tilt=lambda *_: None)
    with pytest.raises(ValueError, match="proposes from x_theta; leave out"):
        next(tilting.run(denoiser, reward, canvas, noise_for(range(batch)), reference=trail))


def test_no_two_particles_of_two_sequences_are_one():
    """Returned sequences are particles of a seed, and each has its own particles."""
    many, count = 5, 3
    noise = Noise(torch.zeros(many, dtype=torch.long), torch.arange(many))
    own = particle_noise(noise, count)
    assert len(set(own.particle.tolist())) == many * count
    rows = torch.arange(many * count)
    assert len(set(own.uniform(rows, torch.zeros_like(rows), 0, "s").tolist())) == many * count
    one = particle_noise(noise, 1)
    assert one.particle.equal(noise.particle)  # with one particle, the base sampler's draws


def test_the_elbo_subtracts_the_divergence():
    rows = 20_000
    step = step_at(open_canvas(rows, 2, MASK), MASK, CONFIG, noise_for(range(rows)))
    reward, beta = enumerated_reward(2, SYMBOLS, 3), 0.7
    one_p = factor_world(2, SYMBOLS, 4).log_probs[0]
    one_q = factor_world(2, SYMBOLS, 5, sharp=1.5).log_probs[0]
    log_p, log_q = one_p.repeat(rows, 1), one_q.repeat(rows, 1)
    kl = (one_q.exp() * (one_q - one_p)).sum()
    assert kl > 0.3
    torch.testing.assert_close(divergence(step, log_q, log_p), kl.expand(rows))
    mean = (torch.outer(*one_q.exp()) * reward.values[:SYMBOLS, :SYMBOLS]).sum() / beta
    found = log_twist(reward, step, log_p, log_q, kind="elbo", draws=2, beta=beta)
    assert abs(found.mean() - (mean - kl)) < 4 * found.std() / rows**0.5


@pytest.mark.parametrize("floor", [0.0, 0.05, 1.0])
def test_the_proposal_is_a_law_inside_the_base_samplers_support(floor):
    config = CONFIG.replace(temperature=0.7, top_p=0.8)
    denoiser = factor_world(LENGTH, SYMBOLS, 6, batch=3)
    canvas = open_canvas(3, LENGTH, MASK)
    step = Step.open(canvas, MASK, config, noise_for(range(3)), 0, everywhere=True)

    class Tilt:
        def take(self, rows):
            pass

        def __call__(self, denoiser, step):
            log_theta = step.x_theta(denoiser)
            return Tilted((log_theta + 2 * log_theta.flip(-1)).log_softmax(-1), log_theta)

    filtering = ParticleFilter(2, config, 1.0, lambda operator, at: None, floor=floor)
    found = filtering._propose(denoiser, step, Tilt())
    p, q = found.log_p.exp(), found.log_q.exp()
    torch.testing.assert_close(q.sum(-1), torch.ones(len(q)).double())
    torch.testing.assert_close(p.sum(-1), torch.ones(len(p)).double())
    assert (q[p == 0] == 0).all()
    assert (p == 0).any()
    if floor:
        assert (p <= q / floor + 1e-12).all()
    assert torch.allclose(p, q) == (floor == 1.0)


def test_the_three_potentials_steer_differently_on_the_way():
    batch = 60
    denoiser = factor_world(8, SYMBOLS, 7, batch=batch)
    reward = table_reward(8, SYMBOLS, 8, batch=batch)
    config = CONFIG.replace(steps=8, beta=0.2)
    found = [
        run(
            FKSteering(4, potential=potential, every=1, resample=0.9),
            denoiser,
            reward,
            open_canvas(batch, 8, MASK),
            config,
            noise_for(range(batch)),
        ).z
        for potential in ("difference", "max", "sum")
    ]
    for i, one in enumerate(found):
        for two in found[:i]:
            assert (one != two).any(-1).double().mean() > 0.1


def test_svdds_choice_is_drawn_anew_at_every_step(monkeypatch):
    """A choice among equals falls on each slot as often, whatever it fell on before."""
    chosen = []

    def kept(log_weights, noise, step, stream):
        chosen.append((step, stream, draw_one(log_weights, noise, step, stream)))
        return chosen[-1][-1]

    monkeypatch.setattr("aps_text.methods.svdd.draw_one", kept)
    batch = 3000
    denoiser = factor_world(LENGTH, SYMBOLS, 9).take(torch.zeros(batch, dtype=torch.long))
    even = enumerated_reward(LENGTH, SYMBOLS, 1)
    even.values.zero_()
    canvas = open_canvas(batch, LENGTH, MASK)
    run(SVDD(3), denoiser, even, canvas, CONFIG, noise_for(range(batch)))
    assert [step for step, _, _ in chosen] == list(range(LENGTH))
    for i, (_, _, one) in enumerate(chosen):
        assert torch.bincount(one, minlength=3).double().div(batch).sub(1 / 3).abs().max() < 0.04
        for _, _, two in chosen[:i]:
            assert abs((one == two).double().mean().item() - 1 / 3) < 0.04


def test_entrgis_hard_point_is_a_sample():
    """At its first inner step x_hard is drawn from the tempered x_theta, not its argmax."""
    rows, seen = 4000, []

    class Looking:
        differentiable, codebook = True, None

        def take(self, at):
            return self

        def log_prob(self, relaxed):
            seen.append(relaxed.ids.clone())
            return reward.log_prob(relaxed)

        def log_prob_ids(self, ids):
            return reward.log_prob_ids(ids)

    reward = enumerated_reward(LENGTH, SYMBOLS, 2)
    denoiser = factor_world(LENGTH, SYMBOLS, 10).take(torch.zeros(rows, dtype=torch.long))
    method = EntRGi(temperature=0.7, top_p=1.0)
    canvas = open_canvas(rows, LENGTH, MASK)
    next(iter(method.steps(denoiser, Looking(), canvas, CONFIG, noise_for(range(rows)))))
    law = (denoiser.log_probs[0] / 0.7).softmax(-1)
    for col in range(LENGTH):
        found = torch.bincount(seen[0][:, col], minlength=SYMBOLS).double() / rows
        assert (found - law[col]).abs().max() < 0.04


@pytest.mark.parametrize("chance", [0.1, 0.7])
def test_a_gradient_proposal_judges_the_answer_up_to_its_likeliest_stop(chance):
    """log psi = r(xbar) / beta and the tilt d r / d p / beta, by hand; a token committed behind a
    stop that is the likeliest is no part of the answer."""
    beta, stop, mask = 0.3, 0, 4
    rest = (1 - chance) / 10
    probs = torch.tensor([[chance, rest, 4 * rest, 5 * rest], [0.1, 0.2, 0.3, 0.4]]).double()
    logs = torch.cat([probs.log(), probs[1:].log()])
    canvas = Canvas.of(
        [[mask, mask, 2]],
        given=[[False, False, False]],
        mask_id=mask,
        fill_id=mask + 1,
        stop_ids=[stop],
    )
    reward = table_reward(3, 4, 2)
    step = step_at(canvas, mask, APSConfig(adapter="logits", min_new_tokens=0), noise_for([0]))
    tilted = GradientTilt(reward, beta, None)(FactorDenoiser(logs[None]), step)
    codes, weight = reward.codes, reward.weight[0]
    last = codes[5] if chance == 0.7 else codes[2]
    total = torch.tanh((weight[:2] * (probs @ codes[:4])).sum() + weight[2] @ last)
    torch.testing.assert_close(tilted.log_twist, (total / beta)[None])
    slope = (1 - total**2) * weight[:2] @ codes[:4].T
    expected = (probs.log() + slope / beta).log_softmax(-1)
    torch.testing.assert_close(tilted.log_phi[:, :4], expected)
    torch.testing.assert_close(tilted.log_theta[:, :4], probs.log())


def test_the_bound_of_a_gradient_proposal_is_one_of_each_row():
    bound, batch, beta = 0.01, 4, 0.3
    step = step_at(open_canvas(batch, 3, MASK), MASK, CONFIG, noise_for(range(batch)))
    denoiser, reward = factor_world(3, SYMBOLS, 3, batch=batch), table_reward(3, SYMBOLS, 4, batch)
    log_phi = GradientTilt(reward, beta, None)(denoiser, step).log_phi
    free = kl_rows(log_phi, step.x_theta(denoiser), step.where[0], batch)
    tilted = GradientTilt(reward, beta, bound)(denoiser, step)
    found = kl_rows(tilted.log_phi, tilted.log_theta, step.where[0], batch)
    assert (free > bound).all()
    torch.testing.assert_close(found, torch.full_like(found, bound), rtol=1e-2, atol=0)


def test_a_filter_looks_at_every_step_but_the_first_and_tilts_none_unless_it_is_told():
    looked = []

    def twist(operator, at):
        looked.append(at.step.index)

    canvas = open_canvas(2, LENGTH, MASK)
    denoiser = factor_world(LENGTH, SYMBOLS, 1, batch=2)
    reward = table_reward(LENGTH, SYMBOLS, 2, batch=2)
    for every, steps in ((None, [1, 2, 3]), (1, [1, 2, 3]), (2, [2]), (3, [3]), (4, [])):
        looked.clear()
        options = {} if every is None else {"every": every}
        tilt = GradientTilt(reward, 1.0, None)
        made = ParticleFilter(2, CONFIG, 0.7, twist, tilt=lambda *_, t=tilt: t, **options)
        list(made.run(denoiser, reward, canvas, noise_for(range(2))))
        assert looked == steps


def test_a_point_on_the_border_of_two_particles_is_the_seconds():
    log_weights = torch.tensor([[0.5, 0.5], [0.0, 1.0]]).log()
    assert systematic(log_weights, torch.zeros(2)).tolist() == [[0, 1], [1, 1]]
