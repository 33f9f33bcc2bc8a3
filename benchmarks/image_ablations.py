"""One change of restoration by APS at a time, as in the paper's ablations.

    python benchmarks/image_ablations.py --set portraits --data FOLDER
        [--tasks sr4 random-inpainting] [--images 16] [--only steps]

Each line restores the same measurements (sigma 0.05; nothing is told of the images) with one
setting of `preset="restore"` changed and `candidate="sample"` unless the line says otherwise; its
difference from the first line is paired, with a 95% bootstrap interval. `standard` and `APS-I` rank
by x_theta, the first with drawn candidates and the second with quantised expectations; `APS` keeps
quantised expectations with the highest tilted probability. Seconds of one processor an image.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aps_eval.report.statistics import difference
from image_pictures import pictures

from aps_text.images.metrics import psnr
from aps_text.pipelines.restoration import RestorationPipeline

STANDARD = {"remasking": "standard", "rank_by": "theta"}
LORA = {"adapter": "lora", "lora_layers": None}
LINES: dict[str, dict[str, Any]] = {
    "APS, drawn": {},
    "APS": {"candidate": "quantized"},
    "APS-I": {"candidate": "quantized", **STANDARD},
    "standard": STANDARD,
    "inner steps 1": {"inner_steps": 1},
    "inner steps 3": {"inner_steps": 3},
    "inner steps 10": {"inner_steps": 10},
    "inner steps 30": {"inner_steps": 30},
    "inner steps 100": {"inner_steps": 100},
    "prior overlap": {"prior": "overlap"},
    "prior none": {"prior": "none"},
    "steps 4": {"steps": 4},
    "steps 15": {"steps": 15},
    "steps 50": {"steps": 50},
    "phi logits": {"adapter": "logits"},
    "phi LoRA": LORA,
    "phi LoRA, learning rate 0.003": {**LORA, "learning_rate": 0.003},
    "start at 0": {"tilt_start": 0.0},
    "expectation in place of its nearest code": {"relaxation": "expectation"},
    "weight length": {"likelihood_weight": "length"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--set", required=True, help="garments or portraits")
    add("--data", type=Path, required=True, help="the folder of the set's files")
    add("--tasks", nargs="+", default=["sr4", "random-inpainting"])
    add("--images", type=int, default=16)
    add("--only", default="", help="lines whose name has this, beside the first")
    args = parser.parse_args()
    pipe = RestorationPipeline.from_pretrained(f"mini-{args.set}")
    truth = pictures(pipe, args.set, args.data, "test", args.images).images
    seeds = range(len(truth))
    for task in args.tasks:
        y = pipe.measure(truth, task, sigma=0.05)
        print(f"\n**{args.set}, {task}**, {len(truth)} images\n")
        print("| line | PSNR | minus the first | chi2 | seconds |\n|---|---|---|---|---|")
        base: dict[str, float] = {}
        for name, options in LINES.items():
            if base and args.only not in name:
                continue
            began = time.process_time()
            how = {"candidate": "sample", **options}
            found = pipe(y, seeds=seeds, progress=False, **how)
            seconds = (time.process_time() - began) / len(truth)
            quality = psnr(found.images[:, 0], truth)
            each = {str(seed): float(value) for seed, value in enumerate(quality)}
            base = base or each
            gap = difference(each, base) if each is not base else None
            cells = [name, f"{quality.mean():.2f}"]
            cells.append(
                "" if gap is None else f"{gap.mean:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
            )
            cells += [f"{found.chi2.mean():.2f}", f"{seconds:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
