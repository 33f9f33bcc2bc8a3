"""Codes, the quantised expectation and the relaxations, by enumeration and autograd."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aps_text.core.codebook import LFQCodebook, Relaxed, VectorCodebook, entropy_weight


def simplex(rows: int, size: int, seed: int, sharp: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharp * torch.randn(rows, size, generator=generator, dtype=torch.float64)).softmax(-1)


def vectors(size: int, dimension: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, dimension, generator=generator, dtype=torch.float64)


def relaxed(probs: torch.Tensor, **options) -> Relaxed:
    """One row whose positions are all masked; hard ids are the argmax unless given."""
    count = len(probs)
    ids = options.pop("ids", probs.detach().argmax(-1))
    rows, cols = torch.zeros(count, dtype=torch.long), torch.arange(count)
    alive = torch.ones(1, count, dtype=torch.bool)
    return Relaxed(ids=ids[None], rows=rows, cols=cols, probs=probs, alive=alive, **options)


@pytest.mark.parametrize("bits", [1, 2, 5, 13])
def test_lfq_signs_are_most_significant_bit_first(bits):
    book = LFQCodebook(bits)
    ids = torch.arange(2**bits)
    spelled = [[1.0 if c == "1" else -1.0 for c in format(i, f"0{bits}b")] for i in ids.tolist()]
    assert book.embed(ids).tolist() == spelled
    assert book.nearest(book.embed(ids)).equal(ids)
    assert book.embed(ids.view(2, -1)).shape == (2, 2 ** (bits - 1), bits)


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_lfq_expectation_is_the_mean_code(bits):
    book, probs = LFQCodebook(bits), simplex(7, 2**bits, seed=bits, sharp=2.0)
    signs = book.embed(torch.arange(2**bits)).double()
    torch.testing.assert_close(book.expect(probs), probs @ signs)


def test_lfq_quantises_by_sign_with_zero_to_minus_one():
    book = LFQCodebook(3)
    codes = torch.tensor([[0.0, -0.0, 1e-9], [-1e-9, 0.3, 0.0], [0.1, 0.1, 0.1]])
    assert book.nearest(codes).tolist() == [0b001, 0b010, 0b111]


def test_the_quantised_token_may_have_no_mass():
    # Three tokens of a third each, and their mean is nearest to the one token without mass.
    probs = torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]]).double() / 3
    book = LFQCodebook(3)
    token = book.nearest(book.expect(probs))
    assert token.item() == 0
    assert probs[0, token].item() == 0


def test_lfq_needs_a_bit():
    with pytest.raises(ValueError, match="0"):
        LFQCodebook(0)


@given(
    bits=st.integers(1, 4),
    values=st.lists(st.floats(-2, 2).filter(lambda v: abs(v) > 1e-6), min_size=4, max_size=4),
)
def test_lfq_sign_is_the_nearest_code(bits, values):
    code = torch.tensor([values[:bits]], dtype=torch.float64)
    book = LFQCodebook(bits)
    table = VectorCodebook(book.embed(torch.arange(2**bits)).double())
    assert book.nearest(code).equal(table.nearest(code))


def test_vector_codebook_expects_and_finds_its_rows():
    table = vectors(9, 3, seed=0)
    book, probs = VectorCodebook(table), simplex(5, 9, seed=1)
    torch.testing.assert_close(book.expect(probs), probs @ table)
    assert book.nearest(book.embed(torch.arange(9))).equal(torch.arange(9))
    codes = vectors(50, 3, seed=2)
    assert book.nearest(codes).equal(torch.cdist(codes, table).argmin(-1))


def test_restricting_renormalises_and_is_never_nearest():
    table, probs = vectors(6, 2, seed=3), simplex(4, 6, seed=4)
    allowed = torch.tensor([True, False, True, True, False, True])
    book = VectorCodebook(table, allowed)
    kept = probs[:, allowed] / probs[:, allowed].sum(-1, keepdim=True)
    torch.testing.assert_close(book.expect(probs), kept @ table[allowed])
    assert set(book.nearest(table).tolist()) <= {0, 2, 3, 5}
    assert book.nearest(table)[allowed].equal(torch.arange(6)[allowed])


def test_restricting_everything_that_has_mass_stays_finite():
    book = VectorCodebook(vectors(3, 2, seed=3), torch.tensor([True, False, True]))
    assert book.expect(torch.tensor([[0.0, 1.0, 0.0]])).isfinite().all()


def test_a_table_must_be_a_floating_matrix():
    with pytest.raises(TypeError, match=r"\(3, 2\) torch.int64"):
        VectorCodebook(torch.zeros(3, 2, dtype=torch.long))
    with pytest.raises(TypeError, match=r"\(3,\)"):
        VectorCodebook(torch.zeros(3))


@pytest.mark.parametrize("relaxation", ["quantized", "expectation"])
@pytest.mark.parametrize("lfq", [False, True])
def test_gradient_is_p_times_centred_code_times_g(relaxation, lfq):
    """d log q / d phi_k = p_k (c_k - xbar) . g, and every entry moves."""
    book = LFQCodebook(3) if lfq else VectorCodebook(vectors(8, 3, seed=5))
    table = book.embed(torch.arange(8)).double()
    logits = vectors(4, 8, seed=6).requires_grad_()
    direction = vectors(4, 3, seed=7)
    probs = logits.softmax(-1)
    codes = relaxed(probs, relaxation=relaxation).masked_codes(book)
    (gradient,) = torch.autograd.grad((codes * direction).sum(), logits)
    xbar = (probs @ table).detach()
    centred = table[None] - xbar[:, None]
    expected = probs.detach() * (centred * direction[:, None]).sum(-1)
    torch.testing.assert_close(gradient, expected)
    assert (gradient != 0).all()


@pytest.mark.parametrize("quantizer", ["nearest", "argmax", "sample"])
def test_straight_through_is_hard_forward_and_soft_backward(quantizer):
    book = VectorCodebook(vectors(5, 2, seed=8))
    probs = simplex(6, 5, seed=9).requires_grad_()
    chosen = torch.tensor([0, 1, 2, 3, 4, 0])
    ids = probs.argmax(-1) if quantizer == "argmax" else chosen
    world = relaxed(probs, ids=ids, quantizer=quantizer)
    codes = world.masked_codes(book)
    hard = book.nearest(probs.detach() @ book.table) if quantizer == "nearest" else ids
    torch.testing.assert_close(codes.detach(), book.table[hard])
    soft = relaxed(probs, relaxation="expectation").masked_codes(book)
    direction = vectors(6, 2, seed=10)
    (through,) = torch.autograd.grad((codes * direction).sum(), probs)
    (plain,) = torch.autograd.grad((soft * direction).sum(), probs)
    torch.testing.assert_close(through, plain)


def test_the_three_quantisers_differ():
    # Two far codes with .4 each and one in the middle: argmax and nearest disagree.
    book = VectorCodebook(torch.tensor([[-1.0], [1.0], [0.05]]))
    probs = torch.tensor([[0.41, 0.39, 0.2]])
    seen = [
        relaxed(probs, quantizer=q, ids=torch.tensor([i])).masked_codes(book).item()
        for q, i in (("nearest", 1), ("argmax", 0), ("sample", 1))
    ]
    assert seen == pytest.approx([0.05, -1.0, 1.0])


def test_entropy_weight_runs_from_zero_to_one():
    weight = entropy_weight(torch.stack([torch.eye(4)[2], torch.full((4,), 0.25)]))
    assert weight.tolist() == pytest.approx([0, 1], abs=1e-6)
    probs = simplex(100, 6, seed=11, sharp=3.0)
    naive = [-sum(p * math.log(p) for p in row) / math.log(6) for row in probs.tolist()]
    assert entropy_weight(probs).tolist() == pytest.approx(naive)


def test_entropy_relaxation_mixes_by_its_weight():
    book = VectorCodebook(vectors(5, 2, seed=8))
    probs = simplex(6, 5, seed=9)
    ids = torch.tensor([4, 3, 2, 1, 0, 1])
    mixed = relaxed(probs, ids=ids, relaxation="entropy", quantizer="sample").masked_codes(book)
    soft, hard = probs @ book.table, book.table[ids]
    torch.testing.assert_close(mixed, soft + entropy_weight(probs)[:, None] * (hard - soft))


def test_gumbel_is_a_hard_draw_of_the_law_with_a_soft_gradient():
    count, book = 40_000, VectorCodebook(vectors(4, 2, seed=12))
    law = simplex(1, 4, seed=13).expand(count, -1).clone().requires_grad_()
    uniform = torch.rand(count, 4, generator=torch.Generator().manual_seed(1)).double()
    gumbel = -(-uniform.log()).log()
    codes = relaxed(law, relaxation="gumbel", gumbel=gumbel, temperature=0.7).masked_codes(book)
    drawn = (law.detach().log() + gumbel).argmax(-1)
    torch.testing.assert_close(codes.detach(), book.table[drawn])
    share = torch.bincount(drawn, minlength=4) / count
    torch.testing.assert_close(share.double(), law[0].detach(), atol=0.01, rtol=0)
    (gradient,) = torch.autograd.grad(codes.sum(), law)
    assert (gradient != 0).all()


def test_gumbel_without_noise_is_an_error():
    with pytest.raises(ValueError, match="None"):
        relaxed(simplex(2, 3, seed=1), relaxation="gumbel").masked_codes(LFQCodebook(1))


def test_the_canvas_keeps_committed_codes():
    book = VectorCodebook(vectors(4, 2, seed=14))
    probs = simplex(2, 4, seed=15)
    ids = torch.tensor([[3, 0, 1], [2, 2, 0]])
    world = Relaxed(
        ids=ids,
        rows=torch.tensor([0, 1]),
        cols=torch.tensor([1, 2]),
        probs=probs,
        alive=torch.ones_like(ids, dtype=torch.bool),
        relaxation="expectation",
    )
    codes = world.codes(book)
    for row, col in itertools.product(range(2), range(3)):
        masked = (row, col) in ((0, 1), (1, 2))
        expected = probs[row] @ book.table if masked else book.table[ids[row, col]]
        torch.testing.assert_close(codes[row, col], expected)


def test_two_operators_embed_one_relaxed_canvas_with_their_own_codes():
    probs = simplex(2, 4, seed=16)
    world = relaxed(probs, relaxation="expectation")
    one, two = VectorCodebook(vectors(4, 2, seed=17)), VectorCodebook(vectors(4, 5, seed=18))
    torch.testing.assert_close(world.codes(one)[0], probs @ one.table)
    torch.testing.assert_close(world.codes(two)[0], probs @ two.table)


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_lfq_tilts_and_expects_by_its_table(bits):
    book = LFQCodebook(bits)
    assert book.codes.shape == (2**bits, bits)
    assert torch.equal(book.nearest(book.codes), torch.arange(2**bits))
    u = torch.randn(3, bits, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    by_hand = torch.tensor([[float(row @ code) for code in book.codes.double()] for row in u])
    assert torch.allclose(book.tilt(u), by_hand.double(), rtol=1e-6)
    # The tilted uniform distribution has independent bits of mean tanh(u).
    assert torch.allclose(book.expect(book.tilt(u).softmax(-1)), torch.tanh(u))


def test_a_vector_codebook_tilts_what_it_has_codes_of():
    table = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    allowed = torch.tensor([True, False, True, True])
    u = torch.ones(2, 3, dtype=torch.double)
    assert torch.equal(VectorCodebook(table).tilt(u)[0], table.sum(-1))
    tilted = VectorCodebook(table, allowed).tilt(u)
    assert (tilted[:, 1] == 0).all()
    assert torch.equal(tilted[:, [0, 2, 3]], VectorCodebook(table).tilt(u)[:, [0, 2, 3]])


@pytest.mark.parametrize("bits", [1, 3])
def test_expected_codes_are_linear_in_the_probabilities(bits):
    """Of any weights, also such that do not sum to 1: the gradient is the code itself."""
    book = LFQCodebook(bits)
    generator = torch.Generator().manual_seed(bits)
    weights = torch.rand(5, 2**bits, generator=generator, dtype=torch.float64) * 3
    codes = book.embed(torch.arange(2**bits)).double()
    torch.testing.assert_close(book.expect(weights), weights @ codes)


def test_the_entropy_weight_passes_no_gradient():
    """x~ = xbar + w sg[x - xbar] with w = H(p) / log K a number: the gradient is that of xbar."""
    book = VectorCodebook(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double())
    start = torch.tensor([[0.5, 0.2, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]]).double()
    grads = []
    for relaxation in ("entropy", "expectation", "quantized"):
        probs = start.clone().requires_grad_()
        where = torch.tensor([0, 0]), torch.tensor([0, 1])
        ids, alive = torch.tensor([[3, 1]]), torch.ones(1, 2, dtype=torch.bool)
        relaxed = Relaxed(ids, *where, probs, alive, relaxation, "argmax")
        weight = torch.arange(6.0).view(2, 3).double()
        grads.append(torch.autograd.grad((relaxed.codes(book)[0] * weight).sum(), probs)[0])
    assert grads[0].equal(grads[1])
    assert grads[0].equal(grads[2])
