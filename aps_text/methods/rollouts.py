"""Rollouts: whole answers drawn by the base sampler, in a few steps, from a partly masked canvas.

    x ~ p_R(x | z_t)    R steps of the base sampler; R = 1 draws each token from x_theta by itself

With R = 1 the tokens are independent, so neighbours that are both likely need not fit together, and
a reward judges answers that the model would not write. Every further step sees what the steps
before it wrote. The first step takes the x_theta that is known already, so R steps cost at most
R - 1 forwards of the denoiser for each answer. Answers that are equal so far share a forward. With
as many steps as the run has, the first answer drawn at the run's first step is the one that the
base sampler alone would give.
A canvas in blocks is filled from left to right: the R steps are divided among the blocks that have
masks, as the schedule does it; with R below their number, several are written at once.

Shapes: B rows, N positions of all rows together at which a step computes x_theta, N' masked ones
(N' > N on a canvas in blocks), n answers of each row, K tokens.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..core.canvas import Canvas, positions_of
from ..core.config import APSConfig
from ..core.noise import drawn
from ..core.operator import ZeroOperator
from ..core.protocols import Denoiser
from ..core.remasking import confidence
from ..core.sampler import denoise
from ..core.settings import Ranked
from ..core.states import Tilted
from ..core.step import Step, writable
from ..core.token_sampling import sampling_support
from .ancestral import base_config
from .distinct import DistinctRows
from .particles import rollout_noise, slots, take_ragged

__all__ = [
    "are_whole_runs",
    "draw_rollouts",
    "first_candidates",
    "rollout_asked",
    "rollout_config",
    "unwritten_blocks",
]


def rollout_config(config: APSConfig, steps: int) -> APSConfig:
    """The base sampler of `config` in `steps` steps, without re-masking and in exact counts.

    Dream's counts may be 0 at the first step, whose x_theta is known: a forward more for nothing.
    """
    return base_config(config).replace(steps=steps, remask=False, reveal_rule="exact")


def are_whole_runs(config: APSConfig) -> bool:
    """Whether a rollout from an open canvas is a plain answer, and the run draws nothing besides.

    As many steps, counted alike and nothing re-masked; all steps guided, since an unguided one
    would draw again what was drawn for an answer that was not chosen.
    """
    run, window = config.sampler, config.sampler.guided_window
    alike = run.pool_rollout == run.steps and run.reveal_rule == "exact" and not run.remask
    return alike and not window.start and window.end == window.interval == 1


@torch.no_grad()
def draw_rollouts(
    denoiser: Denoiser,
    step: Step,
    log_theta: Tensor,
    count: int,
    config: APSConfig,
) -> Tensor:
    """Tokens `(N', n)` at all masks, of `count` answers per row; the fill token behind a stop.

    Args:
        denoiser: bound to the step's rows.
        step: asked at least where `rollout_asked` says.
        log_theta: `(N, K)` log x_theta at `step.where`.
        config: from `rollout_config`; its number of steps is R.
    """
    (rows, cols), batch = positions_of(step.canvas.z == step.mask_id), len(step.canvas.z)
    owners = slots(batch, count, rows.device)
    noise = rollout_noise(step.noise, count, step.index, step.config.sampler.steps)
    if step.index == 0 and are_whole_runs(step.config):
        first_ones = torch.arange(len(owners), device=owners.device) % count == 0
        own = step.noise.particle[owners]
        noise = replace(noise, particle=torch.where(first_ones, own, noise.particle))
    canvas = unwritten_blocks(step.canvas, step.mask_id).take(owners)
    entries, _ = take_ragged(step.where, owners)
    first = Step.open(canvas, step.mask_id, config, noise, 0, everywhere=True)
    first = replace(first, asked=step.asked[owners])
    move = first.write(*first_candidates(first, log_theta, entries))
    z, models = move.canvas.z, DistinctRows(denoiser, owners)
    for state in denoise(models, ZeroOperator(), move.canvas, config, noise, first=1):
        z = state.z
    return z.view(batch, count, -1)[rows, :, cols]


def rollout_asked(step: Step, config: APSConfig) -> Tensor:
    """`(B, L)` bool: the masks that the step, or the first step of a rollout from its canvas, can
    write.

    With `alg="origin"` each rollout tosses coins of its own, within these masks.

    Args:
        step: opened with `everywhere`.
        config: from `rollout_config`.
    """
    if step.canvas.block is None:
        return step.asked
    canvas = unwritten_blocks(step.canvas, step.mask_id)
    first = Step.open(canvas, step.mask_id, config, step.noise, 0, everywhere=False)
    return first.asked | writable(step.asked, step.canvas.block, step.count)


def unwritten_blocks(canvas: Canvas, mask_id: int) -> Canvas:
    """The canvas with written blocks made part of the row's first block that has masks, so that
    they get no steps of a rollout."""
    if canvas.block is None:
        return canvas
    masked = canvas.z == mask_id
    waiting = torch.zeros_like(canvas.block).scatter_add(1, canvas.block, masked.long()) > 0
    first = waiting.long().argmax(1, keepdim=True)
    block = torch.where(waiting.gather(1, canvas.block), canvas.block, first)
    return replace(canvas, block=block)


def first_candidates(first: Step, log_theta: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates and scores `(N n,)`, those of `first` if each answer had a copy of log x_theta.

    Args:
        first: of all answers, with their masked positions in `where`.
        log_theta: `(N, K)`; not copied, since N n K numbers are many.
        entries: `(N n,)` which of the N each of them is.
    """
    settings, tilted = first.config.sampler, Tilted(log_theta, log_theta)
    order, law = settings.order, settings.draw
    if law.temperature == 0:
        tokens = first.draw(tilted)[entries]
    else:
        probs, ids = sampling_support(log_theta, law.temperature, law.top_p, law.top_k)
        u, turn = first.noise.uniform(*first.where, 0, "candidate"), entries.argsort(stable=True)
        found = drawn(probs, u[turn].view(len(log_theta), -1), ids, log_theta.shape[-1])
        found = found if ids is None else ids.gather(-1, found)
        tokens = torch.empty_like(entries).index_put((turn,), found.flatten())
    if not isinstance(order, Ranked):
        return tokens, first.score(tilted, tokens)
    if order.alg == "maskgit_plus":
        scores = log_theta.flatten()[entries * log_theta.shape[1] + tokens].exp()
    else:
        scores = confidence(order.alg, log_theta, tokens)[entries]
    return tokens, first.perturbed(scores)
