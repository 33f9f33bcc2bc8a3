"""Operators add and scale; zero weights are reported and never climbed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from worlds import enumerated_reward, table_reward

from aps_text.core.codebook import Relaxed
from aps_text.core.operator import (
    Combined,
    Operator,
    OperatorSum,
    Scores,
    ZeroOperator,
    add_scores,
    merge_terms,
    parts,
    weighted_sum,
)

LENGTH, SYMBOLS, BATCH = 3, 4, 5


def world(seed: int = 0) -> Relaxed:
    """Five rows whose last two positions are masked."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(BATCH).repeat_interleave(2)
    cols = torch.tensor([1, 2]).repeat(BATCH)
    logits = torch.randn(len(rows), SYMBOLS + 2, generator=generator, dtype=torch.float64)
    return Relaxed(
        ids=torch.randint(0, SYMBOLS, (BATCH, LENGTH), generator=generator),
        rows=rows,
        cols=cols,
        probs=logits.softmax(-1).requires_grad_(),
        alive=torch.ones(BATCH, LENGTH, dtype=torch.bool),
        relaxation="expectation",
    )


def two_rewards():
    one = table_reward(LENGTH, SYMBOLS, 1, batch=BATCH, name="one")
    return one, table_reward(LENGTH, SYMBOLS, 2, batch=BATCH, name="two")


@dataclass(frozen=True)
class Counting:
    """A reward that notes whether it was asked for a gradient."""

    inner: Operator
    asked: list
    differentiable: bool = True

    @property
    def codebook(self):
        return self.inner.codebook

    def take(self, rows):
        return replace(self, inner=self.inner.take(rows))

    def log_prob(self, relaxed):
        self.asked.append(len(relaxed.ids))
        return self.inner.log_prob(relaxed)

    def log_prob_ids(self, ids):
        return self.inner.log_prob_ids(ids)


def test_the_worlds_keep_the_protocol():
    for operator in (*two_rewards(), enumerated_reward(3, 4, 0), ZeroOperator()):
        assert isinstance(operator, Operator)
    assert isinstance(weighted_sum((1.0, ZeroOperator())), Operator)


def test_a_sum_is_the_sum_with_negative_weights_too():
    one, two = two_rewards()
    total, canvas = weighted_sum((1.5, one), (-0.4, two)), world()
    expected = 1.5 * one.log_prob(canvas).total - 0.4 * two.log_prob(canvas).total
    torch.testing.assert_close(total.log_prob(canvas).total, expected)
    hard = 1.5 * one.log_prob_ids(canvas.ids).total - 0.4 * two.log_prob_ids(canvas.ids).total
    torch.testing.assert_close(total.log_prob_ids(canvas.ids).total, hard)
    (gradient,) = torch.autograd.grad(total.log_prob(canvas).total.sum(), canvas.probs)
    (wanted,) = torch.autograd.grad(expected.sum(), canvas.probs)
    torch.testing.assert_close(gradient, wanted)


def test_terms_are_reported_in_their_own_units():
    one, two = two_rewards()
    scores = weighted_sum((1.5, one), (-0.4, two)).log_prob_ids(world().ids)
    assert list(scores.terms) == ["one", "two"]
    assert scores.terms["two"].equal(two.log_prob_ids(world().ids).total)


def test_nested_sums_flatten():
    one, two = two_rewards()
    inner = weighted_sum((2.0, one), (0.5, two))
    outer = weighted_sum((0.1, inner), (1.0, one))
    assert [w for w, _ in outer.weighted] == pytest.approx([0.2, 0.05, 1.0])
    assert not any(isinstance(op, OperatorSum) for _, op in outer.weighted)
    torch.testing.assert_close(
        outer.log_prob_ids(world().ids).total,
        0.1 * inner.log_prob_ids(world().ids).total + one.log_prob_ids(world().ids).total,
    )
    assert parts(one) == [(1.0, one)]


def test_weight_zero_is_reported_and_never_climbed():
    one, two = two_rewards()
    asked: list = []
    silent = Counting(two, asked)
    total, canvas = weighted_sum((1.0, one), (0.0, silent)), world()
    assert total.log_prob(canvas).total.equal(one.log_prob(canvas).total)
    assert asked == []
    hard = total.log_prob_ids(canvas.ids)
    assert hard.total.equal(one.log_prob_ids(canvas.ids).total)
    assert hard.terms["two"].equal(two.log_prob_ids(canvas.ids).total)


def test_a_sum_is_differentiable_if_what_guides_is():
    one, two = two_rewards()
    black_box = replace(two, differentiable=False)
    assert not weighted_sum((1.0, one), (0.1, black_box)).differentiable
    assert weighted_sum((1.0, one), (0.0, black_box)).differentiable
    assert weighted_sum((1.0, black_box), (1.0, one)).codebook is not None
    assert weighted_sum((1.0, black_box)).codebook is None


def test_equal_names_are_numbered():
    value = torch.zeros(2)
    scores = add_scores(
        [(1.0, Scores(value, {"a": value + i, "a_2": value + 10 + i})) for i in range(3)]
    )
    assert {k: v[0].item() for k, v in scores.terms.items()} == {
        "a": 0,
        "a_2": 10,
        "a_3": 1,
        "a_2_2": 11,
        "a_4": 2,
        "a_2_3": 12,
    }
    assert merge_terms({"x": value}, {"x": value, "y": value}).keys() == {"x", "x_2", "y"}


def test_the_same_operator_object_twice_counts_twice():
    one, _ = two_rewards()
    scores = weighted_sum((1.0, one), (1.0, one)).log_prob_ids(world().ids)
    torch.testing.assert_close(scores.total, 2 * one.log_prob_ids(world().ids).total)
    assert list(scores.terms) == ["one", "one_2"]


def test_take_reaches_every_part():
    one, two = two_rewards()
    rows = torch.tensor([3, 3, 0])
    ids = world().ids[rows]
    taken = weighted_sum((1.0, one), (2.0, two)).take(rows).log_prob_ids(ids).total
    torch.testing.assert_close(
        taken, weighted_sum((1.0, one), (2.0, two)).log_prob_ids(world().ids).total[rows]
    )


def test_an_empty_sum_is_an_error():
    with pytest.raises(ValueError, match="none"):
        OperatorSum([])


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_number_is_an_error(weight):
    one, two = two_rewards()
    with pytest.raises(ValueError, match="weight is a finite number, got"):
        weighted_sum((1.0, one), (weight, two))


def test_zero_has_a_gradient_and_it_is_zero():
    canvas = world()
    scores = ZeroOperator().log_prob(canvas)
    assert scores.total.tolist() == [0] * BATCH
    (gradient,) = torch.autograd.grad(scores.total.sum(), canvas.probs)
    assert (gradient == 0).all()
    assert ZeroOperator().log_prob_ids(canvas.ids).total.tolist() == [0] * BATCH


def test_the_multilinear_reward_is_the_expectation():
    """What the other tests stand on: E[r] by enumeration equals the relaxed value."""
    canvas, reward = world(), enumerated_reward(LENGTH, SYMBOLS, 3)
    for row in range(BATCH):
        first = canvas.ids[row, 0].item()
        left, right = canvas.probs[canvas.rows == row].detach()
        expected = left @ reward.values[first] @ right
        torch.testing.assert_close(reward.log_prob(canvas).total[row].detach(), expected)


def test_operators_add_and_scale_as_written():
    a, b = table_reward(3, 4, seed=1, batch=2), table_reward(3, 4, seed=2, batch=2)
    ids = torch.tensor([[0, 1, 2], [3, 2, 1]])
    zero = ZeroOperator()
    total = (zero + a + 0.3 * (zero + b)).log_prob_ids(ids).total
    want = a.log_prob_ids(ids).total + 0.3 * b.log_prob_ids(ids).total
    torch.testing.assert_close(total, want)
    torch.testing.assert_close(
        (-2.0 * (zero + a)).log_prob_ids(ids).total, -2 * a.log_prob_ids(ids).total
    )


def test_a_combination_is_the_function_of_its_parts_relaxed_and_hard():
    one, two = two_rewards()
    lower = Combined([one, two], lambda values: values[0].minimum(values[1]), "lower")
    assert isinstance(lower, Operator)
    canvas = world()
    for side in ("log_prob", "log_prob_ids"):
        given = canvas if side == "log_prob" else canvas.ids
        found = getattr(lower, side)(given)
        parts_ = [getattr(op, side)(given).total for op in (one, two)]
        torch.testing.assert_close(found.total, torch.minimum(*parts_))
        assert list(found.terms) == ["lower", "one", "two"]
    (gradient,) = torch.autograd.grad(lower.log_prob(canvas).total.sum(), canvas.probs)
    assert gradient.abs().sum() > 0
    rows = torch.tensor([3, 3, 0])
    hard = lower.log_prob_ids(canvas.ids).total[rows]
    torch.testing.assert_close(lower.take(rows).log_prob_ids(canvas.ids[rows]).total, hard)


def test_a_combination_is_differentiable_if_all_of_it_is():
    one, two = two_rewards()
    black_box = replace(two, differentiable=False)

    def total(values):
        return values[0] + values[-1]

    assert Combined([one, two], total, "x").differentiable
    assert not Combined([one, black_box], total, "x").differentiable
    assert Combined([one, black_box], total, "x").codebook is None
    assert not Combined([one], total, "x", differentiable=False).differentiable
    # It is one part of a sum, however much is in it.
    assert len(parts(weighted_sum((1.0, Combined([one, two], total, "x")), (0.5, two)))) == 2
    with pytest.raises(ValueError, match="at least one operator"):
        Combined([], total, "x")


def test_rows_an_operator_does_not_apply_to():
    one, _ = two_rewards()
    mute = torch.arange(BATCH) % 2 == 0

    @dataclass(frozen=True)
    class Partly:
        applies: torch.Tensor
        differentiable: bool = False
        codebook = None

        def take(self, rows):
            return replace(self, applies=self.applies[rows])

        def log_prob_ids(self, ids):
            return Scores(
                torch.where(self.applies, 2.0, 0.0), {"partly": self.applies}, self.applies
            )

    partly = Partly(mute)
    less = Combined([partly], lambda values: values[0] - 5, "less").log_prob_ids(world().ids)
    assert less.total.tolist() == [-3.0 if on else 0.0 for on in mute]
    assert less.applies.equal(mute)
    both = weighted_sum((1.0, partly), (1.0, one)).log_prob_ids(world().ids)
    assert both.applies is None  # the other part says something about every row
    alone = weighted_sum((3.0, partly), (1.0, Partly(~mute))).log_prob_ids(world().ids)
    assert alone.applies.all()
