"""VGB: a random walk on drafts; each move reveals tokens or masks some again.

    from a draft w, of value V(w):
      forward   to x_m  with weight V(x_m) / M,   x_1..M ~ p(. | w), one step of the base sampler
      back      to a parent  with weight V(w);    w becomes one of the parent's M candidates
    V(w) = exp(r / beta) for a whole answer, else the mean of exp(r / beta) over completions of w

With `remask="any"`, a move back masks random positions, as many as the step had revealed, and
positions are revealed in random order; with `remask="last"` it undoes the last step, and positions
are revealed in the order of the call's settings. The walk is reversible; its law on drafts is

    pi(w)  ~  p(w) (V(w) + E[V(x) | w]) / N(w)

with p(w) the probability that the base sampler passes through w, and N(w) the number of sets of
positions that can be masked at the step of w (1 with `last`); the first term is absent where
nothing is revealed yet, the second where nothing is masked. On whole answers pi is proportional to
`p(x) exp(r(x)/beta)`, for every choice of V on drafts. With `last`, p is the law of the base
sampler, for any order and any number of tokens per step. With `any`, x_theta must consist of the
conditionals of one joint law, which is p; otherwise the walk is not reversible.

Until the first whole answer all moves are forward. The walk ends at the n-th whole answer.
Source: Jeon, Vuong, Tao 2026, "VGB for Masked Diffusion Model", https://arxiv.org/abs/2606.28301,
and its code (`any`); Rohatgi et al. 2025, "Taming Imperfect Process Verifiers",
https://arxiv.org/abs/2510.03149 (`last`). Differences: the value is the reward of a completion,
theirs the output of a trained verifier; moves back begin after the first answer, theirs at once,
and their walk ends at the first accepted answer; they draw all candidates anew at every move, from
a short list of positions, so that their walk has the law pi only in the limit of a long list and
large M; the positions per step follow the call's time grid, theirs are a fixed number. Cost per
returned sample: 1 + M*(T-1) forwards and 1 + M*T rewards up to the first answer, then at most M
forwards and M rewards per move; if `draws` > 1, a draft with masks costs `draws` rewards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator, guiding
from ..core.protocols import Denoiser
from ..core.states import StepState, refuse_nan
from .checks import check_beta, check_counts, check_number, check_one_of
from .drafts import Answers, Drafts, Moves
from .particles import draw_one, unmasking_only
from .reweighted import Reweighted

__all__ = ["VGB"]

LEAST = -1e30
"""Log-weight of a move that the reward forbids: taken only where every move is forbidden."""


@dataclass(frozen=True)
class VGB(Reweighted):
    """See `Method`.

    Attributes:
        candidates: M >= 1 drafts of the whole canvas, from which a forward move chooses.
        answers: n >= 1, the number of whole answers after which the walk ends; 1 moves forward
            only.
        limit: >= 1; the walk ends after `limit * T` moves at the latest.
        remask: a move back masks `any` revealed positions, or those of the `last` step.
        draws: number of completions drawn from x_theta for the value of a draft; 0 uses the most
            probable token of each position.
        beta: > 0; None uses the call's `beta`.
        final: return the `last` whole answer (its law tends to the target as `answers` grows,
            unless `limit` ended the walk), or the one with the highest `reward`.
    """

    candidates: int = 2
    answers: int = 4
    limit: int = 8
    remask: Literal["any", "last"] = "any"
    draws: int = 0
    beta: float | None = None
    final: Literal["last", "reward"] = "reward"

    def __post_init__(self) -> None:
        check_counts(candidates=self.candidates, answers=self.answers, limit=self.limit)
        check_number("draws", self.draws, (0, math.inf, True), whole=True)
        check_one_of("remask", self.remask, ("any", "last"))
        check_one_of("final", self.final, ("last", "reward"))
        check_beta(self.beta)

    def settings(self, config: APSConfig) -> APSConfig:
        """See `Declares`."""
        base = super().settings(config)
        if self.remask == "last":
            return base
        return base.replace(alg="maskgit_plus", remasking="random")

    @torch.no_grad()
    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """Yield a state per move: the drafts, and the answers of rows whose walk has ended.

        Raises:
            ValueError: the call's `remask` is True.
        """
        unmasking_only(config, "VGB")
        beta = self.beta_in(config)
        config, many, device = self.settings(config), self.candidates, canvas.z.device
        total, mask_id = config.sampler.steps, denoiser.mask_id
        moves = self.limit * total
        walk = Moves(
            denoiser, guiding(operator), canvas, config, beta, self.draws, self.remask == "any"
        )

        def numbered(at: Tensor, move: int, slot: Tensor | int) -> Noise:
            """The noise of rows `at` for one move and one candidate."""
            own = noise.take(at)
            number = own.particle * ((moves + 1) * (many + 1)) + move * (many + 1) + slot
            return Noise(own.row_seed, number)

        rows = (canvas.z == mask_id).any(-1).nonzero().squeeze(-1)
        if not len(rows):
            return
        here = walk.look(rows, canvas.z[rows], canvas.written[rows], numbered(rows, moves, 0))
        left = here.take(rows[:0])  # the drafts that the last moves back have left
        came = torch.zeros_like(rows, dtype=torch.bool)  # rows whose last move was back
        level = torch.zeros_like(rows)
        past = canvas.z.repeat(total + 1, 1, 1)  # the last draft of each level
        wrote = canvas.written.repeat(total + 1, 1, 1)
        found = Answers.none(canvas)
        for move in range(moves):
            # The candidates. After a move back, the draft that it left is candidate 0.
            each = torch.arange(len(rows), device=device)
            fresh = (many - came.long()).masked_fill(here.whole(mask_id), 0)
            of = each.repeat_interleave(fresh)
            begin = fresh.cumsum(0) - fresh - came.long()
            slot = torch.arange(len(of), device=device) - begin[of]
            own = numbered(rows[of], move, slot)
            z, written = walk.forward(rows[of], here, of, level[of], own)
            options = walk.look(rows[of], z, written, own).join(left)
            index = torch.full((len(rows), many), -1, device=device)
            index[of, slot] = torch.arange(len(of), device=device)
            index[came, 0] = torch.arange(len(of), len(options.z), device=device)
            # The move.
            worth = torch.cat([options.log_value, options.log_value.new_zeros(1)])[index]
            log_f = (worth - math.log(many)).clamp_min(LEAST)
            log_b = here.log_value.clamp_min(LEAST)
            log_f = log_f.masked_fill(index < 0, -torch.inf)
            log_b = log_b.masked_fill(found.met[rows] == 0, -torch.inf)
            log_b = log_b.masked_fill(level == 0, -torch.inf)
            chosen = draw_one(torch.cat([log_f, log_b[:, None]], 1), noise.take(rows), move, "move")
            before, came = here, chosen == many
            at = came.nonzero().squeeze(-1)
            pick = index[each, chosen.clamp_max(many - 1)]
            if len(at):
                own, below = numbered(rows[at], move, many), level[at] - 1
                z, written = past[below, rows[at]], wrote[below, rows[at]]
                if self.remask == "any":
                    z, written = walk.back(rows[at], here.take(at), z, own)
                pick[at] = torch.arange(len(at), device=device) + len(options.z)
                options = options.join(walk.look(rows[at], z, written, own))
            left, here = here.take(at), options.take(pick)
            level = level + torch.where(came, -1, 1)
            past[level, rows], wrote[level, rows] = here.z, here.written
            # Record whole answers; drop the rows whose walk has ended.
            at = here.whole(mask_id).nonzero().squeeze(-1)
            ids = walk.ended(rows[at], here.z[at])
            found.meet(rows[at], here.take(at), ids, latest=self.final == "last")
            going = found.met[rows] < self.answers
            if move == moves - 1:
                going = torch.zeros_like(going)
            stay = going.nonzero().squeeze(-1)
            z, written = found.z.clone(), found.written.clone()
            z[rows[stay]] = ended = walk.ended(rows[stay], here.z[stay])
            cut = (ended != here.z[stay]) & (here.written[stay] < 0)
            written[rows[stay]] = torch.where(cut, level[stay][:, None] - 1, here.written[stay])
            yield _state(move, moves, z, written, rows, before, here, canvas.fill_id)
            left, came = left.take(going[came].nonzero().squeeze(-1)), came[stay]
            rows, here, level = rows[stay], here.take(stay), level[stay]
            if not len(rows):
                return


def _state(
    move: int,
    moves: int,
    z: Tensor,
    written: Tensor,
    rows: Tensor,
    before: Drafts,
    after: Drafts,
    fill_id: int,
) -> StepState:
    """The state after a move of the drafts of `rows`, with all B rows of `z (B, L)`."""
    new = (after.z != before.z) & (after.written >= 0) & (before.written < 0)
    at = torch.where(new, after.z, 0)[before.where][:, None]
    chance = torch.zeros(new.shape, dtype=before.log_theta.dtype, device=z.device)
    chance = chance.index_put(before.where, before.log_theta.gather(-1, at).squeeze(-1).exp())
    refuse_nan(chance, move)
    candidates, tilted = torch.full_like(z, fill_id), chance.new_zeros(z.shape)
    candidates[rows], tilted[rows] = after.z.masked_fill(~new, fill_id), chance.masked_fill(~new, 0)
    revealed = torch.zeros_like(z, dtype=torch.bool)
    revealed[rows] = new
    return StepState(
        step=move,
        steps=moves,
        z=z,
        written=written,
        revealed=revealed & (candidates == z),
        candidates=candidates,
        tilted=tilted,
        prior=tilted,
        guided=False,  # there is no x_phi
    )
