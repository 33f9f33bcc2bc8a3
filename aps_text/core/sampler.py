"""The loop: from a canvas of masks to a sample, one step state at a time.

    z_t -> x_theta(z_t) -> M times [ relax or sample -> operator -> step of phi ] -> x_phi(z_t)
        -> candidates -> the highest kept, the rest re-masked -> z_s

`denoise` is the loop, the module `step` one iteration of it. A `Tilt` turns the prior of a step
into the distribution candidates are drawn from, a `CandidatePool` takes the candidates from whole
answers; without either this is the base sampler. Blocks, reveal counts, stop tokens and the end of
a row are the same for all methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from .canvas import Canvas
from .config import APSConfig
from .cost import Cost, MeteredDenoiser, metered
from .noise import Noise
from .operator import Operator
from .protocols import Denoiser
from .states import StepState, Tilted
from .step import Step

__all__ = ["CandidatePool", "Choice", "Declares", "Method", "Result", "Tilt", "denoise", "run"]


class Method(Protocol):
    """A sampling method: an iterator of step states, so a caller can stream and stop it.

    A method that runs the loop with settings other than the call's declares them by the attributes
    of `Declares`; a method with none of these attributes is assumed to read every setting, and one
    with only some of them is refused.
    """

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


@runtime_checkable
class Declares(Protocol):
    """The settings a method reads, so that an option without effect can be refused."""

    def settings(self, config: APSConfig) -> APSConfig:
        """The settings its loop runs with, derived from the call's."""
        ...

    @property
    def reads(self) -> tuple[str, ...]:
        """Further keywords of `APSConfig` that it reads from the call's own settings."""
        ...

    @property
    def selects(self) -> bool:
        """Whether it selects among draws (which are identical at temperature 0)."""
        ...


class Tilt(Protocol):
    """Turns the prior of a step into the distribution candidates are drawn from."""

    def take(self, rows: Tensor) -> None:
        """Keep these rows, `(B',)`."""
        ...

    def __call__(self, denoiser: Denoiser, step: Step) -> Tilted:
        """Fit phi and return the tilted distributions."""
        ...


class Choice(NamedTuple):
    """A choice among whole answers.

    Attributes:
        tokens: `(N,)` of the chosen answers, at `step.where`.
        rewards: of the chosen answers, by name, `(B,)`.
        compared: what it was made among, as in `StepState.pool`.
    """

    tokens: Tensor
    rewards: dict[str, Tensor]
    compared: dict[str, Tensor]


class CandidatePool(Protocol):
    """Chooses a step's candidates among whole answers."""

    def take(self, rows: Tensor) -> None:
        """Keep these rows, `(B',)`."""
        ...

    def asked(self, step: Step) -> Tensor:
        """`(B, L)` bool: the masks at which it needs x_theta, and those that the step can write."""
        ...

    def __call__(self, denoiser: Denoiser, tilted: Tilted, step: Step) -> Choice:
        """The choice of a step that asks where `asked` says, or at every mask."""
        ...

    def continued(self, tilted: Tilted, step: Step) -> Tensor:
        """One token per position of `step.where` `(N,)`, of the answers that were chosen last."""
        ...


def denoise(
    denoiser: Denoiser,
    operator: Operator,
    canvas: Canvas,
    config: APSConfig,
    noise: Noise,
    tilt: Tilt | None = None,
    pool: CandidatePool | None = None,
    *,
    first: int = 0,
    end: int | None = None,
) -> Iterator[StepState]:
    """Fill the canvas step by step; rows leave the batch when they have no mask left.

    An unguided step at which no row can reveal anything computes nothing and yields no state.

    Args:
        tilt: makes x_phi at the guided steps; without one it is x_theta.
        pool: chooses the guided steps' candidates, or goes on with its choice (`pool_interval`);
            without one each token is drawn independently.
        first, end: run only the steps `first` to `end - 1` of the call's grid; None is all steps.
    """
    full, mask_id = canvas, denoiser.mask_id
    committed = None  # (B, L) scores of the committed tokens, if these may be re-masked
    settings = config.sampler
    if settings.remask:
        committed = torch.zeros_like(canvas.z, dtype=torch.double)
    rows = torch.arange(len(canvas.z), device=canvas.z.device)
    for index in range(first, settings.steps if end is None else end):
        busy = (canvas.z == mask_id).any(-1)
        if not bool(busy.all()):
            keep = busy.nonzero().squeeze(-1)
            if not len(keep):
                return
            rows, canvas, noise = rows[keep], canvas.take(keep), noise.take(keep)
            denoiser, operator = denoiser.take(keep), operator.take(keep)
            if committed is not None:
                committed = committed[keep]
            for part in (tilt, pool):
                if part is not None:
                    part.take(keep)
        guided = (tilt is not None or pool is not None) and settings.is_guided(index)
        choosing = pool if guided and settings.chooses(index) else None
        everywhere = guided and (tilt is not None or choosing is not None)
        step = Step.open(canvas, mask_id, config, noise, index, everywhere=everywhere)
        if choosing is not None and tilt is None:  # phi is fitted at all masks
            step = replace(step, asked=choosing.asked(step))
        if not len(step.where[0]):
            continue
        if guided and tilt is not None:
            tilted = tilt(denoiser, step)
        else:
            log_theta = step.x_theta(denoiser)
            tilted = Tilted(log_theta, log_theta)
        with torch.no_grad():
            compared: dict[str, Tensor] = {}
            if choosing is not None:
                candidates, chosen, compared = choosing(denoiser, tilted, step)
                tilted.rewards = {**tilted.rewards, **chosen}
            elif guided and pool is not None:
                candidates = pool.continued(tilted, step)
            else:
                candidates = step.draw(tilted, operator.codebook)
            scores = step.score(tilted, candidates, operator.codebook)
            again = None
            if committed is not None and index + 1 < settings.steps:
                again, committed = step.remask_candidates(committed)
            move = step.write(candidates, scores, again, committed)
            if committed is not None:
                committed = torch.where(move.revealed, move.scores, committed)
            canvas = move.canvas
            full = full.put(rows, canvas)
            state = step.report(full, rows, tilted, move, guided=guided, pool=compared)
        yield state  # outside of no_grad, which would otherwise stay active in the caller's code


@dataclass
class Result:
    """The result of `run`.

    Attributes:
        z: `(B, L)` the sample.
        cost: of the run.
        trajectory: the step states, if `keep_trajectory`, else empty.
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
    """Run a method to its end and count its cost; calls `on_step(index, state)` after each step."""
    cost = Cost()
    states = method.steps(
        MeteredDenoiser(denoiser, cost), metered(operator, cost), canvas, config, noise
    )
    z, trajectory = canvas.z, []
    for state in states:
        z = state.z
        if on_step is not None:
            on_step(state.step, state.copy())
        if keep_trajectory:
            trajectory.append(state)
    return Result(z, cost.stop(z.device), trajectory)
