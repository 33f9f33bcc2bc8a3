"""SGDD, split Gibbs with a masked prior: the measurement sees z, the prior x, and z is a noisy x.

    pi(x, z) ~ p(x) prod_l k(z_l | x_l) q(y|z)^(1/beta)       k(z|x) = (1 - e) 1{z = x} + e / K

K tokens, e the noise level. A sweep redraws x, then z:

    prior        m_l = 1 if z_l != x_l, else with probability rho = (e/K) / ((1 - e) + e/K)
                 x_{m=1} ~ p(. | x_{m=0})                     the masked reverse process
    likelihood   Metropolis-Hastings on z for q(y|z)^(1/beta) rho^#{l: z_l != x_l}

A draw from k copies with probability 1 - e and is uniform otherwise, and m marks what was redrawn:
given m, p(x, m | z) keeps x = z where m = 0 and is the prior elsewhere. So both halves leave pi as
it is, for any K, if the reverse process draws from p (one token a step). e falls linearly from
`start` to `epsilon` over the sweeps; pi is that of `epsilon` where the two are equal.

With large K rho is about e/K, and the exact prior step redraws little beyond what the measurement
moved. `prior_step="renoise"`, the authors' practice carried over, masks each token of z with
probability e, fills them and starts z from the new x; it leaves no stated law as it is.

Proposals: `uniform`, a token at one position (the authors'); `bit`, one sign of one position;
`langevin`, every sign by itself, from one gradient (Zhang et al. 2022, "A Langevin-like Sampler
for Discrete Distributions", https://arxiv.org/abs/2206.09914), accepted or refused as a whole; its
odds are in `sign_flips`.

Source: Chu et al. 2025, "Split Gibbs Discrete Diffusion Posterior Sampling",
https://arxiv.org/abs/2503.01161, whose prior is of uniform noise. Differences: the prior, and with
it the prior step; z goes on from z and not from x (`renoise`: from x, as theirs); the other two
proposals. The answer is z, as theirs. Cost per sample, S sweeps, n proposals each: at most S*T
forwards and S*(n + 1) operator forwards, with `langevin` as many backwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.canvas import Canvas, positions_of
from ..core.codebook import Codebook, LFQCodebook, VectorCodebook
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.operator import Operator, ZeroOperator, guiding
from ..core.protocols import Denoiser
from ..core.sampler import denoise
from ..core.states import StepState
from .checks import check_beta, check_counts, check_number, check_one_of, ordered
from .particles import particle_noise, unmasking_only
from .reweighted import Reweighted
from .sign_flips import NO_SIGNS, Conditional

__all__ = ["SplitGibbs", "log_rho", "redraw_probs"]


@dataclass(frozen=True)
class SplitGibbs(Reweighted):
    """See `Method`.

    Attributes:
        sweeps: S >= 1.
        mh_steps: proposals of a likelihood step, >= 0.
        epsilon: noise level e of the last sweep, in (0, 1].
        start: that of the first, in (0, 1]; 1 forgets z.
        proposal: `uniform | bit | langevin`; the last needs a differentiable operator, and both of
            the last two codes that are signs.
        flips: of `langevin`, > 0: the most signs that a proposal turns, in the mean.
        prior_step: `exact | renoise`; see the module.
        fill_steps: steps of a reverse process, >= 1; None is the call's `steps`. The prior step is
            exact with as many as there are positions.
        order: in which the reverse process writes: `random | entropy | topk_margin | origin`.
        beta: > 0; None is the call's `beta`.
    """

    sweeps: int = 10
    mh_steps: int = 200
    epsilon: float = 0.1
    start: float = 1.0
    proposal: Literal["uniform", "bit", "langevin"] = "bit"
    flips: float = 2.0
    prior_step: Literal["exact", "renoise"] = "exact"
    fill_steps: int | None = None
    order: Literal["random", "entropy", "topk_margin", "origin"] = "random"
    beta: float | None = None

    name: ClassVar[str] = "method 'sgdd'"
    selects: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_counts(sweeps=self.sweeps)
        check_number("mh_steps", self.mh_steps, (0, math.inf, True), whole=True)
        for name in ("epsilon", "start"):
            check_number(name, getattr(self, name), (0, 1, False))
        check_one_of("proposal", self.proposal, ("uniform", "bit", "langevin"))
        check_number("flips", self.flips, (0, math.inf, False))
        check_one_of("prior_step", self.prior_step, ("exact", "renoise"))
        if self.fill_steps is not None:
            check_counts(fill_steps=self.fill_steps)
        check_one_of("order", self.order, ("random", "entropy", "topk_margin", "origin"))
        check_beta(self.beta)

    def settings(self, config: APSConfig) -> APSConfig:
        """See `Declares`."""
        base = ordered(super().settings(config), self.order)
        return base if self.fill_steps is None else base.replace(steps=self.fill_steps)

    def noise_level(self, sweep: int) -> float:
        """e at a sweep, from 0."""
        share = sweep / (self.sweeps - 1) if self.sweeps > 1 else 1.0
        return (1 - share) * self.start + share * self.epsilon

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """One state a sweep, whose canvas is z. Positions that are not masked at first stay.

        Raises:
            ValueError: an operator without the codes or the gradient that the proposal needs, a
                canvas that ends at stop tokens, or `remask`.
        """
        unmasking_only(config, "split Gibbs")
        beta = self.beta_in(config)
        operator, config = guiding(operator), self.settings(config)
        size = _check(operator, canvas, denoiser.mask_id, self.proposal)
        active = (canvas.z == denoiser.mask_id).any(-1).nonzero().squeeze(-1)
        full, canvas, noise = canvas, canvas.take(active), noise.take(active)
        denoiser, operator = denoiser.take(active), operator.take(active)
        free = canvas.z == denoiser.mask_id
        numbers = particle_noise(noise, self.sweeps)
        firsts = torch.arange(len(active), device=active.device) * self.sweeps
        x = z = canvas.z
        for sweep in range(self.sweeps if len(active) else 0):
            own, level = numbers.take(firsts + sweep), self.noise_level(sweep)
            with torch.no_grad():
                before = z
                if sweep == 0:
                    z = x = self._fill(denoiser, canvas, config, own)
                else:
                    x = self.prior_step_of(denoiser, canvas, x, z, free, level, size, config, own)
                    z = z if self.prior_step == "exact" else x
                target = Conditional(operator, x, free, log_rho(level, size), beta)
                z = self.likelihood_step(target, z, size, own)
                written = torch.where(z == before, canvas.written, sweep)
                canvas = replace(canvas, written=written)
                full = full.put(active, replace(canvas, z=z))
                state = _state(full, active, free & (z != before), sweep, self.sweeps)
            yield state

    def prior_step_of(
        self,
        denoiser: Denoiser,
        canvas: Canvas,
        x: Tensor,
        z: Tensor,
        free: Tensor,
        level: float,
        size: int,
        config: APSConfig,
        noise: Noise,
    ) -> Tensor:
        """x given z, and the x before; all `(B, L)`.

        Args:
            free: bool; the positions that are inferred.
            level, size: e and K.
            config: of the reverse process.
        """
        if self.prior_step == "exact":
            chance = redraw_probs(x, z, log_rho(level, size))
        else:
            chance = torch.full_like(z, level, dtype=torch.double)
        coin = torch.ones_like(chance)
        where = positions_of(free)
        coin = coin.index_put(where, noise.uniform(*where, 0, "redraw"))
        again = free & (coin < chance)
        masked = replace(canvas, z=torch.where(again, denoiser.mask_id, z))
        return self._fill(denoiser, masked, config, noise)

    def _fill(self, denoiser: Denoiser, canvas: Canvas, config: APSConfig, noise: Noise) -> Tensor:
        z = canvas.z
        for state in denoise(denoiser, ZeroOperator(), canvas, config, noise):
            z = state.z
        return z

    def likelihood_step(self, target: Conditional, z: Tensor, size: int, noise: Noise) -> Tensor:
        """z after `mh_steps` proposals, `(B, L)`."""
        if not self.mh_steps:
            return z
        if self.proposal == "langevin":
            return self._langevin(target, z, noise)
        many = target.free.sum(-1)
        sites = (~target.free).long().argsort(dim=-1, stable=True)  # the free ones first
        rows = torch.arange(len(z), device=z.device)
        none, value = torch.zeros_like(rows), target.value(z)
        for index in range(self.mh_steps):
            u = noise.uniform(rows, none, index, "proposal", 3)
            at = sites[rows, (u[:, 0] * many).long()]
            if self.proposal == "uniform":
                token = (u[:, 1] * size).long()
            else:
                token = z[rows, at] ^ (1 << (u[:, 1] * (size.bit_length() - 1)).long())
            other = z.index_put((rows, at), token)
            found = target.value(other)
            taken = u[:, 2].log() < found - value
            z, value = torch.where(taken[:, None], other, z), torch.where(taken, found, value)
        return z

    def _langevin(self, target: Conditional, z: Tensor, noise: Noise) -> Tensor:
        rows = torch.arange(len(z), device=z.device)
        none, (value, odds) = torch.zeros_like(rows), target.flips(z, self.flips)
        for index in range(self.mh_steps):
            flip = noise.uniform(*target.where, index, "flip", odds.shape[-1]) < odds.sigmoid()
            other = target.flipped(z, flip)
            found, back = target.flips(other, self.flips)
            gain = found - value + target.log_flip(flip, back) - target.log_flip(flip, odds)
            taken = noise.uniform(rows, none, index, "accept").log() < gain
            z, value = torch.where(taken[:, None], other, z), torch.where(taken, found, value)
            odds = torch.where(taken[target.where[0], None], back, odds)
        return z


def log_rho(level: float, size: int) -> float:
    """`log k(z|x) / k(x|x)` for z != x, <= 0: one position that differs, at noise level e."""
    return math.log(level / size) - math.log(1 - level + level / size)


def redraw_probs(x: Tensor, z: Tensor, log_ratio: float) -> Tensor:
    """`p(m = 1 | x, z)`, double, `(B, L)`: 1 where the two differ, else rho."""
    same = torch.full_like(z, math.exp(log_ratio), dtype=torch.double)
    return torch.where(z == x, same, 1.0)


def _check(operator: Operator, canvas: Canvas, mask_id: int, proposal: str) -> int:
    """K, if split Gibbs can run on this operator; else `ValueError`."""
    if canvas.stop_ids:
        raise ValueError(
            "split Gibbs redraws single tokens of a canvas of fixed length, and this one ends at a "
            "stop token; it is for images"
        )
    size = _size(operator.codebook)
    if size > mask_id:
        raise ValueError(
            f"split Gibbs proposes any of the {size} codes of the operator, and the mask "
            f"{mask_id} is one of them; it is for tokens of images, whose mask has no code"
        )
    if proposal != "uniform" and not isinstance(operator.codebook, LFQCodebook):
        raise ValueError(NO_SIGNS.format(codebook=type(operator.codebook).__name__))
    if proposal == "langevin" and not operator.differentiable:
        raise ValueError(
            "proposal='langevin' needs a differentiable operator, and this is a black box; use "
            "proposal='bit'"
        )
    return size


def _size(codebook: Codebook | None) -> int:
    if isinstance(codebook, LFQCodebook):
        return codebook.size
    if isinstance(codebook, VectorCodebook) and codebook.allowed is None:
        return len(codebook.table)
    raise ValueError(
        "split Gibbs needs an operator with a codebook of all tokens (a measurement of images), "
        f"got {'none' if codebook is None else type(codebook).__name__}; method='fk' takes any "
        "reward"
    )


def _state(canvas: Canvas, active: Tensor, moved: Tensor, sweep: int, sweeps: int) -> StepState:
    """What a sweep did; probabilities of single tokens are not known, and 0."""
    revealed = torch.zeros_like(canvas.editable)
    revealed[active] = moved
    blank = torch.zeros(canvas.z.shape, device=canvas.z.device)
    return StepState(
        step=sweep,
        steps=sweeps,
        z=canvas.z,
        written=canvas.written,
        revealed=revealed,
        candidates=canvas.z,
        tilted=blank,
        prior=blank,
        guided=True,
    )
