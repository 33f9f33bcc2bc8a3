"""Rollouts: whole answers drawn by the base sampler, in a few steps, from a partly masked canvas.

    x ~ p_R(x | z_t)    R steps of the base sampler; R = 1 draws each token from x_theta by itself

With R = 1 the tokens are independent, so neighbours that are both likely need not fit together, and
a reward judges answers that the model would not write. Every further step sees what the steps
before it wrote. The first step takes the x_theta that is known already, so R steps cost at most
R - 1 forwards of the denoiser for each answer. Answers that are equal so far share a forward.

Shapes: B rows, N masked positions of all rows together, n answers of each row, K tokens.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..core.codebook import Codebook
from ..core.config import APSConfig
from ..core.operator import ZeroOperator
from ..core.protocols import Denoiser
from ..core.sampler import denoise
from ..core.step import Step
from .ancestral import base_config, base_step
from .distinct import DistinctRows
from .particles import rollout_noise, slots, take_ragged

__all__ = ["draw_rollouts", "rollout_config"]


def rollout_config(config: APSConfig, steps: int) -> APSConfig:
    """The base sampler of `config` in `steps` steps, without re-masking and in exact counts.

    Dream's counts may be 0 at the first step, whose x_theta is known: a forward more for nothing.
    """
    return base_config(config).replace(steps=steps, remask=False, reveal_rule="exact")


@torch.no_grad()
def draw_rollouts(
    denoiser: Denoiser,
    step: Step,
    log_theta: Tensor,
    count: int,
    config: APSConfig,
    codebook: Codebook | None = None,
) -> Tensor:
    """Tokens `(N, n)` at `step.where` of `count` answers per row; the fill token behind a stop.

    Blocks are ignored: all masks of a row are open from the first step on.

    Args:
        denoiser: bound to the step's rows.
        step: with every masked position of its rows in `where`.
        log_theta: `(N, K)` log x_theta there.
        config: from `rollout_config`; its number of steps is R.
        codebook: of the operator, for orders that score by codes.
    """
    (rows, cols), batch = step.where, len(step.canvas.z)
    owners = slots(batch, count, rows.device)
    noise = rollout_noise(step.noise, count, step.index, step.config.sampler.steps)
    canvas = replace(step.canvas.take(owners), block=None)
    entries, _ = take_ragged(step.where, owners)
    known = log_theta[entries]
    *_, move = base_step(canvas, step.mask_id, config, noise, 0, known, codebook)
    del known  # (N n, K)
    z, models = move.canvas.z, DistinctRows(denoiser, owners)
    for state in denoise(models, ZeroOperator(), move.canvas, config, noise, first=1):
        z = state.z
    return z.view(batch, count, -1)[rows, :, cols]
