"""Cost counters: proxies around the denoiser and the operator, the same for every method.

Units are ROWS: a batched pass over B rows counts B. A backward is counted when a gradient arrives
at the logits or at the score.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .codebook import Relaxed
from .config import APSConfig
from .noise import Noise
from .operator import Combined, Gaussian, Guessing, Operator, OperatorSum, Scores, parts, start_ids
from .protocols import Adapter, Denoiser, Where, masks_unseen

__all__ = ["Cost", "MeteredDenoiser", "MeteredOperator", "metered"]


@dataclass
class Cost:
    """What a run cost.

    Attributes:
        trunk_forwards: row passes through the part the adapter does not change.
        denoiser_forwards: row passes that produced logits.
        denoiser_backwards: row passes back through the adapted part.
        reward_forwards, reward_backwards: rows scored, and differentiated.
        reward_calls: batches scored by a reward.
        seconds: wall time.
        peak_memory_mb: peak memory in MiB: allocated on the accelerator, else the process's peak.
    """

    trunk_forwards: int = 0
    denoiser_forwards: int = 0
    denoiser_backwards: int = 0
    reward_forwards: int = 0
    reward_backwards: int = 0
    reward_calls: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    started: float = field(default_factory=time.perf_counter, repr=False)

    def stop(self, device: torch.device | str = "cpu") -> Cost:
        """Set `seconds` (since construction) and `peak_memory_mb`; returns itself."""
        self.seconds = time.perf_counter() - self.started
        if torch.device(device).type == "cuda":
            self.peak_memory_mb = torch.cuda.max_memory_allocated(device) / 2**20
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.peak_memory_mb = peak / (2**20 if sys.platform == "darwin" else 2**10)
        return self

    def as_dict(self) -> dict[str, float]:
        """The counters for JSON."""
        return {k: v for k, v in self.__dict__.items() if k != "started"}


class MeteredDenoiser:
    """A denoiser that counts.

    Args:
        on_pass: called as each pass begins.
    """

    def __init__(
        self, inner: Denoiser, cost: Cost, on_pass: Callable[[], None] | None = None
    ) -> None:
        self.inner, self.cost, self.on_pass = inner, cost, on_pass
        self.mask_id, self.vocab_size = inner.mask_id, inner.vocab_size
        self.masks_unseen = masks_unseen(inner)

    def take(self, rows: Tensor) -> MeteredDenoiser:
        """See `Denoiser.take`."""
        return MeteredDenoiser(self.inner.take(rows), self.cost, self.on_pass)

    def trunk(self, z: Tensor) -> Any:
        """See `Denoiser.trunk`."""
        if self.on_pass is not None:
            self.on_pass()
        self.cost.trunk_forwards += len(z)
        return self.inner.trunk(z)

    def logits(self, state: Any, where: Where, phi: Any = None) -> Tensor:
        """See `Denoiser.logits`; counts the rows that own a position, and a gradient's arrival."""
        rows = len(where[0].unique_consecutive())  # ordered by row
        self.cost.denoiser_forwards += rows
        logits = self.inner.logits(state, where, phi)
        if logits.requires_grad:

            def count(_: Tensor) -> None:
                self.cost.denoiser_backwards += rows

            logits.register_hook(count)
        return logits

    def new_adapter(self, config: APSConfig, noise: Noise) -> Adapter:
        """See `Denoiser.new_adapter`."""
        return self.inner.new_adapter(config, noise)


class MeteredOperator:
    """An operator that counts."""

    def __init__(self, inner: Operator, cost: Cost) -> None:
        self.inner, self.cost = inner, cost
        self.differentiable, self.codebook = inner.differentiable, inner.codebook
        if isinstance(inner, Guessing):
            self.guess: Callable[[], Tensor] = inner.guess
        if isinstance(inner, Gaussian):
            self.gaussian: Callable[[], tuple[Tensor, float]] = inner.gaussian

    def take(self, rows: Tensor) -> MeteredOperator:
        """See `Operator.take`."""
        return MeteredOperator(self.inner.take(rows), self.cost)

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """See `Operator.log_prob`."""
        scores = self.inner.log_prob(relaxed)
        rows = len(relaxed.ids)
        self.cost.reward_forwards += rows
        self.cost.reward_calls += 1
        if scores.total.requires_grad:

            def count(_: Tensor) -> None:
                self.cost.reward_backwards += rows

            scores.total.register_hook(count)
        return scores

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """See `Operator.log_prob_ids`."""
        return self.start_ids(ids)()

    def start_ids(self, ids: Tensor) -> Callable[[], Scores]:
        """See `Startable.start_ids`."""
        self.cost.reward_forwards += len(ids)
        self.cost.reward_calls += 1
        return start_ids(self.inner, ids)


def metered(operator: Operator, cost: Cost) -> Operator:
    """Count every part of a sum or a combination."""
    if isinstance(operator, OperatorSum):
        return OperatorSum([(w, metered(op, cost)) for w, op in parts(operator)])
    if isinstance(operator, Combined):
        return operator.of([metered(op, cost) for op in operator.operators])
    return MeteredOperator(operator, cost)
