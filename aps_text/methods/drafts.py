"""Drafts of a walk: partly masked answers, their values, and the moves between them.

    forward   one step of the base sampler, drawn from x_theta of the draft
    back      some revealed positions, drawn at random, are masked again
    log V     r / beta of a whole answer; of a draft, the log-mean-exp over its completions

Shapes: B' drafts of rows of the caller's canvas, L positions, N masks of all drafts together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.canvas import Canvas, end_at_stop
from ..core.completions import rewards_of
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator
from ..core.protocols import Denoiser, Where
from ..core.remasking import choose
from .ancestral import base_step
from .lookahead import Lookahead
from .particles import take_ragged

__all__ = ["Answers", "Drafts", "Moves"]


@dataclass
class Drafts:
    """Partly masked rows, B of them, with N masks.

    Attributes:
        z, written: `(B, L)`, as in `Canvas`.
        log_value: `(B,)` double, log V.
        where, log_theta: the masks, ordered by row, and `log x_theta` there, `(N, K)`.
    """

    z: Tensor
    written: Tensor
    log_value: Tensor
    where: Where
    log_theta: Tensor

    def whole(self, mask_id: int) -> Tensor:
        """`(B,)` bool: the drafts without masks."""
        return ~(self.z == mask_id).any(-1)

    def take(self, rows: Tensor) -> Drafts:
        """The drafts at `rows (B',)` int64."""
        entries, where = take_ragged(self.where, rows)
        parts = (self.z[rows], self.written[rows], self.log_value[rows])
        return Drafts(*parts, where, self.log_theta[entries])

    def join(self, other: Drafts) -> Drafts:
        """These drafts followed by those of `other`."""
        rows = torch.cat([self.where[0], other.where[0] + len(self.z)])
        where = rows, torch.cat([self.where[1], other.where[1]])
        names = ("z", "written", "log_value")
        z, written, value = (torch.cat([getattr(one, n) for one in (self, other)]) for n in names)
        return Drafts(z, written, value, where, torch.cat([self.log_theta, other.log_theta]))


@dataclass
class Answers:
    """The number of whole answers that each of B walks has reached, and the answer kept of them.

    Attributes:
        met: `(B,)` int64, the number of answers.
        log_value: `(B,)` double, log V of the kept answer; -inf if there is none.
        z, written: `(B, L)`, the kept answer; the initial canvas if there is none.
    """

    met: Tensor
    log_value: Tensor
    z: Tensor
    written: Tensor

    @classmethod
    def none(cls, canvas: Canvas) -> Answers:
        """The record before the first move."""
        met = torch.zeros(len(canvas.z), dtype=torch.long, device=canvas.z.device)
        least = torch.full_like(met, -torch.inf, dtype=torch.double)
        return cls(met, least, canvas.z.clone(), canvas.written.clone())

    def meet(self, rows: Tensor, answers: Drafts, ids: Tensor, *, latest: bool) -> None:
        """Count one answer of each of `rows (B',)`, and keep it if its value is the highest so far.

        Args:
            ids: `(B', L)`, the answers, filled behind their stop tokens.
            latest: keep it in any case.
        """
        self.met[rows] += 1
        held = (answers.log_value > self.log_value[rows]) | (self.met[rows] == 1) | latest
        at = held.nonzero().squeeze(-1)
        self.log_value[rows[at]] = answers.log_value[at]
        self.z[rows[at]], self.written[rows[at]] = ids[at], answers.written[at]


@dataclass
class Moves:
    """The moves of a walk; in each method, `rows (B',)` are the rows of the canvas that move.

    Attributes:
        canvas: the caller's, before the walk.
        draws: see `VGB`.
        anywhere: any position may be masked again; then the moves ignore stop tokens, which
            end an answer only where it is scored or returned.
    """

    denoiser: Denoiser
    reward: Operator
    canvas: Canvas
    config: APSConfig
    beta: float
    draws: int
    anywhere: bool

    def look(self, rows: Tensor, z: Tensor, written: Tensor, noise: Noise) -> Drafts:
        """The drafts with their values and x_theta; one forward for those that have masks."""
        value = torch.zeros(len(z), dtype=torch.double, device=z.device)
        whole = (~(z == self.denoiser.mask_id).any(-1)).nonzero().squeeze(-1)
        if len(whole):
            ids = self.ended(rows[whole], z[whole])
            total = self.reward.take(rows[whole]).log_prob_ids(ids).total
            value[whole] = total.to(value) / self.beta
        canvas = replace(self.canvas.take(rows), z=z)
        ahead = Lookahead.of(self.denoiser, rows, canvas, self.config, noise, 0)
        left, where = ahead.rows, ahead.step.where
        if len(left):
            reward, tokens = self.reward.take(rows[left]), ahead.tokens(self.draws)
            log_v = rewards_of(reward, ahead.step, tokens) / self.beta
            value[left] = log_v.logsumexp(-1) - math.log(log_v.shape[-1])
        return Drafts(z, written, value, (left[where[0]], where[1]), ahead.log_theta)

    def forward(
        self, rows: Tensor, here: Drafts, of: Tensor, level: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """z and written after one step of the base sampler from drafts `of (B',)` of `here`."""
        z, written = here.z[of], here.written[of]
        for index in level.unique().tolist():
            at = (level == index).nonzero().squeeze(-1)
            canvas = replace(self.canvas.take(rows[at]), z=z[at], written=written[at])
            if self.anywhere:
                canvas = replace(canvas, stop_ids=())
            mask_id, own = self.denoiser.mask_id, noise.take(at)
            log_p = here.log_theta[take_ragged(here.where, of[at])[0]]
            book = self.reward.codebook
            *_, move = base_step(canvas, mask_id, self.config, own, index, log_p, book)
            z[at], written[at] = move.canvas.z, move.canvas.written
        return z, written

    def back(self, rows: Tensor, here: Drafts, past: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """z and written with random revealed positions masked again, as many as `past (B', L)` has
        masks."""
        canvas, mask_id = self.canvas.take(rows), self.denoiser.mask_id
        offered = (canvas.z == mask_id) & (here.z != mask_id)
        at, cols = offered.nonzero().unbind(-1)
        scores = torch.zeros(offered.shape, dtype=torch.double, device=at.device)
        scores[at, cols] = noise.uniform(at, cols, 0, "back")
        count = (past == mask_id).sum(-1) - (here.z == mask_id).sum(-1)
        # The highest blocks first: they were revealed last.
        again = choose(scores, offered, None if canvas.block is None else -canvas.block, count)
        return here.z.masked_fill(again, mask_id), here.written.masked_fill(again, -1)

    def ended(self, rows: Tensor, z: Tensor) -> Tensor:
        """`z` with everything behind the first stop token filled."""
        canvas = self.canvas.take(rows)
        return end_at_stop(z, canvas.editable, canvas.stop_ids, canvas.fill_id)
