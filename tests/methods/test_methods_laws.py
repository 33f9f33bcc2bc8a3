"""Each method's law by enumeration on a small world (L = 3, K = 4)."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from worlds import (
    TableDenoiser,
    all_answers,
    enumerated_reward,
    index_of,
    joint_table,
    noise_for,
    open_canvas,
)

from aps_text.core.config import APSConfig
from aps_text.core.sampler import run
from aps_text.core.step import Step
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps_smc import APSSMC
from aps_text.methods.best_of_n import BestOf
from aps_text.methods.drafts import Moves
from aps_text.methods.entrgi import EntRGi, aps_logits, expectation
from aps_text.methods.ets import ETS
from aps_text.methods.fk_steering import FKSteering
from aps_text.methods.particle_filter import ParticleFilter
from aps_text.methods.particle_gibbs import ParticleGibbs
from aps_text.methods.particles import ParticlePath, effective_size, systematic, take_ragged
from aps_text.methods.pool import _Laws
from aps_text.methods.svdd import SVDD
from aps_text.methods.twist import log_twist
from aps_text.methods.twisted_smc import TwistedSMC
from aps_text.methods.vgb import VGB

LENGTH, SYMBOLS, BETA = 3, 4, 0.8
TABLE = joint_table(LENGTH, SYMBOLS, 4, sharp=1.5)
REWARD = enumerated_reward(LENGTH, SYMBOLS, 5)
VALUES = REWARD.values[:SYMBOLS, :SYMBOLS, :SYMBOLS]
ANSWERS = all_answers(LENGTH, SYMBOLS)
# One token a step in an order that looks at no candidate: the base sampler's law is the table.
CONFIG = APSConfig(
    adapter="logits",
    temperature=1.0,
    top_p=1.0,
    min_new_tokens=0,
    trust_region=None,
    steps=LENGTH,
    beta=BETA,
    learning_rate=0.3,
    alg="entropy",
    remasking="standard",
)


def tilted(prior: torch.Tensor, beta: float = BETA) -> torch.Tensor:
    law = prior * (VALUES / beta).exp()
    return law / law.sum()


def distance(one: torch.Tensor, two: torch.Tensor) -> float:
    return 0.5 * (one.flatten() - two.flatten()).abs().sum().item()


def law_of(method, rows: int, config: APSConfig = CONFIG, seed: int = 0, chunk: int = 1000):
    """Shares of the answers among `rows` draws."""
    counts = torch.zeros(SYMBOLS**LENGTH, dtype=torch.double)
    for first in range(seed, seed + rows, chunk):
        denoiser = TableDenoiser(TABLE.expand(chunk, -1, -1, -1))
        canvas, noise = open_canvas(chunk, LENGTH, SYMBOLS), noise_for(range(first, first + chunk))
        z = run(method, denoiser, REWARD, canvas, config, noise).z
        counts += torch.bincount(index_of(z, SYMBOLS), minlength=SYMBOLS**LENGTH)
    return counts / counts.sum()


def noise_floor(law: torch.Tensor, rows: int) -> float:
    """Expected distance of `rows` exact draws from their own law."""
    return 0.5 * (2 * law * (1 - law) / (math.pi * rows)).sqrt().sum().item()


def test_best_of_n_follows_its_order_statistic():
    """`P(x) = F(r)^N - F(r-)^N`."""
    rows, n = 6000, 3
    prior, values = TABLE.flatten(), VALUES.flatten()
    below = torch.stack([prior[values < v].sum() for v in values])
    exact = (below + prior) ** n - below**n
    assert exact.sum().item() == pytest.approx(1)
    found = law_of(BestOf(samples=n), rows)
    assert distance(found, exact) < 2 * noise_floor(exact, rows)
    assert distance(exact, prior) > 0.3


def test_fk_with_all_tokens_at_once_is_importance_sampling_of_the_base_law():
    """T = 1: the base law is the product of marginals, and that is what is tilted."""
    marginals = [TABLE[0].sum([a for a in range(3) if a != axis]) for axis in range(3)]
    product = torch.einsum("i,j,k->ijk", *marginals)
    config, rows = CONFIG.replace(steps=1), 3000
    exact = tilted(product)
    fk = law_of(FKSteering(100, final="weight"), rows, config, chunk=500)
    assert distance(fk, exact) < 1.5 * noise_floor(exact, rows)
    assert distance(tilted(product), tilted(TABLE[0])) > 0.15


@pytest.mark.parametrize(
    ("potential", "resample"), [("difference", 0.5), ("max", 0.5), ("max", 2.0), ("sum", 2.0)]
)
def test_every_potential_multiplies_to_the_reward(potential, resample):
    """With or without resampling in between, FK comes closer to the target as particles grow."""
    exact, rows = tilted(TABLE[0]), 1500

    def gap(particles: int) -> float:
        method = FKSteering(
            particles, potential, every=1, draws=1, resample=resample, final="weight"
        )
        return distance(law_of(method, rows, chunk=500), exact)

    one, many = gap(1), gap(32)
    assert one > 0.3
    # `sum` counts early rewards twice over: its paths degenerate and it converges slowest.
    assert many < (0.2 if potential == "sum" else 0.14)


def test_without_resampling_the_potentials_are_the_same_weights():
    """Each path's product is exp(lambda r), so the same particle is returned, draw for draw."""
    config, rows = CONFIG.replace(beta=0.3), 300

    def drawn(potential: str, beta: float | None = None, resample: float = 0.0):
        method = FKSteering(8, potential, beta, every=1, draws=2, resample=resample, final="weight")
        denoiser = TableDenoiser(TABLE.expand(rows, -1, -1, -1))
        canvas, noise = open_canvas(rows, LENGTH, SYMBOLS), noise_for(range(rows))
        return run(method, denoiser, REWARD, canvas, config, noise).z

    one = drawn("difference")
    assert one.equal(drawn("max"))
    assert one.equal(drawn("sum"))
    assert not one.equal(drawn("sum", beta=0.6))
    assert not one.equal(drawn("sum", resample=1.0))


def test_aps_smc_approaches_its_target_and_fk_of_its_size_stays_behind():
    """The full table, at 200,000 draws, is `benchmarks/smc.py`."""
    exact, rows = tilted(TABLE[0]), 2000
    gaps = {k: distance(law_of(APSSMC(k, final="weight"), rows), exact) for k in (1, 4, 12)}
    plain = distance(law_of(Ancestral(), rows), exact)
    assert plain > gaps[1] > gaps[4] > gaps[12]
    assert gaps[12] < 0.12
    fk = distance(law_of(FKSteering(4, every=1, draws=1, final="weight"), rows), exact)
    assert gaps[4] < fk


@pytest.mark.parametrize("order", ["entropy", "topk_margin", "random", "origin"])
def test_every_unbiased_order_targets_its_own_base_law(order):
    """Two tokens at once: the base law of each order, from its own draws without a reward."""
    config = CONFIG.replace(steps=2, temperature=0.8)
    how = {"origin": {"alg": "origin"}, "random": {"remasking": "random", "alg": "maskgit_plus"}}
    asked = config.replace(**how.get(order, {"alg": order}))
    base = law_of(Ancestral(), 20_000, asked, chunk=5000)
    exact = tilted(base.view(TABLE[0].shape))
    particles = 16
    for method in (
        APSSMC(particles, order=order, final="weight"),
        TwistedSMC(particles, order, final="weight"),
    ):
        assert distance(law_of(method, 1500, config, chunk=500), exact) < 0.13


def test_the_anchored_order_is_biased():
    exact = tilted(TABLE[0])
    anchored = distance(law_of(APSSMC(8, order="anchored", final="weight"), 1000), exact)
    assert anchored > 0.2


def test_svdd_chooses_by_the_promised_reward():
    """T = 1 and many candidates: softmax gives the tilted base law, greedy the best of M."""
    config, rows = CONFIG.replace(steps=1), 3000
    marginals = [TABLE[0].sum([a for a in range(3) if a != axis]) for axis in range(3)]
    product = torch.einsum("i,j,k->ijk", *marginals)
    for beta, method in ((BETA, SVDD(100)), (2.0, SVDD(100, beta=2.0))):
        exact = tilted(product, beta)
        found = law_of(method, rows, config, chunk=500)
        assert distance(found, exact) < 1.5 * noise_floor(exact, rows)
    prior, values = product.flatten(), VALUES.flatten()
    below = torch.stack([prior[values < v].sum() for v in values])
    best = (below + prior) ** 3 - below**3
    assert distance(law_of(SVDD(3, beta=0.0), rows, config), best) < 2 * noise_floor(best, rows)


def test_svdd_steps_follow_their_soft_values():
    """T = 3, many candidates: each step is p(z_s | z_t) exp(r(x0_hat(z_s)) / beta) / Z."""

    def marginal(left: torch.Tensor, at: int) -> torch.Tensor:
        return left.sum([b for b in range(left.ndim) if b != at]) if left.ndim > 1 else left

    def likeliest(given: dict[int, int]) -> float:
        index = tuple(given.get(a, slice(None)) for a in range(LENGTH))
        left = TABLE[0][index]
        answer = dict(given)
        open_axes = [a for a in range(LENGTH) if a not in given]
        for at, axis in enumerate(open_axes):
            answer[axis] = int(marginal(left, at).argmax())
        return VALUES[tuple(answer[a] for a in range(LENGTH))].item()

    def next_axis(given: dict[int, int]) -> tuple[int, torch.Tensor]:
        """The lowest entropy, as `alg="entropy"` ranks, and its marginal."""
        left = TABLE[0][tuple(given.get(a, slice(None)) for a in range(LENGTH))]
        open_axes = [a for a in range(LENGTH) if a not in given]
        laws = []
        for at in range(left.ndim):
            law = marginal(left, at)
            laws.append(law / law.sum())
        best = max(range(len(laws)), key=lambda i: torch.xlogy(laws[i], laws[i]).sum().item())
        return open_axes[best], laws[best]

    exact = torch.zeros_like(TABLE[0])

    def walk(given: dict[int, int], mass: float) -> None:
        if len(given) == LENGTH:
            exact[tuple(given[a] for a in range(LENGTH))] += mass
            return
        axis, law = next_axis(given)
        values = torch.tensor([likeliest({**given, axis: s}) for s in range(SYMBOLS)]).double()
        step = law * (values / BETA).exp()
        for symbol, share in enumerate((step / step.sum()).tolist()):
            walk({**given, axis: symbol}, mass * share)

    walk({}, 1.0)
    rows = 1500
    few, many = (law_of(SVDD(m), rows, chunk=100) for m in (10, 300))
    assert distance(many, exact) < 1.5 * noise_floor(exact, rows)
    assert distance(few, exact) > distance(many, exact)
    assert distance(exact, TABLE[0]) > 0.2


Draft = dict[int, int]  # position -> token


def inside(draft: Draft) -> tuple:
    return tuple(draft.get(a, slice(None)) for a in range(LENGTH))


def open_laws(draft: Draft) -> dict[int, torch.Tensor]:
    """The law of each open position given the draft."""
    left, axes = TABLE[0][inside(draft)], [a for a in range(LENGTH) if a not in draft]
    laws = [
        left.sum([b for b in range(left.ndim) if b != i]) if left.ndim > 1 else left
        for i in range(left.ndim)
    ]
    return {axis: law / law.sum() for axis, law in zip(axes, laws, strict=True)}


def of_likeliest(draft: Draft, beta: float) -> float:
    """V of a draft: exp(r / beta) of its likeliest completion."""
    answer = {**{axis: int(law.argmax()) for axis, law in open_laws(draft).items()}, **draft}
    return (VALUES[inside(answer)] / beta).exp().item()


def law_of_walk(remask: str, beta: float) -> dict[tuple, float]:
    """pi of `methods.vgb` over all drafts that the walk can meet, by enumeration."""
    chance: dict[tuple, float] = {}
    sums: dict[tuple, float] = {}

    def visit(draft: Draft, p: float) -> None:
        key = tuple(draft.get(a, SYMBOLS) for a in range(LENGTH))
        if key in chance:  # one joint law: every order gives a draft the same chance
            assert chance[key] == pytest.approx(p)
            return
        chance[key], laws = p, open_laws(draft)
        if remask == "last":  # the lowest entropy is next
            best = max(laws, key=lambda a: torch.xlogy(laws[a], laws[a]).sum().item(), default=0)
            laws = {a: law for a, law in laws.items() if a == best}
        value = of_likeliest(draft, beta) if draft else 0.0
        for axis, law in laws.items():
            for token, q in enumerate(law.tolist()):
                child = {**draft, axis: token}
                value += q * of_likeliest(child, beta) / len(laws)
                visit(child, p * q)
        sets = math.comb(LENGTH, len(draft)) if remask == "any" else 1
        sums[key] = p * value / sets

    visit({}, 1.0)
    total = sum(sums.values())
    return {key: value / total for key, value in sums.items()}


@pytest.mark.parametrize(("remask", "candidates"), [("any", 1), ("any", 3), ("last", 2)])
def test_vgb_is_at_its_stationary_law_on_drafts_and_answers(remask, candidates):
    beta, rows, moves, burn = 1.5, 1500, 120, 60
    config = CONFIG.replace(beta=beta)
    method = VGB(candidates, 10**6, moves // LENGTH, remask, final="last")
    denoiser = TableDenoiser(TABLE.expand(rows, -1, -1, -1))
    canvas, noise = open_canvas(rows, LENGTH, SYMBOLS), noise_for(range(rows))
    states = run(method, denoiser, REWARD, canvas, config, noise, keep_trajectory=True).trajectory
    # Levels alternate, so an even number of moves; the last state shows answers only.
    seen = torch.cat([state.z for state in states[burn - 1 : moves - 1]])
    exact = law_of_walk(remask, beta)
    places = (SYMBOLS + 1) ** LENGTH
    found = torch.bincount(index_of(seen, SYMBOLS + 1), minlength=places) / len(seen)
    law = torch.zeros(places).double()
    for key, value in exact.items():
        law[index_of(torch.tensor(key), SYMBOLS + 1)] = value
    assert distance(found, law) < 0.03
    # Detailed balance: every pair of drafts is crossed as often one way as the other.
    steps = torch.stack([state.z for state in states[burn - 1 : moves - 1]])
    ids = index_of(steps, SYMBOLS + 1)
    pairs = torch.zeros(places, places).double()
    ones = torch.ones(ids[1:].numel()).double()
    pairs.index_put_((ids[:-1].flatten(), ids[1:].flatten()), ones, accumulate=True)
    crossings = pairs + pairs.T
    gap = (pairs - pairs.T).abs().sum() / crossings.sum()
    assert gap < 0.04
    # On whole answers it is the target.
    whole = (seen < SYMBOLS).all(-1)
    answers = torch.bincount(index_of(seen[whole], SYMBOLS), minlength=SYMBOLS**LENGTH)
    target = tilted(TABLE[0], beta)
    assert distance(answers / whole.sum(), target) < 0.06
    assert distance(TABLE[0], target) > 0.15


def test_a_move_back_leaves_as_many_masks_as_the_draft_before_had():
    length, masks = 5, [1, 2, 3, 4]
    canvas, noise = open_canvas(4, length, SYMBOLS), noise_for(range(4))
    z = torch.zeros_like(canvas.z)
    for row, count in enumerate(masks):
        z[row, :count] = SYMBOLS
    here, rows = SimpleNamespace(z=z, written=torch.zeros_like(z)), torch.arange(4)
    walk = Moves(SimpleNamespace(mask_id=SYMBOLS), None, canvas, CONFIG, 1.0, 0, True)
    for more in (0, 1):
        past = torch.where(torch.arange(length) < torch.tensor(masks)[:, None] + more, SYMBOLS, 1)
        found, written = walk.back(rows, here, past, noise)
        assert (found == SYMBOLS).sum(-1).tolist() == [count + more for count in masks]
        assert (found[z == SYMBOLS] == SYMBOLS).all()
        assert written.equal(torch.where((found == SYMBOLS) & (z == 0), -1, 0))


@pytest.mark.parametrize(
    ("remask", "options"),
    [("any", {"steps": 2}), ("any", {"block_length": 2}), ("last", {}), ("last", {"steps": 2})],
)
def test_vgbs_answers_reach_the_target_with_stops_blocks_and_several_tokens(remask, options):
    """`any`: of the joint law, here a product where two tokens are revealed at once; `last`: of
    the base sampler's. A stop token ends the answer where it is scored."""
    rows, product = 1000, options.get("steps") == 2
    table, config = TABLE, CONFIG.replace(**options)
    if product:
        marginals = [TABLE[0].sum([a for a in range(3) if a != axis]) for axis in range(3)]
        table = torch.einsum("i,j,k->ijk", *marginals)[None]
    stop, fill = 1, SYMBOLS + 1
    exact: dict[tuple, float] = {}
    for answer in ANSWERS.tolist():
        end = answer.index(stop) + 1 if stop in answer else LENGTH
        ended = (*answer[:end], *[fill] * (LENGTH - end))
        weight = table[0][tuple(answer)] * (REWARD.values[ended] / BETA).exp()
        exact[ended] = exact.get(ended, 0.0) + weight.item()
    law = torch.tensor(list(exact.values())).double() / sum(exact.values())
    denoiser = TableDenoiser(table.expand(rows, -1, -1, -1))
    block_length = options.get("block_length")
    canvas = open_canvas(rows, LENGTH, SYMBOLS, stop_ids=[stop], block_length=block_length)
    method, noise = VGB(4, 30, 1000, remask, final="last"), noise_for(range(rows))
    z = run(method, denoiser, REWARD, canvas, config, noise).z.tolist()
    counts = torch.tensor([z.count(list(ended)) for ended in exact])
    assert counts.sum() == rows
    assert distance(counts / rows, law) < 1.5 * noise_floor(law, rows)


def test_particle_gibbs_reaches_the_target_by_sweeps():
    """Four particles, where a filter of four is at 0.2."""
    exact, rows = tilted(TABLE[0]), 3000
    floor = noise_floor(exact, rows)

    def gap(sweeps: int) -> float:
        method = ParticleGibbs(4, sweeps, every=1, draws=1, resample=0.9, final="weight")
        return distance(law_of(method, rows, chunk=1500), exact)

    one, four, many = gap(1), gap(4), gap(16)
    assert one > four + 0.05 > many + 0.05
    assert one > floor + 0.1
    assert many < floor + 0.02


@pytest.mark.parametrize(("particles", "resample"), [(2, 2.0), (5, 0.7)])
def test_a_sweep_leaves_the_target_as_it_is(particles, resample):
    """References drawn from the target by rejection: the particle drawn next has its law, too."""
    exact, rows = tilted(TABLE[0]), torch.zeros(100_000, dtype=torch.long)
    denoiser, canvas = TableDenoiser(TABLE).take(rows), open_canvas(len(rows), LENGTH, SYMBOLS)

    def noisy(operator, at):
        """Any positive psi will do: its estimates and even their mean may be wrong."""
        log_p, step = at.log_p, at.step
        return log_twist(operator, step, log_p, log_p, kind="prior", draws=1, beta=0.4)

    trail, base = ParticlePath(), ParticleFilter(1, CONFIG, BETA, lambda operator, at: None)
    for _ in base.run(denoiser, REWARD, canvas, noise_for(range(len(rows))), trail=trail):
        pass
    value = REWARD.log_prob_ids(trail.after(LENGTH).z).total / BETA
    coin = torch.rand(len(rows), generator=torch.Generator().manual_seed(0), dtype=torch.double)
    kept = (coin.log() < value - VALUES.max() / BETA).nonzero().squeeze(-1)
    trail.keep(kept)
    before = trail.after(LENGTH).z
    assert len(kept) > 8000

    def gap(z: torch.Tensor) -> float:
        counts = torch.bincount(index_of(z, SYMBOLS), minlength=SYMBOLS**LENGTH)
        return distance(counts / len(z), exact)

    allowed = 1.3 * noise_floor(exact, len(kept))
    assert gap(before) < allowed
    gibbs = ParticleFilter(particles, CONFIG, BETA, noisy, resample=resample)
    noise = noise_for(kept + len(rows))
    *_, last = gibbs.run(denoiser.take(kept), REWARD, canvas.take(kept), noise, reference=trail)
    assert gap(last.z) < allowed
    assert 0.1 < (last.z != before).any(-1).double().mean() < 0.9


@pytest.mark.parametrize("points", [1, 3])
def test_ets_with_rollouts_of_the_sampler_reaches_the_target(points):
    """With many continuations, at any number of points and of rollouts."""
    exact, rows = tilted(TABLE[0]), 1000
    few, many = (law_of(ETS(m, 1, points, "sampler"), rows, chunk=250) for m in (3, 100))
    assert distance(many, exact) < 1.4 * noise_floor(exact, rows)
    assert distance(few, exact) > 2 * noise_floor(exact, rows)
    assert distance(exact, TABLE[0]) > 0.2


def test_ets_with_draws_of_x_theta_follows_the_mean_over_their_product():
    """Each step is p(z_s | z_t) E[exp(r / beta) | z_s] with E over the product of marginals."""

    def marginals(left: torch.Tensor) -> list[torch.Tensor]:
        if left.ndim < 2:
            return [left / left.sum()]
        laws = [left.sum([b for b in range(left.ndim) if b != a]) for a in range(left.ndim)]
        return [law / law.sum() for law in laws]

    exact = torch.zeros_like(TABLE[0])

    def walk(given: dict[int, int], mass: float) -> None:
        index = tuple(given.get(a, slice(None)) for a in range(LENGTH))
        if len(given) == LENGTH:
            exact[index] += mass
            return
        open_axes = [a for a in range(LENGTH) if a not in given]
        laws = marginals(TABLE[0][index])
        at = max(range(len(laws)), key=lambda i: torch.xlogy(laws[i], laws[i]).sum().item())
        axis, law, worth = open_axes[at], laws[at], torch.zeros(SYMBOLS).double()
        for symbol in range(SYMBOLS):
            inside = tuple({**given, axis: symbol}.get(a, slice(None)) for a in range(LENGTH))
            psi = (VALUES[inside] / BETA).exp()
            for one in marginals(TABLE[0][inside]) if psi.ndim else ():
                psi = torch.tensordot(one, psi, dims=1)
            worth[symbol] = psi
        step = law * worth
        for symbol, share in enumerate((step / step.sum()).tolist()):
            walk({**given, axis: symbol}, mass * share)

    walk({}, 1.0)
    rows = 1500
    found = law_of(ETS(100, 2, points=3), rows, chunk=250)
    assert distance(found, exact) < 1.4 * noise_floor(exact, rows)
    assert distance(exact, tilted(TABLE[0])) > 0.03  # the bias of the product
    assert distance(exact, TABLE[0]) > 0.2


@pytest.mark.parametrize("method", [EntRGi(), expectation(), aps_logits()])
def test_entrgi_and_its_variants_climb_the_reward(method):
    config = CONFIG.replace(beta=123.0)  # no prior term: beta has no effect
    law = law_of(method, 2000, config)
    base = law_of(Ancestral(), 2000, CONFIG.replace(temperature=0.7, top_p=0.95))
    assert (law * VALUES.flatten()).sum() > (base * VALUES.flatten()).sum() + 0.1
    assert distance(law, law_of(method, 2000, config.replace(beta=0.01))) == 0


def test_promises_are_what_they_estimate():
    """`prior` has the mean of psi; `elbo` is below its logarithm and tight at the optimum."""
    rows = 4000
    canvas, noise = open_canvas(rows, LENGTH, SYMBOLS), noise_for(range(rows))
    step = Step.open(canvas, SYMBOLS, CONFIG, noise, 0, everywhere=True)
    marginals = [TABLE[0].sum([a for a in range(3) if a != axis]) for axis in range(3)]
    one = torch.zeros(LENGTH, SYMBOLS + 2).double()
    one[:, :SYMBOLS] = torch.stack(marginals)
    log_p = one.log().repeat(rows, 1)
    product = torch.einsum("i,j,k->ijk", *marginals)
    psi = (product * (VALUES / BETA).exp()).sum()
    for draws in (1, 4):
        found = log_twist(REWARD, step, log_p, log_p, kind="prior", draws=draws, beta=BETA).exp()
        assert abs(found.mean() - psi) < 4 * found.std() / math.sqrt(rows)
    elbo = log_twist(REWARD, step, log_p, log_p, kind="elbo", draws=2, beta=BETA)
    assert elbo.mean().item() == pytest.approx((product * VALUES).sum().item() / BETA, abs=0.05)
    assert elbo.mean() < psi.log()


def test_systematic_resampling_gives_floor_or_ceil_offspring():
    generator = torch.Generator().manual_seed(0)
    log_weights = torch.randn(200, 7, generator=generator, dtype=torch.double) * 2
    u = torch.rand(200, generator=generator, dtype=torch.double)
    ancestors = systematic(log_weights, u)
    wanted = 7 * log_weights.softmax(-1)
    offspring = torch.stack([torch.bincount(row, minlength=7) for row in ancestors])
    assert (offspring >= wanted.floor() - 1e-9).all()
    assert (offspring <= wanted.ceil() + 1e-9).all()
    assert (ancestors.diff(dim=-1) >= 0).all()
    even = torch.zeros(3, 5, dtype=torch.double)
    assert effective_size(even).tolist() == pytest.approx([5.0] * 3)
    assert systematic(even, torch.tensor([0.1, 0.5, 0.9])).tolist() == [[0, 1, 2, 3, 4]] * 3


def test_ragged_rows_are_taken_in_any_order():
    rows, cols = torch.tensor([0, 0, 2, 2, 2, 3]), torch.tensor([1, 4, 0, 2, 5, 3])
    index, (new_rows, new_cols) = take_ragged((rows, cols), torch.tensor([3, 2, 1, 0, 2]))
    assert index.tolist() == [5, 2, 3, 4, 0, 1, 2, 3, 4]
    assert new_rows.tolist() == [0, 1, 1, 1, 3, 3, 4, 4, 4]
    assert new_cols.tolist() == [3, 0, 2, 5, 1, 4, 0, 2, 5]


def test_entrgis_optimiser_is_torchs_adam_with_its_defaults():
    import inspect

    usual = inspect.signature(torch.optim.Adam).parameters
    assert EntRGi().adam_eps == usual["eps"].default


@pytest.mark.parametrize("heat", [0.5, 1.0])
def test_a_pools_law_has_the_base_samplers_support_at_every_temperature(heat):
    log_theta = torch.tensor([[0.6, 0.3, 0.1]]).log()
    log_phi = torch.tensor([[0.1, 0.3, 0.6]]).log()
    tilted = SimpleNamespace(log_theta=log_theta, log_phi=log_phi)
    laws = _Laws.of(tilted, APSConfig(temperature=heat, top_p=0.8))
    p, f = (
        part if laws.ids is None else torch.zeros(1, 3).scatter(-1, laws.ids, part)
        for part in (laws.p, laws.f)
    )
    base = log_theta.exp()[:, :2] ** (1 / heat)
    assert p[0, 2] == f[0, 2] == 0  # beyond top-p
    torch.testing.assert_close(p[:, :2].double(), (base / base.sum()).double())
    other = log_phi.exp()[:, :2] ** (1 / heat)
    torch.testing.assert_close(f[:, :2].double(), (other / other.sum()).double())


def test_gaps_of_laws_in_float32_are_those_of_their_numbers():
    p, f = torch.tensor([[0.3, 0.7, 0.0]]), torch.tensor([[0.1, 0.0, 0.9]])
    gap = [_Laws(p, f, None).gap_of(torch.tensor([[token]])).item() for token in range(3)]
    one = math.log(float(f[0, 0])) - math.log(float(p[0, 0]))
    assert gap == [
        pytest.approx(one, rel=1e-14),
        pytest.approx(math.log(1e-300) - math.log(float(p[0, 1])), rel=1e-14),
        math.inf,
    ]
