"""`Run`: a training run that can be interrupted and resumed at any step.

Batch number n is drawn from a generator seeded with (seed, n), so a resumed run repeats an
uninterrupted one bit for bit. The learning rate is constant between a warm-up and a final decay
over the last fraction `decay` of `steps`; a larger budget continues from the checkpoint.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.precision import half_precision

__all__ = ["Loss", "Recipe", "Run"]

log = logging.getLogger(__name__)

Loss = Callable[[nn.Module, torch.Generator, float], tuple[Tensor, dict[str, Tensor]]]
"""Maps the model, the batch's generator and the spent fraction of the budget to (loss, values to
log)."""


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one run.

    Attributes:
        steps: the budget.
        batch: images per step.
        learning_rate: after the warm-up.
        warmup: steps of linear warm-up.
        decay: fraction of the budget in which the rate falls linearly to 0.
        ema: decay of the weights' moving average, which is exported.
    """

    steps: int
    batch: int = 32
    learning_rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.3
    weight_decay: float = 1e-3
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0


class Run:
    """A model in training.

    Args:
        model: trained in place, on its device.
        loss: see `Loss`.
        recipe: hyper-parameters.
    """

    def __init__(self, model: nn.Module, loss: Loss, recipe: Recipe) -> None:
        self.model, self.loss, self.recipe = model, loss, recipe
        self.parameters = list(model.parameters())
        decayed = [p for p in self.parameters if p.ndim > 1]
        plain = [p for p in self.parameters if p.ndim <= 1]
        groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(
            groups, recipe.learning_rate, (0.9, 0.99), weight_decay=recipe.weight_decay, fused=True
        )
        self.average = [p.detach().clone() for p in self.parameters]
        self.step = 0
        self.device = self.parameters[0].device

    def rate(self) -> float:
        """Learning rate of the next step."""
        recipe = self.recipe
        left = 1 - self.step / recipe.steps
        scale = min(1.0, (self.step + 1) / recipe.warmup, left / recipe.decay)
        return recipe.learning_rate * scale

    def update(self) -> dict[str, float]:
        """Make one optimiser step; returns the values to log."""
        recipe = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.step)
        with half_precision(self.device):
            loss, shown = self.loss(self.model, generator, self.step / recipe.steps)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, recipe.clip, foreach=True)
        if bool(norm.isfinite()):
            self.optimiser.step()
        else:
            log.warning("step %d: gradient norm %s, left out", self.step, norm.item())
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        keep = min(recipe.ema, self.step / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - keep)
        shown = {"loss": loss.detach(), **shown, "norm": norm}
        return {name: float(value) for name, value in shown.items()}

    def averaged(self) -> nn.Module:
        """The model with the averaged weights; the run cannot be continued after this."""
        for parameter, mean in zip(self.parameters, self.average, strict=True):
            parameter.data = mean.clone()
        return self.model.eval()

    def save(self, path: Path) -> None:
        """Write the checkpoint, atomically."""
        state = {
            "model": [p.detach() for p in self.parameters],
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def load(self, path: Path) -> None:
        """Restore the run from a checkpoint."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        for name, tensors in (("model", self.parameters), ("average", self.average)):
            for tensor, saved in zip(tensors, state[name], strict=True):
                tensor.data.copy_(saved)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def train(
        self,
        checkpoint: Path,
        save_every: int = 500,
        log_every: int = 100,
        until: int | None = None,
    ) -> None:
        """Resume from `checkpoint` if it exists, train to the budget's end (or step `until`)."""
        if checkpoint.is_file():
            self.load(checkpoint)
            log.info("resumed from step %d", self.step)
        end = self.recipe.steps if until is None else min(until, self.recipe.steps)
        began, start = time.process_time(), self.step
        while self.step < end:
            shown = self.update()
            if self.step % log_every == 0:
                cost = 1e3 * (time.process_time() - began) / (self.step - start)
                words = " ".join(f"{name} {value:.4g}" for name, value in shown.items())
                log.info("step %d/%d %s, %.0f ms", self.step, self.recipe.steps, words, cost)
            if self.step % save_every == 0 or self.step == end:
                self.save(checkpoint)
