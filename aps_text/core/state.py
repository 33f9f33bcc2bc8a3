"""What a denoising step is, what it is given and what it did; records without behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from .adapters import Where
from .canvas import Canvas
from .noise import Noise
from .remasking import two_likeliest

__all__ = ["Step", "StepState", "Tilted"]


@dataclass
class Step:
    """A step's coordinates for the rows still at work.

    Attributes:
        index: from 0.
        canvas: the rows' canvas, before the step.
        asked: `(B, L)` bool; the masked positions that logits are asked for.
        where: the same as `(rows, cols)`, ordered by row.
        count: `(B,)` how many each row reveals.
        expected: `(B,)` the mean of `count`; not the same where coins decide (`alg='origin'`).
        noise: the rows' noise.
    """

    index: int
    canvas: Canvas
    asked: Tensor
    where: Where
    count: Tensor
    expected: Tensor
    noise: Noise

    @cached_property
    def share(self) -> Tensor:
        """`(B,)` c = expected / masks of the row, of a step that asks for all masks."""
        return self.expected.clamp_min(1) / self.asked.sum(-1)


@dataclass
class Tilted:
    """A step's distributions at its masked positions, normalised log-probabilities `(N, K)`."""

    log_phi: Tensor
    log_theta: Tensor
    loss: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def likeliest(self) -> tuple[Tensor, Tensor]:
        """`two_likeliest` of x_phi: the candidates at temperature 0, and their margin."""
        return two_likeliest(self.log_phi)


@dataclass
class StepState:
    """What one denoising step did, over all B rows (rows that had finished hold zeros).

    Attributes:
        step, steps: index from 0, and the most there can be.
        z: `(B, L)` the canvas after the step.
        written: `(B, L)` int64; the step that wrote what stands there, -1 for none. It follows a
            sample through resampling and selection, where the states before may show others.
        revealed: `(B, L)` bool; committed at this step (the anchors, when anchored).
        candidates: `(B, L)` the proposed tokens, `fill_id` where none was.
        tilted, prior: `(B, L)` probability of the candidate under x_phi and under x_theta.
        guided: whether the step was steered.
        loss: named `(B,)` terms of the last inner step.
        kl: `(B,)` mean KL(x_phi || x_theta) per masked position, nats.
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
    kl: Tensor | None = None
