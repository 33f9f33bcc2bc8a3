"""The loop: from a canvas of masks to a sample, one step state at a time.

    z_t -> x_theta(z_t) -> M times [ relax or sample -> operator -> step of phi ] -> x_phi(z_t)
        -> candidates -> the highest kept, the rest re-masked -> z_s

`denoise` is the loop; a `Tilt` turns the prior of a step into the distribution candidates are drawn
from. Without one this is the base sampler (`methods.ancestral`); the method's own tilt is in
`posterior`. Everything else (rows that finish, blocks, stop tokens, counts) all methods share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from ..methods.pool import TiltedSample
from .adapters import Denoiser
from .candidates import candidates_of, score_of, stop_bias
from .canvas import Canvas
from .config import APSConfig
from .cost import Cost, MeteredDenoiser, metered
from .noise import Noise
from .operator import Operator
from .state import Step, StepState, Tilted
from .transition import open_step, recall, report, write

__all__ = ["Method", "Result", "Step", "StepState", "Tilt", "Tilted", "denoise", "run"]


class Method(Protocol):
    """A sampling method: an iterator of step states, which streams and can be stopped."""

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """Fill the canvas; the last state holds the sample."""
        ...


class Tilt(Protocol):
    """Turns the prior of a step into the distribution candidates are drawn from."""

    def take(self, rows: Tensor) -> None:
        """Keep these rows, `(B',)`."""
        ...

    def __call__(
        self, denoiser: Denoiser, state: Any, step: Step, bias: Callable[[Tensor], Tensor]
    ) -> Tilted:
        """Fit phi and return the tilted distributions."""
        ...


def denoise(
    denoiser: Denoiser,
    operator: Operator,
    canvas: Canvas,
    config: APSConfig,
    noise: Noise,
    tilt: Tilt | None = None,
    pool: TiltedSample | None = None,
) -> Iterator[StepState]:
    """Fill the canvas step by step; rows leave the batch when they have no mask left.

    An unguided step at which no row can reveal anything computes nothing and yields no state.

    Args:
        tilt: makes x_phi at the guided steps; without one it is x_theta.
        pool: chooses the guided steps' candidates among whole answers; without one each token is
            drawn by itself.
    """
    full, mask_id = canvas, denoiser.mask_id
    committed_score = None
    if config.revisable:
        committed_score = torch.zeros_like(canvas.z, dtype=torch.double)
    rows = torch.arange(len(canvas.z), device=canvas.z.device)
    for index in range(config.steps):
        busy = (canvas.z == mask_id).any(-1)
        if not bool(busy.all()):
            keep = busy.nonzero().squeeze(-1)
            if not len(keep):
                return
            rows, canvas, noise = rows[keep], canvas.take(keep), noise.take(keep)
            denoiser, operator = denoiser.take(keep), operator.take(keep)
            if committed_score is not None:
                committed_score = committed_score[keep]
            if tilt is not None:
                tilt.take(keep)
            if pool is not None:
                pool.take(keep)
        guided = (tilt is not None or pool is not None) and is_guided(index, config)
        step = open_step(canvas, mask_id, config, noise, index, everywhere=guided)
        if not len(step.where[0]):
            continue
        bias = stop_bias(canvas, step.where, config)
        trunk = denoiser.trunk(canvas.z)
        if guided and tilt is not None:
            tilted = tilt(denoiser, trunk, step, bias)
        else:
            with torch.no_grad():
                log_theta = bias(denoiser.logits(trunk, step.where)).log_softmax(-1)
            tilted = Tilted(log_theta, log_theta)
        with torch.no_grad():
            if guided and pool is not None:
                candidates, terms = pool(tilted, step)
                tilted.loss = {**tilted.loss, **terms}
            else:
                candidates = candidates_of(tilted, step, config, operator)
            scores = score_of(tilted, candidates, step, config, operator)
            recalled = None
            if committed_score is not None and index + 1 < config.steps:
                again, committed_score = recall(step, mask_id, committed_score, config)
                recalled = again, committed_score, mask_id
            move = write(step, candidates, scores, config, recalled)
            if committed_score is not None:
                committed_score = torch.where(move.revealed, move.scores, committed_score)
            canvas = move.canvas
            full = full.put(rows, canvas)
            state = report(index, config.steps, full, rows, step.where, tilted, move, guided=guided)
        yield state  # outside of no_grad, which would otherwise hold in the caller's code too


def is_guided(index: int, config: APSConfig) -> bool:
    """Whether step `index` lies in the guidance window and on its interval."""
    at = index / config.steps
    inside = config.guidance_start <= at < config.guidance_end
    steers = config.inner_steps > 0 or config.num_candidates > 1
    return inside and steers and index % config.guidance_interval == 0


@dataclass
class Result:
    """A drained run.

    Attributes:
        z: `(B, L)` the sample.
        cost: what it took.
        trajectory: the step states, if they were asked for.
    """

    z: Tensor
    cost: Cost
    trajectory: list[StepState] = field(default_factory=list)


def run(
    method: Method,
    denoiser: Denoiser,
    operator: Operator,
    canvas: Canvas,
    config: APSConfig,
    noise: Noise,
    *,
    on_step: Callable[[int, StepState], None] | None = None,
    keep_trajectory: bool = False,
) -> Result:
    """Drain a method, counting its cost; `on_step(step, state)` is called after every step."""
    cost = Cost()
    states = method.steps(
        MeteredDenoiser(denoiser, cost), metered(operator, cost), canvas, config, noise
    )
    z, trajectory = canvas.z, []
    for state in states:
        z = state.z
        if on_step is not None:
            on_step(state.step, state)
        if keep_trajectory:
            trajectory.append(state)
    return Result(z, cost.stop(z.device), trajectory)
