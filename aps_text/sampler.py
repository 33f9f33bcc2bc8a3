"""The loop: from a canvas of masks to a sample, one step state at a time.

    z_t -> x_theta(z_t) -> M times [ relax or sample -> operator -> step of phi ] -> x_phi(z_t)
        -> candidates -> the highest kept, the rest re-masked -> z_s

`denoise` is the loop; a `Tilt` turns the prior of a step into the distribution candidates are drawn
from. Without one this is the base sampler (`methods.ancestral`); the method's own tilt is in
`posterior`. Everything else (rows that finish, blocks, stop tokens, counts) all methods share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from .adapter import Denoiser, Where
from .candidates import candidates_of, score_of, stop_bias
from .canvas import Canvas, end_at_stop, is_stop
from .config import APSConfig
from .cost import Cost, MeteredDenoiser, metered
from .noise import Noise
from .objective import kl_rows
from .operator import Operator
from .remasking import choose, weakest_committed
from .schedule import alpha, dream_count, keep_masked, reveal_count, time_grid
from .state import Step, StepState, Tilted

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
) -> Iterator[StepState]:
    """Fill the canvas step by step; rows leave the batch when they have no mask left."""
    grid = time_grid(config.steps)
    full = canvas
    committed_score = torch.zeros(canvas.z.shape, dtype=torch.double, device=canvas.z.device)
    rows = torch.arange(len(canvas.z), device=canvas.z.device)
    for index in range(config.steps):
        t, s = grid[index], grid[index + 1]
        busy = (canvas.z == denoiser.mask_id).any(-1)
        if not bool(busy.all()):
            keep = busy.nonzero().squeeze(-1)
            if not len(keep):
                return
            rows, canvas, noise = rows[keep], canvas.take(keep), noise.take(keep)
            denoiser, operator = denoiser.take(keep), operator.take(keep)
            committed_score = committed_score[keep]
            if tilt is not None:
                tilt.take(keep)
        masked = canvas.z == denoiser.mask_id
        masks = masked.sum(-1)
        if config.counting == "dream":
            count = dream_count(masks, index, config.steps)
        else:
            count = reveal_count(masks, keep_masked(t, s, config.schedule))
        guided = tilt is not None and is_guided(index, config)
        writable = masked & reachable(masked, canvas.block, count, config)
        offered = masked if guided else writable
        where = positions_of(offered)
        step = Step(index, canvas, where, count, count.clamp_min(1) / masks, noise)
        if config.alg == "origin":
            # Every mask is revealed by its own coin; a row may reveal none before the last step.
            tossed = positions_of(writable)
            coin = noise.uniform(*tossed, index, "order") < 1 - keep_masked(t, s, config.schedule)
            step.count = count = torch.zeros_like(count).index_add(0, tossed[0], coin.long())
        bias = stop_bias(canvas, where, config)
        trunk = denoiser.trunk(canvas.z)
        if guided and tilt is not None:
            tilted = tilt(denoiser, trunk, step, bias)
        else:
            with torch.no_grad():
                log_theta = bias(denoiser.logits(trunk, where)).log_softmax(-1)
            tilted = Tilted(log_theta, log_theta)
        with torch.no_grad():
            candidates = candidates_of(tilted, step, config, operator)
            scores = score_of(tilted, candidates, step, config, operator)
            dense = torch.zeros_like(committed_score).index_put(where, scores.to(committed_score))
            offered, committed = masked & _dense(where, masked), None
            if config.threshold is not None:
                count = count.maximum(((dense >= config.threshold) & writable).sum(-1))
            if config.revisable and index + 1 < config.steps:
                settled = canvas.editable & ~masked & (canvas.z != canvas.fill_id)
                settled &= ~is_stop(canvas.z, canvas.stop_ids)
                committed = weakest_committed(
                    committed_score, settled, alpha(t, config.schedule), alpha(s, config.schedule)
                )
                if config.alg == "origin":  # a random order has no memory: they draw again
                    again = positions_of(committed)
                    fresh = -noise.uniform(*again, index, "order")
                    committed_score = committed_score.index_put(again, fresh)
                dense = torch.where(committed, committed_score, dense)
                offered, count = offered | committed, count + committed.sum(-1)
            kept = choose(dense, offered, canvas.block, count, committed)
            proposal = torch.full_like(canvas.z, canvas.fill_id).index_put(where, candidates)
            revealed = kept & masked
            z = torch.where(revealed, proposal, canvas.z)
            if committed is not None:
                z = torch.where(committed & ~kept, denoiser.mask_id, z)
            z = end_at_stop(z, canvas.editable, canvas.stop_ids, canvas.fill_id)
            committed_score = torch.where(revealed, dense, committed_score)
            canvas = replace(canvas, z=z)
            full = replace(full, z=full.z.index_put((rows,), z))
            state = _report(index, config, full, rows, where, revealed, proposal, tilted, guided)
        yield state  # outside of no_grad, which would otherwise hold in the caller's code too


def positions_of(on: Tensor) -> Where:
    """`(rows, cols)` of the True entries of `(B, L)`, ordered by row."""
    rows, cols = on.nonzero().unbind(-1)
    return rows, cols


def _dense(where: Where, like: Tensor) -> Tensor:
    """The bool canvas of positions `where`."""
    on = torch.ones_like(where[0], dtype=torch.bool)
    return torch.zeros_like(like).index_put(where, on)


def _report(
    index: int,
    config: APSConfig,
    full: Canvas,
    rows: Tensor,
    where: Where,
    revealed: Tensor,
    proposal: Tensor,
    tilted: Tilted,
    guided: bool,
) -> StepState:
    """The state of all rows from that of the rows at work."""

    def spread(values: Tensor, empty: Any) -> Tensor:
        out = values.new_full((len(full.z), *values.shape[1:]), empty)
        return out.index_put((rows,), values)

    at = proposal[where][:, None]
    blank = torch.zeros(revealed.shape, dtype=tilted.log_phi.dtype, device=revealed.device)
    picked = [p.gather(-1, at).squeeze(-1).exp() for p in (tilted.log_phi, tilted.log_theta)]
    return StepState(
        step=index,
        steps=config.steps,
        z=full.z,
        revealed=spread(revealed, False),
        candidates=spread(proposal, full.fill_id),
        tilted=spread(blank.index_put(where, picked[0]), 0.0),
        prior=spread(blank.index_put(where, picked[1]), 0.0),
        guided=guided,
        loss={name: spread(value, 0.0) for name, value in tilted.loss.items()},
        kl=spread(kl_rows(tilted.log_phi, tilted.log_theta, where[0], len(rows)), 0.0)
        if guided
        else None,
    )


def is_guided(index: int, config: APSConfig) -> bool:
    """Whether step `index` lies in the guidance window and on its interval."""
    at = index / config.steps
    inside = config.guidance_start <= at < config.guidance_end
    return inside and config.inner_steps > 0 and index % config.guidance_interval == 0


def reachable(masked: Tensor, block: Tensor, count: Tensor, config: APSConfig) -> Tensor:
    """Positions whose block can be written at this step: logits are needed nowhere else."""
    if config.block_length is None:
        return torch.ones_like(masked)
    far = torch.iinfo(torch.long).max
    ordered = torch.where(masked, block, far).sort(-1).values
    last = ordered.gather(-1, (count - 1).clamp_min(0)[:, None])
    return block <= last


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
