"""`Trainer`: optimiser steps with a schedule, a weight average and checkpoints."""

from __future__ import annotations

import argparse
import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import BertForMaskedLM

from recipes.precision import half_precision
from recipes.word_knowledge.masking import Batch, TokenIds

__all__ = ["IDS", "Recipe", "Trainer", "add_options", "batch_loss", "chosen"]

IDS = TokenIds()


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one run."""

    minutes: float = 115.0
    steps: int | None = None
    learning_rate: float = 6e-4
    head_factor: float = 2.0
    weight_decay: float = 0.01
    warmup: float = 0.03
    clip: float = 1.0
    ema: float = 0.999
    batch_tokens: int = 3072
    workers: int = 2
    pool_rows: int = 1536
    canvas: int = 24
    shorter: tuple[int, ...] = ()
    full: float = 0.2
    tail: float = 0.1
    vocabulary: int = 8000
    seed: int = 0
    first_epoch: int = 0
    save_minutes: float = 10.0


def add_options(parser: argparse.ArgumentParser, recipe: Recipe) -> None:
    """An option for each hyper-parameter, with the values of `recipe` as defaults."""
    for name, value in asdict(recipe).items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):
            parser.add_argument(option, type=int, nargs="*", default=value)
        else:
            kind = int if name == "steps" else type(value)
            parser.add_argument(option, type=kind, default=value)


def chosen(args: argparse.Namespace) -> Recipe:
    """The recipe that the options of `add_options` ask for."""
    values = {field.name: getattr(args, field.name) for field in fields(Recipe)}
    return Recipe(**values | {"shorter": tuple(values["shorter"])})


def batch_loss(model: BertForMaskedLM, batch: Batch) -> torch.Tensor:
    """Weighted sum of cross-entropies; the head runs at the masked positions only."""
    asked = batch.weight > 0
    attended = (batch.ids != IDS.pad).long()
    hidden = model.bert(batch.ids, attention_mask=attended).last_hidden_state
    logits = model.cls(hidden[asked])
    loss = F.cross_entropy(logits.float(), batch.target[asked], reduction="none")
    return (loss * batch.weight[asked]).sum()


class Trainer:
    """Model, EMA, optimiser and position; saved and restored as one checkpoint.

    With `workers` > 1 each batch is divided into twice as many parts, which single-threaded workers
    take from a queue (their models share the weights and have gradients of their own). If another
    program uses one core, the other continues, while two OpenMP threads would wait for the slower
    one. With one worker a run is bit-reproducible, with several only up to the order of sums.

    Args:
        frozen: `(K,)` bool, the pieces that no training text uses. As they are always wrong
            answers, Adam would change their embeddings quickly and words that do not occur in
            training would lose their meaning; so their rows are kept, with the median output bias.
    """

    def __init__(
        self, model: BertForMaskedLM, recipe: Recipe, frozen: torch.Tensor | None = None
    ) -> None:
        self.model, self.recipe = model, recipe
        self.device = model.get_input_embeddings().weight.device
        self.frozen = torch.zeros(model.config.vocab_size, dtype=torch.bool, device=self.device)
        if frozen is not None:
            self.frozen |= frozen.to(self.device)
        self._kept = model.get_input_embeddings().weight.detach()[self.frozen].clone()
        named = list(model.named_parameters())
        head = [p for n, p in named if n.startswith("cls.") and "decoder.weight" not in n]
        body = [p for n, p in named if not n.startswith("cls.")]
        lr = recipe.learning_rate
        groups = [{"params": body, "peak": lr}, {"params": head, "peak": lr * recipe.head_factor}]
        self.optimiser = torch.optim.AdamW(
            groups, lr=lr, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True
        )
        self.parameters = [p for _, p in named]
        self._replicas = [model]
        for _ in range(recipe.workers - 1):
            replica = copy.deepcopy(model)
            for p, q in zip(replica.parameters(), self.parameters, strict=True):
                p.data = q.data
            self._replicas.append(replica)
        self._pool = ThreadPoolExecutor(
            recipe.workers, initializer=torch.set_num_threads, initargs=(1,)
        )
        self.ema = [p.detach().clone() for p in self.parameters]
        self.step, self.epoch, self.position, self.elapsed = 0, recipe.first_epoch, 0, 0.0
        self.tokens = 0

    def fraction(self) -> float:
        """Fraction of the budget that is spent, in [0, 1]."""
        if self.recipe.steps is not None:
            return self.step / self.recipe.steps
        return self.elapsed / (60 * self.recipe.minutes)

    def _gradients(self, batch: Batch) -> float:
        """Fill `.grad` of the model; returns the weighted mean loss."""
        workers = len(self._replicas)
        parts = batch.split(2 * workers if workers > 1 else 1)
        total = float(batch.weight.sum())
        waiting, lock = iter(parts), threading.Lock()

        def work(model: BertForMaskedLM) -> float:
            done = 0.0
            while True:
                with lock:
                    part = next(waiting, None)
                if part is None:
                    return done
                with half_precision(self.device):
                    loss = batch_loss(model, part) / total
                loss.backward()
                done += float(loss.detach())

        if workers == 1:
            return work(self.model)
        losses = list(self._pool.map(work, self._replicas))
        for replica in self._replicas[1:]:
            for p, q in zip(self.parameters, replica.parameters(), strict=True):
                if q.grad is not None:
                    p.grad = q.grad if p.grad is None else p.grad.add_(q.grad)
                    q.grad = None
        return sum(losses)

    @torch.no_grad()
    def _hold_frozen(self) -> None:
        if bool(self.frozen.any()):
            self.model.get_input_embeddings().weight[self.frozen] = self._kept
            bias = self.model.cls.predictions.bias
            bias[self.frozen] = bias[~self.frozen].median()

    def update(self, batch: Batch) -> float:
        """One optimiser step; returns the loss."""
        at = self.fraction()
        scale = min(1.0, at / self.recipe.warmup + 1e-3) * max(0.0, 1.0 - at)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        loss = self._gradients(batch.to(self.device))
        torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip, foreach=True)
        self.optimiser.step()
        self._hold_frozen()
        self.optimiser.zero_grad(set_to_none=True)
        self.step, self.position = self.step + 1, self.position + 1
        self.tokens += batch.tokens
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.ema, [p.detach() for p in self.parameters], 1 - decay)
        return loss

    def swap_ema(self) -> None:
        """Exchange the live weights and their average (call again to undo)."""
        for p, mean in zip(self.parameters, self.ema, strict=True):
            p.data, mean.data = mean.data, p.data

    def save(self, path: Path) -> None:
        """Write everything a resumed run needs, atomically."""
        state = {
            "model": [p.detach() for p in self.parameters],
            "ema": self.ema,
            "optimiser": self.optimiser.state_dict(),
            "counters": (self.step, self.epoch, self.position, self.elapsed, self.tokens),
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def load(self, path: Path) -> None:
        """Restore what `save` wrote."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        for p, q, mean, old in zip(
            self.parameters, state["model"], self.ema, state["ema"], strict=True
        ):
            p.data.copy_(q)
            mean.copy_(old)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.epoch, self.position, self.elapsed, self.tokens = state["counters"]
        self._kept = self.model.get_input_embeddings().weight.detach()[self.frozen].clone()
