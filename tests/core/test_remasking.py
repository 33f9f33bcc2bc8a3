"""Candidates and which are kept: invariants by property, distributions against loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aps_text.core.codebook import LFQCodebook, VectorCodebook
from aps_text.core.remasking import anchor_scores, choose, confidence, weakest_committed
from aps_text.core.token_sampling import sampling_probs, sampling_support, two_likeliest


def log_probs(rows: int, size: int, seed: int, sharp: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, size, generator=generator, dtype=torch.float64)
    return (sharp * logits).log_softmax(-1)


def naive_sampling(logs: list[float], temperature: float, top_p: float, top_k: int | None):
    powers = [math.exp(v / temperature) for v in logs]
    probs = [p / sum(powers) for p in powers]
    order = sorted(range(len(probs)), key=lambda k: -probs[k])
    if top_k is not None:
        order = order[:top_k]
    kept, total, reach = [], sum(probs[k] for k in order), 0.0
    for k in order:  # the smallest set that reaches top_p; always one token
        if kept and reach >= top_p * total:
            break
        kept.append(k)
        reach += probs[k]
    return [probs[k] / reach if k in kept else 0.0 for k in range(len(probs))]


@given(
    seed=st.integers(0, 1000),
    temperature=st.floats(0.1, 3),
    top_p=st.floats(0.05, 1) | st.sampled_from([5e-324, 1e-50, 1e-7]),
    top_k=st.none() | st.integers(1, 9),
)
def test_sampling_probs_against_a_loop(seed, temperature, top_p, top_k):
    logs = log_probs(4, 7, seed, sharp=2.0)
    found = sampling_probs(logs, temperature, top_p, top_k)
    expected = [naive_sampling(row, temperature, top_p, top_k) for row in logs.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    if top_p < 1e-6:
        single = sampling_probs(logs.float(), temperature, top_p, top_k)  # where top_p may be 0
        assert torch.equal(single.argmax(-1), logs.argmax(-1))
        assert torch.equal(single.sum(-1), torch.ones(4))


def test_temperature_one_without_cuts_is_the_law_itself():
    logs = log_probs(5, 6, 0)
    torch.testing.assert_close(sampling_probs(logs, 1.0), logs.exp())


def test_temperature_zero_is_the_first_argmax():
    logs = torch.tensor([[0.1, 0.4, 0.4, 0.1], [0.7, 0.1, 0.1, 0.1]]).log()
    assert sampling_probs(logs, 0.0, 0.5, 2).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]


def test_low_temperature_approaches_the_argmax_without_overflow():
    logs = log_probs(5, 6, 1)
    torch.testing.assert_close(sampling_probs(logs, 1e-4), sampling_probs(logs, 0.0))


def test_confidence_kinds():
    logs = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).double().log()
    candidates = torch.tensor([1, 2])
    assert confidence("maskgit_plus", logs, candidates).tolist() == pytest.approx([0.3, 0.8])
    assert confidence("topk_margin", logs, candidates).tolist() == pytest.approx([0.2, 0.7])
    minus_entropy = [sum(p * math.log(p) for p in row) for row in logs.exp().tolist()]
    assert confidence("entropy", logs, candidates).tolist() == pytest.approx(minus_entropy)
    with pytest.raises(ValueError, match="'origin'"):
        confidence("origin", logs, candidates)


def test_the_two_likeliest_tokens_and_of_a_tie_the_first():
    values = torch.randint(3, (200, 7), generator=torch.Generator().manual_seed(0)).double()
    highest, first = two_likeliest(values)
    assert highest.equal(values.sort(-1, descending=True).values[:, :2])
    assert first.equal(values.argmax(-1))
    assert 0 < int((highest[:, 0] == highest[:, 1]).sum()) < len(values)


def test_confidence_ignores_suppressed_ids():
    logs = log_probs(5, 6, 2)
    wide = torch.cat([logs, logs.new_full((5, 2), -1e9)], -1)
    for kind in ("maskgit_plus", "topk_margin", "entropy"):
        torch.testing.assert_close(
            confidence(kind, wide, torch.arange(5)), confidence(kind, logs, torch.arange(5))
        )


def test_bit_score_is_the_product_of_bit_marginals():
    logs, book = log_probs(6, 8, 3, sharp=2.0), LFQCodebook(3)
    expected = []
    for row in logs.exp().tolist():
        score = 1.0
        for bit in (4, 2, 1):
            q = sum(p for k, p in enumerate(row) if k & bit)
            score *= max(q, 1 - q)
        expected.append(score)
    candidates = book.nearest(book.expect(logs.exp()))
    found = anchor_scores("bits", logs, candidates, book)
    assert found.tolist() == pytest.approx(expected)
    token = anchor_scores("token", logs, candidates, book)
    assert token.tolist() == pytest.approx(logs.exp()[torch.arange(6), candidates].tolist())


def test_the_two_anchor_scores_differ_where_the_candidate_has_no_mass():
    logs = torch.tensor([[1e-12, 1.0, 1.0, 1e-12, 1.0, 1e-12, 1e-12, 1e-12]]).double()
    logs = (logs / logs.sum()).log()
    book = LFQCodebook(3)
    candidate = book.nearest(book.expect(logs.exp()))
    assert anchor_scores("token", logs, candidate, book).item() < 1e-9
    assert anchor_scores("bits", logs, candidate, book).item() == pytest.approx((2 / 3) ** 3)


def test_bit_score_needs_bits():
    for book, name in ((None, "NoneType"), (VectorCodebook(torch.eye(3)), "VectorCodebook")):
        with pytest.raises(ValueError, match=name):
            anchor_scores("bits", log_probs(1, 3, 0), torch.tensor([0]), book)


@st.composite
def boards(draw):
    batch, length = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    cells = batch * length
    pick = lambda values: torch.tensor(  # noqa: E731
        draw(st.lists(values, min_size=cells, max_size=cells))
    ).view(batch, length)
    scores = pick(st.sampled_from([0.0, 0.25, 0.5, 0.75])).double()  # many ties
    offered = pick(st.booleans())
    block = pick(st.integers(0, 2)).sort(-1).values
    room = offered.sum(-1).tolist()
    count = torch.tensor([draw(st.integers(0, most)) for most in room])
    return scores, offered, block, count


@given(boards())
def test_choose_keeps_exactly_the_best_of_the_lowest_blocks(board):
    scores, offered, block, count = board
    kept = choose(scores, offered, block, count)
    assert kept.sum(-1).equal(count)
    for row in range(len(scores)):
        order = sorted(
            offered[row].nonzero().squeeze(-1).tolist(),
            key=lambda c: (block[row, c].item(), -scores[row, c].item(), c),
        )
        assert sorted(kept[row].nonzero().squeeze(-1).tolist()) == sorted(order[: count[row]])
    one = choose(scores, offered, torch.zeros_like(block), count)
    assert choose(scores, offered, None, count).equal(one)


@given(boards(), st.data())
def test_committed_tokens_compete_in_the_lowest_open_block(board, data):
    scores, offered, block, count = board
    marks = data.draw(st.lists(st.booleans(), min_size=scores.numel(), max_size=scores.numel()))
    committed = offered & torch.tensor(marks).view_as(offered)
    kept = choose(scores, offered, block, count, committed)
    assert kept.sum(-1).equal(count)
    assert not (kept & ~offered).any()
    for row in range(len(scores)):
        masks = (offered & ~committed)[row].nonzero().squeeze(-1).tolist()
        lowest = min((block[row, c].item() for c in masks), default=0)
        order = sorted(
            offered[row].nonzero().squeeze(-1).tolist(),
            key=lambda c: (
                lowest if committed[row, c] else block[row, c].item(),
                -scores[row, c].item(),
                c,
            ),
        )
        assert sorted(kept[row].nonzero().squeeze(-1).tolist()) == sorted(order[: count[row]])


@given(boards(), st.floats(0, 1), st.floats(0, 1))
def test_revision_takes_the_weakest_at_most_at_the_remdm_rate(board, one, two):
    scores, committed, _, _ = board
    alpha_t, alpha_s = min(one, two), max(one, two)
    weak = weakest_committed(scores, committed, alpha_t, alpha_s)
    assert not (weak & ~committed).any()
    if alpha_t == 0:
        assert not weak.any()
        return
    rate = (1 - alpha_s) / alpha_t
    assert (weak.sum(-1) <= committed.sum(-1) * min(rate, 0.5) + 1e-9).all()
    assert (weak.sum(-1) > committed.sum(-1) * min(rate, 0.5) - 1 - 1e-9).all()
    for row in range(len(scores)):
        strong = scores[row][committed[row] & ~weak[row]]
        if weak[row].any() and len(strong):
            assert scores[row][weak[row]].max() <= strong.min()


def test_ties_go_left_to_right():
    kept = choose(
        torch.ones(1, 5),
        torch.tensor([[True, False, True, True, True]]),
        torch.zeros(1, 5, dtype=torch.long),
        torch.tensor([2]),
    )
    assert kept.tolist() == [[True, False, True, False, False]]


def test_top_p_1_and_a_top_k_of_all_tokens_cut_nothing():
    """Not even tokens whose probability is lost in the rounding of the sum before them."""
    logs = torch.tensor([[-40.0, 0.0, -30.0, -50.0]])
    for top_k in (None, 4, 9):
        probs, ids = sampling_support(logs, 1.0, 1.0, top_k)
        assert ids is None
        assert torch.equal(probs, logs.softmax(-1))
    probs, ids = sampling_support(logs, 1.0, 1.0, 3)
    assert ids.tolist() == [[0, 1, 2]]
    assert (probs > 0).all()
    assert (sampling_probs(logs, 1.0, 1.0, 3) > 0).tolist() == [[True, True, True, False]]
