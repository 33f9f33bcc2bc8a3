"""The surrogate objective's terms, against loops over rows and positions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aps_text.core.objective import (
    kl_rows,
    likelihood_weight,
    log_softmax_and_probs,
    prior_term,
    sum_rows,
    trust_region,
)

ROWS = torch.tensor([0, 0, 0, 1, 3, 3])
BATCH, SIZE = 4, 5  # row 2 has no masks


def log_probs(seed: int, sharp: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(ROWS), SIZE, generator=generator, dtype=torch.float64)
    return (sharp * logits).log_softmax(-1)


def by_row(each: list[float]) -> list[float]:
    return [sum(e for e, r in zip(each, ROWS.tolist(), strict=True) if r == b) for b in range(4)]


def test_sum_rows():
    assert sum_rows(torch.arange(6.0), ROWS, BATCH).tolist() == [3, 3, 0, 9]


@pytest.mark.parametrize("kind", ["overlap", "kl", "none"])
def test_prior_terms_by_their_formulas(kind):
    phi, theta = log_probs(0), log_probs(1)
    share = torch.tensor([0.25, 1.0, 0.5, 0.1], dtype=torch.float64)
    each = []
    for p, q in zip(phi.exp(), theta.exp(), strict=True):
        overlap = -torch.log((p * q).sum()).item()
        kl = torch.distributions.kl_divergence(
            torch.distributions.Categorical(p), torch.distributions.Categorical(q)
        ).item()
        each.append({"overlap": overlap, "kl": kl, "none": 0.0}[kind])
    expected = [s * v for s, v in zip(share.tolist(), by_row(each), strict=True)]
    found = prior_term(kind, phi, theta, ROWS, share)
    assert found.tolist() == pytest.approx(expected)
    assert (found >= 0).all()


def test_overlap_has_a_gradient_at_theta_and_kl_has_none():
    share = torch.ones(BATCH, dtype=torch.float64)
    norms = {}
    for kind in ("overlap", "kl"):
        logits = log_probs(1).requires_grad_()
        term = prior_term(kind, logits.log_softmax(-1), log_probs(1), ROWS, share)
        (gradient,) = torch.autograd.grad(term.sum(), logits)
        norms[kind] = gradient.norm().item()
    assert norms["overlap"] > 0.1
    assert norms["kl"] < 1e-14


def test_suppressed_ids_add_nothing():
    phi, theta = log_probs(0), log_probs(1)
    wide = [
        torch.cat([x, x.new_full((len(x), 2), v)], -1) for x, v in ((phi, -1e9), (theta, -1.1e9))
    ]
    share = torch.ones(BATCH, dtype=torch.float64)
    for kind in ("overlap", "kl"):
        torch.testing.assert_close(
            prior_term(kind, *wide, ROWS, share), prior_term(kind, phi, theta, ROWS, share)
        )


def test_log_probabilities_and_probabilities_of_one_softmax():
    logits = 3 * log_probs(0)
    ways = {"log": (1, 0), "probs": (0, 1), "both": (1, 1), "neither": (0, 0)}
    weights = log_probs(2), log_probs(3).exp()
    for name, use in ways.items():
        grads = []
        for pair in (log_softmax_and_probs, lambda x: (x.log_softmax(-1), x.softmax(-1))):
            leaf = logits.clone().requires_grad_()
            found = pair(leaf)
            assert torch.equal(found[0], logits.log_softmax(-1))
            torch.testing.assert_close(found[1], logits.softmax(-1))
            used = [w * f for w, f, u in zip(weights, found, use, strict=True) if u]
            total = sum((u.square().sum() for u in used), 0 * leaf.sum())
            grads.append(torch.autograd.grad(total, leaf)[0])
        torch.testing.assert_close(*grads, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("kind", ["overlap", "kl", "none"])
def test_prior_terms_of_known_probabilities_are_the_same(kind):
    share = torch.tensor([0.25, 1.0, 0.5, 0.1], dtype=torch.float64)
    values, grads = [], []
    for known in (False, True):
        leaf = log_probs(0, 2.0).requires_grad_()
        log_phi, probs = log_softmax_and_probs(leaf)
        more = (probs,) if known else ()
        found = prior_term(kind, log_phi, log_probs(1), ROWS, share, *more)
        values.append(found.detach())
        grads.append(torch.autograd.grad(found.sum() + 0 * leaf.sum(), leaf)[0])
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*grads)
    assert (grads[0].norm() > 0.1) == (kind != "none")


def test_an_unknown_prior_is_an_error():
    with pytest.raises(ValueError, match="'klx'"):
        prior_term("klx", log_probs(0), log_probs(1), ROWS, torch.ones(4))


def test_likelihood_weights():
    share, length = torch.tensor([0.25, 1.0]), torch.tensor([3, 8])
    assert likelihood_weight("length", share, length).tolist() == [3, 8]
    assert likelihood_weight("posterior", share, length).equal(share)
    assert likelihood_weight(0.7, share, length).tolist() == pytest.approx([0.7, 0.7])


def test_kl_is_a_mean_over_the_rows_masks():
    phi, theta = log_probs(0), log_probs(1)
    each = (phi.exp() * (phi - theta)).sum(-1).tolist()
    counts = [3, 1, 1, 2]
    expected = [total / n for total, n in zip(by_row(each), counts, strict=True)]
    assert kl_rows(phi, theta, ROWS, BATCH).tolist() == pytest.approx(expected)


@given(seed=st.integers(0, 500), bound=st.floats(0.01, 3), sharp=st.floats(0.1, 8))
def test_trust_region_bounds_the_kl_and_leaves_the_rest_alone(seed, bound, sharp):
    theta = log_probs(seed)
    phi = (theta + sharp * log_probs(seed + 1000)).log_softmax(-1)
    before = kl_rows(phi, theta, ROWS, BATCH)
    pulled = trust_region(phi, theta, ROWS, BATCH, bound)
    after = kl_rows(pulled, theta, ROWS, BATCH)
    assert (after <= bound + 1e-9).all()
    torch.testing.assert_close(pulled.exp().sum(-1), torch.ones(len(ROWS)).double())
    for row in range(BATCH):
        at = row == ROWS
        if before[row] <= bound:
            assert pulled[at].equal(phi[at])
        else:
            assert after[row] > 0.99 * bound  # onto the bound, not to the prior
            # On the geodesic: log-ratios to theta are one multiple of phi's.
            moved = (pulled - theta)[at] - (pulled - theta)[at].mean(-1, keepdim=True)
            wanted = (phi - theta)[at] - (phi - theta)[at].mean(-1, keepdim=True)
            ratio = (moved * wanted).sum() / wanted.square().sum()
            assert 0 < ratio < 1
            torch.testing.assert_close(moved, ratio * wanted, atol=1e-9, rtol=0)
