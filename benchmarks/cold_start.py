"""Measures the time of a cold start: imports, the first denoising step, the first answers.

    python benchmarks/cold_start.py [--model mini] [--runs 3]

Each run is a new process; prints medians. Seconds depend on the machine; run it on an idle one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

PROGRAM = """
import json, sys, time
start = time.perf_counter()
import torch
torch_done = time.perf_counter()
import aps_text
import_done = time.perf_counter()
from aps_text import APSPipeline
first = []
pipe = APSPipeline.from_pretrained(sys.argv[1])
loaded = time.perf_counter()
note = lambda step, state: first.append(time.perf_counter())
question = "What is a violin?"
plain_start = time.perf_counter()
pipe.generate(question, on_step=note)
plain_done = time.perf_counter()
out = pipe(question, reward="relevance")
done = time.perf_counter()
print(json.dumps({
    "import torch": torch_done - start,
    "import aps_text beyond torch": import_done - torch_done,
    "load the model": loaded - import_done,
    "cold start to first step": first[0] - start,
    "plain answer": plain_done - plain_start,
    "steered answer, reward loaded": done - plain_done,
    "peak memory, MiB": out.cost.peak_memory_mb,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    rows = []
    for _ in range(args.runs):
        out = subprocess.run(
            [sys.executable, "-c", PROGRAM, args.model],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        rows.append(json.loads(out.stdout.splitlines()[-1]))
    for name in rows[0]:
        print(f"{name:<34}{statistics.median(row[name] for row in rows):8.2f}")


if __name__ == "__main__":
    main()
