"""Restoration: APS, its peers and reference lines on tasks of images, as tables.

    python benchmarks/images.py --model mini-garments --set garments --data FOLDER
        [--tasks sr4 box-inpainting ...] [--methods aps g2d2 ...] [--images 16] [--samples 2]
        [--trials 12] [--equal-seconds] [--minutes 60] [--out results/images]

Every method restores the same measurements. Rows are appended to `--out`/rows.jsonl, and a run that
was stopped continues there; the tables are in tables.md beside it. The default size is about an
hour of one core; `--trials 12 --equal-seconds` makes it half an hour for each task.

- Lines: see `image_lines`; `prior` is a sample of the model that ignores the measurement.
- `--supervised STEPS`: beside them a regression for each task, trained on the set's training images
  (about half a second a step): the least squared error that one may hope for.
- `--trials n`: each method's settings are the best of n (by PSNR, of the same list of trials) for
  each task on `--tune` other images; 0 takes the first of the list, the defaults.
- `--equal-seconds`: each method a second time, with its knob (inner steps, candidates, particles,
  sweeps) scaled so that a sample takes as long as one of `aps`.
- PSNR, SSIM, perceptual distance and chi2 are means over an image's samples, then over images.
  `aps, mean of the samples` is the samples' mean as one image. Calibration is the rms distance of
  two samples over that of a sample to the truth. Seconds are the processor's for each sample (on
  an accelerator, wall time).
- Intervals are 95% bootstrap intervals over images; differences are paired. Bold: significant by
  the sign-flip test after Holm's adjustment over a task's lines.

Methods are told the attributes that an image has (its class), unless `--untold`: then they know
what the lines without a model know. Without `--set`, the truths are drawn from the model's own
prior: a check of the machinery, which says nothing about pictures.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aps_eval.rows import Row
from image_contenders import BASE, CONTENDERS, SUPERVISED, Contender
from image_pictures import Pictures, pictures
from image_rows import Bench, TimeIsUp
from image_tables import table

from aps_text.images.tasks import TASKS
from aps_text.pipelines.restoration import RestorationPipeline


def compare(bench: Bench, task: str, shown: Pictures, tune: Pictures) -> dict[str, list[Row]]:
    """The rows of every line on a task, by label; stops early when the time is up."""
    args = bench.args
    found: dict[str, list[Row]] = {}
    contenders = [one for one in CONTENDERS if one.label in (*args.methods, BASE)]
    if args.supervised:
        steps = {"steps": args.supervised}
        contenders.append(Contender(SUPERVISED, SUPERVISED, steps, single=True))
    contenders.sort(key=lambda one: one.label != BASE)  # its seconds are what others are given
    matched = []
    for one in contenders:
        best = bench.tuned(one, task, tune)
        found[one.label] = bench.rows_of(best, task, shown, tune, args.samples, "test")
        if args.equal_seconds and one.knob and one.label != BASE:
            noise = bench.noise(task, tune)
            matched.append(bench.matched(best, task, found[one.label], found[BASE], noise))
    for one in matched:
        found[one.label] = bench.rows_of(one, task, shown, tune, args.samples, "test")
    order = [SUPERVISED]
    order += [label for one in CONTENDERS for label in (one.label, f"{one.label}, equal seconds")]
    return {label: found[label] for label in order if label in found}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", default="mini-garments", help="an embedded image model or a folder")
    add("--set", default=None, help="images of recipes.mini_image: garments, portraits")
    add("--data", type=Path, default=None, help="the folder of the set's files")
    add(
        "--tasks",
        nargs="+",
        choices=sorted(TASKS),
        default=["sr4", "gaussian-blur", "box-inpainting", "random-inpainting", "hdr"],
    )
    add(
        "--methods",
        nargs="+",
        choices=[c.label for c in CONTENDERS],
        default=[c.label for c in CONTENDERS],
        metavar="LABEL",
    )
    add("--untold", action="store_true", help="keep the images' attributes from the methods")
    add("--images", type=int, default=16)
    add("--samples", type=int, default=2)
    add("--tune", type=int, default=8, help="other images, for choosing settings")
    add("--trials", type=int, default=0, help="settings tried for each method and task")
    add("--equal-seconds", action="store_true")
    add("--supervised", type=int, default=0, help="steps of training for each task; 0 is off")
    add("--steps", type=int, default=16)
    add("--sigma", type=float, default=0.05)
    add("--model-sigma", default="0", help="a number, or 'measured' on the images for tuning")
    add("--batch", type=int, default=16, help="images restored together, and then stored")
    add("--minutes", type=float, default=math.inf, help="stop after these; run again to go on")
    add("--out", type=Path, default=Path("results/images"))
    args = parser.parse_args(argv)
    if args.supervised and args.set is None:
        raise SystemExit("--supervised is trained on the images of --set: give one")
    pipe = RestorationPipeline.from_pretrained(args.model)
    shown = pictures(pipe, args.set, args.data, "test", args.images, args.untold)
    tune = pictures(pipe, args.set, args.data, "tune", args.tune, args.untold)
    bench, tables = Bench(pipe, args), []
    try:
        for task in args.tasks:
            tables.append(table(task, compare(bench, task, shown, tune)))
            print(tables[-1] + "\n", flush=True)
    except TimeIsUp:
        print(f"{args.minutes:g} minutes are over; the same command goes on from here")
    (args.out / "tables.md").write_text("\n\n".join(tables) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
