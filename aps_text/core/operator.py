"""The operator `q(y|x)`: the one interface to whatever scores a canvas, rewards and measurements.

An operator owns its codebook (reward embeddings through a vocabulary bridge, an LFQ decoder), and
operators add and scale: `relevance + 0.3 * sentiment`; `Combined` is any other function of several
operators' scores, each of which keeps its own codebook. `log_prob` of a reward is `r(x)`; the
sampler divides by `beta`, so `q(y|x) = exp(r(x) / beta)`. A measurement's `log_prob` is its
normalised log density `log N(y; A(D(x)), sigma^2)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from .codebook import Codebook, Relaxed

__all__ = [
    "Arithmetic",
    "Combined",
    "Gaussian",
    "Guessing",
    "Operator",
    "OperatorSum",
    "Scores",
    "Startable",
    "ZeroOperator",
    "guiding",
    "parts",
    "start_ids",
    "weighted_sum",
]


@dataclass
class Scores:
    """Log-likelihoods of a batch.

    Attributes:
        total: `(B,)`, what the sampler increases.
        terms: unweighted values by name, each `(B,)`; for reports.
        applies: `(B,)` bool, the rows the operator says anything about (0 in the others); None is
            all of them.
    """

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    applies: Tensor | None = None


@runtime_checkable
class Operator(Protocol):
    """Something that scores canvases, bound to B rows (prompts or measurements)."""

    @property
    def differentiable(self) -> bool:
        """Whether `log_prob` has a gradient."""
        ...

    @property
    def codebook(self) -> Codebook | None:
        """Its codes of the tokens; None if it is a black box."""
        ...

    def take(self, rows: Tensor) -> Operator:
        """The same operator on other rows: dropped, repeated or reordered, `(B',)` int64."""
        ...

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """Score a relaxed canvas, differentiable in `relaxed.probs`; `(B,)`."""
        ...

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """Score hard canvases `(B, L)` exactly as the final answer will be scored; `(B,)`."""
        ...


@runtime_checkable
class Startable(Protocol):
    """An operator that can start scoring without waiting, so that several run concurrently."""

    def start_ids(self, ids: Tensor) -> Callable[[], Scores]:
        """Begin `log_prob_ids(ids)`; the returned function waits for its scores."""
        ...


def start_ids(operator: Operator, ids: Tensor) -> Callable[[], Scores]:
    """Start `operator.log_prob_ids(ids)`; of one not `Startable`, the returned call computes it."""
    if isinstance(operator, Startable):
        return operator.start_ids(ids)
    return lambda: operator.log_prob_ids(ids)


@runtime_checkable
class Guessing(Protocol):
    """An operator that also has a first guess of the answer, for `tilt_start`."""

    def guess(self) -> Tensor:
        """Codes of the guess of the first L positions, `(B, L, d)`; 0 where nothing is known."""
        ...


@runtime_checkable
class Gaussian(Protocol):
    """An operator with Gaussian noise: `log q = peak - |y - A(x)|^2 / (2 s^2)`."""

    def gaussian(self) -> tuple[Tensor, float]:
        """`peak (B,)`, the log density where `y = A(x)`, and the standard deviation s > 0."""
        ...


class Arithmetic:
    """`a + b` and `0.3 * a` for operators, as weighted sums."""

    def __add__(self: Operator, other: Operator) -> OperatorSum:
        """Both, each with its own weight."""
        return weighted_sum((1.0, self), (1.0, other))

    def __mul__(self: Operator, weight: float) -> OperatorSum:
        """The operator with a weight, which may be negative."""
        return weighted_sum((weight, self))

    __rmul__ = __mul__


def longest(guesses: Sequence[Tensor]) -> Tensor:
    """The guess `(B, L, d)` with the largest L; the first of equals."""
    return max(guesses, key=lambda codes: codes.shape[1])


class OperatorSum(Arithmetic):
    """`sum_i w_i log q_i`: weights may be negative; a part of weight 0 is reported by
    `log_prob_ids` and left out of `log_prob`. Build it with `weighted_sum`, which flattens.

    Raises:
        ValueError: no operator, or a weight that is not finite.
    """

    def __init__(self, weighted: Sequence[tuple[float, Operator]]) -> None:
        self.weighted = [(float(w), op) for w, op in weighted]
        if not self.weighted:
            raise ValueError("a weighted sum needs at least one operator, got none")
        for weight, _ in self.weighted:
            if not math.isfinite(weight):
                raise ValueError(f"an operator's weight is a finite number, got {weight:g}")
        guiding = [op for w, op in self.weighted if w != 0]
        self.differentiable = all(op.differentiable for op in guiding)
        books = [op.codebook for op in guiding if op.codebook is not None]
        self.codebook = books[0] if books else None
        guesses = [op.guess for w, op in self.weighted if w > 0 and isinstance(op, Guessing)]
        if guesses:
            self.guess: Callable[[], Tensor] = lambda: longest([guess() for guess in guesses])

    def take(self, rows: Tensor) -> OperatorSum:
        """See `Operator.take`."""
        return OperatorSum([(w, op.take(rows)) for w, op in self.weighted])

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """Weighted sum over the parts with a non-zero weight."""
        return add_scores([(w, op.log_prob(relaxed)) for w, op in self.weighted if w != 0])

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """Weighted sum over all parts, started together; terms of weight 0 are reported too."""
        return self.start_ids(ids)()

    def start_ids(self, ids: Tensor) -> Callable[[], Scores]:
        """See `Startable`."""
        started = [(w, start_ids(op, ids)) for w, op in self.weighted]
        return lambda: add_scores([(w, wait()) for w, wait in started])


class Combined(Arithmetic):
    """`f(log q_1, ..., log q_n)`, row by row: differentiable if all n are, else one black box.

    Args:
        operators: n of them, bound to the same rows.
        combine: maps n tensors `(B,)` to one `(B,)`.
        name: of its term; the operators' own terms are reported beside it.
        differentiable: False where `combine` has no useful gradient.
    """

    def __init__(
        self,
        operators: Sequence[Operator],
        combine: Callable[[Sequence[Tensor]], Tensor],
        name: str,
        differentiable: bool = True,
    ) -> None:
        if not operators:
            raise ValueError("a combination needs at least one operator, got none")
        self.operators, self.combine, self.name = list(operators), combine, name
        self.differentiable = differentiable and all(op.differentiable for op in self.operators)
        books = [op.codebook for op in self.operators if op.codebook is not None]
        self.codebook = books[0] if self.differentiable and books else None

    def take(self, rows: Tensor) -> Combined:
        """See `Operator.take`."""
        return self.of([op.take(rows) for op in self.operators])

    def of(self, operators: Sequence[Operator]) -> Combined:
        """The same function applied to other operators."""
        return Combined(operators, self.combine, self.name, self.differentiable)

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """See `Operator.log_prob`."""
        return self._combined([op.log_prob(relaxed) for op in self.operators])

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """See `Operator.log_prob_ids`; the operators are started together."""
        return self.start_ids(ids)()

    def start_ids(self, ids: Tensor) -> Callable[[], Scores]:
        """See `Startable`."""
        started = [start_ids(op, ids) for op in self.operators]
        return lambda: self._combined([wait() for wait in started])

    def _combined(self, scores: list[Scores]) -> Scores:
        device = scores[0].total.device
        total = self.combine([one.total.to(device) for one in scores])
        known = [one.applies.to(device) for one in scores if one.applies is not None]
        applies = torch.stack(known).all(0) if known else None
        if applies is not None:
            total = torch.where(applies, total, torch.zeros_like(total))
        terms: dict[str, Tensor] = {self.name: total.detach()}
        for one in scores:
            terms = merge_terms(terms, one.terms)
        return Scores(total, terms, applies)


class ZeroOperator(Arithmetic):
    """`q = 1`: a control that leaves the base sampler unchanged (with the KL prior)."""

    differentiable = True
    codebook: Codebook | None = None

    def take(self, rows: Tensor) -> ZeroOperator:
        """See `Operator.take`."""
        return self

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """Zeros `(B,)` on the graph of `relaxed.probs`, so that a gradient exists and is 0."""
        zero = relaxed.probs.new_zeros(len(relaxed.ids)) + 0 * relaxed.probs.sum()
        return Scores(zero, {"zero": zero.detach()})

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """Zeros `(B,)`."""
        zero = torch.zeros(len(ids), dtype=torch.float32, device=ids.device)
        return Scores(zero, {"zero": zero})


def add_scores(weighted: Sequence[tuple[float, Scores]]) -> Scores:
    """The weighted sum of several scores; terms stay unweighted, equal names are numbered."""
    weight, first = weighted[0]
    total = weight * first.total
    terms: dict[str, Tensor] = {}
    known = [scores.applies for _, scores in weighted if scores.applies is not None]
    partly = len(known) == len(weighted)  # else one part applies to every row
    applies = torch.stack([one.to(total.device) for one in known]).any(0) if partly else None
    for weight, scores in weighted:
        if scores is not first:
            total = total + weight * scores.total.to(total.device)
        terms = merge_terms(terms, scores.terms)
    return Scores(total, terms, applies)


def merge_terms(one: dict[str, Tensor], two: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of both; a name of `two` that `one` has is numbered: `fluency`, `fluency_2`."""
    terms = dict(one)
    for name, value in two.items():
        unique, count = name, 2
        while unique in terms:
            unique, count = f"{name}_{count}", count + 1
        terms[unique] = value
    return terms


def parts(operator: Operator) -> list[tuple[float, Operator]]:
    """The (weight, operator) parts of a sum; a plain operator is one part of weight 1."""
    return operator.weighted if isinstance(operator, OperatorSum) else [(1.0, operator)]


def weighted_sum(*weighted: tuple[float, Operator]) -> OperatorSum:
    """`weighted_sum((1.0, a), (0.3, b))`; nested sums are flattened into one."""
    return OperatorSum([(w * inner, op) for w, o in weighted for inner, op in parts(o)])


def guiding(operator: Operator) -> Operator:
    """The sum of the parts with a non-zero weight (the others are only reported)."""
    weighted = [(weight, part) for weight, part in parts(operator) if weight != 0]
    if len(weighted) == 1 and weighted[0][0] == 1:
        return weighted[0][1]
    return weighted_sum(*weighted) if weighted else ZeroOperator()
