"""The benchmark of restoration, on a tiny image model; and the lines beside it."""

from __future__ import annotations

import json
from dataclasses import replace

import image_ablations
import image_lines
import image_tables
import images
import numpy as np
import pytest
import torch
from aps_eval.rows import Row
from image_contenders import CONTENDERS
from image_pictures import pictures
from image_regression import trained
from test_image_model import write

from aps_text import APSConfig
from aps_text.images.degradations import HighDynamicRange, Inpainting, SuperResolution
from aps_text.images.masks import box_mask
from aps_text.images.measurement import Measurement
from aps_text.images.metrics import psnr
from aps_text.methods.registry import IMAGE_METHODS, build_method
from aps_text.methods.unread import refuse_unread, refuse_unsteered
from aps_text.pipelines.image_call import ImageCall
from aps_text.pipelines.image_model import load_image_model
from aps_text.pipelines.restoration import RestorationPipeline
from recipes.mini_image.images import Images
from recipes.mini_image.plans import SETS

METHODS = ["floor", "tokenizer", "prior", "aps", "svdd"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "m")


def bench(folder, out, *args):
    given = ["--tasks", "sr2", "--images", "3", "--samples", "2", "--tune", "2", "--steps", "3"]
    model = ["--model", str(folder), "--out", str(out), "--methods", *METHODS]
    return images.main([*model, *given, *args])


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert bench(folder, out, "--trials", "2", "--equal-seconds") == 0
    return out


def rows_of(out) -> list[dict]:
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def test_a_table_says_what_the_rows_say(run):
    rows = rows_of(run)
    lines = [line.split(" | ") for line in (run / "tables.md").read_text().splitlines()[4:]]
    labels = [line[0].removeprefix("| ") for line in lines if len(line) > 1]
    assert labels == [*METHODS, "svdd, equal seconds", "aps, mean of the samples"]
    test = {
        label: [r for r in rows if r["label"] == label and r["split"] == "test"] for label in labels
    }
    for line, label in zip(lines, labels[:-1], strict=False):
        mine = test[label]
        assert len(mine) == 3
        means = {name: np.mean([r["metrics"][name] for r in mine]) for name in ("psnr", "chi2")}
        assert float(line[1]) == pytest.approx(means["psnr"], abs=0.006)
        assert float(line[5]) == pytest.approx(means["chi2"], abs=0.006)
        base = np.mean([r["metrics"]["psnr"] for r in test["aps"]])
        if label != "aps":
            gap = float(line[2].strip("*").split(" ")[0])
            assert gap == pytest.approx(means["psnr"] - base, abs=0.006)
    mean = np.mean([r["metrics"]["mean psnr"] for r in test["aps"]])
    assert float(lines[-1][1]) == pytest.approx(mean, abs=0.006)
    spread, error = (sum(r["metrics"][n] for r in test["aps"]) for n in ("spread", "error"))
    assert float(lines[3][6].split(" ")[0]) == pytest.approx((spread / error) ** 0.5, abs=0.006)
    assert test["prior"][0]["metrics"]["chi2"] != test["aps"][0]["metrics"]["chi2"]


def test_settings_are_chosen_on_other_images(run):
    rows = rows_of(run)
    tried = [r for r in rows if r["split"] == "tune" and r["label"] == "svdd"]
    settings = {json.dumps(r["options"]) for r in tried}
    assert len(settings) == 2
    assert len(tried) == 4
    means = {
        one: np.mean([r["metrics"]["psnr"] for r in tried if json.dumps(r["options"]) == one])
        for one in settings
    }
    (used,) = {
        json.dumps(r["options"]) for r in rows if (r["label"], r["split"]) == ("svdd", "test")
    }
    assert means[used] == max(means.values())


def test_what_is_settled_for_equal_seconds_is_kept_for_its_errors(run):
    """Another noise, or another error of the model, settles its own number."""
    kept = json.loads((run / "chosen.json").read_text())
    assert kept
    for name in kept:
        errors = json.loads(name)[-1]
        assert set(errors) == {"sigma", "model_sigma", "steps"}


def test_what_is_settled_with_attributes_told_serves_no_untold_run(folder, tmp_path):
    args = ["--methods", "aps", "svdd", "--images", "1", "--equal-seconds"]
    kept = []
    for more in ((), ("--untold",), (), ("--untold",)):
        assert bench(folder, tmp_path, *args, *more) == 0
        kept.append(json.loads((tmp_path / "chosen.json").read_text()))
    told, both = kept[:2]
    assert kept[2:] == [both, both]
    assert both.items() > told.items()
    assert ["untold" in json.loads(name)[-1] for name in both] == [False, True]


def test_a_second_run_makes_nothing_anew(run, folder):
    before, table = (run / "rows.jsonl").read_text(), (run / "tables.md").read_text()
    assert bench(folder, run, "--trials", "2", "--equal-seconds") == 0
    assert (run / "rows.jsonl").read_text() == before
    assert (run / "tables.md").read_text() == table
    assert bench(folder, run, "--images", "4") == 0
    added = (run / "rows.jsonl").read_text().removeprefix(before).splitlines()
    fourth = [json.loads(line) for line in added if json.loads(line)["item"] == "3"]
    assert {row["label"] for row in fourth} == set(METHODS)


def test_rows_are_made_anew_where_the_measured_error_of_the_model_is_another(folder, tmp_path):
    measured = ["--model-sigma", "measured", "--methods", "floor"]
    made = []
    for tune in ("2", "2", "3"):
        assert bench(folder, tmp_path, *measured, "--tune", tune) == 0
        made.append(len(rows_of(tmp_path)))
    assert made[0] == made[1]  # the same images for tuning, the same error
    assert made[2] == 2 * made[0]
    keys = {row["key"] for row in rows_of(tmp_path)}
    assert len(keys) == made[2]


def test_it_stops_when_the_time_is_up(folder, tmp_path, capsys):
    assert bench(folder, tmp_path, "--minutes", "0") == 0
    assert "0 minutes are over; the same command goes on" in capsys.readouterr().out
    assert (tmp_path / "rows.jsonl").read_text() == ""


@pytest.mark.parametrize("one", CONTENDERS, ids=lambda one: one.label)
def test_every_trial_is_of_settings_that_its_method_reads(one):
    trials = one.trials(100)
    assert trials[0] == one
    if one.grid:
        assert len(trials) == 12  # the same number for all
        assert one.value(one.knob) >= 1
    for trial in trials if one.method in IMAGE_METHODS else ():
        method = build_method(IMAGE_METHODS, trial.method, trial.options)
        options = {"candidate": "sample", **trial.config}
        refuse_unread(method, options, "restore")
        refuse_unsteered(method, APSConfig.make("restore", **options))


def measurement(degradation, x) -> Measurement:
    generator = torch.Generator().manual_seed(0)
    return Measurement.simulate(degradation, x, 1e-4, generator)


def test_the_floor_keeps_what_was_measured():
    flat = torch.full((2, 3, 16, 16), 0.4)
    mask = box_mask((16, 16), torch.Generator().manual_seed(0))
    for degradation in (SuperResolution(4), Inpainting(mask), HighDynamicRange()):
        found = measurement(degradation, flat).first_image((3, 16, 16))
        assert torch.allclose(found, flat, atol=2e-3), degradation.name
    ramp = torch.linspace(-0.8, 0.8, 16).expand(1, 1, 16, 16)
    y = measurement(Inpainting(mask), ramp)
    found = y.first_image((1, 16, 16))
    assert torch.equal(found[..., mask], y.y[..., mask])
    assert float((found - ramp).abs().max()) < 0.3  # the hole itself reads 0


def test_fitted_tokens_are_better_than_encoded_ones(folder):
    tokenizer = load_image_model(folder).tokenizer
    ids = torch.randint(16, (3, 16), generator=torch.Generator().manual_seed(1))
    truth = tokenizer.decode_ids(ids).clamp(-1, 1)
    y = measurement(SuperResolution(2), truth)
    lines = {n: image_lines.draw_line(n, tokenizer, y, truth) for n in image_lines.LINES}
    assert (psnr(lines["oracle"], truth) > psnr(lines["tokenizer"], truth)).all()
    again = y.log_density(lines["y-only"])
    start = tokenizer.decode_ids(tokenizer.encode(y.first_image((1, 16, 16))))
    assert (again > y.log_density(start)).all()
    assert all(float(line.abs().max()) <= 1 for line in lines.values())


def stripes(count: int) -> Images:
    """Bright bars of random places on black."""
    at = torch.randint(0, 13, (count,), generator=torch.Generator().manual_seed(count))
    pixels = torch.zeros(count, 1, 16, 16, dtype=torch.uint8)
    for image, first in zip(pixels, at.tolist(), strict=True):
        image[:, :, first : first + 3] = 255
    return Images(pixels, torch.zeros(count, 1, dtype=torch.long), {"kind": ("a",)})


@pytest.mark.parametrize("degradation", [SuperResolution(4), Inpainting(torch.eye(16).bool())])
def test_a_regression_learns_its_task_and_is_kept(degradation, tmp_path):
    file, held = tmp_path / "deep" / "r.safetensors", stripes(7).at(slice(None))
    model = trained(file, stripes(64), degradation, 0.05, 100, 16)
    y = Measurement.simulate(degradation, held, 0.05, torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = model(y, (1, 16, 16))
        kept = trained(file, stripes(64), degradation, 0.05, 100, 16)(y, (1, 16, 16))
    rough = y.first_image((1, 16, 16))
    assert float((found - held).square().mean()) < 0.6 * float((rough - held).square().mean())
    assert torch.equal(found, kept)


def test_a_regression_is_a_line_of_the_table(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(SETS, "bars", replace(SETS["garments"], images=lambda *_: stripes(8)))
    args = ["--set", "bars", "--data", str(tmp_path), "--methods", "floor", "--supervised"]
    for steps, lines in (("2", 1), ("2", 1), ("3", 2)):
        assert bench(folder, tmp_path, *args, steps) == 0
        assert "| supervised | " in (tmp_path / "tables.md").read_text()
        rows = [row for row in rows_of(tmp_path) if row["label"] == "supervised"]
        assert len(rows) == 3 * lines
        assert len(list((tmp_path / "regression").iterdir())) == lines


def test_images_of_the_prior_are_untold_too(folder):
    pipe = RestorationPipeline.from_pretrained(folder)
    told, untold = (pictures(pipe, None, None, "test", 2, known) for known in (False, True))
    assert torch.equal(told.images, untold.images)
    assert (told.attributes, untold.attributes) == ([{"kind": "a"}, {"kind": "b"}], [{}, {}])


def test_calibration_of_a_set_and_its_interval():
    def row(item, spread, error):
        metrics = {"spread": spread, "error": error}
        return Row(
            key=item, task="t", item=item, question="", method="aps", label="aps", model="m",
            fingerprint="f", seed=0, metrics=metrics,
        )  # fmt: skip

    rows = [row(str(i), 0.01 * (1 + i % 2), 0.04 * (1 + i % 2)) for i in range(6)]
    found = image_tables.ratio(rows)
    assert found == pytest.approx((0.5, 0.5, 0.5))
    assert image_tables.ratio([row("0", None, None)]) is None


@pytest.mark.parametrize("line", image_ablations.LINES)
def test_every_line_of_the_ablations_is_a_call(line):
    options = {"candidate": "sample", **image_ablations.LINES[line]}
    found = ImageCall.of("aps", 1, None, None, options).config.flat()
    assert all(found[name] == value for name, value in options.items())
