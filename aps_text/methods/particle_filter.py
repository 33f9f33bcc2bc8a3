"""The particle filter under FK steering, twisted SMC and APS-SMC: sequential importance resampling.

    a step   z_s ~ q(. | z_t)                         proposal: x_theta, or a tilted x_phi
    weight   log w += log p(z_s | z_t) - log q(z_s | z_t)      over the tokens revealed
             log w += log G_t,   prod_t G_t = psi_T = exp(r(x)/beta)
    potential  difference: log G = v - (sum so far);  max: max v so far;  sum: sum of v so far,
               v = log psi_t(z_t), and for all three the last one is r(x)/beta - (sum so far)

so that the weighted particles target `p(x) exp(r(x)/beta)` whatever the psi_t and the proposal
are (Del Moral 2004; Wu et al. 2023, TDS; Singhal et al. 2025, FK steering). A group is resampled
(systematically) when its effective sample size falls below a share of k. One particle of a group
is returned, by its weight, or the one with the highest reward.

Shapes: B rows of the caller, k particles each, B*k slots; a finished particle waits in its slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.adapters import Denoiser
from ..core.candidates import score_of, stop_bias
from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.objective import sum_rows
from ..core.operator import Operator, guiding
from ..core.remasking import sampling_probs
from ..core.sampler import StepState, Tilt
from ..core.state import Step, Tilted
from ..core.transition import Move, open_step, report, write
from .particles import (
    draw_one,
    effective_size,
    narrow,
    particle_noise,
    slots,
    systematic,
    take_ragged,
)

__all__ = ["ParticleFilter", "Proposal"]


@dataclass
class Proposal:
    """A step's distributions for the rows in work, all `(N, K)` over all their masks.

    Attributes:
        step: its coordinates.
        tilted: x_phi and x_theta.
        log_p, log_q: what the base sampler and the proposal draw from (tempered, top-p).
    """

    step: Step
    tilted: Tilted
    log_p: Tensor
    log_q: Tensor


Promise = Callable[[Operator, Proposal], Tensor | None]
"""`log psi_t` of the rows in work, `(B,)`, given the guiding operator bound to them; None where
nothing is known at this step, and the last value stays."""


@dataclass
class ParticleFilter:
    """A run's fixed parts.

    Attributes:
        particles: k per row.
        config: settings of the base sampler; its `alg` and `remasking` are the order policy.
        beta: temperature of the reward.
        promise: `log psi_t`; asked at every `every`-th step but the first.
        tilt: makes x_phi from x_theta at the steps `guided` names; None proposes from x_theta.
        guided: whether a step is tilted.
        potential: how psi_t enters.
        every: see `promise`; resampling happens there.
        resample: a group is resampled when its effective size is below this share of k.
        final: `weight` or `reward`.
        floor: share of x_theta mixed into the proposal; bounds a token's weight by 1/floor.
    """

    particles: int
    config: APSConfig
    beta: float
    promise: Promise
    tilt: Callable[[Denoiser, Operator, Noise], Tilt] | None = None
    guided: Callable[[int], bool] = lambda index: False
    potential: Literal["difference", "max", "sum"] = "difference"
    every: int = 1
    resample: float = 0.5
    final: Literal["weight", "reward"] = "weight"
    floor: float = 0.0

    def run(
        self, denoiser: Denoiser, operator: Operator, canvas: Canvas, noise: Noise
    ) -> Iterator[StepState]:
        """Fill the canvas; states are those of each row's heaviest, then chosen, particle."""
        mask_id, k, config = denoiser.mask_id, self.particles, self.config
        owners = slots(len(canvas.z), k, canvas.z.device)
        own = particle_noise(noise, k)
        cloud = canvas.take(owners)
        models, reward = denoiser.take(owners), guiding(operator).take(owners)
        busy = (cloud.z == mask_id).any(-1)
        blank = torch.zeros(len(owners), dtype=torch.double, device=owners.device)
        # Per slot: log weight, sum of its log potentials, running max or sum, final reward.
        book = torch.stack([blank, blank, blank, blank], -1)
        if self.potential == "max":
            book[:, 2] = -torch.inf
        tilt: Tilt | None = None
        tilted_slots = busy.nonzero().squeeze(-1)  # the slots whose phi `tilt` holds, in order
        if self.tilt is not None and len(tilted_slots):
            tilt = self.tilt(
                models.take(tilted_slots), reward.take(tilted_slots), own.take(tilted_slots)
            )
        for index in range(config.steps):
            active = busy.nonzero().squeeze(-1)
            if not len(active):
                return
            if tilt is not None and len(active) < len(tilted_slots):
                tilt.take(torch.searchsorted(tilted_slots, active))
            weighed = index > 0 and index % self.every == 0
            proposal = self._propose(
                models.take(active), cloud.take(active), own.take(active), index, tilt, weighed
            )
            if weighed:
                value = self.promise(reward.take(active), proposal)
                if value is not None:
                    book[active] = self._weigh(book[active], value.to(book))
                poor = effective_size(book[:, 0].view(-1, k)) < self.resample * k
                poor &= busy.view(-1, k).any(-1)
                if bool(poor.any()):
                    ancestors = self._ancestors(book, poor, noise, index)
                    cloud, book, busy = cloud.take(ancestors), book[ancestors], busy[ancestors]
                    book[:, 0] = book[:, 0].masked_fill(poor.repeat_interleave(k), 0.0)
                    now = busy.nonzero().squeeze(-1)
                    source = torch.searchsorted(active, ancestors[now])
                    step = open_step(
                        cloud.take(now), mask_id, config, own.take(now), index, everywhere=True
                    )
                    proposal = _reorder(proposal, source, step)
                    if tilt is not None:
                        tilt.take(source)
                    active = now
            tilted_slots = active
            with torch.no_grad():
                move, ratio = self._move(proposal, reward)
            book[active, 0] += ratio
            cloud = cloud.put(active, move.canvas)
            busy = (cloud.z == mask_id).any(-1)
            ended = active[~busy[active]]
            if len(ended):
                r = reward.take(ended).log_prob_ids(cloud.z[ended]).total.to(book)
                book[ended, 3] = r
                book[ended, 0] += r / self.beta - book[ended, 1]
            state = report(
                index,
                config.steps,
                cloud,
                active,
                proposal.step.where,
                proposal.tilted,
                move,
                guided=proposal.log_q is not proposal.log_p,
            )
            yield narrow(state, self._shown(book, busy, noise))

    def _propose(
        self,
        denoiser: Denoiser,
        canvas: Canvas,
        noise: Noise,
        index: int,
        tilt: Tilt | None,
        weighed: bool,
    ) -> Proposal:
        """x_theta, x_phi and what is drawn from: one forward without a tilt."""
        config, guided = self.config, tilt is not None and self.guided(index)
        step = open_step(
            canvas, denoiser.mask_id, config, noise, index, everywhere=guided or weighed
        )
        bias = stop_bias(canvas, step.where, config)
        trunk = denoiser.trunk(canvas.z)
        if guided and tilt is not None:
            tilted = tilt(denoiser, trunk, step, bias)
        else:
            with torch.no_grad():
                log_theta = bias(denoiser.logits(trunk, step.where)).log_softmax(-1)
            tilted = Tilted(log_theta, log_theta)
        with torch.no_grad():
            p = sampling_probs(tilted.log_theta, config.temperature, config.top_p, config.top_k)
            q = p
            if guided and config.temperature > 0:
                # The tilt acts inside the base sampler's own support: outside of it weights are 0.
                inside = tilted.log_phi.masked_fill(p == 0, -torch.inf) / config.temperature
                q = (1 - self.floor) * inside.softmax(-1) + self.floor * p
        log_p = p.log()
        return Proposal(step, tilted, log_p, log_p if q is p else q.log())

    def _weigh(self, book: Tensor, value: Tensor) -> Tensor:
        """Multiply the weights by this step's potential of `value (B,) = log psi_t`."""
        weight, spent, running, reward = book.unbind(-1)
        if self.potential == "max":
            running = running.maximum(value)
        elif self.potential == "sum":
            running = running + value
        gain = value - spent if self.potential == "difference" else running
        return torch.stack([weight + gain, spent + gain, running, reward], -1)

    def _ancestors(self, book: Tensor, poor: Tensor, noise: Noise, index: int) -> Tensor:
        """The slot each slot is a copy of, `(B*k,)`; groups that are not `poor (B,)` stay."""
        k = self.particles
        rows = torch.arange(len(poor), device=poor.device)
        u = noise.uniform(rows, torch.zeros_like(rows), index, "resample")
        drawn = systematic(book[:, 0].view(-1, k), u)
        chosen = torch.where(poor[:, None], drawn, torch.arange(k, device=poor.device))
        return (chosen + rows[:, None] * k).flatten()

    def _move(self, proposal: Proposal, reward: Operator) -> tuple[Move, Tensor]:
        """Draw, order and write; the step's log p - log q per row."""
        step, config = proposal.step, self.config
        rows, cols = step.where
        tokens = step.noise.categorical(proposal.log_q.exp(), rows, cols, step.index, "candidate")
        scores = score_of(proposal.tilted, tokens, step, config, reward)
        move = write(step, tokens, scores, config)
        if proposal.log_q is proposal.log_p:
            return move, torch.zeros(len(step.count), dtype=torch.double, device=rows.device)
        gap = (proposal.log_p - proposal.log_q).gather(-1, tokens[:, None]).squeeze(-1)
        kept = torch.where(move.decided[rows, cols], gap.double(), 0.0)
        return move, sum_rows(kept, rows, len(step.count))

    def _shown(self, book: Tensor, busy: Tensor, noise: Noise) -> Tensor:
        """The slot of each row's chosen particle, or of its heaviest while it has masks, `(B,)`."""
        k = self.particles
        log_weights = book[:, 0].view(-1, k)
        chosen = log_weights.argmax(-1)
        done = ~busy.view(-1, k).any(-1)
        if self.final == "reward":
            last = book[:, 3].view(-1, k).argmax(-1)
        else:
            last = draw_one(log_weights, noise, 0, "final")
        chosen = torch.where(done, last, chosen)
        return chosen + torch.arange(len(chosen), device=chosen.device) * k


def _reorder(proposal: Proposal, source: Tensor, step: Step) -> Proposal:
    """The distributions of other rows `source`, at the step opened for the slots they came to."""
    index, _ = take_ragged(proposal.step.where, source)
    tilted, log_p = proposal.tilted, proposal.log_p[index]
    loss = {name: value[source] for name, value in tilted.loss.items()}
    return Proposal(
        step,
        Tilted(tilted.log_phi[index], tilted.log_theta[index], loss),
        log_p,
        log_p if proposal.log_q is proposal.log_p else proposal.log_q[index],
    )
