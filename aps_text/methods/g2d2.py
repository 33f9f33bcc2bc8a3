"""G2D2: each step fits a distribution m over every token to the measurement, and draws from it.

    lp  = log x_theta(z) at masks; at a committed token, 0 for that token and `floor` for all others
    m   = lp in the first step, then logsoftmax(forget * lp + (1 - forget) * m)
    N times:   zh = softmax((m + gumbel) / temperature)
               m  <- RAdam step on |y - A(D(zh C))| + kl_i sum_l KL(softmax m_l || lp_l)
    star       every token is drawn anew from m (top-p); then (1 - alpha_s) L random positions are
               masked again
    standard   each mask is revealed with the probability of the schedule, by a draw from m;
               committed tokens stay

From the first step to the last, the learning rate falls from `lr 10^(s/2)` to `lr 10^(-s/2)`, with
s = `lr_span`; `kl_i` likewise, with `kl_span`. With `star` every token may still change, so m
covers the committed positions, too.

Source: Murata et al. 2024, "G2D2: Gradient-Guided Discrete Diffusion for Inverse Problem Solving",
https://arxiv.org/abs/2410.14710. Differences: images are decoded in batches, each with a distance
of its own; the distances of a sum of operators are added with its weights; top-p is used only in
the draws of `star`; time grid and schedule are the call's. The defaults are their settings for
super-resolution, except `noising`: their four presets use `standard`. Cost per sample: T forwards,
T*N operator forwards and backwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.canvas import Canvas, positions_of
from ..core.codebook import Relaxed
from ..core.config import APSConfig
from ..core.noise import Noise
from ..core.objective import sum_rows
from ..core.operator import Gaussian, Operator, guiding, parts
from ..core.protocols import Denoiser
from ..core.schedule import alpha, keep_masked, time_grid
from ..core.states import StepState
from ..core.step import Step
from ..core.token_sampling import sampling_probs
from .ancestral import base_config
from .checks import check_number, check_one_of
from .particles import unmasking_only

__all__ = ["G2D2", "distances"]


@dataclass(frozen=True)
class G2D2:
    """See `Method`.

    Attributes:
        noising: `star | standard`; see the module.
        inner_steps: N >= 0, RAdam steps on m per denoising step.
        lr, lr_span: learning rate at the middle step, > 0; number of powers of ten by which it
            falls over the run, >= 0.
        kl, kl_span: weight of the KL at the middle step, >= 0, in pixel values per nat; powers of
            ten by which it falls, >= 0.
        forget: weight of the new lp in the start of m, in [0, 1].
        temperature: of the Gumbel-softmax, > 0.
        top_p: for the draws of `star`, in (0, 1].
        floor: the lowest log-probability of lp, in nats, <= 0. A committed token starts ahead of
            all others by `-forget * floor` nats, 21 with the authors' values, and then hardly ever
            changes; with a floor nearer to 0, `star` changes more tokens.
    """

    noising: Literal["star", "standard"] = "star"
    inner_steps: int = 30
    lr: float = 10.0
    lr_span: float = 2.0
    kl: float = 3e-4
    kl_span: float = 2.0
    forget: float = 0.3
    temperature: float = 1.0
    top_p: float = 0.95
    floor: float = -70.0

    name: ClassVar[str] = "method 'g2d2'"
    reads: ClassVar[tuple[str, ...]] = ()
    selects: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_one_of("noising", self.noising, ("star", "standard"))
        check_number("inner_steps", self.inner_steps, (0, math.inf, True), whole=True)
        for name in ("lr", "temperature"):
            check_number(name, getattr(self, name), (0, math.inf, False))
        for name in ("lr_span", "kl", "kl_span"):
            check_number(name, getattr(self, name), (0, math.inf, True))
        check_number("forget", self.forget, (0, 1, True))
        check_number("floor", self.floor, (-1e9, 0, True))
        check_number("top_p", self.top_p, (0, 1, False))

    def settings(self, config: APSConfig) -> APSConfig:
        """See `Declares`: the steps, their schedule and the seed are the call's."""
        return base_config(config).replace(temperature=1.0, top_p=1.0, top_k=None)

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
    ) -> Iterator[StepState]:
        """See `Method.steps`. Positions that are not masked at first stay.

        Raises:
            ValueError: the operator is not a differentiable measurement with a codebook, the canvas
                has stop tokens, or the call's `remask` is True.
        """
        unmasking_only(config, "G2D2")
        operator, config = guiding(operator), self.settings(config)
        _check(operator, canvas)
        full, mask_id, total = canvas, denoiser.mask_id, config.sampler.steps
        rows = torch.arange(len(canvas.z), device=canvas.z.device)
        free, before = canvas.z == mask_id, None
        for index in range(total):
            busy = (canvas.z == mask_id).any(-1)
            if not bool(busy.all()):
                keep = busy.nonzero().squeeze(-1)
                if not len(keep):
                    return
                rows, canvas, noise = rows[keep], canvas.take(keep), noise.take(keep)
                denoiser, operator = denoiser.take(keep), operator.take(keep)
                if before is not None:
                    before = before[busy[positions_of(free)[0]]]
                free = free[keep]
            step = Step.open(canvas, mask_id, config, noise, index, everywhere=True)
            log_p = self._prior(denoiser, step, free)
            start = log_p
            if before is not None:
                start = (self.forget * log_p + (1 - self.forget) * before).log_softmax(-1)
            before, loss = self.fit(operator, step, free, start, log_p)
            with torch.no_grad():
                z, tokens = self._write(step, free, before)
                written = torch.where(z == canvas.z, canvas.written, index)
                newly = free & (canvas.z == mask_id) & (z != mask_id)
                canvas = replace(canvas, z=z, written=written)
                full = full.put(rows, canvas)
                state = _state(full, rows, step, free, newly, tokens, before, log_p, loss)
            yield state

    def _prior(self, denoiser: Denoiser, step: Step, free: Tensor) -> Tensor:
        """lp at the free positions, `(N, K)`."""
        log_theta = step.x_theta(denoiser).clamp_min(self.floor)
        own = step.canvas.z[free]
        masked = own == step.mask_id
        log_p = log_theta.new_full((len(own), log_theta.shape[-1]), self.floor)
        log_p = log_p.scatter(-1, own.masked_fill(masked, 0)[:, None], 0.0)
        return log_p.masked_scatter(masked[:, None], log_theta)

    def fit(
        self, operator: Operator, step: Step, free: Tensor, start: Tensor, log_p: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """m after the inner steps, normalised, `(N, K)`, and the terms of the last loss, `(B,)`
        each, in pixel values.

        Args:
            free: `(B, L)` bool, the N positions of m, `start` and `log_p`.
            start, log_p: `(N, K)`, the start of m, and lp.
        """
        last = step.config.sampler.steps - 1
        half = 0.5 - step.index / last if last else 0.0
        weight = self.kl * 10 ** (self.kl_span * half)
        where, terms = positions_of(free), {}
        m = start.detach().clone().requires_grad_()
        optimiser = torch.optim.RAdam([m], lr=self.lr * 10 ** (self.lr_span * half))
        for inner in range(self.inner_steps):
            gumbel = step.noise.gumbel(*where, step.index, f"g2d2 {inner}", m.shape[-1]).to(m)
            with torch.enable_grad():
                soft = ((m + gumbel) / self.temperature).softmax(-1)
                distance = distances(operator, step.canvas.z, free, soft).to(m)
                kl = sum_rows(_kl(m.log_softmax(-1), log_p), where[0], len(free))
                (m.grad,) = torch.autograd.grad((distance + weight * kl).sum(), m)
            optimiser.step()
            with torch.no_grad():
                m -= m.logsumexp(-1, keepdim=True)
            terms = {"distance": distance.detach(), "prior": weight * kl.detach()}
        return m.detach().log_softmax(-1), terms

    def _write(self, step: Step, free: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        """The next canvas `(B, L)`, and the tokens drawn at the free positions `(N,)`."""
        z, mask_id, noise = step.canvas.z, step.mask_id, step.noise
        grid, schedule = time_grid(step.config.sampler.steps), step.config.sampler.schedule
        t, s = grid[step.index], grid[step.index + 1]
        where = positions_of(free)
        probs = sampling_probs(m, 1.0, self.top_p if self.noising == "star" else 1.0)
        tokens = noise.categorical(probs, *where, step.index, "candidate")
        drawn = z.index_put(where, tokens)
        u = noise.uniform(*where, step.index, "order")
        if self.noising == "standard":
            coin = torch.zeros(z.shape, dtype=u.dtype, device=z.device).index_put(where, u)
            revealed = (z == mask_id) & free & (coin >= keep_masked(t, s, schedule))
            return torch.where(revealed, drawn, z), tokens
        again = (free.sum(-1) * (1 - alpha(s, schedule)) + 1e-9).floor()
        rank = torch.full(z.shape, 2.0, dtype=u.dtype, device=z.device).index_put(where, u)
        rank = rank.argsort(-1).argsort(-1)
        return torch.where(free & (rank < again[:, None]), mask_id, drawn), tokens


def _state(
    full: Canvas,
    rows: Tensor,
    step: Step,
    free: Tensor,
    newly: Tensor,
    tokens: Tensor,
    m: Tensor,
    log_p: Tensor,
    loss: dict[str, Tensor],
) -> StepState:
    """The state after a step of `rows`, with all rows of `full`."""
    where = positions_of(free)

    def spread(values: Tensor, empty: float = 0.0) -> Tensor:
        out = values.new_full((len(full.z), *values.shape[1:]), empty)
        return out.index_put((rows,), values)

    def chosen(log_probs: Tensor) -> Tensor:
        each = log_probs.gather(-1, tokens[:, None]).squeeze(-1).exp()
        return spread(each.new_zeros(free.shape).index_put(where, each))

    fill = full.fill_id
    return StepState(
        step=step.index,
        steps=step.config.sampler.steps,
        z=full.z,
        written=full.written,
        revealed=spread(newly, False),
        candidates=spread(torch.full_like(step.canvas.z, fill).index_put(where, tokens), fill),
        tilted=chosen(m),
        prior=chosen(log_p),
        guided=True,
        loss={name: spread(value) for name, value in loss.items()},
        kl=spread(sum_rows(_kl(m, log_p), where[0], len(rows)) / free.sum(-1)),
    )


def _kl(log_m: Tensor, log_p: Tensor) -> Tensor:
    """`KL(m || p)` per position, `(N, K)` twice -> `(N,)`."""
    return (log_m.exp() * (log_m - log_p)).sum(-1)


def distances(operator: Operator, z: Tensor, free: Tensor, probs: Tensor) -> Tensor:
    """`|y - A(D(x))|`, summed over the operator's parts by their weights, `(B,)`.

    Args:
        z: `(B, L)`, the canvas.
        free: `(B, L)` bool, the N positions whose tokens are replaced by `probs`.
        probs: `(N, K)`.
    """
    where = positions_of(free)
    ids = z.index_put(where, probs.detach().argmax(-1))
    relaxed = Relaxed(ids, *where, probs, torch.ones_like(free), relaxation="expectation")
    found: list[Tensor] = []
    for weight, part in parts(operator):
        peak, scale = part.gaussian()  # type: ignore[attr-defined]  # see `_check`
        value = part.log_prob(relaxed).total
        squares = 2 * scale**2 * (peak.to(value) - value)
        found.append(weight * squares.clamp_min(torch.finfo(value.dtype).tiny).sqrt())
    return torch.stack(found).sum(0)


def _check(operator: Operator, canvas: Canvas) -> None:
    """Raise `ValueError` unless G2D2 can run on this operator and canvas."""
    if canvas.stop_ids:
        raise ValueError(
            "G2D2 redraws tokens of a canvas of fixed length, and this one ends at a stop token; "
            "it is for images"
        )
    for _, part in parts(operator):
        if part.codebook is None or not part.differentiable or not isinstance(part, Gaussian):
            raise ValueError(
                "G2D2 descends a distance |y - A(x)|: it needs a differentiable measurement with "
                f"a codebook, and {type(part).__name__} is none; method='svdd' takes any reward"
            )
