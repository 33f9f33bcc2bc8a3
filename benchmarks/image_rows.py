"""The rows of `benchmarks/images.py`: each restores, scores and stores an image at most once."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aps_eval.rows import Row, row_key
from aps_eval.store import RowStore
from image_contenders import SUPERVISED, Contender
from image_lines import LINES, draw_line
from image_pictures import Pictures, fingerprint
from image_regression import Regression, trained
from torch import Tensor

from aps_text.images.measurement import Measurement, model_sigma_of
from aps_text.images.metrics import perceptual, psnr, spread_and_error, ssim
from aps_text.images.tasks import make_task
from aps_text.methods.registry import IMAGE_METHODS, build_method
from aps_text.pipelines.restoration import RestorationPipeline


class Bench:
    """Restores, scores and stores; every row at most once.

    Attributes:
        clock: processor seconds, which other processes do not change; wall seconds elsewhere.
    """

    def __init__(self, pipe: RestorationPipeline, args: argparse.Namespace) -> None:
        self.pipe, self.args = pipe, args
        self.store = RowStore(args.out / "rows.jsonl")
        self.chosen = Kept(args.out / "chosen.json")
        self.print = fingerprint(pipe)
        self.ends = time.monotonic() + 60 * args.minutes
        self.sigmas: dict[str, float] = {}
        self.regressions: dict[str, Regression] = {}
        device = pipe.model.device
        self.clock = time.process_time if device.type == "cpu" else time.perf_counter
        pipe.paint()  # the first call is slow

    def measured(
        self, task: str, truth: Pictures, numbers: Sequence[int], tune: Pictures
    ) -> Measurement:
        """The measurement of truths; an image's noise depends on its number alone."""
        degradation = make_task(task, self.pipe.size[1:])
        made = []
        for image, number in zip(truth.images, numbers, strict=True):
            generator = torch.Generator().manual_seed(10_000 + number)
            made.append(
                Measurement.simulate(degradation, image[None], self.args.sigma, generator).y
            )
        y = torch.cat(made)
        return self.pipe.bound(
            Measurement(degradation, y, self.args.sigma, model_sigma=self.model_sigma(task, tune))
        )

    def model_sigma(self, task: str, tune: Pictures) -> float:
        """`--model-sigma`: a number, or measured on the images for tuning, to six digits.

        It is part of a row's key: the last digits of a sum differ between processors.
        """
        if self.args.model_sigma != "measured":
            return float(self.args.model_sigma)
        if task not in self.sigmas:
            tokenizer, degradation = self.pipe.model.tokenizer, make_task(task, self.pipe.size[1:])
            with torch.no_grad():
                again = tokenizer.decode_ids(tokenizer.encode(tune.images)).clamp(-1, 1)
            self.sigmas[task] = float(f"{model_sigma_of(degradation, tune.images, again):.6g}")
        return self.sigmas[task]

    def noise(self, task: str, tune: Pictures) -> float | str:
        """The model's error as keys hold it: as typed, which keeps those of rows made before."""
        given: str = self.args.model_sigma
        return self.model_sigma(task, tune) if given == "measured" else given

    def rows_of(
        self, one: Contender, task: str, shown: Pictures, tune: Pictures, samples: int, split: str
    ) -> list[Row]:
        """The rows of a contender on a task: those stored, and the others, which are made."""
        samples = 1 if one.single else samples
        noise = self.noise(task, tune)
        keys = [
            self.key(one, task, shown, i, samples, split, noise) for i in range(len(shown.images))
        ]
        missing = [i for i, key in enumerate(keys) if not self.store.done(key)]
        for at in range(0, len(missing), self.args.batch):
            if time.monotonic() > self.ends:
                raise TimeIsUp
            part = missing[at : at + self.args.batch]
            truth = shown.part(part)
            y = self.measured(task, truth, part, tune)
            found = self.restored(one, y, truth, part, samples)
            self.store.append(
                self.row(one, task, truth, i, keys[n], n, split, found) for i, n in enumerate(part)
            )
        stored = [self.store.get(key) for key in keys]
        return [row for row in stored if row is not None]

    def restored(
        self, one: Contender, y: Measurement, truth: Pictures, seeds: list[int], samples: int
    ) -> dict[str, Any]:
        """Metrics of each image, `(B,)` each, and the cost of a sample."""
        model = self.regression(y) if one.method == SUPERVISED else None  # not in the seconds
        started = self.clock()
        cost: dict[str, float] = {}
        if model is not None:
            with torch.no_grad():
                drawn = model(y, self.pipe.size).clamp(-1, 1)[:, None]
        elif one.method in LINES:
            drawn = draw_line(one.method, self.pipe.model.tokenizer, y, truth.images)[:, None]
        else:
            method = build_method(IMAGE_METHODS, one.method, one.options)
            out = self.pipe(
                y,
                truth.attributes,
                method=method,
                samples=samples,
                seeds=seeds,
                progress=None,
                steps=self.args.steps,
                **{"candidate": "sample", **one.config},
            )
            drawn = out.images
            cost = {key: float(v) for key, v in vars(out.cost).items() if key != "started"}
        cost["seconds"] = self.clock() - started
        count = len(seeds) * drawn.shape[1]
        return {
            "metrics": scored(drawn, truth.images, y, self.pipe),
            "cost": {name: v if "memory" in name else v / count for name, v in cost.items()},
        }

    def regression(self, y: Measurement) -> Regression:
        """The regression of a measurement's task, on the CPU: read, or trained and kept."""
        from recipes.mini_image.plans import SETS

        args = self.args
        state = json.dumps(y.degradation.state(), default=lambda value: value.tolist())
        own = f"{args.set} {state} {args.sigma} {args.supervised}"
        name = hashlib.sha256(own.encode()).hexdigest()[:16]
        if name not in self.regressions:
            images = SETS[args.set].images(args.data, "train")
            file = args.out / "regression" / f"{y.degradation.name}-{name}.safetensors"
            self.regressions[name] = trained(
                file, images, y.degradation, args.sigma, args.supervised
            )
        return self.regressions[name]

    def key(
        self,
        one: Contender,
        task: str,
        shown: Pictures,
        index: int,
        samples: int,
        split: str,
        model_sigma: float | str,
    ) -> str:
        """The key of everything that determines a row."""
        pixels = shown.images[index].cpu().contiguous().numpy().tobytes()
        item = {
            "pixels": hashlib.sha256(pixels).hexdigest(),
            "attributes": shown.attributes[index],
            "number": index,
        }
        asked = {
            "task": task,
            "sigma": self.args.sigma,
            "model_sigma": model_sigma,
            "samples": samples,
            "split": split,
            "label": one.label,
        }
        config = {**one.config, "steps": self.args.steps}
        return row_key(
            task=asked,
            item=item,
            method=one.method,
            options=one.options,
            config=config,
            fingerprint=self.print,
            rewards={},
            control=None,
            seed=index,
        )

    def row(
        self,
        one: Contender,
        task: str,
        truth: Pictures,
        index: int,
        key: str,
        number: int,
        split: str,
        found: dict[str, Any],
    ) -> Row:
        """One image's row."""
        return Row(
            key=key,
            task=task,
            item=str(number),
            question=json.dumps(truth.attributes[index]),
            method=one.method,
            label=one.label,
            model=self.pipe.model.name,
            fingerprint=self.print,
            seed=number,
            split=split,
            options=dict(one.options),
            config={**one.config, "steps": self.args.steps},
            metrics={name: float(v[index]) for name, v in found["metrics"].items()},
            cost=found["cost"],
        )

    def tuned(self, one: Contender, task: str, tune: Pictures) -> Contender:
        """The contender with the settings of its best trial on the images for tuning."""
        trials = one.trials(self.args.trials)
        if len(trials) == 1:
            return one
        means = []
        for trial in trials:
            rows = self.rows_of(trial, task, tune, tune, 1, "tune")
            means.append(float(np.mean([row.metrics["psnr"] for row in rows])))
        return trials[int(np.argmax(means))]

    def matched(
        self, one: Contender, task: str, own: list[Row], base: list[Row], noise: float | str
    ) -> Contender:
        """The contender at the seconds of the base line, settled once and then kept for the model,
        the settings, the errors of measurement (`--sigma`) and model (`noise`), and `--untold`.

        A name without the mark `untold` is of images whose attributes were told, as all were before
        there was one.
        """
        mine, target = (np.mean([r.cost["seconds"] for r in rows]) for rows in (own, base))
        now = one.value(one.knob)
        asked = [self.print, task, one.label, one.options, one.config]
        how = {"sigma": self.args.sigma, "model_sigma": noise, "steps": self.args.steps}
        how |= {"untold": True} if self.args.untold else {}
        name = json.dumps([*asked, how], sort_keys=True)
        value = self.chosen.get(name, max(1, round(now * float(target / mine))))
        return replace(one.changed(**{one.knob: value}), label=f"{one.label}, equal seconds")


class TimeIsUp(Exception):
    """`--minutes` have passed; the rows so far are stored."""


class Kept:
    """Values settled once, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str, value: int) -> int:
        """The value of a name; `value` if it has none yet, which is then kept."""
        if name not in self.values:
            self.values[name] = value
            self.path.write_text(json.dumps(self.values, indent=1) + "\n")
        return self.values[name]


@torch.no_grad()
def scored(
    drawn: Tensor, truth: Tensor, y: Measurement, pipe: RestorationPipeline
) -> dict[str, Tensor]:
    """Metrics of samples `(B, n, C, H, W)`, `(B,)` each; `mean ...` are of the samples' mean."""
    many = drawn.shape[1]
    judge = pipe.model.classifier
    kinds = {"psnr": psnr}
    if min(truth.shape[-2:]) >= 11:
        kinds["ssim"] = ssim
    if judge is not None:
        kinds["perceptual"] = lambda a, b: perceptual(a, b, judge.features)
    found: dict[str, Tensor] = {}
    for name, metric in kinds.items():
        each = [metric(sample, truth) for sample in drawn.unbind(1)]
        found[name] = torch.stack(each).mean(0)
        if many > 1:
            found[f"mean {name}"] = metric(drawn.mean(1), truth)
    found["chi2"] = torch.stack([y.chi2(sample) for sample in drawn.unbind(1)]).mean(0)
    if many > 1:
        found["spread"], found["error"] = spread_and_error(drawn.transpose(0, 1), truth)
    return found
