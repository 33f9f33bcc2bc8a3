"""How far are plain sampling, APS, FK steering, twisted SMC and APS-SMC from the target they share?

    python benchmarks/smc.py [--draws 200000] [--particles 1 4 16] [--beta 1.5]
        [--methods FK twisted APS-SMC anchored*]

A world that can be enumerated: 3 positions, 4 tokens, a joint table as the denoiser, a reward for
each of the 64 answers. One token a step in the order of the entropy of x_theta, so the base
sampler's law is the table p, and the target is `p(x) exp(r(x)/beta)`, exact. Printed is the total
variation between the target and the law of the returned particle (`final="weight"`) over `draws`
answers, beside the distance that many exact draws would show on average. A draw is a run of the
method of its own. `anchored*` is APS-SMC's biased order.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from worlds import (
    EnumeratedReward,
    TableDenoiser,
    enumerated_reward,
    index_of,
    joint_table,
    noise_for,
    open_canvas,
)

from aps_text.config import APSConfig
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps_smc import APSSMC
from aps_text.methods.fk_steering import FKSteering
from aps_text.methods.twisted_smc import TwistedSMC
from aps_text.posterior import APS
from aps_text.sampler import Method, run

LENGTH, SYMBOLS, CHUNK = 3, 4, 2000
CONFIG = APSConfig(
    adapter="logits",
    temperature=1.0,
    top_p=1.0,
    min_new_tokens=0,
    trust_region=None,
    steps=LENGTH,
    learning_rate=0.3,
    alg="entropy",
    remasking="standard",
)
METHODS: dict[str, Callable[[int], Method]] = {
    "plain": lambda k: Ancestral(),
    "APS": lambda k: APS(),
    "FK": lambda k: FKSteering(k, every=1, draws=1, final="weight"),
    "twisted": lambda k: TwistedSMC(k, final="weight"),
    "APS-SMC": lambda k: APSSMC(k, final="weight"),
    "anchored*": lambda k: APSSMC(k, order="anchored", final="weight"),
}


def world(beta: float) -> tuple[torch.Tensor, EnumeratedReward, torch.Tensor]:
    """The table, the reward, and the target over the 64 answers."""
    table = joint_table(LENGTH, SYMBOLS, 4, sharp=1.5)
    reward = enumerated_reward(LENGTH, SYMBOLS, 5)
    target = table[0] * (reward.values[:SYMBOLS, :SYMBOLS, :SYMBOLS] / beta).exp()
    return table, reward, (target / target.sum()).flatten()


def count(job: tuple[str, int, float, int, int]) -> torch.Tensor:
    """How often each answer came out for draws `first` to `last`."""
    name, particles, beta, first, last = job
    torch.set_num_threads(1)
    table, reward, _ = world(beta)
    config, counts = CONFIG.replace(beta=beta), torch.zeros(SYMBOLS**LENGTH).double()
    chunk = max(1, CHUNK // particles)
    for start in range(first, last, chunk):
        rows = min(chunk, last - start)
        denoiser = TableDenoiser(table.expand(rows, -1, -1, -1))
        canvas, noise = open_canvas(rows, LENGTH, SYMBOLS), noise_for(range(start, start + rows))
        z = run(METHODS[name](particles), denoiser, reward, canvas, config, noise).z
        counts += torch.bincount(index_of(z, SYMBOLS), minlength=SYMBOLS**LENGTH)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200_000)
    parser.add_argument("--particles", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--methods", nargs="+", default=["FK", "twisted", "APS-SMC"])
    parser.add_argument("--beta", type=float, default=1.5)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    started = time.perf_counter()
    target = world(args.beta)[2]
    floor = 0.5 * (2 * target * (1 - target) / (math.pi * args.draws)).sqrt().sum().item()
    print(f"{args.draws} draws a cell; exact draws would show {floor:.4f}; beta {args.beta:g}")
    with get_context("spawn").Pool(args.processes) as pool:

        def gap(name: str, particles: int) -> str:
            """Distance to the target."""
            many = 8 * args.processes
            edges = [args.draws * i // many for i in range(many + 1)]
            jobs = [(name, particles, args.beta, a, b) for a, b in itertools.pairwise(edges)]
            counts = sum(pool.imap(count, jobs), torch.zeros(()))
            return f"{0.5 * (counts / counts.sum() - target).abs().sum().item():.4f}"

        for name in ("plain", "APS"):
            print(f"{name:<10} {gap(name, 1)}", flush=True)
        print("particles " + "".join(f"{name:>12}" for name in args.methods))
        for particles in args.particles:
            cells = "".join(f"{gap(name, particles):>12}" for name in args.methods)
            print(f"{particles:>9} {cells}", flush=True)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
