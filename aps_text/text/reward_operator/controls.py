"""Controls: the same call, steered by a reward that should not help.

    zero       q = 1; with the KL prior this is the base sampler, token for token
    shuffled   q = exp(r(pi(x)) / beta), pi a fixed permutation of the text tokens: a reward of the
               same make and scale that knows nothing of what the answer says
    flipped    q = exp(-r(x) / beta): the reward must FALL

What is reported is always the reward itself. A gain that a shuffled reward brings as well comes
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
    """What steers under a control; `operator` itself under None.

    Args:
        vocab_size: K of the denoiser.
        fixed: token ids a shuffle leaves where they are (special tokens, stop, fill).
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
    """`pi (K,)` int64: a random permutation of the tokens that are not `fixed`."""
    free = torch.ones(vocab_size, dtype=torch.bool)
    free[[token for token in set(fixed) if token < vocab_size]] = False
    ids = free.nonzero().squeeze(-1)
    drawn = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    permutation = torch.arange(vocab_size)
    permutation[ids] = ids[drawn]
    return permutation


class Shuffled(Arithmetic):
    """`r(pi(x))`: an operator that reads every token as another one, always the same."""

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
        """See `Operator.log_prob`: probabilities and ids move together."""
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
    """Code k is the code of token pi(k)."""

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
