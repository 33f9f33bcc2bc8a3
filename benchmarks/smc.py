"""Measures the distance of several methods' answers from their common target, by enumeration.

    python benchmarks/smc.py [--draws 200000] [--particles 1 4 16] [--beta 1.5]
        [--methods FK twisted APS-SMC anchored* Gibbs ETS VGB] [--out results/smc.jsonl]

The problem can be enumerated: 3 positions, 4 tokens, a joint table as the denoiser, a reward for
each of the 64 answers. One token per step is written in the order of the entropy of x_theta, so the
base sampler's law is the table p, and the target is exactly `p(x) exp(r(x)/beta)`. Printed is the
total variation between the target and the returned particles (`final="weight"`) of `draws`
independent runs, and the mean distance of the same number of exact draws. `anchored*` is APS-SMC's
biased order. For the others, k is the number of particles of `Gibbs` (particle Gibbs, k >= 2, four
sweeps), of continuations of `ETS` (three points, one rollout of the sampler), and of candidates of
`VGB` (its 16th answer).

Counts are appended to `--out`, from which an interrupted run continues; counts of another problem,
setting or method are not used. The default takes about six minutes of one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
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

from aps_text.core.config import APSConfig
from aps_text.core.sampler import Method, run
from aps_text.methods.ancestral import Ancestral
from aps_text.methods.aps import APS
from aps_text.methods.aps_smc import APSSMC
from aps_text.methods.ets import ETS
from aps_text.methods.fk_steering import FKSteering
from aps_text.methods.particle_gibbs import ParticleGibbs
from aps_text.methods.twisted_smc import TwistedSMC
from aps_text.methods.vgb import VGB

LENGTH, SYMBOLS = 3, 4
WORLD = {"table": 4, "sharp": 1.5, "reward": 5}
PART, ROWS = 4000, 8000  # draws in a line of the file; particles in a pass
CONFIG = APSConfig(
    inner_steps=3,
    pool_size=1,
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
    "Gibbs": lambda k: ParticleGibbs(k, 4, every=1, draws=1, resample=0.9, final="weight"),
    "ETS": lambda k: ETS(k, 1, LENGTH, "sampler"),
    "VGB": lambda k: VGB(k, 16, 1000, final="last"),
}


def world(beta: float) -> tuple[torch.Tensor, EnumeratedReward, torch.Tensor]:
    """The table, the reward, and the target over the 64 answers."""
    table = joint_table(LENGTH, SYMBOLS, WORLD["table"], sharp=WORLD["sharp"])
    reward = enumerated_reward(LENGTH, SYMBOLS, WORLD["reward"])
    target = table[0] * (reward.values[:SYMBOLS, :SYMBOLS, :SYMBOLS] / beta).exp()
    return table, reward, (target / target.sum()).flatten()


Part = tuple[str, int, float, int, int]  # method, particles, beta, first draw, last + 1


def count(part: Part) -> list[int]:
    """How often each answer was returned in draws `first` to `last`."""
    name, particles, beta, first, last = part
    torch.set_num_threads(1)
    table, reward, _ = world(beta)
    config, counts = CONFIG.replace(beta=beta), torch.zeros(SYMBOLS**LENGTH, dtype=torch.long)
    chunk = max(1, ROWS // particles)
    for start in range(first, last, chunk):
        rows = min(chunk, last - start)
        denoiser = TableDenoiser(table.expand(rows, -1, -1, -1))
        canvas, noise = open_canvas(rows, LENGTH, SYMBOLS), noise_for(range(start, start + rows))
        z = run(METHODS[name](particles), denoiser, reward, canvas, config, noise).z
        counts += torch.bincount(index_of(z, SYMBOLS), minlength=SYMBOLS**LENGTH)
    return counts.tolist()


def key(part: Part) -> str:
    """A key of everything that determines a part's counts."""
    name, particles, beta, first, last = part
    method = METHODS[name](particles)
    asked = [type(method).__name__, vars(method), CONFIG.replace(beta=beta).to_json()]
    text = json.dumps([asked, WORLD, LENGTH, SYMBOLS, first, last], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def counted(parts: list[Part], path: Path, processes: int) -> dict[str, list[int]]:
    """The counts of all parts by key: those the file has, and the others, appended to it."""
    from rich.progress import track

    found: dict[str, list[int]] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().split("\n") if path.exists() else []
    for line in lines[:-1]:  # text after the last newline is an incomplete line
        row = json.loads(line)
        found[row["key"]] = row["counts"]
    if lines and lines[-1]:
        path.write_text("".join(f"{line}\n" for line in lines[:-1]))
    open_parts = [part for part in parts if key(part) not in found]
    # Parts with many particles first, so that no process ends with a long one.
    open_parts.sort(key=lambda part: -part[1])
    with path.open("a") as file, get_context("spawn").Pool(processes) as pool:
        results = pool.imap(count, open_parts)
        for part, counts in zip(open_parts, track(results, "", len(open_parts)), strict=True):
            found[key(part)] = counts
            file.write(json.dumps({"key": key(part), "part": part, "counts": counts}) + "\n")
            file.flush()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200_000)
    parser.add_argument("--particles", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--methods", nargs="+", default=["FK", "twisted", "APS-SMC"])
    parser.add_argument("--beta", type=float, default=1.5)
    parser.add_argument("--out", type=Path, default=Path("results/smc.jsonl"))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    target = world(args.beta)[2]
    floor = 0.5 * (2 * target * (1 - target) / (math.pi * args.draws)).sqrt().sum().item()

    def parts(name: str, particles: int) -> list[Part]:
        edges = range(0, args.draws, PART)
        return [(name, particles, args.beta, a, min(a + PART, args.draws)) for a in edges]

    cells = [("plain", 1), ("APS", 1)]
    cells += [(name, k) for k in args.particles for name in args.methods]
    found = counted([part for cell in cells for part in parts(*cell)], args.out, args.processes)

    def gap(name: str, particles: int) -> str:
        """Distance to the target."""
        counts = torch.tensor([found[key(part)] for part in parts(name, particles)]).sum(0)
        return f"{0.5 * (counts / counts.sum() - target).abs().sum().item():.4f}"

    print(f"{args.draws} draws a cell; exact draws would show {floor:.4f}; beta {args.beta:g}")
    for name in ("plain", "APS"):
        print(f"{name:<10} {gap(name, 1)}")
    print("particles " + "".join(f"{name:>12}" for name in args.methods))
    for k in args.particles:
        print(f"{k:>9} " + "".join(f"{gap(name, k):>12}" for name in args.methods))


if __name__ == "__main__":
    main()
