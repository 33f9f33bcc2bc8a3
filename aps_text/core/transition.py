"""One reverse step t -> s, in two halves: what may be written, and writing it.

    open:  z_t -> the masked positions, how many each row reveals
    write: candidates, what they compete by -> z_s

Every method takes its steps here, so counts, orders, blocks and stop tokens are the same for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .adapters import Where
from .candidates import is_random
from .canvas import Canvas, end_at_stop, is_stop
from .config import APSConfig
from .noise import Noise
from .objective import kl_rows
from .remasking import choose, weakest_committed
from .schedule import alpha, dream_count, keep_masked, reveal_count, time_grid
from .state import Step, StepState, Tilted

__all__ = ["Move", "open_step", "positions_of", "recall", "report", "writable", "write"]


@dataclass
class Move:
    """What a step wrote, for B rows.

    Attributes:
        canvas: after the step.
        candidates: `(B, L)` the proposed tokens, `fill_id` where none was.
        scores: `(B, L)` double; what they competed by.
        revealed: `(B, L)` bool; the positions chosen.
    """

    canvas: Canvas
    candidates: Tensor
    scores: Tensor
    revealed: Tensor

    @property
    def decided(self) -> Tensor:
        """`(B, L)` bool: the chosen positions that no stop token before them threw away. The rest
        is integrated out of the transition's probability."""
        return self.revealed & (self.canvas.z == self.candidates)

    def take(self, rows: Tensor) -> Move:
        """What it wrote in other rows, `(B',)`."""
        return Move(
            self.canvas.take(rows),
            self.candidates[rows],
            self.scores[rows],
            self.revealed[rows],
        )


def positions_of(on: Tensor) -> Where:
    """`(rows, cols)` of the True entries of `(B, L)`, ordered by row."""
    rows, cols = on.nonzero().unbind(-1)
    return rows, cols


def writable(masked: Tensor, block: Tensor | None, count: Tensor) -> Tensor:
    """Masks whose block can be written at this step: logits are needed nowhere else."""
    if block is None:
        return masked
    far = torch.iinfo(torch.long).max
    ordered = torch.where(masked, block, far).sort(-1).values
    last = ordered.gather(-1, (count - 1).clamp_min(0)[:, None])
    return masked & (block <= last)


def open_step(
    canvas: Canvas, mask_id: int, config: APSConfig, noise: Noise, index: int, *, everywhere: bool
) -> Step:
    """Step `index`'s coordinates for rows that all have masks.

    Args:
        everywhere: ask for all masked positions, not only those that can be written; of these there
            may be none.
    """
    grid = time_grid(config.steps)
    t, s = grid[index], grid[index + 1]
    masked = canvas.z == mask_id
    masks = masked.sum(-1)
    if config.counting == "dream":
        count = dream_count(masks, index, config.steps)
    else:
        count = reveal_count(masks, keep_masked(t, s, config.schedule))
    expected = count
    within = writable(masked, canvas.block, count)
    if config.alg == "origin":
        # Every mask is revealed by its own coin; a row may reveal none before the last step.
        tossed = positions_of(within)
        coin = noise.uniform(*tossed, index, "order") < 1 - keep_masked(t, s, config.schedule)
        count = torch.zeros_like(count).index_add(0, tossed[0], coin.long())
        if canvas.block is None and not config.revisable:
            within = torch.zeros_like(within).index_put(tossed, coin)
    may_reveal_none = config.alg == "origin" or config.counting == "dream"
    if may_reveal_none and config.threshold is None and not config.revisable:
        within = within & (count > 0)[:, None]
    asked = masked if everywhere else within
    return Step(index, canvas, asked, positions_of(asked), count, expected, noise)


def write(
    step: Step,
    candidates: Tensor,
    scores: Tensor,
    config: APSConfig,
    recalled: tuple[Tensor, Tensor, int] | None = None,
) -> Move:
    """Reveal the `step.count` best candidates of each row.

    Args:
        candidates, scores: `(N,)` at `step.where`.
        recalled: committed positions that compete again: where `(B, L)` bool, their scores
            `(B, L)`, and the mask that those which lose become.
    """
    canvas, asked, where, count = step.canvas, step.asked, step.where, step.count
    dense = torch.zeros(canvas.z.shape, dtype=torch.double, device=canvas.z.device)
    dense = dense.index_put(where, scores.double())
    if config.threshold is not None:
        sure = (dense >= config.threshold) & writable(asked, canvas.block, count)
        count = count.maximum(sure.sum(-1))
    again, offered = None, asked
    if recalled is not None:
        again, committed_score, _ = recalled
        dense = torch.where(again, committed_score, dense)
        offered, count = asked | again, count + again.sum(-1)
    kept = choose(dense, offered, canvas.block, count, again)
    proposal = torch.full_like(canvas.z, canvas.fill_id).index_put(where, candidates)
    revealed = kept & asked
    written = torch.where(revealed, proposal, canvas.z)
    if recalled is not None:
        written = torch.where(recalled[0] & ~kept, recalled[2], written)
    z = end_at_stop(written, canvas.editable, canvas.stop_ids, canvas.fill_id)
    when = torch.where(z == canvas.z, canvas.written, step.index)
    done = replace(canvas, z=z, written=when)
    return Move(done, proposal, dense, revealed)


def recall(step: Step, mask_id: int, scores: Tensor, config: APSConfig) -> tuple[Tensor, Tensor]:
    """Committed positions that compete again `(B, L)` bool, and their scores `(B, L)`.

    `scores (B, L)` are those they were committed with. A random order has no memory: which compete
    again is drawn, and so is what they compete by, as that of the masks is. Stop tokens and what is
    behind them stay.
    """
    canvas, grid = step.canvas, time_grid(config.steps)
    t, s = grid[step.index], grid[step.index + 1]
    settled = canvas.editable & (canvas.z != mask_id) & (canvas.z != canvas.fill_id)
    settled &= ~is_stop(canvas.z, canvas.stop_ids)

    def drawn(on: Tensor, stream: str) -> Tensor:
        where = positions_of(on)
        return scores.index_put(where, -step.noise.uniform(*where, step.index, stream))

    if is_random(config):
        scores = drawn(settled, "revise")
    again = weakest_committed(scores, settled, alpha(t, config.schedule), alpha(s, config.schedule))
    return again, drawn(again, "order") if is_random(config) else scores


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
    the rows in work, `active (B',)`, rising.

    Raises:
        RuntimeError: the probabilities are no numbers.
    """

    def spread(values: Tensor, empty: float) -> Tensor:
        if len(active) == len(canvas.z):  # nobody has finished
            return values
        out = values.new_full((len(canvas.z), *values.shape[1:]), empty)
        return out.index_put((active,), values)

    at = move.candidates[where][:, None]
    blank = torch.zeros(move.revealed.shape, dtype=tilted.log_phi.dtype, device=at.device)

    def picked(log_probs: Tensor) -> Tensor:
        chosen = log_probs.gather(-1, at).squeeze(-1).exp()
        return spread(blank.index_put(where, chosen), 0.0)

    under_phi = picked(tilted.log_phi)
    if math.isnan(under_phi.sum()):
        row = int(under_phi.isnan().any(-1).nonzero()[0])
        raise RuntimeError(
            f"the model's probabilities are NaN at step {index}, first in row {row} of the batch; "
            "in float16 its numbers overflow (load with dtype=torch.bfloat16 or float32), else the "
            "weights or the learning_rate are bad"
        )
    kl = None
    if guided:
        kl = blank.new_zeros(len(active))
        if tilted.log_phi is not tilted.log_theta:
            kl = kl_rows(tilted.log_phi, tilted.log_theta, where[0], len(active))
        kl = spread(kl, 0.0)
    return StepState(
        step=index,
        steps=steps,
        z=canvas.z,
        written=canvas.written,
        revealed=spread(move.revealed, False),
        candidates=spread(move.candidates, canvas.fill_id),
        tilted=under_phi,
        prior=under_phi if tilted.log_theta is tilted.log_phi else picked(tilted.log_theta),
        guided=guided,
        loss={name: spread(value, 0.0) for name, value in tilted.loss.items()},
        kl=kl,
    )
