"""Checks of LoRA: it starts equal to the base, can be fitted and steers; the base never changes."""

from __future__ import annotations

import hashlib
import statistics
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from ..core.config import APSConfig
from ..core.cost import Cost
from ..core.noise import Noise
from ..models.text_model import TextModel
from ..pipelines.text import APSPipeline
from .logits import QUESTIONS, Sample, gap
from .report import Check

__all__ = ["Fitting", "check_base", "check_steering", "fingerprint", "measure"]

CHUNK = 2**26  # bytes


def fingerprint(model: nn.Module) -> dict[str, str]:
    """SHA-256 of every parameter and buffer by name, without those offloaded from memory."""
    found = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.device.type == "meta":
            continue
        digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().contiguous().flatten().view(torch.uint8)
        for first in range(0, len(flat), CHUNK):
            digest.update(flat[first : first + CHUNK].cpu().numpy().data)
        found[name] = digest.hexdigest()
    return found


def check_base(model: TextModel, before: dict[str, str]) -> Check:
    """Check that every tensor of the base is bit-identical to `before`."""
    after = fingerprint(model.parts.model)
    changed = [name for name, digest in before.items() if after.get(name) != digest]
    total = hashlib.sha256("".join(before.values()).encode()).hexdigest()[:12]
    figure = f"{len(changed)} of {len(before)} tensors changed (sha256 {total})"
    if changed:
        figure += f", e.g. {changed[0]}"
    return Check("base", "FAIL" if changed else "PASS", figure)


class Fitting:
    """A new phi on a sample, fitted by the loss `-log p` of one token at all positions."""

    def __init__(self, model: TextModel, sample: Sample) -> None:
        layers = min(2, len(model.parts.layers))
        self.model, self.where = model, sample.where
        self.config = APSConfig(lora_layers=layers)
        self.denoiser = sample.bind(model, layers)
        rows = torch.arange(len(sample.prompts), device=sample.z.device)
        self.phi: Any = self.denoiser.new_adapter(self.config, Noise(rows, torch.zeros_like(rows)))
        self.state = self.denoiser.trunk(sample.z)
        self.rows, self.target = rows, int(sample.z[0, 1])

    def step(self) -> None:
        """Make one optimiser step."""
        logits = self.phi.logits(self.denoiser, self.state, self.where)
        grad = logits.detach().softmax(-1)
        grad[:, self.target] -= 1
        self.phi.update(logits, 1e-3 * grad, torch.ones_like(self.rows, dtype=torch.bool))

    @torch.no_grad()
    def score(self) -> float:
        """Mean `log p` of the token under phi."""
        logits = self.phi.logits(self.denoiser, self.state, self.where)
        return float(logits.log_softmax(-1)[:, self.target].mean())

    @torch.no_grad()
    def check_start(self) -> Check:
        """Check that a new phi equals theta."""
        fresh = self.phi.logits(self.denoiser, self.state, self.where)
        base = self.denoiser.logits(self.state, self.where)
        largest, relative = gap(self.model, base, fresh)
        status = "PASS" if relative <= 1e-6 else "FAIL"
        return Check("lora start", status, f"fresh LoRA moves the logits by {largest:.2g}")

    def check_moves(self) -> Check:
        """Check that three steps change phi and raise the score."""
        before = self.score()
        for _ in range(3):
            self.step()
        moved, after = float((self.phi.adam.value - self.phi.start).abs().max()), self.score()
        figure = (
            f"3 steps on {self.config.model.lora_layers} layers change phi by {moved:.2g} at most, "
            f"log p from {before:.3f} to {after:.3f}"
        )
        return Check("lora moves", "PASS" if moved > 0 and after > before else "FAIL", figure)


def any_text(prompts: list[Any], completions: list[str], **columns: Any) -> list[float]:
    """A meaningless reward that gives different texts different scores."""
    return [zlib.crc32(text.encode()) / 2**32 for text in completions]


def check_steering(model: TextModel) -> Check:
    """Check that a steered call works and makes backward passes through the model."""
    layers = min(2, len(model.parts.layers))
    out = APSPipeline(model, batch_size=2)(
        QUESTIONS[:2], any_text, steps=2, max_new_tokens=8, inner_steps=1, lora_layers=layers
    )
    moved = float(out.adapters[0].change.max())
    figure = f"{len(out)} answers, {out.cost.denoiser_backwards} backwards, phi moved {moved:.2g}"
    fine = out.cost.denoiser_backwards > 0 and moved > 0
    return Check("steering", "PASS" if fine else "FAIL", figure)


def measure(model: TextModel, sample: Sample) -> dict[str, float]:
    """Seconds of a pass over one row and over the whole sample, and the peak memory so far."""
    found = {}
    for name, part in (("1 row", sample.row(1)), (f"{len(sample.prompts)} rows", sample)):
        fitting = Fitting(model, part)
        found[f"seconds a forward, {name}"] = _seconds(partial(part.logits, model), model)
        found[f"seconds a LoRA step, {name}"] = _seconds(fitting.step, model)
    peak = Cost().stop(model.parts.device).peak_memory_mb
    if torch.cuda.is_available():
        peak = sum(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count()))
        peak = peak / 2**20 or Cost().stop().peak_memory_mb
    return found | {"peak memory, GiB": peak / 2**10}


def _seconds(job: Callable[[], Any], model: TextModel) -> float:
    """The median of three runs, after one to warm up."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        job()
        if model.parts.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
