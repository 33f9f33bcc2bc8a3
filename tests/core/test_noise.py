"""Draws are a pure function of their coordinates, and look like independent noise."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worlds import noise_for

from aps_text.core import noise as noise_module
from aps_text.core.noise import Noise, _open_unit, inverted, raced

MANY = 200_000
GOLDEN = [
    [0.10379809367671655, 0.591139333713176, 0.2757857847540849],
    [0.41120823336042844, 0.8661573710900673, 0.6856496902894692],
    [0.5970685369045298, 0.48964444958461606, 0.09131831007499402],
]
GOLDEN_WIDE = [0.6625270055674385, 0.4961441282214901]


def coordinates(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(count, dtype=torch.long), torch.arange(count)


@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=2, max_size=6),
    step=st.integers(0, 500),
    position=st.integers(0, 4000),
)
def test_a_draw_depends_on_its_own_row_only(seeds, step, position):
    batch = noise_for(seeds, range(len(seeds)))
    rows = torch.arange(len(seeds))
    at = torch.full_like(rows, position)
    together = batch.uniform(rows, at, step, "s")
    wide = batch.uniform(rows, at, step, "s", 3)
    for row, seed in enumerate(seeds):
        alone, zero = noise_for([seed], [row]), torch.tensor([0])
        assert alone.uniform(zero, at[:1], step, "s").equal(together[row : row + 1])
        assert alone.uniform(zero, at[:1], step, "s", 3).equal(wide[row : row + 1])
        taken = batch.take(torch.tensor([row, 0]))
        assert taken.uniform(zero, at[:1], step, "s").equal(together[row : row + 1])


def test_normal_and_gumbel_follow_the_row_too():
    batch = noise_for([3, 4, 5])
    alone = batch.take(torch.tensor([2]))
    assert alone.normal(1, "n", 7).equal(batch.normal(1, "n", 7)[2:])
    rows, cols = torch.tensor([0, 2]), torch.tensor([5, 6])
    both = batch.gumbel(rows, cols, 0, "g", 4)
    assert alone.gumbel(rows[:1], cols[1:], 0, "g", 4).equal(both[1:])


def test_every_coordinate_matters():
    zero = torch.tensor([0])

    def draw(seed=1, particle=2, step=3, position=4, stream="a", k=5):
        noise = noise_for([seed], [particle])
        return noise.uniform(zero, torch.tensor([position]), step, stream, 8)[0, k].item()

    base = draw()
    others = [
        draw(seed=2),
        draw(particle=3),
        draw(step=4),
        draw(position=5),
        draw(stream="b"),
        draw(k=6),
        draw(seed=2, particle=1),  # swapped coordinates are other coordinates
        draw(step=4, position=3),
    ]
    assert base == draw()
    assert len({base, *others}) == 1 + len(others)


@pytest.mark.parametrize("axis", ["position", "seed", "particle", "step", "count"])
def test_draws_are_uniform_along_every_axis(axis):
    count = 3000 if axis == "step" else MANY
    rows, cols = coordinates(count)
    if axis == "position":
        u = noise_for([7]).uniform(rows, cols, 0, "s")
    elif axis == "seed":
        u = noise_for(range(count)).uniform(cols, rows, 0, "s")
    elif axis == "particle":
        u = noise_for([7] * count, range(count)).uniform(cols, rows, 0, "s")
    elif axis == "step":
        one = noise_for([7])
        u = torch.cat([one.uniform(rows[:1], rows[:1], step, "s") for step in range(count)])
    else:
        u = noise_for([7]).uniform(rows[:1], rows[:1], 0, "s", count)[0]
    assert u.dtype == torch.float64
    assert u.min() > 0
    assert u.max() < 1
    deviation = 1 / math.sqrt(12 * count)
    assert abs(u.mean().item() - 0.5) < 4 * deviation
    assert abs(u.var().item() - 1 / 12) < 4 * math.sqrt(1 / 180 / count)
    steps = torch.arange(1, count + 1) / count
    distance = (u.sort().values - steps).abs().max().item()
    assert distance < 1.95 / math.sqrt(count) + 1 / count  # Kolmogorov-Smirnov at 0.1%


@pytest.mark.parametrize(
    "other", ["stream", "step", "position", "seed", "particle", "candidate and order"]
)
def test_neighbouring_draws_are_independent(other):
    rows, cols = coordinates(MANY)
    one = noise_for([7]).uniform(rows, cols, 0, "candidate")
    two = {
        "stream": lambda: noise_for([7]).uniform(rows, cols, 0, "candidate1"),
        "step": lambda: noise_for([7]).uniform(rows, cols, 1, "candidate"),
        "position": lambda: noise_for([7]).uniform(rows, cols + 1, 0, "candidate"),
        "seed": lambda: noise_for([8]).uniform(rows, cols, 0, "candidate"),
        "particle": lambda: noise_for([7], [1]).uniform(rows, cols, 0, "candidate"),
        "candidate and order": lambda: noise_for([7]).uniform(rows, cols, 0, "order"),
    }[other]()
    cells = torch.bincount((one * 16).long() * 16 + (two * 16).long(), minlength=256).double()
    expected = MANY / 256
    chi_square = ((cells - expected) ** 2 / expected).sum().item()
    assert chi_square < 255 + 4 * math.sqrt(2 * 255)


def test_the_interval_is_open_at_both_ends():
    extreme = torch.tensor([0, -1, 2**63 - 1, -(2**63)])
    u = _open_unit(extreme)
    assert u[0] > 0
    assert u[1] < 1
    # Times any total the cumulative sum can end in, the product stays below that total.
    for total in (1.0, 1 - 2**-53, 1 + 2**-52, 0.3, 3.7):
        end = torch.tensor(total, dtype=torch.float64)
        assert u[1] * end < end


def test_categorical_never_lands_on_probability_zero():
    rows, cols = coordinates(50_000)
    probs = torch.tensor([0.0, 0.2, 0.0, 0.5, 0.3, 0.0]).expand(len(rows), -1)
    drawn = noise_for([1]).categorical(probs, rows, cols, 0, "c")
    assert set(drawn.tolist()) == {1, 3, 4}
    point = torch.eye(6)[torch.arange(len(rows)) % 6]
    assert noise_for([1]).categorical(point, rows, cols, 0, "c").equal(torch.arange(len(rows)) % 6)


@pytest.mark.parametrize("draw", ["categorical", "gumbel"])
def test_draws_follow_the_law(draw):
    rows, cols = coordinates(100_000)
    law = torch.tensor([0.05, 0.2, 0.0, 0.45, 0.3], dtype=torch.float64)
    noise = noise_for([11])
    if draw == "categorical":
        drawn = noise.categorical(law.expand(len(rows), -1), rows, cols, 2, "c")
    else:
        drawn = (law.log() + noise.gumbel(rows, cols, 2, "c", 5)).argmax(-1)
    share = torch.bincount(drawn, minlength=5).double() / len(rows)
    error = (law * (1 - law) / len(rows)).sqrt()
    assert ((share - law).abs() <= 4 * error).all()


def test_normal_draws_are_standard():
    draws = noise_for(range(1000)).normal(0, "n", 100)
    assert draws.shape == (1000, 100)
    assert draws.dtype == torch.float32
    count = draws.numel()
    assert abs(draws.mean().item()) < 4 / math.sqrt(count)
    assert abs(draws.var().item() - 1) < 4 * math.sqrt(2 / count)
    assert abs((draws**4).mean().item() - 3) < 4 * math.sqrt(96 / count)
    assert abs((draws[:, :-1] * draws[:, 1:]).mean().item()) < 4 / math.sqrt(count)


def test_the_global_generator_is_not_touched():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    noise = Noise(torch.tensor([1]), torch.tensor([0]))
    noise.normal(0, "n", 3)
    noise.gumbel(torch.tensor([0]), torch.tensor([0]), 0, "g", 3)
    assert torch.get_rng_state().equal(before)


def test_draws_are_the_same_in_every_version():
    """Golden values: a seed's answers stay what they are when the library changes."""
    noise, rows, cols = noise_for([0, 5], [0, 3]), torch.tensor([0, 0, 1]), torch.tensor([0, 7, 7])
    found = [noise.uniform(rows, cols, step, "candidate").tolist() for step in (0, 1, 100)]
    assert found == [pytest.approx(one, abs=1e-15) for one in GOLDEN]
    wide = noise.uniform(rows[:1], cols[:1], 2, "order", 2)[0].tolist()
    assert wide == pytest.approx(GOLDEN_WIDE, abs=1e-15)


def test_a_token_of_probability_0_never_comes_out():
    """Whatever the uniform: at the ends of (0, 1) and where a sum is rounded, too."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        probs = torch.rand(1, 9, generator=generator, dtype=torch.float64)
        probs = probs * (torch.rand(1, 9, generator=generator) < 0.5)
        probs[0, 0], probs[0, -1] = 0, 0
        if probs.sum() == 0:
            continue
        edges = (probs / probs.sum()).cumsum(-1)[0]
        u = torch.cat([edges, edges.nextafter(torch.zeros(9).double())])
        u = torch.cat([u, torch.tensor([2.0**-53, 1 - 2.0**-53]).double()])
        u = u[(u > 0) & (u < 1)]
        assert (probs[0, inverted(probs, u[None])[0]] > 0).all()


@pytest.mark.parametrize("size", [513, 1024, 1500, 40_000])
def test_a_large_vocabulary_is_drawn_from_by_blocks_and_alike(size, monkeypatch):
    generator = torch.Generator().manual_seed(size)
    probs = (3 * torch.randn(6, size, generator=generator)).softmax(-1)
    probs[:, ::3] = 0
    probs[1] = 0
    probs[1, size // 2] = 2.0  # one token, not normalised
    probs[2, : size - 1] = 0  # the last
    u = torch.rand(6, 50, generator=generator, dtype=torch.double)
    u[:, 0], u[:, 1] = 1e-300, 1 - 2.0**-53
    monkeypatch.setattr(noise_module, "LARGE", 10**9)
    whole = inverted(probs, u)
    monkeypatch.setattr(noise_module, "LARGE", 1)
    blocks = inverted(probs, u)
    assert torch.equal(blocks, whole)
    assert (probs.gather(1, blocks) > 0)[[0, 1, 3, 4, 5]].all()
    assert (inverted(torch.full((1, size), torch.nan), u[:1]) == size - 1).all()


@pytest.mark.parametrize("racing", [1, 3, 64])
def test_a_race_follows_the_law(racing, monkeypatch):
    """Of the likeliest and of the others, which are found by inversion; `racing` beyond K, too."""
    monkeypatch.setattr(noise_module, "RACING", racing)
    rows, cols = coordinates(100_000)
    law = torch.tensor([0.05, 0.2, 0.0, 0.4, 0.25, 0.1])
    u = noise_for([11]).uniform(rows[:1], cols[:1], 2, "c", len(rows))
    found = raced(3 * law[None], u)[0]
    share = torch.bincount(found, minlength=6).double() / len(rows)
    error = (law * (1 - law) / len(rows)).sqrt()
    assert ((share - law).abs() <= 4 * error).all()
    single = noise_for([11]).categorical(law.expand(len(rows), -1), rows, cols, 2, "c")
    monkeypatch.setattr(noise_module, "LARGE", 1)
    large = noise_for([11]).categorical(law.expand(len(rows), -1), rows, cols, 2, "c")
    assert not large.equal(single)  # LARGE decides which of the two laws' draws it is
    share = torch.bincount(large, minlength=6).double() / len(rows)
    assert ((share - law).abs() <= 4 * error).all()


def test_the_rounding_of_sums_is_no_token(monkeypatch):
    """Sixty-four tokens hold all the mass; a sum over all may come out a little larger."""
    probs = torch.zeros(200, 40_000)
    at = torch.rand(200, 40_000, generator=torch.Generator().manual_seed(0)).topk(64).indices
    probs.scatter_(1, at, torch.rand(200, 64, generator=torch.Generator().manual_seed(1)))
    u = torch.rand(200, 500, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    assert (probs.gather(1, raced(probs, u)) > 0).all()
    monkeypatch.setattr(noise_module, "LARGE", 10**9)  # inverts without a sum
    exact = torch.Tensor.sum

    def more(x, *how, **kw):
        return exact(x, *how, **kw) * (1.5 if x.shape[-1] > 64 else 1)

    monkeypatch.setattr(torch.Tensor, "sum", more)
    assert (probs.gather(1, raced(probs, u)) > 0).all()


def test_races_at_neighbouring_uniforms_are_independent():
    probs = torch.tensor([[0.25, 0.25, 0.25, 0.25]])
    u = torch.arange(1, MANY + 1)[None].double() / (MANY + 1)
    found = raced(probs, u)[0]
    cells = torch.bincount(found[:-1] * 4 + found[1:], minlength=16).double()
    expected = (MANY - 1) / 16
    assert ((cells - expected) ** 2 / expected).sum().item() < 15 + 4 * math.sqrt(30)


def test_rounding_turns_a_race_more_rarely_than_an_inversion():
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(20, 40_000, generator=generator)
    other = logits + 2e-6 * torch.randn(20, 40_000, generator=generator)
    u = torch.rand(20, 2000, generator=generator, dtype=torch.double)
    turned = {
        draw: (draw(logits.softmax(-1), u) != draw(other.softmax(-1), u)).sum().item()
        for draw in (inverted, raced)
    }
    assert turned[raced] * 4 < turned[inverted]


def test_a_race_never_ends_at_a_token_of_probability_0():
    probs = torch.zeros(3, 200)
    probs[0, 150], probs[1, :100], probs[2, ::2] = 2.0, 0.01, 1e-30
    u = torch.rand(3, 3000, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    assert (probs.gather(1, raced(probs, u)) > 0).all()
    assert raced(torch.full((1, 200), torch.nan), u[:1]).max() <= 200


def test_normal_draws_are_those_on_record():
    """Another draw of the same law would be another answer for every seed."""
    found = Noise(torch.tensor([1]), torch.tensor([0])).normal(0, "n", 3)
    torch.testing.assert_close(found, torch.tensor([[1.2797132, 0.4624338, -0.0263263]]))
