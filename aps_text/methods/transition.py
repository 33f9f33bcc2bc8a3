"""One reverse step t -> s of masked diffusion, in two halves: what may be written, and writing it.

    open:  z_t -> the masked positions, how many each row reveals, x_theta there
    write: candidates, what they compete by -> z_s

The same counts, orders, blocks, stop tokens and draws as `sampler.denoise` (a test compares them
token for token), for methods that carry many particles, or weigh a step before it is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..adapter import Denoiser, Where
from ..candidates import stop_bias
from ..canvas import Canvas, end_at_stop
from ..config import APSConfig
from ..noise import Noise
from ..objective import kl_rows
from ..remasking import choose
from ..sampler import positions_of, reachable
from ..schedule import dream_count, keep_masked, reveal_count, time_grid
from ..state import Step, StepState, Tilted

__all__ = ["Move", "base_config", "fill_in", "open_step", "prior", "report", "write"]


@dataclass
class Move:
    """What a step wrote, for B rows.

    Attributes:
        canvas: after the step.
        candidates: `(B, L)` the proposed tokens, `fill_id` where none was.
        revealed: `(B, L)` bool; the positions chosen.
        decided: `(B, L)` bool; those of them that no stop token before them threw away. The rest
            is integrated out of the transition's probability.
    """

    canvas: Canvas
    candidates: Tensor
    revealed: Tensor
    decided: Tensor

    def take(self, rows: Tensor) -> Move:
        """What it wrote in other rows, `(B',)`."""
        return Move(
            self.canvas.take(rows),
            self.candidates[rows],
            self.revealed[rows],
            self.decided[rows],
        )


def base_config(config: APSConfig) -> APSConfig:
    """The settings with which `config` decodes without a reward."""
    order = "standard" if config.remasking == "anchored" else config.remasking
    return config.replace(
        inner_steps=0, remasking=order, standard_score="theta", candidate="sample"
    )


def open_step(
    canvas: Canvas, mask_id: int, config: APSConfig, noise: Noise, index: int, *, everywhere: bool
) -> Step:
    """Step `index`'s coordinates for rows that all have masks.

    Args:
        everywhere: ask for all masked positions, not only those of blocks that can be written.
    """
    grid = time_grid(config.steps)
    t, s = grid[index], grid[index + 1]
    masked = canvas.z == mask_id
    masks = masked.sum(-1)
    if config.counting == "dream":
        count = dream_count(masks, index, config.steps)
    else:
        count = reveal_count(masks, keep_masked(t, s, config.schedule))
    writable = masked & reachable(masked, canvas.block, count, config)
    where = positions_of(masked if everywhere else writable)
    if config.alg == "origin":  # every mask is revealed by its own coin; maybe none
        tossed = positions_of(writable)
        coin = noise.uniform(*tossed, index, "order") < 1 - keep_masked(t, s, config.schedule)
        count = torch.zeros_like(count).index_add(0, tossed[0], coin.long())
    return Step(index, canvas, where, count, count.clamp_min(1) / masks, noise)


@torch.no_grad()
def prior(denoiser: Denoiser, canvas: Canvas, where: Where, config: APSConfig) -> Tensor:
    """`log x_theta(z_t)` at `where`, `(N, K)`: one forward."""
    logits = denoiser.logits(denoiser.trunk(canvas.z), where)
    return stop_bias(canvas, where, config)(logits).log_softmax(-1)


def write(step: Step, candidates: Tensor, scores: Tensor, config: APSConfig) -> Move:
    """Reveal the `step.count` best candidates of each row; `candidates`, `scores` are `(N,)`."""
    canvas, where = step.canvas, step.where
    offered = torch.zeros_like(canvas.editable).index_put(where, torch.ones_like(where[0]).bool())
    dense = torch.zeros(canvas.z.shape, dtype=torch.double, device=canvas.z.device)
    dense = dense.index_put(where, scores.double())
    count = step.count
    if config.threshold is not None:
        sure = (dense >= config.threshold) & offered
        count = count.maximum((sure & reachable(offered, canvas.block, count, config)).sum(-1))
    revealed = choose(dense, offered, canvas.block, count)
    proposal = torch.full_like(canvas.z, canvas.fill_id).index_put(where, candidates)
    written = torch.where(revealed, proposal, canvas.z)
    z = end_at_stop(written, canvas.editable, canvas.stop_ids, canvas.fill_id)
    return Move(replace(canvas, z=z), proposal, revealed, revealed & (z == written))


def fill_in(canvas: Canvas, where: Where, tokens: Tensor) -> Tensor:
    """Whole answers: tokens `(N, n)` at the masked positions, ended at their stop, `(B * n, L)`.

    Committed tokens are kept; a row's n answers stand together.
    """
    count = tokens.shape[-1]
    ids = canvas.z[:, None].repeat(1, count, 1)
    ids[where[0], :, where[1]] = tokens
    editable = canvas.editable[:, None].expand_as(ids)
    return end_at_stop(ids, editable, canvas.stop_ids, canvas.fill_id).flatten(0, 1)


def report(
    index: int,
    steps: int,
    canvas: Canvas,
    active: Tensor,
    where: Where,
    tilted: Tilted,
    move: Move,
    *,
    guided: bool = True,
) -> StepState:
    """What step `index` did to all B rows of `canvas`; `where`, `tilted` and `move` are those of
    the rows in work, `active (B',)`."""

    def spread(values: Tensor, empty: float) -> Tensor:
        out = values.new_full((len(canvas.z), *values.shape[1:]), empty)
        return out.index_put((active,), values)

    at = move.candidates[where][:, None]
    blank = torch.zeros(move.revealed.shape, dtype=tilted.log_phi.dtype, device=at.device)
    picked = [p.gather(-1, at).squeeze(-1).exp() for p in (tilted.log_phi, tilted.log_theta)]
    kl = None
    if guided:
        kl = spread(kl_rows(tilted.log_phi, tilted.log_theta, where[0], len(active)), 0.0)
    return StepState(
        step=index,
        steps=steps,
        z=canvas.z,
        revealed=spread(move.revealed, False),
        candidates=spread(move.candidates, canvas.fill_id),
        tilted=spread(blank.index_put(where, picked[0]), 0.0),
        prior=spread(blank.index_put(where, picked[1]), 0.0),
        guided=guided,
        loss={name: spread(value, 0.0) for name, value in tilted.loss.items()},
        kl=kl,
    )
