"""Kills an evaluation at random moments and restarts it, to check that no row is lost or doubled.

    python benchmarks/eval_kills.py [--kills 50] [--items 160] [--seed 0] [--folder NEW]

A tiny random model answers `items` questions plainly and by APS in a child process, which is killed
(SIGKILL); another child continues and is killed, and so on; the last one finishes. Every second
child is killed at a random moment after its first answers, the others at any. Children are forked
from a process that has loaded everything, so that each takes about a second, and the moments cover
all phases of a run: loading, answering, writing, summarising. Prints the numbers of rows, of keys
and of incomplete lines.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from eval_tiny import run_tiny, tiny_grid


@dataclass
class Found:
    """The result of `kill_and_restart`.

    Attributes:
        file: the file of rows.
        kills: children ended by SIGKILL.
        answered: kills behind answers of the child.
        torn, between: kills that left an incomplete last line, and those that did not.
        lives: all children.
    """

    file: Path
    kills: int = 0
    answered: int = 0
    torn: int = 0
    between: int = 0
    lives: int = 0


def kill_and_restart(folder: Path, kills: int, items: int, seed: int) -> Found:
    """Run `eval_tiny`'s grid (two rows per item) with `kills` kills, about nine rows per child.

    Raises:
        RuntimeError: a child failed by itself, or the run finished before the last kill.
    """
    folder.mkdir(parents=True)
    grid, out = tiny_grid(folder, items), folder / "out"
    found, draw = Found(out / "rows.jsonl"), random.Random(seed)
    longest = 0.5
    while True:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                run_tiny(grid, out, page=False)
                status = 0
            finally:
                os._exit(status)
        found.lives += 1
        before = _rows(found.file)
        if found.kills < kills:
            _live(child, found.file, before, found.kills % 2, draw.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            found.kills += 1
            data = found.file.read_bytes() if found.file.is_file() else b""
            whole = data.endswith(b"\n") or not data
            found.between += whole
            found.torn += not whole
            if _rows(found.file) == before:  # nothing was answered yet: wait longer
                longest *= 1.2
            else:
                longest *= 0.8
                found.answered += 1
            continue
        if os.WEXITSTATUS(status):
            raise RuntimeError(f"life {found.lives} ended by itself with {status}")
        if found.kills < kills:
            raise RuntimeError(f"finished after {found.kills} kills; give it more items")
        return found


def _live(child: int, file: Path, before: int, answers: int, seconds: float) -> None:
    """Wait for `answers` rows, and `seconds` more; at most two batches: no child shall finish."""
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while _rows(file) < before + answers and os.waitid(os.P_PID, child, look) is None:
        time.sleep(0.001)
    end = time.monotonic() + seconds
    while time.monotonic() < end and _rows(file) < before + 4:
        time.sleep(0.001)


def _rows(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--items", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to keep the run; none: thrown away")
    args = parser.parse_args()
    import torch
    from aps_eval.store import read_rows

    torch.set_num_threads(1)  # before anything is computed: a forked child has no other threads
    with tempfile.TemporaryDirectory() as place:
        folder = args.folder or Path(place) / "run"
        found = kill_and_restart(folder, args.kills, args.items, args.seed)
        lines = found.file.read_text(encoding="utf-8").splitlines()
        keys = {row.key for row in read_rows(found.file)}
    wanted = 2 * args.items
    print(
        f"{found.kills} kills in {found.lives} lives ({found.answered} behind answers, "
        f"{found.torn} left a torn line): "
        f"{len(lines)} lines, {len(keys)} keys, {wanted} wanted"
    )
    if not len(lines) == len(keys) == wanted:
        raise SystemExit("rows were lost or doubled")


if __name__ == "__main__":
    main()
