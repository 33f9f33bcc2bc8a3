"""Controls: the same call, steered by a modified reward that should not help.

    zero       q = 1; with the KL prior this is the base sampler, token for token
    shuffled   q = exp(r(pi(x)) / beta), pi a fixed permutation of the text tokens: a reward of the
               same scale that does not depend on the answer's meaning
    flipped    q = exp(-r(x) / beta): the reward must FALL

The reported reward is always the unmodified one. A gain that the shuffled reward also yields comes
from steering as such (length, repetition, lower temperature), not from what the reward measures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from ...core.codebook import Codebook, Relaxed
from ...core.operator import Arithmetic, Operator, Scores, ZeroOperator, parts, weighted_sum

__all__ = ["CONTROLS", "Shuffled", "controlled", "token_permutation"]

CONTROLS = ("zero", "shuffled", "flipped")


def controlled(
    operator: Operator, control: str | None, vocab_size: int, fixed: Iterable[int], seed: int
) -> Operator:
    """The operator that steers under a control; `operator` itself if it is None.

    Args:
        operator: the guiding operator.
        control: `zero | shuffled | flipped` or None.
        vocab_size: K of the denoiser.
        fixed: token ids that the permutation leaves unchanged (special tokens, stop, fill).
        seed: of the permutation.

    Raises:
        ValueError: an unknown control.
    """
    if control is None:
        return operator
    if control == "zero":
        return ZeroOperator()
    if control == "flipped":
        return weighted_sum((-1.0, operator))
    if control == "shuffled":
        permutation = token_permutation(vocab_size, fixed, seed)
        return weighted_sum(*((w, Shuffled(part, permutation)) for w, part in parts(operator)))
    raise ValueError(f"control is one of {', '.join(CONTROLS)}; got {control!r}")


def token_permutation(vocab_size: int, fixed: Iterable[int], seed: int) -> Tensor:
    """`pi (K,)` int64: a random permutation of the token ids that keeps the `fixed` ones."""
    free = torch.ones(vocab_size, dtype=torch.bool)
    free[[token for token in set(fixed) if token < vocab_size]] = False
    ids = free.nonzero().squeeze(-1)
    drawn = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    permutation = torch.arange(vocab_size)
    permutation[ids] = ids[drawn]
    return permutation


class Shuffled(Arithmetic):
    """`r(pi(x))`: the operator `inner` on the canvas with every token x replaced by pi(x)."""

    def __init__(self, inner: Operator, permutation: Tensor) -> None:
        self.inner, self.permutation = inner, permutation
        self.inverse = permutation.argsort()
        self.differentiable = inner.differentiable
        book = inner.codebook
        self.codebook: Codebook | None = None
        if book is not None:
            self.codebook = _ShuffledCodebook(book, permutation, self.inverse)

    def take(self, rows: Tensor) -> Shuffled:
        """See `Operator.take`."""
        return Shuffled(self.inner.take(rows), self.permutation)

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """See `Operator.log_prob`; the ids and the probabilities are permuted alike."""
        inverse = self.inverse.to(relaxed.probs.device)
        moved = replace(
            relaxed,
            ids=self.permutation.to(relaxed.ids.device)[relaxed.ids],
            probs=relaxed.probs[:, inverse],
            gumbel=None if relaxed.gumbel is None else relaxed.gumbel[:, inverse],
        )
        return self.inner.log_prob(moved)

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """See `Operator.log_prob_ids`."""
        return self.inner.log_prob_ids(self.permutation.to(ids.device)[ids])


class _ShuffledCodebook:
    """A codebook whose code k is the code of token pi(k) in `inner`."""

    def __init__(self, inner: Codebook, permutation: Tensor, inverse: Tensor) -> None:
        self.inner, self.permutation, self.inverse = inner, permutation, inverse

    def embed(self, ids: Tensor) -> Tensor:
        """See `Codebook.embed`."""
        return self.inner.embed(self.permutation.to(ids.device)[ids])

    def expect(self, probs: Tensor) -> Tensor:
        """See `Codebook.expect`."""
        return self.inner.expect(probs[:, self.inverse.to(probs.device)])

    def nearest(self, codes: Tensor) -> Tensor:
        """See `Codebook.nearest`."""
        found = self.inner.nearest(codes)
        return self.inverse.to(found.device)[found]

    def tilt(self, u: Tensor) -> Tensor:
        """See `Codebook.tilt`."""
        return self.inner.tilt(u)[:, self.permutation.to(u.device)]
