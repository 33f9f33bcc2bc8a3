"""Candidates among whole answers: the kernel's law by enumeration, its cost, what it remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_methods_laws import noise_floor
from worlds import (
    EnumeratedReward,
    TableDenoiser,
    all_answers,
    enumerated_reward,
    factor_world,
    index_of,
    joint_table,
    noise_for,
    open_canvas,
    product_table,
    table_reward,
)

from aps_text.core.canvas import Canvas, end_at_stop, positions_of
from aps_text.core.config import APSConfig
from aps_text.core.cost import Cost, MeteredDenoiser
from aps_text.core.noise import Noise
from aps_text.core.operator import Arithmetic, Scores, ZeroOperator, weighted_sum
from aps_text.core.sampler import denoise, run
from aps_text.core.states import Tilted
from aps_text.core.step import Step
from aps_text.core.token_sampling import sampling_probs
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS
from aps_text.methods.distinct import DistinctRows
from aps_text.methods.particles import take_ragged
from aps_text.methods.pool import ALIKE, AnswerPool
from aps_text.methods.rollouts import draw_rollouts, first_candidates, rollout_config

LENGTH, SYMBOLS, BETA = 3, 4, 0.8
MASK = SYMBOLS
ANSWERS = all_answers(LENGTH, SYMBOLS)
REWARD = enumerated_reward(LENGTH, SYMBOLS, 5, differentiable=False)
VALUES = REWARD.values[:SYMBOLS, :SYMBOLS, :SYMBOLS].flatten()
DECODING = [(1.0, 1.0, None), (0.7, 0.95, None), (0.7, 0.8, 3), (1.3, 0.9, None)]
# No adapter, the base sampler's own order: what is left is the pool.
CONFIG = APSConfig(
    inner_steps=0,
    pool_size=4,
    pool_rollout=1,
    guidance_start=0.0,
    adapter="logits",
    temperature=1.0,
    top_p=1.0,
    min_new_tokens=0,
    steps=LENGTH,
    beta=BETA,
)


def aps(denoiser, operator, canvas, config=CONFIG, seeds=None, method=None, **kwargs):
    noise = noise_for(range(len(canvas.z)) if seeds is None else seeds)
    return run(method or APS(), denoiser, operator, canvas, config, noise, **kwargs)


def distance(one, two) -> float:
    return 0.5 * (one - two).abs().sum().item()


def shares(answers) -> torch.Tensor:
    return torch.bincount(index_of(answers, SYMBOLS), minlength=SYMBOLS**LENGTH).double() / len(
        answers
    )


def target_of(log_theta, beta=BETA, values=VALUES) -> torch.Tensor:
    law = product_table(log_theta).flatten() * (values / beta).exp()
    return law / law.sum()


def rewarding(values) -> EnumeratedReward:
    """The reward with these values of the 64 answers."""
    table = REWARD.values.clone()
    table[:SYMBOLS, :SYMBOLS, :SYMBOLS] = values.view(SYMBOLS, SYMBOLS, SYMBOLS)
    return replace(REWARD, values=table)


def first_step(config, rows: int, other_phi: bool):
    """A step of an empty canvas, x_theta and x_phi, each the same for all rows."""
    canvas = open_canvas(rows, LENGTH, MASK)
    step = Step.open(canvas, MASK, config, noise_for(range(rows)), 0, everywhere=True)
    theta = factor_world(LENGTH, SYMBOLS, 2).log_probs[0]
    phi = factor_world(LENGTH, SYMBOLS, 3, sharp=0.7).log_probs[0] if other_phi else theta
    log_theta = theta.repeat(rows, 1)
    return step, theta, Tilted(phi.repeat(rows, 1) if other_phi else log_theta, log_theta)


COARSE = VALUES.sign()
# A third of the answers vetoed, the others alike; and some vetoed beside rewards that differ.
VETOED = torch.where(VALUES.quantile(0.33) > VALUES, -torch.inf, torch.zeros_like(VALUES))
SOME_VETOED = torch.where(VALUES.abs() < 0.3, -torch.inf, VALUES)


@pytest.mark.parametrize("rewards", range(4), ids=["differ", "coarse", "alike", "some"])
@pytest.mark.parametrize("decoding", range(4))
def test_a_step_leaves_the_posterior_as_it_is(rewards, decoding):
    """Started from exact draws, the chain stays exact: for any phi and as few as two answers, at
    any decoding, also where a pool's rewards are often all the same or -inf.

    Every pair of these four is tried: phi and count alternate over both rewards and decodings.
    """
    rows, values = 40_000, [VALUES, COARSE, VETOED, SOME_VETOED][rewards]
    other_phi, count = bool((rewards ^ decoding) & 1), 2 + ((rewards ^ decoding) & 2)
    temperature, top_p, top_k = DECODING[decoding]
    config = CONFIG.replace(pool_size=count, temperature=temperature, top_p=top_p, top_k=top_k)
    step, theta, tilted = first_step(config, rows, other_phi)
    reward = rewarding(values)
    theta = sampling_probs(theta, temperature, top_p, top_k).log()
    target = target_of(theta, values=values)
    drawn = torch.multinomial(target, rows, True, generator=torch.Generator().manual_seed(0))
    pool = AnswerPool(reward, config)
    pool._held = ANSWERS[drawn]
    pool._reward, pool._terms = values[drawn], {"enumerated": values[drawn]}
    tokens, *_ = pool(None, tilted, step)
    moved = (tokens.view(rows, LENGTH) != ANSWERS[drawn]).any(1).double().mean()
    assert moved > 0.15
    law = shares(tokens.view(rows, LENGTH))
    assert distance(law, target) < 2 * noise_floor(target, rows)
    assert law[target == 0].sum() == 0
    assert distance(law, product_table(theta).flatten()) > 0.1


@pytest.mark.parametrize("other_phi", [False, True])
def test_one_pool_comes_to_the_posterior_with_its_size(other_phi):
    rows, found = 20_000, []
    for count in (2, 8, 64):
        config = CONFIG.replace(pool_size=count)
        step, theta, tilted = first_step(config, rows, other_phi)
        target = target_of(theta)
        law = shares(AnswerPool(REWARD, config)(None, tilted, step)[0].view(rows, LENGTH))
        found.append(distance(law, target))
    assert found[0] > 1.5 * found[1] > 2 * found[2]
    assert found[2] < 0.03


@pytest.mark.parametrize("order", [{"remasking": "random"}, {"alg": "origin"}])
def test_answers_follow_the_posterior_of_a_factorised_world(order):
    """The chain over the steps: nearer than one pool of that size, and near."""
    rows, config = 20_000, CONFIG.replace(pool_size=6, **order)
    world = factor_world(LENGTH, SYMBOLS, 2)
    target = target_of(world.log_probs[0])
    denoiser = world.take(torch.zeros(rows, dtype=torch.long))
    canvas = open_canvas(rows, LENGTH, MASK)
    law = shares(aps(denoiser, REWARD, canvas, config).z)
    step, _, tilted = first_step(config, rows, False)
    once = shares(AnswerPool(REWARD, config)(None, tilted, step)[0].view(rows, LENGTH))
    assert distance(law, target) < 0.6 * distance(once, target)
    assert distance(law, target) < 0.05


def test_a_correlated_world_is_followed_as_far_as_the_base_sampler_follows_it():
    """One token a step: x_theta's law is p, and the target p exp(r/beta)."""
    rows = 20_000
    table = joint_table(LENGTH, SYMBOLS, 4, sharp=1.5)
    denoiser = TableDenoiser(table.expand(rows, -1, -1, -1))
    target = table.flatten() * (VALUES / BETA).exp()
    target = target / target.sum()
    canvas = open_canvas(rows, LENGTH, MASK)
    found = {
        count: distance(
            shares(
                aps(
                    denoiser,
                    REWARD,
                    canvas,
                    CONFIG.replace(pool_size=count, alg="entropy", remasking="standard"),
                ).z
            ),
            target,
        )
        for count in (2, 8, 32)
    }
    plain = distance(shares(aps(denoiser, REWARD, canvas, method=Ancestral()).z), target)
    assert plain > found[2] > found[8] > found[32]


def test_a_reward_of_combinations_the_model_never_makes_leads_astray():
    """docs/methods.md's example: x_theta is a product of marginals, so at the first of T = L = 2
    steps half of the pool's answers are 01 and 10, which p has at .002; their reward decides which
    token comes first. The limit of a large pool is enumerated beside the run."""
    reward = torch.tensor([1.0, 3.0, 3.0, 0.0]).double()
    joint = torch.tensor([[0.499, 0.001], [0.001, 0.499]]).double()
    target = joint.flatten() * reward.exp()
    target = target / target.sum()
    # Step 1: product of marginals times exp(r), one position is revealed; then p exp(r) given it.
    first = (reward.exp() / 4).view(2, 2)
    first = first / first.sum()
    tilted = joint * reward.exp().view(2, 2)
    limit = sum(
        0.5 * first.sum(1 - axis).unsqueeze(1 - axis) * tilted / tilted.sum(1 - axis, keepdim=True)
        for axis in (0, 1)
    )
    values = torch.zeros(4, 4).double()
    values[:2, :2] = reward.view(2, 2)

    def law(joint, method, count=256, rollout=1, rows=2500):
        config = CONFIG.replace(beta=1.0, steps=2, pool_size=count, remasking="random")
        config = config.replace(pool_rollout=rollout)
        denoiser, canvas = TableDenoiser(joint.expand(rows, -1, -1)), open_canvas(rows, 2, 2)
        z = aps(denoiser, EnumeratedReward(values), canvas, config, method=method).z
        return torch.bincount(index_of(z, 2), minlength=4).double() / rows

    assert distance(limit.flatten(), target) == pytest.approx(0.204, abs=0.001)
    assert distance(joint.flatten(), target) == pytest.approx(0.236, abs=0.001)
    assert distance(law(joint, APS()), target) == pytest.approx(0.217, abs=0.02)
    assert distance(law(joint, APS(), 16), target) > 0.35
    assert distance(law(joint, Ancestral(), rows=10_000), joint.flatten()) < 0.01
    # Rollouts of two steps never make 01 and 10, so the run is the posterior.
    assert distance(law(joint, APS(), 256, rollout=2), target) < 0.02
    assert distance(law(joint, APS(), 16, rollout=2), target) < 0.04
    # Of a product of marginals the same run is the target.
    factorised = torch.outer(torch.tensor([0.3, 0.7]), torch.tensor([0.6, 0.4])).double()
    target = factorised.flatten() * reward.exp()
    assert distance(law(factorised, APS()), target / target.sum()) < 0.02


def correlated_world(rows: int):
    """A joint p (drawn by one token a step in random order), and p exp(r/beta), normalised."""
    table = joint_table(LENGTH, SYMBOLS, 4, sharp=1.5)
    target = table.flatten() * (VALUES / BETA).exp()
    return TableDenoiser(table.expand(rows, -1, -1, -1)), target / target.sum()


def test_with_rollouts_a_step_leaves_the_posterior_of_a_correlated_world_as_it_is():
    rows, moved = 40_000, {}
    denoiser, target = correlated_world(rows)
    drawn = torch.multinomial(target, rows, True, generator=torch.Generator().manual_seed(0))
    floor = noise_floor(target, rows)
    for rollout, near in ((1, False), (LENGTH, True)):
        config = CONFIG.replace(pool_rollout=rollout, remasking="random")
        canvas = open_canvas(rows, LENGTH, MASK)
        step = Step.open(canvas, MASK, config, noise_for(range(rows)), 0, everywhere=True)
        log_theta = step.x_theta(denoiser)
        pool = AnswerPool(REWARD, config)
        pool._held = ANSWERS[drawn]
        pool._reward, pool._terms = VALUES[drawn], {"enumerated": VALUES[drawn]}
        tokens = pool(denoiser, Tilted(log_theta, log_theta), step)[0].view(rows, LENGTH)
        assert (tokens != ANSWERS[drawn]).any(1).double().mean() > 0.15
        moved[rollout] = distance(shares(tokens), target)
        assert (moved[rollout] < 2 * floor) == near
    assert moved[1] > 5 * moved[LENGTH]


def test_with_rollouts_a_run_comes_to_the_posterior_of_a_correlated_world():
    """For any number of answers nearer than independent draws, and near with many."""
    rows = 10_000
    denoiser, target = correlated_world(rows)
    canvas = open_canvas(rows, LENGTH, MASK)

    def law(count: int, rollout: int) -> float:
        config = CONFIG.replace(pool_size=count, pool_rollout=rollout, remasking="random")
        return distance(shares(aps(denoiser, REWARD, canvas, config).z), target)

    near = {count: law(count, LENGTH) for count in (4, 32)}
    for count, found in near.items():
        assert found < 0.7 * law(count, 1)
    assert near[32] < 0.03


def test_with_rollouts_a_reward_that_says_nothing_leaves_the_model_as_it_is():
    rows = 20_000
    denoiser, _ = correlated_world(rows)
    table = joint_table(LENGTH, SYMBOLS, 4, sharp=1.5).flatten()
    config = CONFIG.replace(pool_rollout=LENGTH, remasking="random")
    z = aps(denoiser, ZeroOperator(), open_canvas(rows, LENGTH, MASK), config).z
    assert distance(shares(z), table) < 2 * noise_floor(table, rows)


def test_steps_between_pools_go_on_with_the_chosen_answer():
    """One pool for a whole answer: importance resampling, whatever the number of steps."""
    rows = 10_000
    denoiser, target = correlated_world(rows)
    canvas = open_canvas(rows, LENGTH, MASK)

    def law(**changes) -> torch.Tensor:
        config = CONFIG.replace(pool_size=128, remasking="random", **changes)
        return shares(aps(denoiser, REWARD, canvas, config).z)

    once = law(pool_rollout=LENGTH, steps=LENGTH, pool_interval=LENGTH)
    assert distance(once, target) < 0.03
    assert distance(once, law(pool_rollout=LENGTH, steps=2, pool_interval=2)) < 0.03
    plain = shares(aps(denoiser, REWARD, canvas, CONFIG, method=Ancestral()).z)
    assert distance(plain, target) > 0.15


@pytest.mark.parametrize("rollout", [1, LENGTH])
def test_behind_the_stop_of_the_chosen_answer_the_base_sampler_draws(rollout):
    """Tokens of the chosen answer elsewhere; a pool at the steps 0 and 3."""
    denoiser = factor_world(6, SYMBOLS, seed=1, batch=64)
    reward = table_reward(6, SYMBOLS, 2, batch=64)
    layout = {"mask_id": MASK, "fill_id": MASK + 1, "stop_ids": [0]}
    config = CONFIG.replace(
        steps=6, pool_interval=3, guidance_start=0.0, remasking="random", pool_rollout=rollout
    )
    pools = []

    class Watched(AnswerPool):
        def __call__(self, *inputs):
            found = super().__call__(*inputs)
            pools.append(self._held.clone())
            return found

    canvas = Canvas.open([6] * 64, **layout)
    noise = noise_for(range(64))
    states = list(denoise(denoiser, reward, canvas, config, noise, pool=Watched(reward, config)))
    assert len(pools) == 2
    assert all(state.guided for state in states)
    behind = 0
    for held, state in zip([pools[0]] * 3, states, strict=False):
        z, stop = state.z, (held == 0).int().cumsum(1) - (held == 0).int() > 0
        written = (z != MASK) & (z != MASK + 1)
        assert torch.equal(z[written & ~stop], held[written & ~stop])
        behind += int((written & stop).sum())
    assert behind


@pytest.mark.parametrize("interval", [1, 2])
@pytest.mark.parametrize("block_length", [None, 1])
def test_a_pool_of_whole_rollouts_starts_from_the_plain_answer(interval, block_length):
    """Without a preference it stays; a cold pool never comes to less."""
    rows = 200
    denoiser, _ = correlated_world(rows)
    canvas = Canvas.open([LENGTH] * rows, mask_id=MASK, fill_id=MASK + 1, block_length=block_length)
    config = CONFIG.replace(
        steps=LENGTH, pool_rollout=LENGTH, pool_interval=interval, pool_size=3,
        guidance_start=0.0, remasking="standard", beta=1e-3, block_length=block_length,
    )  # fmt: skip
    plain = aps(denoiser, REWARD, canvas, config, method=Ancestral()).z
    same = aps(denoiser, rewarding(torch.zeros(SYMBOLS**LENGTH)), canvas, config).z
    assert torch.equal(same, plain)
    steered = aps(denoiser, REWARD, canvas, config).z
    worth = [VALUES[index_of(z, SYMBOLS)] for z in (plain, steered)]
    assert (worth[1] >= worth[0] - 1e-6).all()
    assert (worth[1] > worth[0] + 0.01).double().mean() > 0.3
    never = aps(denoiser, rewarding(torch.full((SYMBOLS**LENGTH,), -torch.inf)), canvas, config).z
    assert torch.equal(never, plain)  # a constraint that nothing meets
    part = config.replace(guidance_interval=2, pool_interval=1)
    apart = aps(denoiser, rewarding(torch.zeros(SYMBOLS**LENGTH)), canvas, part).z
    assert not torch.equal(apart, plain)  # unguided steps draw what no rollout drew
    fewer = aps(denoiser, REWARD, canvas, config.replace(pool_rollout=2)).z
    assert (VALUES[index_of(fewer, SYMBOLS)] < worth[0] - 1e-6).any()  # two steps are not the run's


@pytest.mark.parametrize("alg", ["maskgit_plus", "topk_margin", "entropy", "origin"])
def test_rollouts_are_the_base_samplers_answers(alg):
    """A rollout of R steps has the law of plain decoding in R steps, whatever the order."""
    rows = 40_000
    denoiser, _ = correlated_world(rows)
    canvas = open_canvas(rows, LENGTH, MASK)
    config = CONFIG.replace(alg=alg, remasking="standard", temperature=0.8, steps=2)
    plain = shares(aps(denoiser, REWARD, canvas, config, method=Ancestral()).z)
    step = Step.open(canvas, MASK, config, noise_for(range(rows)), 0, everywhere=True)
    log_theta = step.x_theta(denoiser)
    drawn = draw_rollouts(denoiser, step, log_theta, 2, rollout_config(config, 2))
    for one in drawn.view(rows, LENGTH, 2).unbind(-1):
        assert distance(shares(one), plain) < 2 * noise_floor(plain, rows)
    assert (drawn[:, 0] != drawn[:, 1]).double().mean() > 0.1


@pytest.mark.parametrize("alg", ["maskgit_plus", "topk_margin", "entropy", "origin"])
@pytest.mark.parametrize(
    "decoding", [{}, {"top_p": 0.7}, {"top_k": 2, "alg_temp": 0.5}, {"temperature": 0.0}]
)
def test_the_first_step_of_rollouts_is_the_base_samplers_with_copies_of_x_theta(alg, decoding):
    """Rows of different numbers of masks."""
    if alg == "origin":
        decoding = {name: value for name, value in decoding.items() if name != "alg_temp"}
    canvas = Canvas.open([3, 1, 4], mask_id=MASK, fill_id=MASK + 1)
    config = CONFIG.replace(alg=alg, remasking="standard").replace(**decoding)
    noise, owners = noise_for(range(6), range(6)), torch.arange(3).repeat_interleave(2)
    where = positions_of(canvas.z == MASK)
    log_theta = factor_world(4, SYMBOLS, 2, batch=3).log_probs[where].float()
    entries, _ = take_ragged(where, owners)
    first = Step.open(canvas.take(owners), MASK, config, noise, 0, everywhere=True)
    tokens, scores = first_candidates(first, log_theta, entries)
    copies = Tilted(log_theta[entries], log_theta[entries])
    assert tokens.equal(first.draw(copies))
    assert scores.equal(first.score(copies, tokens))


ZERO = {
    "zero": ZeroOperator(),
    "weight 0": weighted_sum((0.0, table_reward(6, SYMBOLS, 1, batch=5))),
    "constant": enumerated_reward(1, SYMBOLS, 0),
}


@pytest.mark.parametrize("name", ["zero", "weight 0", "constant"])
@pytest.mark.parametrize("alg", ["maskgit_plus", "entropy", "origin"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.7, "top_p": 0.8},
        {"inner_steps": 1},
    ],
)
def test_a_reward_that_says_nothing_is_the_base_sampler_token_for_token(name, alg, options):
    class Constant(Arithmetic):
        differentiable, codebook = False, None

        def take(self, rows):
            return self

        def log_prob_ids(self, ids):
            return Scores(torch.full((len(ids),), 2.5), {})

    operator = Constant() if name == "constant" else ZERO[name]
    denoiser = factor_world(6, SYMBOLS, seed=1, batch=5)
    canvas = open_canvas(5, 6, MASK, stop_ids=[0])
    config = CONFIG.replace(alg=alg, remasking="standard", steps=4, **options)
    found = aps(denoiser, operator, canvas, config).z
    assert found.equal(aps(denoiser, operator, canvas, config, method=Ancestral()).z)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"inner_steps": 2, "estimator": "rloo"},
        {"block_length": 2},
        {"steps": 2},
        {"pool_rollout": 3},
        {"pool_rollout": 2, "block_length": 2},
    ],
)
def test_a_batch_gives_what_its_rows_give_alone(options):
    lengths = [6, 1, 4, 6, 2, 5]
    denoiser = factor_world(6, SYMBOLS, seed=1, batch=len(lengths))
    reward = table_reward(6, SYMBOLS, 2, batch=len(lengths))
    config = CONFIG.replace(steps=4).replace(**options)
    layout = {"mask_id": MASK, "fill_id": MASK + 1, "stop_ids": [0]}
    layout["block_length"] = options.get("block_length")
    together = aps(denoiser, reward, Canvas.open(lengths, **layout), config, range(50, 56)).z
    for row, length in enumerate(lengths):
        at = torch.tensor([row])
        alone = Canvas.open([length], **layout)
        z = aps(denoiser.take(at), reward.take(at), alone, config, [50 + row]).z
        assert z[0].equal(together[row, :length])


@pytest.mark.parametrize("count", [2, 5])
def test_cost_is_t_forwards_and_the_fresh_answers_rewards(count):
    batch = 5
    denoiser, reward = factor_world(LENGTH, SYMBOLS, 0, batch), table_reward(LENGTH, SYMBOLS, 1, 5)
    canvas = open_canvas(batch, LENGTH, MASK)
    cost = aps(denoiser, reward, canvas, CONFIG.replace(pool_size=count)).cost
    assert (cost.trunk_forwards, cost.denoiser_forwards) == (batch * LENGTH,) * 2
    assert cost.reward_forwards == batch * (count + (LENGTH - 1) * (count - 1))
    assert cost.denoiser_backwards == cost.reward_backwards == 0


@pytest.mark.parametrize("options", [{}, {"reveal_rule": "dream"}, {"schedule": "cosine"}])
@pytest.mark.parametrize("rollout", [2, 3, 9])
def test_cost_of_rollouts(rollout, options):
    """The first of a rollout's steps costs nothing; one of m masks has at most m. Hardly two of
    them are equal among so many symbols."""
    batch, count, symbols = 5, 4, 5000
    denoiser = factor_world(LENGTH, symbols, 0, batch, sharp=0.1)
    reward = table_reward(LENGTH, symbols, 1, 5)
    config = CONFIG.replace(pool_size=count, pool_rollout=rollout)
    canvas = open_canvas(batch, LENGTH, symbols)
    cost = aps(denoiser, reward, canvas, config.replace(**options)).cost
    if options.get("reveal_rule") == "dream":  # the last two masks are written together
        left = [LENGTH, LENGTH, LENGTH - 1]
    else:
        left = list(range(LENGTH, 0, -1))
    fresh = [(masks, count - (index > 0)) for index, masks in enumerate(left)]
    each = sum(n * (min(rollout, masks) - 1) for masks, n in fresh)
    assert cost.denoiser_forwards == cost.trunk_forwards == batch * (len(left) + each)
    assert cost.reward_forwards == batch * sum(n for _, n in fresh)


@pytest.mark.parametrize("order", [{}, {"alg": "origin"}, {"remasking": "random"}])
def test_equal_rollouts_of_a_row_are_computed_once(order):
    """Each copy has the logits of its own row and canvas; a row's equal copies share a pass."""
    batch, count, cost = 3, 8, Cost()
    denoiser = TableDenoiser(joint_table(LENGTH, SYMBOLS, 4, batch=batch))
    rows = torch.tensor([2, 0, 0, 1, 0, 2, 1])
    z = torch.tensor([[4, 4, 1], [4, 1, 4], [4, 2, 4], [4, 1, 4], [4, 1, 4], [4, 4, 1], [0, 4, 4]])
    asked = (z == MASK) & torch.tensor([[1, 1, 1]] * 4 + [[1, 0, 0], [0, 1, 0], [0, 1, 1]]).bool()
    model = DistinctRows(MeteredDenoiser(denoiser, cost), torch.arange(batch)).take(rows)
    where = positions_of(asked)
    expected = denoiser.take(rows).logits(z, where)
    assert model.logits(model.trunk(z), where).equal(expected)
    assert (cost.trunk_forwards, cost.denoiser_forwards) == (5, 5)
    config = CONFIG.replace(pool_size=count, pool_rollout=LENGTH, temperature=0.3, **order)
    reward = table_reward(LENGTH, SYMBOLS, 1, batch)
    cost = aps(denoiser, reward, open_canvas(batch, LENGTH, MASK), config).cost
    every = count * (LENGTH - 1) + (count - 1) * (LENGTH - 2)
    assert cost.trunk_forwards < 0.8 * batch * (LENGTH + every)


def test_rollouts_end_at_their_stop_and_what_is_behind_is_never_written():
    rows, length = 200, 6
    denoiser = factor_world(length, SYMBOLS, seed=8, batch=rows)
    reward = table_reward(length, SYMBOLS, 9, batch=rows)
    canvas = open_canvas(rows, length, MASK, stop_ids=[0])
    config = CONFIG.replace(steps=length, pool_rollout=3, beta=0.1)
    z = aps(denoiser, reward, canvas, config).z
    stops = (z == 0).long()
    behind = stops.cumsum(1) - stops > 0
    assert behind.any()
    assert (z[behind] == canvas.fill_id).all()
    assert (z[~behind] != canvas.fill_id).all()
    assert (z != MASK).all()


def test_a_rollouts_stop_is_kept_where_the_fill_is_the_stop_token():
    """The candidates, ended at their first stop, are the chosen answer."""
    rows, length = 50, 6
    denoiser = factor_world(length, SYMBOLS, seed=8, batch=rows)
    reward = table_reward(length, SYMBOLS, 9, batch=rows)
    config = CONFIG.replace(steps=length, pool_rollout=2, beta=1e-6)
    layout = {"mask_id": MASK, "fill_id": 0, "stop_ids": [0]}
    canvas = Canvas.open([length] * rows, **layout)
    step = Step.open(canvas, MASK, config, noise_for(range(rows)), 0, everywhere=True)
    log_theta = step.x_theta(denoiser)
    pool = AnswerPool(reward, config)
    tokens = pool(denoiser, Tilted(log_theta, log_theta), step)[0].view(rows, length)
    ended = end_at_stop(tokens, canvas.editable, canvas.stop_ids, canvas.fill_id)
    held = end_at_stop(pool._held, canvas.editable, canvas.stop_ids, canvas.fill_id)
    assert ((held == 0).any(1)).sum() > 10
    assert ended.equal(held)


class Recorded(Arithmetic):
    """An operator that keeps the best reward it gave each row."""

    differentiable, codebook = False, None

    def __init__(self, inner, best, rows):
        self.inner, self.best, self.rows = inner, best, rows

    def take(self, rows):
        return Recorded(self.inner.take(rows), self.best, self.rows[rows])

    def log_prob_ids(self, ids):
        scores = self.inner.log_prob_ids(ids)
        self.best.scatter_reduce_(0, self.rows, scores.total, "amax")
        return scores


@pytest.mark.parametrize(
    "options",
    [{}, {"remask": True}, {"guidance_start": 0.4}, {"pool_rollout": 2}],
)
def test_in_a_cold_posterior_the_best_answer_seen_is_kept_to_the_end(options):
    batch, length = 40, 6
    denoiser = factor_world(length, SYMBOLS, seed=8, batch=batch)
    reward = table_reward(length, SYMBOLS, 9, batch=batch)
    best = torch.full((batch,), -torch.inf, dtype=torch.double)
    operator = Recorded(reward, best, torch.arange(batch))
    canvas = open_canvas(batch, length, MASK, stop_ids=[0])
    config = CONFIG.replace(steps=6, beta=1e-6, **options)
    result = aps(denoiser, operator, canvas, config, keep_trajectory=True)
    final, seen = reward.log_prob_ids(result.z).total, best.isfinite()
    assert seen.sum() > batch / 2
    torch.testing.assert_close(final[seen], best[seen])
    for row in seen.nonzero().flatten():
        states = [s for s in result.trajectory if s.guided and bool(s.revealed[row].any())]
        climbed = torch.stack([state.rewards["table"][row] for state in states])
        assert (climbed.diff() >= 0).all()
        assert climbed[-1] == final[row]


@pytest.mark.parametrize("inner", [0, 1])
def test_a_vetoed_answer_never_wins(inner):
    """Of rewards that are all alike but where they are -inf, no answer of -inf is returned; where
    all are vetoed there is still an answer."""
    rows, config = 3000, CONFIG.replace(inner_steps=inner, pool_size=8)
    world = factor_world(LENGTH, SYMBOLS, 2)
    denoiser = world.take(torch.zeros(rows, dtype=torch.long))
    canvas = open_canvas(rows, LENGTH, MASK)
    for values in (VETOED, SOME_VETOED):
        allowed = product_table(world.log_probs[0]).flatten()[values.isfinite()].sum()
        z = aps(denoiser, rewarding(values), canvas, config.replace(steps=1)).z
        vetoed = values[index_of(z, SYMBOLS)].isneginf().double().mean()
        assert vetoed < 3 * (1 - allowed) ** 8 + 0.001
        assert 1 - allowed > 0.1
    none = aps(denoiser, rewarding(torch.full_like(VALUES, -torch.inf)), canvas, config).z
    assert ((none >= 0) & (none < SYMBOLS)).all()


def test_a_stale_answer_is_no_candidate():
    canvas = open_canvas(1, LENGTH, MASK)
    z = canvas.z.clone()
    z[0, 0] = 2
    step = Step.open(replace(canvas, z=z), MASK, CONFIG, noise_for([0]), 1, everywhere=True)
    log_theta = factor_world(LENGTH, SYMBOLS, 2).log_probs[0][1:]
    for first, kept in ((2, True), (1, False)):
        pool = AnswerPool(REWARD, CONFIG)
        pool._held = torch.tensor([[first, 3, 3]])
        pool._reward, pool._terms = (
            torch.tensor([1e3]).double(),
            {"enumerated": torch.tensor([1e3])},
        )
        tokens, terms, _ = pool(None, Tilted(log_theta, log_theta), step)
        assert (tokens.tolist() == [3, 3] and terms["enumerated"].item() == 1e3) == kept
        assert pool._held[0, 0] == 2


def test_an_answer_phi_has_left_does_not_hold_the_chain():
    """Over 20 positions x_theta/x_phi of the held answer is e^18: draws of x_phi alone
    would not replace it though its reward is e^-15."""
    rows, length, config = 200, 20, CONFIG.replace(beta=1.0)
    canvas = open_canvas(rows, length, MASK)
    step = Step.open(canvas, MASK, config, noise_for(range(rows)), 0, everywhere=True)
    log_theta = torch.full((rows * length, SYMBOLS), 1 / SYMBOLS).log()
    log_phi = torch.tensor([0.7, 0.1, 0.1, 0.1]).log().expand_as(log_theta)
    pool = AnswerPool(ZeroOperator(), config)
    pool._held = torch.full((rows, length), 3)
    pool._reward = torch.full((rows,), -15.0).double()
    pool._terms = {"zero": torch.zeros(rows)}
    tokens, *_ = pool(None, Tilted(log_phi, log_theta), step)
    kept = (tokens.view(rows, length) == 3).all(1).double().mean()
    assert kept < 0.02


def test_at_temperature_0_the_fresh_answer_is_phis_likeliest():
    config = CONFIG.replace(temperature=0.0)
    step, _, tilted = first_step(config, 40, True)
    tokens, *_ = AnswerPool(REWARD, config)(None, tilted, step)
    assert torch.equal(tokens, tilted.log_phi.argmax(-1))


def test_pads_behind_a_stop_weigh_nothing():
    """Two answers alike up to their stop weigh alike, whatever phi makes of what is behind it."""
    rows = 20_000
    step, theta, tilted = first_step(CONFIG, rows, True)
    canvas = replace(step.canvas, stop_ids=(0,))
    step = replace(step, canvas=canvas)
    tokens = AnswerPool(REWARD, CONFIG.replace(pool_size=64))(None, tilted, step)[0]
    ended = end_at_stop(tokens.view(rows, LENGTH), canvas.editable, (0,), canvas.fill_id)
    stopped = (ended[:, 0] == 0).double().mean()
    # Exactly: sum over answers of p(x) exp(r(ended x) / beta).
    whole = end_at_stop(ANSWERS, torch.ones_like(ANSWERS).bool(), (0,), canvas.fill_id)
    law = product_table(theta).flatten() * (REWARD.log_prob_ids(whole).total / BETA).exp()
    exact = (law / law.sum())[ANSWERS[:, 0] == 0].sum()
    assert abs(stopped - exact) < 0.02


def test_what_stands_behind_a_stop_weighs_nothing_at_all():
    """Every answer stops at once, and behind the stop p'/f' spans tens of nats: they are all the
    same answer, so the step is the base draw."""
    rows, length, config = 50, 30, CONFIG.replace(num_candidates=6)
    canvas = open_canvas(rows, length, MASK, stop_ids=[0])
    step = Step.open(canvas, MASK, config, noise_for(range(rows)), 0, everywhere=True)
    theta = torch.full((length, SYMBOLS), 1 / SYMBOLS).double().log()
    phi = torch.tensor([0.97, 0.01, 0.01, 0.01]).double().log().repeat(length, 1)
    theta[0] = phi[0] = torch.tensor([1.0, 1e-300, 1e-300, 1e-300]).double().log()
    log_theta, log_phi = theta.repeat(rows, 1), phi.repeat(rows, 1)
    pool = AnswerPool(ZeroOperator(), config)
    pool._held = torch.ones(rows, length, dtype=torch.long)
    pool._held[:, 0] = 0
    pool._reward, pool._terms = torch.zeros(rows).double(), {"zero": torch.zeros(rows)}
    tokens, *_ = pool(None, Tilted(log_phi, log_theta), step)
    draws = [step.draw(Tilted(log, log)).view(rows, length) for log in (log_phi, log_theta)]
    found = tokens.view(rows, length)
    assert all((found[i].equal(draws[0][i]) or found[i].equal(draws[1][i])) for i in range(rows))


class Recorder(Noise):
    """Noise that writes down what it is asked for."""

    def uniform(self, rows, position, step, stream, count=None):
        kind = "row" if len(rows) == len(self.row_seed) and not position.any() else "token"
        ASKED.append((stream, kind))
        return super().uniform(rows, position, step, stream, count)

    def take(self, rows):
        return Recorder(self.row_seed[rows], self.particle[rows])


ASKED: list[tuple[str, str]] = []


def test_no_two_draws_of_a_step_share_their_coordinates():
    """The coin that says p' or f', the choice and the tokens each have a stream of their own."""
    denoiser = factor_world(6, SYMBOLS, seed=1, batch=4)
    reward = table_reward(6, SYMBOLS, 2, batch=4)
    noise, config = noise_for(range(4)), CONFIG.replace(inner_steps=2, estimator="rloo", steps=3)
    ASKED.clear()
    states = APS().steps(
        denoiser,
        reward,
        open_canvas(4, 6, MASK),
        config,
        Recorder(noise.row_seed, noise.particle),
    )
    next(iter(states))
    rows = {stream for stream, kind in ASKED if kind == "row"}
    tokens = {stream for stream, kind in ASKED if kind == "token"}
    assert rows == {"proposal", "chosen"}
    assert tokens == {"candidate", "pool", "score0", "score1"}
    assert len([one for one in ASKED if one[1] == "row"]) == len(rows)


def test_at_temperature_0_the_weights_hold_the_ratio_of_phi_to_theta():
    """Of phi's likeliest answer and the one kept, chosen by exp(r / beta) / (1 + f / p)."""
    each, config = 400, CONFIG.replace(temperature=0.0)
    rows = each * len(ANSWERS)
    step, theta, tilted = first_step(config, rows, True)
    phi = tilted.log_phi[:LENGTH]
    held = ANSWERS.repeat_interleave(each, 0)
    pool = AnswerPool(REWARD, config)
    pool._held = held
    pool._reward = VALUES.repeat_interleave(each)
    pool._terms = {"enumerated": pool._reward}
    tokens, *_ = pool(None, tilted, step)
    place = torch.arange(LENGTH)
    gap = phi[place, ANSWERS].sum(1) - theta[place, ANSWERS].sum(1)
    log_weight = VALUES / BETA - gap.exp().log1p()
    best = index_of(phi.argmax(-1)[None], SYMBOLS)
    chance = torch.sigmoid(log_weight - log_weight[best])
    kept = (tokens.view(rows, LENGTH) == held).all(1).view(-1, each).double().mean(1)
    error = (chance * (1 - chance) / each).sqrt()
    other = torch.arange(len(ANSWERS)) != best
    assert ((kept - chance).abs() <= 4 * error)[other].all()
    without = torch.sigmoid((VALUES - VALUES[best]) / BETA)  # as if phi were theta
    assert ((without - chance).abs() > 8 * error)[other].any()


@pytest.mark.parametrize(
    ("less", "equal"), [(ALIKE, True), (ALIKE / 2, True), (-ALIKE / 2, True), (1.5 * ALIKE, False)]
)
def test_log_weights_that_differ_by_rounding_at_most_leave_the_base_samplers_draw(less, equal):
    rows, config = 300, CONFIG.replace(pool_size=2, beta=1.0)
    step, _, tilted = first_step(config, rows, False)
    pool = AnswerPool(rewarding(torch.zeros_like(VALUES)), config)
    pool._held = ANSWERS[torch.arange(rows) % len(ANSWERS)]
    pool._reward = torch.full((rows,), -less, dtype=torch.double)
    pool._terms = {"enumerated": pool._reward}
    tokens, *_ = pool(None, tilted, step)
    base = step.draw(tilted)
    same = (tokens == base).view(rows, LENGTH).all(1)
    assert same.all() == equal
    assert same.sum() > rows / 3
