"""Sequential importance resampling: the particle filter of FK steering, twisted SMC and APS-SMC.

    a step   z_s ~ q(. | z_t)                         proposal: x_theta, or a tilted x_phi
    weight   log w += log p(z_s | z_t) - log q(z_s | z_t)      over the tokens revealed
             log w += log G_t,   prod_t G_t = psi_T = exp(r(x)/beta)
    potential  difference: log G = v - (sum so far);  max: max v so far;  sum: sum of v so far,
               v = log psi_t(z_t), and for all three the last one is r(x)/beta - (sum so far)

so that the weighted particles target `p(x) exp(r(x)/beta)` whatever the psi_t and the proposal are
(Wu et al. 2023, TDS, https://arxiv.org/abs/2306.17775; Singhal et al. 2025, FK steering,
https://arxiv.org/abs/2501.06848). The k particles of a row are a group; it is resampled
(systematically) when its effective sample size is below a fraction of k. One particle of a group
is returned: drawn by weight, or the one with the highest reward.

Given a reference path the filter is conditional SMC (Andrieu, Doucet, Holenstein 2010): slot 0 of a
group repeats the path and is its own ancestor, and the other slots draw their ancestors
independently among all k. One particle drawn by its weight is then a Gibbs update of the path.

Shapes: B rows of the caller, k particles each, B*k slots. A finished particle keeps its slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.noise import Noise, drawn
from ..core.objective import sum_rows
from ..core.operator import Operator, guiding
from ..core.protocols import Denoiser
from ..core.sampler import Tilt
from ..core.states import StepState, Tilted, Transition
from ..core.step import Step
from ..core.token_sampling import sampling_probs
from .particles import (
    ParticlePath,
    Weights,
    draw_one,
    effective_size,
    normalised,
    particle_noise,
    slots,
    systematic,
    take_ragged,
)

__all__ = ["ParticleFilter", "Proposal"]


@dataclass
class Proposal:
    """A step's distributions for the unfinished slots, all `(N, K)` over their masked positions.

    Attributes:
        step: the step's inputs.
        tilted: x_phi and x_theta.
        log_p, log_q: the distributions that the base sampler and the proposal draw from (tempered,
            top-k, top-p); one object if the step is not tilted.
    """

    step: Step
    tilted: Tilted
    log_p: Tensor
    log_q: Tensor

    @property
    def guided(self) -> bool:
        """Whether the step is tilted."""
        return self.log_q is not self.log_p

    def take(self, source: Tensor, step: Step) -> Proposal:
        """The distributions of rows `source (B',)`; `step` was opened for their new slots."""
        entries, _ = take_ragged(self.step.where, source)
        log_p = self.log_p[entries]
        log_q = self.log_q[entries] if self.guided else log_p
        return Proposal(step, self.tilted.take(source, entries), log_p, log_q)


Twist = Callable[[Operator, Proposal], Tensor | None]
"""Maps the guiding operator, bound to the unfinished slots, and their proposal to `log psi_t (B,)`;
None leaves the weights of this step unchanged."""


@dataclass
class ParticleFilter:
    """A particle filter; see the module.

    Attributes:
        particles: k per row.
        config: settings of the base sampler; its `alg` and `remasking` are the order policy.
        beta: temperature of the reward, > 0.
        log_twist: computes `log psi_t` at every `every`-th step except the first.
        tilt: makes the `Tilt` used at guided steps; None proposes from x_theta at every step.
        guided: whether the step of an index is tilted.
        potential: `difference | max | sum`: how psi_t enters the weights.
        every: see `log_twist`; resampling happens only at these steps.
        resample: a group is resampled when its effective size is below this fraction of k.
        final: return a particle drawn by `weight`, or the one with the highest `reward`.
        floor: fraction of x_theta mixed into the proposal; bounds a token's weight by 1/floor.
    """

    particles: int
    config: APSConfig
    beta: float
    log_twist: Twist
    tilt: Callable[[Denoiser, Operator, Noise], Tilt] | None = None
    guided: Callable[[int], bool] = lambda index: False
    potential: Literal["difference", "max", "sum"] = "difference"
    every: int = 1
    resample: float = 0.5
    final: Literal["weight", "reward"] = "weight"
    floor: float = 0.0

    def run(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        noise: Noise,
        *,
        reference: ParticlePath | None = None,
        trail: ParticlePath | None = None,
    ) -> Iterator[StepState]:
        """Fill the canvas; each row's states are those of `_shown`'s particle.

        Args:
            reference: a path of each row, which makes this conditional SMC.
            trail: an empty path, which receives the path of each row's returned particle.

        Raises:
            ValueError: a reference together with a tilt, for which no weights are computed.
        """
        if reference is not None and self.tilt is not None:
            raise ValueError(
                "a reference path needs a filter that proposes from x_theta; leave out the tilt"
            )
        mask_id, k = denoiser.mask_id, self.particles
        owners = slots(len(canvas.z), k, canvas.z.device)
        own, cloud = particle_noise(noise, k), canvas.take(owners)
        models, reward = denoiser.take(owners), guiding(operator).take(owners)
        weights = Weights.even(len(owners), self.potential, owners.device)
        busy = (cloud.z == mask_id).any(-1)
        tilted_slots = busy.nonzero().squeeze(-1)  # the slots whose phi `tilt` holds, in order
        tilt: Tilt | None = None
        if self.tilt is not None and len(tilted_slots):
            tilt = self.tilt(
                models.take(tilted_slots), reward.take(tilted_slots), own.take(tilted_slots)
            )
        if trail is not None:
            trail.canvases = [cloud]
        for index in range(self.config.sampler.steps):
            active = busy.nonzero().squeeze(-1)
            if not len(active):
                break
            if tilt is not None and len(active) < len(tilted_slots):
                tilt.take(torch.searchsorted(tilted_slots, active))
            looks = index > 0 and index % self.every == 0
            tilts = tilt is not None and self.guided(index)
            step = self._open(cloud, active, own, index, mask_id, everywhere=looks or tilts)
            proposal = self._propose(models.take(active), step, tilt if tilts else None)
            if looks:
                value = self.log_twist(reward.take(active), proposal)
                if value is not None:
                    weights.weigh(active, value.to(weights.log_weight), self.potential)
                ancestors, resampled = self._ancestors(
                    weights, busy, noise, index, conditional=reference is not None
                )
                if bool(resampled.any()):
                    if trail is not None:
                        trail.keep(ancestors)
                    cloud, busy = cloud.take(ancestors), busy[ancestors]
                    weights = weights.take(ancestors, resampled)
                    now = busy.nonzero().squeeze(-1)
                    source = torch.searchsorted(active, ancestors[now])
                    step = self._open(cloud, now, own, index, mask_id, everywhere=True)
                    proposal, active = proposal.take(source, step), now
                    if tilt is not None:
                        tilt.take(source)
            tilted_slots = active
            with torch.no_grad():
                move, ratio = self._move(proposal, reward)
                if reference is not None:
                    move = self._follow(step, move, active, reference)
            weights.log_weight[active] += ratio
            cloud = cloud.put(active, move.canvas)
            if trail is not None:
                trail.canvases.append(cloud)
            busy = (cloud.z == mask_id).any(-1)
            ended = active[~busy[active]]
            if len(ended):
                r = reward.take(ended).log_prob_ids(cloud.z[ended]).total
                weights.finish(ended, r.to(weights.reward), self.beta)
            state = step.report(cloud, active, proposal.tilted, move, guided=proposal.guided)
            yield state.take(self._shown(weights, busy, noise))
        if trail is not None:
            trail.keep(self._shown(weights, busy, noise))

    def _open(
        self,
        cloud: Canvas,
        at: Tensor,
        own: Noise,
        index: int,
        mask_id: int,
        *,
        everywhere: bool,
    ) -> Step:
        return Step.open(
            cloud.take(at), mask_id, self.config, own.take(at), index, everywhere=everywhere
        )

    def _propose(self, denoiser: Denoiser, step: Step, tilt: Tilt | None) -> Proposal:
        """x_theta, x_phi and the two sampling distributions; one forward if there is no tilt."""
        if tilt is not None:
            tilted = tilt(denoiser, step)
        else:
            log_theta = step.x_theta(denoiser)
            tilted = Tilted(log_theta, log_theta)
        law = self.config.sampler.draw
        with torch.no_grad():
            p = sampling_probs(tilted.log_theta, law.temperature, law.top_p, law.top_k)
            log_p = log_q = p.log()
            if tilt is not None and law.temperature > 0:
                # Tokens outside the base sampler's support would have weight 0: not proposed.
                inside = tilted.log_phi.masked_fill(p == 0, -torch.inf) / law.temperature
                log_q = ((1 - self.floor) * inside.softmax(-1) + self.floor * p).log()
        return Proposal(step, tilted, log_p, log_q)

    def _ancestors(
        self, weights: Weights, busy: Tensor, noise: Noise, index: int, *, conditional: bool
    ) -> tuple[Tensor, Tensor]:
        """The slot each slot is a copy of, and whether its group is resampled, both `(B*k,)`."""
        k = self.particles
        log_weight = weights.log_weight.view(-1, k)
        poor = effective_size(log_weight) < self.resample * k
        poor &= busy.view(-1, k).any(-1)
        rows = torch.arange(len(poor), device=poor.device)
        if conditional:
            u = noise.uniform(rows, torch.zeros_like(rows), index, "resample", k)
            fresh = drawn(normalised(log_weight), u)
            fresh[:, 0] = 0
        else:
            u = noise.uniform(rows, torch.zeros_like(rows), index, "resample")
            fresh = systematic(log_weight, u)
        chosen = torch.where(poor[:, None], fresh, torch.arange(k, device=poor.device))
        return (chosen + rows[:, None] * k).flatten(), poor.repeat_interleave(k)

    def _move(self, proposal: Proposal, reward: Operator) -> tuple[Transition, Tensor]:
        """Draw, rank and write; returns the transition and its log p - log q per row."""
        step, (rows, cols) = proposal.step, proposal.step.where
        tokens = step.noise.categorical(proposal.log_q.exp(), rows, cols, step.index, "candidate")
        move = step.write(tokens, step.score(proposal.tilted, tokens, reward.codebook))
        if not proposal.guided:
            return move, torch.zeros(len(step.count), dtype=torch.double, device=rows.device)
        gap = (proposal.log_p - proposal.log_q).gather(-1, tokens[:, None]).squeeze(-1)
        kept = torch.where(move.decided[rows, cols], gap.double(), 0.0)
        return move, sum_rows(kept, rows, len(step.count))

    def _follow(
        self, step: Step, move: Transition, active: Tensor, reference: ParticlePath
    ) -> Transition:
        """The transition with slot 0 of each group replaced by the reference's."""
        at = (active % self.particles == 0).nonzero().squeeze(-1)
        path = reference.after(step.index).take(active[at] // self.particles)
        wrote = (path.z != step.canvas.z[at]) & (path.z != path.fill_id)
        return replace(
            move,
            canvas=move.canvas.put(at, path),
            candidates=move.candidates.index_put(
                (at,), torch.where(wrote, path.z, move.candidates[at])
            ),
            revealed=move.revealed.index_put((at,), wrote),
        )

    def _shown(self, weights: Weights, busy: Tensor, noise: Noise) -> Tensor:
        """The slot to show of each row, `(B,)`: the chosen particle once all are finished, before
        that the one with the largest weight."""
        k = self.particles
        log_weight = weights.log_weight.view(-1, k)
        if self.final == "reward":
            last = weights.reward.view(-1, k).argmax(-1)
        else:
            last = draw_one(log_weight, noise, 0, "final")
        done = ~busy.view(-1, k).any(-1)
        chosen = torch.where(done, last, log_weight.argmax(-1))
        return chosen + torch.arange(len(chosen), device=chosen.device) * k
