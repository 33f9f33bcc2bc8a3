"""Anchored posterior sampling (APS): phi is fitted at every guided step, its anchors are kept.

    minimise over phi   L_t(phi) = prior(x_phi, x_theta) - w log q(y | x~_phi) / beta    M times
    then draw candidates from x_phi(z_t) and keep those with the highest tilted probability

The loss is differentiated at the logits `(N, K)` first, so the adapter (LoRA, logits or a tilt
towards codes), the estimator (through the relaxation or a score function) and the operator are
independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..core.adapters import CodeTilt
from ..core.canvas import Canvas
from ..core.config import APSConfig
from ..core.estimator import estimate
from ..core.noise import Noise
from ..core.objective import (
    kl_rows,
    likelihood_weight,
    log_softmax_and_probs,
    prior_term,
    sum_rows,
    trust_region,
)
from ..core.operator import Guessing, Operator
from ..core.protocols import Adapter, Denoiser
from ..core.sampler import denoise
from ..core.settings import Codes, Fit, Gradient
from ..core.states import StepState, Tilted
from ..core.step import Step
from .pool import AnswerPool

__all__ = ["APS", "PosteriorTilt", "new_phi"]


class APS:
    """Anchored posterior sampling: phi fitted at every guided step, then anchored remasking."""

    def steps(
        self,
        denoiser: Denoiser,
        operator: Operator,
        canvas: Canvas,
        config: APSConfig,
        noise: Noise,
        phi: Adapter | None = None,
    ) -> Iterator[StepState]:
        """See `Method.steps`; `phi` is the adapter to start from (for all rows), None a new one."""
        tilt = pool = None
        if canvas.block is not None:
            config = config.in_blocks(1, 1 + int(canvas.block.max()))
        if config.sampler.fit is not None:
            if phi is None:
                phi = new_phi(denoiser, operator, config, noise)
            tilt = PosteriorTilt(operator, config, phi)
        if config.sampler.pool_size is not None:
            pool = AnswerPool(operator, config)
        return denoise(denoiser, operator, canvas, config, noise, tilt, pool)


def new_phi(denoiser: Denoiser, operator: Operator, config: APSConfig, noise: Noise) -> Adapter:
    """A new phi of the kind `config.sampler.fit.phi`: the model's own, or a tilt towards codes.

    Raises:
        ValueError: `adapter="codes"` with an operator without codes, or `tilt_start` with one
            without a guess.
    """
    phi = (config.sampler.fit or Fit()).phi
    if not isinstance(phi, Codes):
        return denoiser.new_adapter(config, noise)
    book = operator.codebook
    if book is None:
        raise ValueError(
            "adapter='codes' needs the codes of a guiding operator, and these rewards have none "
            "(they are black boxes); use adapter='logits' or 'lora'"
        )
    if not phi.start:
        rows = len(noise.row_seed)
        return CodeTilt.fresh(rows, book, phi.learning_rate, phi.adam_eps, phi.keep)
    if not isinstance(operator, Guessing):
        raise ValueError(
            f"tilt_start={phi.start} starts from a guess, which only a measurement of images "
            "makes; use tilt_start=0"
        )
    return CodeTilt(phi.start * operator.guess(), book, phi.learning_rate, phi.adam_eps, phi.keep)


class PosteriorTilt:
    """M optimiser steps of phi on the surrogate objective, then x_phi within the trust region."""

    def __init__(self, operator: Operator, config: APSConfig, phi: Adapter) -> None:
        self.operator, self.phi = operator, phi
        self.fit, self.beta = config.sampler.fit or Fit(), config.sampler.beta

    def take(self, rows: Tensor) -> None:
        """See `Tilt.take`."""
        self.operator, self.phi = self.operator.take(rows), self.phi.take(rows)

    def __call__(self, denoiser: Denoiser, step: Step) -> Tilted:
        """See `Tilt.__call__`.

        Forwards of the denoiser: 1 with an offset of the logits; M+1 with LoRA, M+2 if its phi is
        carried over (less when every row stops early).
        """
        fit, where, bias, batch = self.fit, step.where, step.bias, len(step.count)
        trunk = denoiser.trunk(step.canvas.z)
        theta = self.phi.begin(denoiser, trunk, where)
        log_theta = None if theta is None else bias(theta).log_softmax(-1)
        loss: dict[str, Tensor] = {}
        rewards: dict[str, Tensor] = {}
        norm: Tensor | None = None
        log_phi: Tensor | None = None  # log x_phi; None after an update of phi
        going = torch.ones(batch, dtype=torch.bool, device=step.count.device)
        fraction = step.reveal_fraction
        for inner in range(fit.inner_steps):
            with torch.enable_grad():
                logits = self.phi.logits(denoiser, trunk, where)
            # The loss is differentiated at the logits first: a row with a negligible gradient, or
            # outside the trust region, is not updated; if all are, no backward pass is needed.
            leaf = bias(logits.detach()).requires_grad_()
            fraction = fraction.to(leaf)
            with torch.enable_grad():
                log_leaf, probs = log_softmax_and_probs(leaf)
                log_phi = log_leaf.detach()
                if log_theta is None:
                    log_theta = log_phi
                prior = prior_term(fit.prior, log_leaf, log_theta, where[0], fraction, probs)
                if fit.trust_region is not None:
                    if fit.prior == "kl":  # the prior term is c times the summed KL
                        gap = prior.detach() / (fraction * masked_count(where[0], fraction))
                    else:
                        gap = kl_rows(log_phi, log_theta, where[0], batch)
                    going = going & (gap < fit.trust_region)
                    if not bool(going.any()):
                        break
                found = estimate(self.operator, log_leaf, step, inner, fit.gradient, probs)
                weight = likelihood_weight(fit.likelihood_weight, fraction, step.canvas.lengths)
                total = prior - weight * found.surrogate / self.beta
                if not total.requires_grad:
                    break  # no prior and no guiding reward
                (grad,) = torch.autograd.grad(total.sum(), leaf)
            norm = sum_rows(torch.linalg.vector_norm(grad, dim=-1).square(), where[0], batch).sqrt()
            likelihood = (weight * found.value / self.beta).detach()
            loss = {"prior": prior.detach(), "likelihood": likelihood}
            rewards = {name: value.detach().to(leaf) for name, value in found.terms.items()}
            gate = going & found.informative & (norm > fit.gradient_gate)
            if bool(gate.any()):
                self.phi.update(logits, grad, gate)
                log_phi = None
            elif is_deterministic(fit.gradient) and self.operator.differentiable:
                break  # no row was updated, so the next inner step would have the same gradient
        with torch.no_grad():
            if log_phi is None:
                log_phi = bias(self.phi.logits(denoiser, trunk, where)).log_softmax(-1)
            if log_theta is None:
                log_theta = log_phi
            if fit.trust_region is not None:
                log_phi = trust_region(log_phi, log_theta, where[0], batch, fit.trust_region)
        return Tilted(log_phi, log_theta, loss, rewards, norm)


def masked_count(rows: Tensor, like: Tensor) -> Tensor:
    """The number of masked positions of each row, `(B,)` like `like`, at least 1."""
    return sum_rows(like.new_ones(len(rows)), rows, len(like)).clamp_min(1)


def is_deterministic(gradient: Gradient) -> bool:
    """Whether the gradient of a differentiable operator is the same until phi moves."""
    return gradient.relaxation is not None and not gradient.relaxation.draws
