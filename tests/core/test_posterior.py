"""The tilt by enumeration: softmax, mean-field optimum, exact posterior, and what must not move."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import pytest
import torch
from worlds import (
    EnumeratedReward,
    TableDenoiser,
    additive_reward,
    all_answers,
    enumerated_reward,
    factor_world,
    index_of,
    joint_table,
    noise_for,
    open_canvas,
    product_table,
    step_at,
    table_reward,
)

from aps_text.core.canvas import Canvas
from aps_text.core.config import APSConfig
from aps_text.core.operator import ZeroOperator, weighted_sum
from aps_text.core.sampler import denoise, run
from aps_text.core.states import Tilted
from aps_text.core.step import Step
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS, PosteriorTilt

LENGTH, SYMBOLS = 3, 4
MASK, FILL = SYMBOLS, SYMBOLS + 1
ANSWERS = all_answers(LENGTH, SYMBOLS)
PLAIN = APSConfig(
    inner_steps=3,
    pool_size=1,
    adapter="logits",
    temperature=1.0,
    top_p=1.0,
    min_new_tokens=0,
    trust_region=None,
    steps=LENGTH,
)
# Enough steps of a small enough size to reach the optimum to six digits.
EXACT = PLAIN.replace(
    relaxation="expectation", inner_steps=300, learning_rate=0.1, gradient_gate=1e-10
)


def tilt_at(z, denoiser, operator, config: APSConfig, count: int = 1, **layout) -> Tilted:
    """The tilted distributions of one step from the canvas `z (B, L)`."""
    canvas = replace(open_canvas(len(z), z.shape[1], MASK, **layout), z=z)
    counts = torch.full((len(z),), count)
    noise = noise_for(range(len(z)))
    step = Step(0, canvas, MASK, z == MASK, counts, counts, noise, config)
    tilt = PosteriorTilt(operator, config, denoiser.new_adapter(config, noise))
    return tilt(denoiser, step)


def open_rows(batch: int = 1) -> torch.Tensor:
    return torch.full((batch, LENGTH), MASK)


def aps(denoiser, operator, canvas, config, seeds=None, method=None):
    noise = noise_for(range(len(canvas.z)) if seeds is None else seeds)
    return run(method or APS(), denoiser, operator, canvas, config, noise, keep_trajectory=True)


def entropy(log_probs: torch.Tensor) -> float:
    return -torch.xlogy(log_probs.exp(), log_probs.exp()).sum(-1).mean().item()


def distance(one: torch.Tensor, two: torch.Tensor) -> float:
    return 0.5 * (one.flatten() - two.flatten()).abs().sum().item()


class Watched:
    """A tilt that keeps what the real one returned, and its adapter's logits."""

    def __init__(self, inner: PosteriorTilt) -> None:
        self.inner, self.seen = inner, []

    def take(self, rows):
        self.inner.take(rows)

    def __call__(self, denoiser, step):
        tilted = self.inner(denoiser, step)
        adapted = self.inner.phi.logits(denoiser, denoiser.trunk(step.canvas.z), step.where)
        self.seen.append((step, tilted, step.bias(adapted), step.bias(self.inner.phi.theta)))
        return tilted


@pytest.mark.parametrize("stops", [(), (1,)])
def test_candidates_come_from_the_softmax_of_the_adapted_logits(stops):
    rows = 6000
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 0).expand(rows, -1, -1, -1))
    operator = enumerated_reward(LENGTH, SYMBOLS, 1)
    config = PLAIN.replace(beta=0.3, relaxation="expectation", eos_penalty=0.4)
    canvas, noise = open_canvas(rows, LENGTH, MASK, stop_ids=stops), noise_for(range(rows))
    watched = Watched(PosteriorTilt(operator, config, denoiser.new_adapter(config, noise)))
    states = list(denoise(denoiser, operator, canvas, config, noise, watched))
    first = True
    for state, (_, tilted, adapted, base) in zip(states, watched.seen, strict=True):
        law = adapted.softmax(-1)
        torch.testing.assert_close(tilted.log_phi.exp(), law)
        torch.testing.assert_close(tilted.log_theta.exp(), base.softmax(-1))
        torch.testing.assert_close(law.sum(-1), torch.ones(len(law)).double())
        assert law[:, SYMBOLS:].max() == 0  # no mask, no fill
        assert distance(law[0], base[0].softmax(-1)) > 0.03  # and it was tilted
        if first:  # every row has the same law here, so the draws can be counted
            for col in range(LENGTH):
                drawn = torch.bincount(state.candidates[:, col], minlength=SYMBOLS + 2) / rows
                assert distance(drawn.double(), law[col]) < 0.03
            picked = law.view(rows, LENGTH, -1).gather(-1, state.candidates[..., None])
            torch.testing.assert_close(state.tilted, picked.squeeze(-1))
            first = False
    assert len(watched.seen) >= 2


def patterns() -> list[torch.Tensor]:
    """Every canvas of the small world that has a mask, up to 26 of them."""
    symbols = [MASK, 0, 3]
    rows = [p for p in itertools.product(symbols, repeat=LENGTH) if MASK in p]
    return [torch.tensor([row]) for row in rows]


def test_every_step_reaches_the_exact_posterior_of_a_factorised_world():
    """Independent prior, additive reward: p(x|y) ~ p(x) exp(r(x) / beta) factorises."""
    beta = 0.4
    denoiser = factor_world(LENGTH, SYMBOLS, 2)
    terms = torch.randn(LENGTH, SYMBOLS, generator=torch.Generator().manual_seed(3)).double()
    operator = additive_reward(terms)
    prior = product_table(denoiser.log_probs[0])
    reward = operator.values[:SYMBOLS, :SYMBOLS, :SYMBOLS]
    joint = prior * (reward / beta).exp()
    config = EXACT.replace(beta=beta, prior="kl", likelihood_weight="posterior")
    tried, rows = 0, torch.cat(patterns())
    for count in (1, 2):  # all rows at once: a batch is its rows alone
        z = rows[((rows == MASK).sum(1) > 2) == (count == 2)]
        many = denoiser.take(torch.zeros(len(z), dtype=torch.long))
        tilted = tilt_at(z, many, operator, config, count=count)
        for (row, col), found in zip((z == MASK).nonzero().tolist(), tilted.log_phi, strict=True):
            given = [slice(None) if t == MASK else slice(t, t + 1) for t in z[row].tolist()]
            left = joint[tuple(given)]
            exact = (left / left.sum()).sum([a for a in range(LENGTH) if a != col])
            torch.testing.assert_close(found.exp()[:SYMBOLS], exact, atol=1e-3, rtol=0)
            tried += 1
    assert tried == (rows == MASK).sum()


def test_the_sampled_answers_follow_the_exact_posterior():
    beta, rows = 0.5, 4000
    one = factor_world(LENGTH, SYMBOLS, 2)
    denoiser = one.take(torch.zeros(rows, dtype=torch.long))
    terms = torch.randn(LENGTH, SYMBOLS, generator=torch.Generator().manual_seed(3)).double()
    operator = additive_reward(terms)
    prior = product_table(one.log_probs[0])
    exact = prior * (operator.values[:SYMBOLS, :SYMBOLS, :SYMBOLS] / beta).exp()
    exact = exact / exact.sum()
    config = EXACT.replace(beta=beta, alg="origin", inner_steps=80, learning_rate=0.3, steps=2)
    result = aps(denoiser, operator, open_canvas(rows, LENGTH, MASK), config)
    law = torch.bincount(index_of(result.z, SYMBOLS), minlength=SYMBOLS**LENGTH).double() / rows
    assert distance(law, exact) < 0.06
    assert distance(law, prior) > 0.3
    for axis in range(LENGTH):
        marginal = exact.sum([a for a in range(LENGTH) if a != axis])
        found = torch.bincount(result.z[:, axis], minlength=SYMBOLS).double() / rows
        assert ((found - marginal).abs() < 4 * (marginal * (1 - marginal) / rows).sqrt()).all()


def test_a_correlated_world_comes_closer_to_its_posterior():
    """Not exact (mean field, c per step), but most of the way from the prior."""
    beta, rows = 0.8, 6000
    table = joint_table(LENGTH, SYMBOLS, 4, sharp=1.5)
    reward = enumerated_reward(LENGTH, SYMBOLS, 5)
    exact = table[0] * (reward.values[:SYMBOLS, :SYMBOLS, :SYMBOLS] / beta).exp()
    exact = exact / exact.sum()
    denoiser = TableDenoiser(table.expand(rows, -1, -1, -1))
    config = EXACT.replace(beta=beta, alg="origin", inner_steps=25, learning_rate=0.3, steps=8)
    gaps = []
    for method in (Ancestral(), APS()):
        z = aps(denoiser, reward, open_canvas(rows, LENGTH, MASK), config, method=method).z
        law = torch.bincount(index_of(z, SYMBOLS), minlength=SYMBOLS**LENGTH).double() / rows
        gaps.append(distance(law, exact))
    assert gaps[0] > 0.25
    assert gaps[1] < 0.5 * gaps[0]


def mean_field(log_theta: torch.Tensor, values: torch.Tensor, ratio: float) -> torch.Tensor:
    """The fixed point x^l ~ x_theta^l exp(ratio E_{others}[log q | x^l]), one position at a time.

    `log_theta (n, K)` of the n masked positions, `values (K, ..., K)` log q over their answers.
    """
    count = len(log_theta)
    answers = all_answers(count, SYMBOLS)
    each = values[tuple(answers.unbind(-1))]
    x = log_theta.exp()
    for _ in range(100):
        for at in range(count):
            others = torch.ones(len(answers), dtype=x.dtype)
            for other in range(count):
                if other != at:
                    others = others * x[other][answers[:, other]]
            expected = torch.zeros(SYMBOLS, dtype=x.dtype).index_add(
                0, answers[:, at], others * each
            )
            x[at] = (log_theta[at] + ratio * expected).softmax(-1)
    return x


@pytest.mark.parametrize(
    ("weight", "beta"), [("length", 4.0), ("posterior", 0.6), (0.7, 1.5), ("posterior", 3.0)]
)
@pytest.mark.parametrize("count", [1, 2])
def test_the_mean_field_optimum_is_reached(weight, beta, count):
    """`x_theta exp((w / c) E[log q])`: the likelihood to the power L/c under `length`."""
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 6))
    reward = enumerated_reward(LENGTH, SYMBOLS, 7)
    config = EXACT.replace(beta=beta, likelihood_weight=weight, prior="kl")
    canvases = torch.tensor([[MASK, MASK, MASK], [MASK, 2, MASK], [1, 3, MASK]])[: 4 - count]
    sizes = (canvases == MASK).sum(1).tolist()
    many = denoiser.take(torch.zeros(len(canvases), dtype=torch.long))
    tilted = tilt_at(canvases, many, reward, config, count=count).log_phi.split(sizes)
    for z, masks, log_phi in zip(canvases.split(1), sizes, tilted, strict=True):
        c = count / masks
        ratio = {"length": LENGTH / c, "posterior": 1.0}.get(weight, 0.7 / c)
        given = [slice(0, SYMBOLS) if t == MASK else t for t in z[0].tolist()]
        where = (z == MASK).nonzero().unbind(-1)
        log_theta = denoiser.logits(z, where)[:, :SYMBOLS].log_softmax(-1)
        expected = mean_field(log_theta, reward.values[tuple(given)] / beta, ratio)
        found = log_phi.exp()[:, :SYMBOLS]
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
        assert distance(expected, log_theta.exp()) > 0.03  # another power would not pass


def test_slides_is_the_likelihood_to_the_power_l_over_c():
    """At the first of T = L steps that is L * L: independent of every number in the code."""
    denoiser = factor_world(LENGTH, SYMBOLS, 2)
    terms = torch.randn(LENGTH, SYMBOLS, generator=torch.Generator().manual_seed(8)).double()
    config = EXACT.replace(beta=5.0, likelihood_weight="length")
    found = tilt_at(open_rows(), denoiser, additive_reward(terms), config).log_phi
    moved = found[:, :SYMBOLS] - denoiser.log_probs[0]
    moved = moved - moved.mean(-1, keepdim=True)
    reward = (terms - terms.mean(-1, keepdim=True)) / 5.0
    power = (moved * reward).sum() / reward.square().sum()
    assert power.item() == pytest.approx(LENGTH * LENGTH, rel=0.02)
    torch.testing.assert_close(moved, LENGTH * LENGTH * reward, atol=0.1, rtol=0)


ALGS = ("maskgit_plus", "topk_margin", "entropy", "origin")


@pytest.mark.parametrize("alg", ALGS)
@pytest.mark.parametrize("remasking", ["anchored", "standard"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"block_length": 1},
        {"block_length": 2, "steps": 2},
        {"remask": True, "schedule": "cosine", "rank_by": "phi"},
        {"temperature": 0.7, "top_p": 0.8, "min_new_tokens": 1, "eos_penalty": 0.5},
        {"estimator": "rloo"},
    ],
)
def test_no_reward_with_the_kl_prior_is_the_base_sampler_token_for_token(alg, remasking, options):
    batch = 64
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 9, batch=batch))
    canvas = open_canvas(
        batch, LENGTH, MASK, stop_ids=[0], block_length=options.get("block_length")
    )
    config = PLAIN.replace(alg=alg, remasking=remasking, prior="kl", **options)
    steered = aps(denoiser, ZeroOperator(), canvas, config).trajectory
    base = aps(denoiser, ZeroOperator(), canvas, config, method=Ancestral()).trajectory
    assert len(steered) == len(base)
    for one, two in zip(steered, base, strict=True):
        assert one.guided
        assert one.z.equal(two.z)
        assert one.revealed.equal(two.revealed)
    assert len({tuple(row) for row in steered[-1].z.tolist()}) > 10
    # A reward would have changed it.
    other = aps(denoiser, table_reward(LENGTH, SYMBOLS, 1, batch=batch), canvas, config)
    assert not other.z.equal(base[-1].z)


def test_the_overlap_prior_sharpens_without_a_reward_and_kl_does_not_move():
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 10))
    config = PLAIN.replace(inner_steps=60, learning_rate=0.2)
    overlap = tilt_at(open_rows(), denoiser, ZeroOperator(), config.replace(prior="overlap"))
    kl = tilt_at(open_rows(), denoiser, ZeroOperator(), config.replace(prior="kl"))
    none = tilt_at(open_rows(), denoiser, ZeroOperator(), config.replace(prior="none"))
    assert entropy(overlap.log_theta) > 1.0
    assert entropy(overlap.log_phi) < 0.2
    assert kl.log_phi.equal(kl.log_theta)
    assert none.log_phi.equal(none.log_theta)
    falling = [
        entropy(
            tilt_at(
                open_rows(),
                denoiser,
                ZeroOperator(),
                config.replace(prior="overlap", inner_steps=m),
            ).log_phi
        )
        for m in (1, 5, 15, 40)
    ]
    assert all(a > b for a, b in itertools.pairwise(falling))


@pytest.mark.parametrize("bound", [0.02, 0.5])
def test_the_result_stays_within_the_trust_region(bound):
    batch = 12
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 11, batch=batch))
    operator = table_reward(LENGTH, SYMBOLS, 12, batch=batch)
    canvas = open_canvas(batch, LENGTH, MASK)
    config = PLAIN.replace(trust_region=bound, beta=0.02, inner_steps=6)
    free = aps(denoiser, operator, canvas, config.replace(trust_region=None))
    assert max(state.kl.max() for state in free.trajectory) > 2 * bound
    for state in aps(denoiser, operator, canvas, config).trajectory:
        assert (state.kl <= bound + 1e-3).all()
    # A row that never leaves the region is what it is without one, bit for bit.
    gentle = config.replace(beta=50.0, inner_steps=1, learning_rate=0.01)
    one, two = (
        tilt_at(open_rows(batch), denoiser, operator, gentle.replace(trust_region=b))
        for b in (bound, None)
    )
    assert one.log_phi.equal(two.log_phi)
    assert not one.log_phi.equal(one.log_theta)


@pytest.mark.parametrize("adapter_dtype", [torch.float32, torch.float64])
def test_rounding_noise_moves_nothing(adapter_dtype):
    table = joint_table(LENGTH, SYMBOLS, 13, batch=20).to(adapter_dtype)
    denoiser = TableDenoiser(table)
    noise_reward = replace(
        table_reward(LENGTH, SYMBOLS, 14, batch=20),
        weight=1e-9
        * torch.randn(20, LENGTH, 2, generator=torch.Generator().manual_seed(1)).double(),
    )
    for operator in (ZeroOperator(), noise_reward):
        tilted = tilt_at(open_rows(20), denoiser, operator, PLAIN)
        assert tilted.log_phi.equal(tilted.log_theta)
    # Without the gate Adam blows it up: a full step of the learning rate and more.
    open_gate = tilt_at(open_rows(20), denoiser, noise_reward, PLAIN.replace(gradient_gate=0.0))
    assert (open_gate.log_phi - open_gate.log_theta)[:, :SYMBOLS].abs().max() > 0.3


def test_positions_the_reward_does_not_see_stay_where_they_are():
    """A real gradient at one position does not turn the noise at another into a step.

    In float32 that holds for the first inner step: Adam then overshoots the KL's pull back by a
    factor of 1 / eps a step, until the offsets are of the learning rate's size.
    """
    for dtype, inner in ((torch.float64, 3), (torch.float32, 1)):
        denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 13).to(dtype))
        terms = torch.zeros(LENGTH, SYMBOLS, dtype=torch.float64)
        terms[0] = torch.tensor([1.0, -1.0, 0.5, 0.0])
        operator = additive_reward(terms)
        config = PLAIN.replace(beta=0.5, inner_steps=inner)
        tilted = tilt_at(open_rows(), denoiser, operator, config)
        moved = (tilted.log_phi - tilted.log_theta)[:, :SYMBOLS].abs().amax(-1)
        assert moved[0] > 0.3
        assert moved[1:].max() < 1e-3


@pytest.mark.parametrize("estimator", ["rloo", "remax"])
def test_constant_rewards_skip_the_step(estimator):
    """Even where the prior alone has a gradient: there is nothing to trade it against."""
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 15))
    values = torch.full((SYMBOLS + 2,) * LENGTH, 0.7, dtype=torch.float64)
    flat = EnumeratedReward(values, differentiable=False)
    config = PLAIN.replace(estimator=estimator, prior="overlap")
    tilted = tilt_at(open_rows(), denoiser, flat, config)
    assert tilted.log_phi.equal(tilted.log_theta)
    varied = replace(flat, values=enumerated_reward(LENGTH, SYMBOLS, 1).values)
    tilted = tilt_at(open_rows(), denoiser, varied, config)
    assert not tilted.log_phi.equal(tilted.log_theta)


@pytest.mark.parametrize("estimator", ["relaxed", "rloo"])
@pytest.mark.parametrize("trust_region", [None, 0.3])
def test_gates_are_per_row(estimator, trust_region):
    """A row without a reward stays at theta beside one that has one, and neither notices."""
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 16, batch=3))
    reward = table_reward(LENGTH, SYMBOLS, 17, batch=3)
    reward.weight[1] = 0
    reward.weight[2] *= 0.01
    config = PLAIN.replace(
        estimator=estimator, trust_region=trust_region, beta=0.1, num_samples=4, inner_steps=5
    )
    tilted = tilt_at(open_rows(3), denoiser, reward, config)
    phi, theta = tilted.log_phi.view(3, LENGTH, -1), tilted.log_theta.view(3, LENGTH, -1)
    assert phi[1].equal(theta[1])
    assert not phi[0].equal(theta[0])
    assert not phi[2].equal(theta[2])
    noise = noise_for(range(3))
    for row in (0, 2):
        at = torch.tensor([row])
        canvas = open_canvas(1, LENGTH, MASK)
        count = torch.tensor([1])
        step = Step(0, canvas, MASK, canvas.z == MASK, count, count, noise.take(at), config)
        few = denoiser.take(at)
        tilt = PosteriorTilt(reward.take(at), config, few.new_adapter(config, noise))
        alone = tilt(few, step)
        torch.testing.assert_close(alone.log_phi, phi[row], atol=1e-12, rtol=0)


@pytest.mark.parametrize("weight", ["length", "posterior", 0.5])
@pytest.mark.parametrize("estimator", ["auto", "rloo"])
def test_steered_rows_are_what_they_are_alone(weight, estimator):
    """float64, other lengths and finishing times beside them: 0 token differences."""
    lengths, batch = [7, 1, 4, 7, 2, 5, 6, 3, 7, 4], 10
    denoiser = factor_world(7, SYMBOLS, 18, batch=batch)
    reward = table_reward(7, SYMBOLS, 19, batch=batch)
    config = PLAIN.replace(
        likelihood_weight=weight,
        estimator=estimator,
        beta=2.0 if weight == "length" else 0.3,
        steps=5,
        trust_region=1.0,
        min_new_tokens=1,
        temperature=0.7,
        num_samples=4,
        relaxation="entropy",
    )
    layout = {"mask_id": MASK, "fill_id": FILL, "stop_ids": [0]}
    seeds = range(30, 30 + batch)
    together = aps(denoiser, reward, Canvas.open(lengths, **layout), config, seeds=seeds)
    base = aps(
        denoiser, reward, Canvas.open(lengths, **layout), config, seeds=seeds, method=Ancestral()
    )
    assert not together.z.equal(base.z)
    for row, length in enumerate(lengths):
        at = torch.tensor([row])
        canvas = Canvas.open([length], **layout)
        alone = aps(denoiser.take(at), reward.take(at), canvas, config, seeds=[30 + row])
        assert alone.z[0].equal(together.z[row, :length])
        for one, two in zip(alone.trajectory, together.trajectory, strict=False):
            torch.testing.assert_close(one.tilted[0], two.tilted[row, :length])


def test_the_base_denoiser_is_untouched():
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 20, batch=4))
    before = denoiser.table.clone()
    canvas = open_canvas(4, LENGTH, MASK)
    operator = table_reward(LENGTH, SYMBOLS, 21, batch=4)
    aps(denoiser, operator, canvas, PLAIN)
    stream = APS().steps(denoiser, operator, canvas, PLAIN, noise_for(range(4)))
    next(stream)
    stream.close()  # left in the middle
    assert denoiser.table.equal(before)


@pytest.mark.parametrize(
    ("start", "end", "interval", "expected"),
    [
        (0.0, 1.0, 1, list(range(8))),
        (0.25, 0.75, 1, [2, 3, 4, 5]),
        (0.0, 0.5, 2, [0, 2]),
        (0.5, 1.0, 3, [6]),
        (0.0, 1.0, 3, [0, 3, 6]),
        (0.5, 0.5, 1, []),
    ],
)
def test_guidance_window_and_interval(start, end, interval, expected):
    denoiser = factor_world(8, SYMBOLS, 22, batch=2)
    reward = table_reward(8, SYMBOLS, 23, batch=2)
    config = PLAIN.replace(
        steps=8, guidance_start=start, guidance_end=end, guidance_interval=interval, inner_steps=2
    )
    result = aps(denoiser, reward, open_canvas(2, 8, MASK), config)
    assert [s.step for s in result.trajectory if s.guided] == expected
    for state in result.trajectory:
        moved = not state.tilted.equal(state.prior)
        assert moved == state.guided
        assert (state.kl is not None) == state.guided
    assert result.cost.reward_forwards == 2 * 2 * len(expected)


def test_anchors_have_the_highest_tilted_probability():
    batch, length = 6, 8
    denoiser = factor_world(length, SYMBOLS, 24, batch=batch)
    reward = table_reward(length, SYMBOLS, 25, batch=batch)
    config = PLAIN.replace(steps=4, beta=0.05)
    canvas = open_canvas(batch, length, MASK)
    ranked_otherwise = 0
    for remasking, score in (("anchored", "tilted"), ("standard", "prior")):
        before = canvas.z
        result = aps(denoiser, reward, canvas, config.replace(remasking=remasking))
        for state in result.trajectory:
            left = (before == MASK) & ~state.revealed
            for row in range(batch):
                for name in ("tilted", "prior"):
                    values = getattr(state, name)[row]
                    if left[row].any():
                        best = values[state.revealed[row]].min() >= values[left[row]].max()
                        if name == score:
                            assert best
                        else:
                            ranked_otherwise += not best
            assert state.revealed.sum(-1).tolist() == [2] * batch
            before = state.z
    assert ranked_otherwise > 5  # the two rankings differ, so the test can tell them apart


def test_steering_raises_the_reward_with_every_estimator_and_relaxation():
    batch = 60
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 26, batch=batch))
    reward = table_reward(LENGTH, SYMBOLS, 27, batch=batch)
    canvas = open_canvas(batch, LENGTH, MASK)
    config = PLAIN.replace(beta=0.05)
    base = reward.log_prob_ids(aps(denoiser, reward, canvas, config, method=Ancestral()).z).total
    cases = [
        {"relaxation": r, "quantizer": q}
        for r in ("quantized", "expectation", "entropy", "gumbel")
        for q in ("nearest", "argmax", "sample")
    ]
    cases += [{"estimator": "rloo"}, {"estimator": "remax"}, {"prior": "overlap"}]
    for options in cases:
        z = aps(denoiser, reward, canvas, config.replace(**options)).z
        gain = reward.log_prob_ids(z).total - base
        assert gain.mean() > 4 * gain.std() / math.sqrt(batch), options


def test_a_mixed_sum_is_steered_by_both_parts():
    batch = 60
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 28, batch=batch))
    smooth = table_reward(LENGTH, SYMBOLS, 29, batch=batch, name="smooth")
    black = enumerated_reward(LENGTH, SYMBOLS, 30, differentiable=False, name="black")
    canvas = open_canvas(batch, LENGTH, MASK)
    both = weighted_sum(
        (1.0, smooth), (0.5, black), (0.0, table_reward(LENGTH, SYMBOLS, 31, batch))
    )
    result = aps(denoiser, both, canvas, PLAIN.replace(beta=0.05))
    base = aps(denoiser, both, canvas, PLAIN, method=Ancestral())
    for part in (smooth, black):
        gain = part.log_prob_ids(result.z).total - part.log_prob_ids(base.z).total
        assert gain.mean() > 3 * gain.std() / math.sqrt(batch)
    first = result.trajectory[0]
    assert set(first.loss) == {"prior", "likelihood"}
    assert set(first.rewards) == {"smooth", "black"}
    assert (first.gradient_norm > 0).all()


def test_the_loss_terms_are_those_of_the_objective():
    """At phi = theta: prior 0 (kl), likelihood w E[r] / beta, by enumeration."""
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 32))
    reward = enumerated_reward(LENGTH, SYMBOLS, 33)
    config = PLAIN.replace(inner_steps=1, relaxation="expectation", beta=0.25)
    for weight, factor in (("length", LENGTH), ("posterior", 1 / 3), (2.5, 2.5)):
        tilted = tilt_at(open_rows(), denoiser, reward, config.replace(likelihood_weight=weight))
        theta = tilted.log_theta.exp()
        law = math.prod(theta[a][ANSWERS[:, a]] for a in range(LENGTH))
        expected = (law * reward.values[tuple(ANSWERS.unbind(-1))]).sum()
        assert tilted.loss["likelihood"].item() == pytest.approx(
            factor * expected.item() / 0.25, rel=1e-6
        )
        assert tilted.loss["prior"].item() == pytest.approx(0, abs=1e-12)
        assert tilted.rewards["enumerated"].item() == pytest.approx(expected.item())


def test_a_row_beyond_the_trust_region_is_not_optimised_further():
    """Its gate is shut from the inner step on at which its KL has reached the bound."""
    batch, bound = 8, 0.2
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 11, batch=batch))
    operator = table_reward(LENGTH, SYMBOLS, 12, batch=batch)
    config = PLAIN.replace(trust_region=bound, beta=0.05, inner_steps=12, learning_rate=0.2)
    canvas, noise = open_canvas(batch, LENGTH, MASK), noise_for(range(batch))
    for prior in ("kl", "overlap"):
        settings = config.replace(prior=prior)
        phi, seen = denoiser.new_adapter(settings, noise), []
        update = phi.update

        def watched(logits, grad, gate, update=update, phi=phi, seen=seen):
            log_phi, log_theta = logits.log_softmax(-1), phi.theta.log_softmax(-1)
            each = (log_phi.exp() * (log_phi - log_theta)).sum(-1).view(batch, LENGTH).mean(1)
            seen.append((each, gate.clone()))
            update(logits, grad, gate)

        phi.update = watched
        step = step_at(canvas, MASK, settings, noise)
        PosteriorTilt(operator, settings, phi)(denoiser, step)
        shut = torch.stack([each >= bound for each, _ in seen])
        assert shut.any()
        for each, gate in seen:
            assert not (gate & (each >= bound)).any()
        assert not torch.stack([gate for _, gate in seen])[shut.cummax(0).values].any()


@dataclass
class CarriedOffsets:
    """A phi that is carried from step to step: an offset of the logits per row, `(B, K)`."""

    value: torch.Tensor

    def begin(self, denoiser, state, where):
        return denoiser.logits(state, where)

    def logits(self, denoiser, state, where):
        self.rows = where[0]
        return denoiser.logits(state, where) + self.value[self.rows]

    def update(self, logits, grad, gate):
        total = torch.zeros_like(self.value).index_add(0, self.rows, grad)
        self.value = self.value - 0.1 * torch.where(gate[:, None], total, 0.0)

    def take(self, rows):
        return CarriedOffsets(self.value[rows])


def test_a_carried_phi_follows_its_row_when_others_finish():
    """Rows of other lengths, ended by stops at other steps: each as if alone."""
    lengths = [7, 2, 5, 7, 1, 6]
    denoiser = factor_world(7, SYMBOLS, 18, batch=len(lengths), sharp=0.7)
    reward = table_reward(7, SYMBOLS, 19, batch=len(lengths))
    config = PLAIN.replace(beta=0.2, steps=7, min_new_tokens=1, trust_region=1.0)
    layout = {"mask_id": MASK, "fill_id": FILL, "stop_ids": [0]}

    def answers(lengths, denoiser, reward, seeds):
        phi = CarriedOffsets(torch.zeros(len(lengths), SYMBOLS + 2).double())
        canvas = Canvas.open(lengths, **layout)
        states = APS().steps(denoiser, reward, canvas, config, noise_for(seeds), phi)
        return list(states)

    together = answers(lengths, denoiser, reward, range(6))
    plain = aps(denoiser, reward, Canvas.open(lengths, **layout), config, method=Ancestral())
    assert not together[-1].z.equal(plain.z)
    for row, length in enumerate(lengths):
        at = torch.tensor([row])
        alone = answers([length], denoiser.take(at), reward.take(at), [row])
        assert alone[-1].z[0].equal(together[-1].z[row, :length])
        for one, two in zip(alone, together, strict=False):
            torch.testing.assert_close(one.tilted[0], two.tilted[row, :length])
