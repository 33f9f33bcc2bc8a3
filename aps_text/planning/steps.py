"""The steps of a call, as the sampler's loop makes them: what is masked, asked for, and steered.

masks    fall from L to 0 by the schedule's counts
asked    logits are needed where a mask is; unsteered and in blocks, only up to the end of the
         block that is being written
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from ..core.schedule import block_clock, keep_masked, reveal_count
from ..core.settings import Window

if TYPE_CHECKING:
    from .call import Call

__all__ = ["PlannedStep", "masks_left", "planned_steps"]


@dataclass(frozen=True)
class PlannedStep:
    """One denoising step of one row.

    Attributes:
        masks: masked positions before it.
        asked: positions logits are computed at.
        guided: whether it is steered.
        again: whether an earlier one was.
    """

    masks: int
    asked: int
    guided: bool
    again: bool


def masks_left(
    tokens: int, steps: int, schedule: str = "linear", block_length: int | None = None
) -> list[int]:
    """Masked positions of a row at each step, as the sampler counts them; stops at 0."""
    block = (torch.arange(tokens) // (block_length or tokens))[None]
    left, found = tokens, []
    for index in range(steps):
        if left == 0:
            break
        found.append(left)
        masked = torch.arange(tokens)[None] >= tokens - left
        due, (at, own) = block_clock(masked, torch.ones_like(masked), block, index, steps)
        keep = keep_masked(1 - at / own, 1 - (at + 1) / own, schedule)
        left -= int(reveal_count(due, keep))
    return found


def planned_steps(call: Call) -> list[PlannedStep]:
    """Every step that really happens: a row without masks is finished."""
    left = masks_left(call.tokens, call.steps, call.schedule, call.block_length)
    window = Window(
        start=call.guidance_start, end=call.guidance_end, interval=call.guidance_interval
    )
    found, again = [], False
    for index, (masks, after) in enumerate(pairwise([*left, 0])):
        guided = call.steers and window.has(index, call.steps)
        asked = masks
        if not guided and call.block_length is not None:
            written = math.ceil((call.tokens - after) / call.block_length) * call.block_length
            asked = min(written, call.tokens) - (call.tokens - masks)
        found.append(PlannedStep(masks, asked, guided, again))
        again |= guided
    return found
