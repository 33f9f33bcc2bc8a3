"""What a reverse step works with and leaves: its distributions, what it wrote, and its report.

    Tilted       x_phi and x_theta at the masked positions
    Transition   z_s, and how it came about
    StepState    the step over all rows, for callbacks and trajectories

Shapes: B rows of L positions, N masked positions of all rows together, K tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from torch import Tensor

from .canvas import Canvas
from .token_sampling import two_likeliest

__all__ = ["StepState", "Tilted", "Transition", "each_tensor", "refuse_nan"]


@dataclass
class Tilted:
    """A step's distributions at its masked positions, normalised log-probabilities `(N, K)`.

    Attributes:
        log_phi, log_theta: the distributions candidates are drawn from, and the prior; one object
            if the step is not tilted.
        loss: the objective's terms `(B,)` at the last inner step.
        rewards: unweighted rewards `(B,)` by name, relaxed or averaged over samples.
        gradient_norm: `(B,)` L2 norm of the loss's gradient at the logits; None if nothing was
            fitted.
        log_twist: `(B,)` an estimate of `log E[exp(r / beta) | z_t]`; None if the method makes
            none.
    """

    log_phi: Tensor
    log_theta: Tensor
    loss: dict[str, Tensor] = field(default_factory=dict)
    rewards: dict[str, Tensor] = field(default_factory=dict)
    gradient_norm: Tensor | None = None
    log_twist: Tensor | None = None

    @cached_property
    def likeliest(self) -> tuple[Tensor, Tensor]:
        """`two_likeliest` of x_phi: two log-probabilities, and the candidates at temperature 0."""
        return two_likeliest(self.log_phi)

    def take(self, rows: Tensor, entries: Tensor) -> Tilted:
        """The distributions of other rows `(B',)`; `entries (N',)` index their positions here."""
        log_phi = self.log_phi[entries]
        same = self.log_theta is self.log_phi
        return Tilted(
            log_phi,
            log_phi if same else self.log_theta[entries],
            *(
                each_tensor(part, lambda value: value[rows])
                for part in (self.loss, self.rewards, self.gradient_norm, self.log_twist)
            ),
        )


@dataclass
class Transition:
    """What a step wrote, for B rows.

    Attributes:
        canvas: z_s.
        candidates: `(B, L)` the proposed tokens, `fill_id` where there was none.
        scores: `(B, L)` double; their scores.
        revealed: `(B, L)` bool; the positions chosen.
    """

    canvas: Canvas
    candidates: Tensor
    scores: Tensor
    revealed: Tensor

    @property
    def decided(self) -> Tensor:
        """`(B, L)` bool: the chosen positions that are not cut off by a stop token before them.

        The transition's probability is a product over these; those cut off are integrated out.
        """
        return self.revealed & (self.canvas.z == self.candidates)

    def take(self, rows: Tensor) -> Transition:
        """The transition of other rows, `(B',)` int64."""
        return Transition(
            self.canvas.take(rows), self.candidates[rows], self.scores[rows], self.revealed[rows]
        )


@dataclass
class StepState:
    """What one denoising step did, over all B rows (rows that had finished hold zeros).

    Attributes:
        step, steps: index from 0, and the number of steps of a run, which may end earlier: the
            call's, or more where a method passes over the canvas several times.
        z: `(B, L)` the canvas after the step.
        written: `(B, L)` int64; index of the step that wrote the token, -1 for none. It belongs to
            this sample also after resampling or selection, when earlier states may show others.
        revealed: `(B, L)` bool; committed at this step (the anchors, in anchored remasking).
        candidates: `(B, L)` the proposed tokens, `fill_id` where there was none.
        tilted, prior: `(B, L)` probability of the candidate under x_phi and under x_theta.
        guided: whether the step was steered.
        loss, rewards, gradient_norm: see `Tilted`; empty, empty and None at unguided steps and of
            methods that fit nothing (a pool gives rewards without fitting).
        kl: `(B,)` mean KL(x_phi || x_theta) per masked position, nats; None at unguided steps
            and of methods without an x_phi.
        pool: at a step that chooses among whole answers the `answers` `(B, n, L)`, their total
            `rewards` `(B, n)`, which of them are `out` of the choice `(B, n)` (an answer kept
            before, of which an unguided step has overwritten a token; those `cut_off` `(B, n)`,
            where `prefer_ended` has one that ends), and which of the n is `chosen` `(B,)`; else
            empty.
    """

    step: int
    steps: int
    z: Tensor
    written: Tensor
    revealed: Tensor
    candidates: Tensor
    tilted: Tensor
    prior: Tensor
    guided: bool
    loss: dict[str, Tensor] = field(default_factory=dict)
    rewards: dict[str, Tensor] = field(default_factory=dict)
    gradient_norm: Tensor | None = None
    kl: Tensor | None = None
    pool: dict[str, Tensor] = field(default_factory=dict)

    def take(self, rows: Tensor) -> StepState:
        """The state of other rows, `(B',)`."""
        return self._changed(lambda values: values[rows])

    def copy(self) -> StepState:
        """A state with tensors of its own, for callbacks, which may write on them."""
        return self._changed(lambda values: values.clone())

    def _changed(self, change: Callable[[Tensor], Tensor]) -> StepState:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return StepState(**{name: each_tensor(value, change) for name, value in values.items()})


def refuse_nan(probs: Tensor, index: int) -> None:
    """Raise `RuntimeError` if a probability `(B, L)` of step `index` is NaN."""
    if math.isnan(probs.sum()):
        row = int(probs.isnan().any(-1).nonzero()[0])
        raise RuntimeError(
            f"the model's probabilities are NaN at step {index}, first in row {row} of "
            "the batch; in float16 its numbers overflow (load it with dtype bfloat16 or "
            "float32), else the weights or the learning_rate are bad"
        )


def each_tensor(part: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`change` applied to a tensor, or to every tensor of a dict; anything else unchanged."""
    if isinstance(part, dict):
        return {name: change(value) for name, value in part.items()}
    return change(part) if isinstance(part, Tensor) else part
