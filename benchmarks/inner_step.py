"""Seconds of one inner step of APS with a tilt towards codes, beside the least that it needs.

    python benchmarks/inner_step.py --positions 1024 --bits 13 --threads 2

The model's logits are random and cost nothing, and the operator is a square distance of codes, so
that what is timed grows with `(N, K)` alone: N positions, K = 2^bits tokens. The floor is one
softmax and the two products with the codes, without a gradient. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aps_text.core.adapters import CodeTilt
from aps_text.core.canvas import Canvas
from aps_text.core.codebook import LFQCodebook, Relaxed
from aps_text.core.config import APSConfig
from aps_text.core.noise import Noise
from aps_text.core.operator import Arithmetic, Scores
from aps_text.core.step import Step
from aps_text.methods.aps import PosteriorTilt

__all__ = ["Distance", "Given", "seconds"]


@dataclass(frozen=True)
class Given:
    """A denoiser that knows its logits `(N, K)`."""

    values: Tensor

    @property
    def mask_id(self) -> int:
        """The token behind all codes."""
        return self.values.shape[1]

    @property
    def vocab_size(self) -> int:
        """K."""
        return self.values.shape[1]

    def trunk(self, z: Tensor) -> Tensor:
        """Nothing to compute."""
        return z

    def logits(self, state: Any, where: Any, phi: Any = None) -> Tensor:
        """The logits."""
        return self.values


class Distance(Arithmetic):
    """`-|x~ - target|^2` of codes `(1, N, bits)`."""

    differentiable = True

    def __init__(self, codebook: LFQCodebook, target: Tensor) -> None:
        self.codebook, self.target = codebook, target

    def take(self, rows: Tensor) -> Distance:
        """The same for one row."""
        return self

    def log_prob(self, relaxed: Relaxed) -> Scores:
        """`(1,)`."""
        codes = relaxed.codes(self.codebook)
        return Scores(-(codes - self.target).square().sum((1, 2)))

    def log_prob_ids(self, ids: Tensor) -> Scores:
        """`(1,)`."""
        return Scores(-(self.codebook.embed(ids) - self.target).square().sum((1, 2)))


def seconds(positions: int, bits: int, steps: int) -> tuple[float, float]:
    """Of an inner step (M and 2M of them timed), and of the floor."""
    draw = torch.Generator().manual_seed(0)
    book = LFQCodebook(bits)
    model = Given(2 * torch.randn(positions, book.size, generator=draw))
    operator = Distance(book, torch.randn(1, positions, bits, generator=draw))
    row = torch.zeros(1, dtype=torch.long)
    canvas = Canvas.open([positions], mask_id=model.mask_id, fill_id=model.mask_id + 1)

    def timed(inner: int) -> float:
        config = APSConfig.make("restore", steps=16, inner_steps=inner)
        step = Step.open(canvas, model.mask_id, config, Noise(row, row), 0, everywhere=True)
        tilt = PosteriorTilt(operator, config, CodeTilt.fresh(1, book, lr=0.1))
        began = time.perf_counter()
        tilt(model, step)
        return time.perf_counter() - began

    timed(1)
    spent = (timed(2 * steps) - timed(steps)) / steps
    tilt, codes = torch.randn(positions, bits, generator=draw), book.codes
    began = time.perf_counter()
    with torch.no_grad():
        for _ in range(steps):
            (model.values + tilt @ codes.T).softmax(-1) @ codes
    return spent, (time.perf_counter() - began) / steps


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--positions", type=int, default=1024)
    parser.add_argument("--bits", type=int, default=13)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = [seconds(args.positions, args.bits, args.steps) for _ in range(args.repeats)]
    step, floor = (statistics.median(column) for column in zip(*found, strict=True))
    print(f"N = {args.positions}, K = {2**args.bits}, {args.threads} threads")
    print(f"inner step {step:.3f} s, floor {floor:.3f} s, {step / floor:.1f} times")


if __name__ == "__main__":
    main()
