"""`aps restore` and `aps paint` on a tiny image model in the published layout."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from test_image_model import write

from aps_text.cli import main
from aps_text.commands.pictures import size_mend
from aps_text.commands.restore import TASK_NAMES, columns_of, warn_of_truths, write_y
from aps_text.images.degradations import Grayscale, SuperResolution
from aps_text.images.files import read_image, write_image
from aps_text.images.measurement import Measurement
from aps_text.images.measurement_files import model_of, read_measurement, write_measurement
from aps_text.images.metrics import psnr
from aps_text.images.tasks import TASKS, make_task
from aps_text.methods.aps import APS
from aps_text.pipelines.image_model import embedded_image_models, load_image_model
from aps_text.pipelines.restoration import RestorationPipeline

FEW = ["--steps", "4", "--inner-steps", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def files(tmp_path_factory, folder):
    """Images of the model's own size: two clean ones, one of 8 x 8, a mask, and bad files."""
    from PIL import Image

    here = tmp_path_factory.mktemp("files")
    pipe = RestorationPipeline(load_image_model(folder))
    ids = torch.randint(16, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        clean = pipe.model.tokenizer.decode_ids(ids).clamp(-1, 1)
    for name, image in zip(("one", "two"), clean, strict=True):
        write_image(image, here / f"{name}.png")
    write_image(pipe.measure(clean[:1], "sr2", sigma=0.02).y[0], here / "small.png")
    mask = torch.full((1, 16, 16), -1.0)
    mask[:, 5:10, 5:10] = 1
    write_image(mask, here / "mask.png")
    write_image(torch.zeros(1, 16, 16), here / "grey.png")
    write_image(-torch.ones(1, 16, 16), here / "black.png")
    write_image(torch.ones(1, 16, 16), here / "white.png")
    Image.new("1", (9000, 9000)).save(here / "wide.png")
    write_image(torch.rand(3, 16, 16), here / "colour.png")
    Image.new("I;16", (16, 16)).save(here / "deep.png")
    (here / "text.png").write_text("no image")
    return here


def run(command, folder, out, *args):
    return main([command, *map(str, args), "--model", str(folder), "--out", str(out), *FEW])


def test_a_degraded_image_is_restored_as_it_is(folder, files, tmp_path, capsys):
    assert run("restore", folder, tmp_path, files / "small.png", "--task", "sr2") == 0
    shown = capsys.readouterr().out
    assert "small-1.png  chi2 " in shown
    assert "PSNR" not in shown
    assert "sheet.png: measurement, sample 1\n" in shown
    assert "denoiser 4 forward" in shown
    pipe = RestorationPipeline(load_image_model(folder))
    y = pipe.observe(read_image(files / "small.png", 1), "sr2")
    expected = pipe(y, steps=4, inner_steps=3).images[0]
    assert float((read_image(tmp_path / "small-1.png", 1) - expected).abs().max()) <= 1 / 255 + 1e-5
    assert {path.name for path in tmp_path.iterdir()} == {
        "small-1.png",
        "sheet.png",
        "measurement.safetensors",
    }


def test_clean_images_are_degraded_first_and_compared(folder, files, tmp_path, capsys):
    clean = files / "one.png", files / "two.png"
    task = ["--task", "box-inpainting", "--simulate", "--task-seed", "3", "--sigma", "0.02"]
    more = ["--samples", "3", "--attribute", "kind=a", "--json"]
    assert run("restore", folder, tmp_path, *clean, *task, *more) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["columns"] == [
        *("truth", "measurement", "sample 1", "sample 2", "sample 3", "mean"),
        *("error of the mean x 4", "spread x 4"),
    ]
    assert [record["image"] for record in found["images"]] == ["one", "two"]
    for record, path in zip(found["images"], clean, strict=True):
        truth = read_image(path, 1).expand(3, -1, -1, -1)
        written = torch.cat([read_image(file, 1) for file in record["files"]])
        assert abs(record["PSNR"] - float(psnr(written, truth).mean())) < 0.1
        assert record["PSNR of the mean"] >= record["PSNR"]
        assert -1 <= record["SSIM"] <= 1
        assert 0 < record["perceptual"] < 4
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape[-2:] == (2 * (64 + 2) + 2, 8 * (64 + 2) + 2)
    saved = read_measurement(tmp_path / "measurement.safetensors")
    assert saved.sigma == 0.02
    assert saved.y.shape == (2, 1, 16, 16)
    again = tmp_path / "again"
    truth = ["--truth", clean[0]]
    assert run("restore", folder, again, tmp_path / "measurement.safetensors", *more) == 0
    second = json.loads(capsys.readouterr().out)
    assert [one["chi2"] for one in second["images"]] == [one["chi2"] for one in found["images"]]
    assert run("restore", folder, again, files / "small.png", "--task", "sr2", *truth) == 0
    assert "PSNR" in capsys.readouterr().out


def test_holes_of_the_user_s_own_are_filled(folder, files, tmp_path, capsys):
    mask = ["--task", "inpainting", "--mask", files / "mask.png"]
    peer = ["--method", "svdd", "--method-option", "candidates=2"]
    args = ["restore", str(files / "one.png"), *map(str, mask), *peer, "--steps", "3"]
    assert main([*args, "--model", str(folder), "--out", str(tmp_path)]) == 0
    saved = read_measurement(tmp_path / "measurement.safetensors")
    hidden = ~saved.degradation.mask
    assert hidden.sum() == 25
    assert hidden[5:10, 5:10].all()


def test_painting_by_class_and_by_style(folder, files, tmp_path, capsys):
    args = ["paint", "--model", str(folder), "--out", str(tmp_path), "--steps", "4"]
    assert main([*args, "--attribute", "kind=b"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("painted-") == 2 * 4
    assert "operator 0 forward" in shown
    style = ["--reference", str(files / "one.png"), "--statistic", "histogram", "--samples", "2"]
    assert main([*args, *style, "--style-sigma", "1e-4"]) == 0
    assert re.search(r"log style -?\d{4,}\.\d\n", capsys.readouterr().out)
    assert main([*args, *style, "--style-sigma", "0.005", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["columns"] == ["reference", "painted-1", "painted-2"]
    assert all(record["log style"] for record in found["images"])
    assert found["cost"]["reward_backwards"] > 0
    assert read_image(tmp_path / "painted-2.png", 1).shape == (1, 1, 16, 16)
    part = ["--reference-mask", str(files / "mask.png"), "--json"]
    assert main([*args, *style, "--style-sigma", "0.005", *part]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["images"][0]["log style"] != found["images"][0]["log style"]
    several = ["--reference", str(files / "one.png"), str(files / "two.png"), *style[2:], "--json"]
    assert main([*args, *several]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["columns"] == ["reference 1", "reference 2", "painted-1", "painted-2"]
    assert {"log style 1", "log style 2"} <= found["images"][0].keys()


def test_an_edit_keeps_the_pixels_outside_of_the_mask(folder, files, tmp_path, capsys):
    image = ["--image", files / "one.png", "--mask", files / "mask.png", "--samples", "2"]
    assert run("paint", folder, tmp_path, *image, "--reference", files / "two.png") == 0
    assert "reference, image, mask, edited-1, edited-2" in capsys.readouterr().out
    before, after = (read_image(p, 1) for p in (files / "one.png", tmp_path / "edited-1.png"))
    mask = read_image(files / "mask.png", 1) > 0
    assert torch.equal(before[~mask], after[~mask])
    assert not torch.equal(before[mask], after[mask])
    assert run("paint", folder, tmp_path, *image, "--no-paste", "--widen", "1") == 0
    assert not torch.equal(before[~mask], read_image(tmp_path / "edited-1.png", 1)[~mask])


SR = ("--task", "sr2")
BAD = [
    ("restore", ("none.png", *SR), "no image file at"),
    ("restore", ("text.png", *SR), "text.png cannot be read as an image"),
    ("restore", ("one.png", *SR), "is 16 x 16 pixels, and sr2 of "),
    (
        "restore",
        ("one.png", *SR),
        "is 8 x 8; if it is clean, degrade it first with --simulate; to resize or crop a",
    ),
    ("restore", ("small.png", *SR, "--simulate"), "is 8 x 8 pixels, and an image of "),
    ("restore", ("colour.png", *SR, "--simulate"), "colour.png has colours, and an image of "),
    ("restore", ("deep.png", *SR, "--simulate"), "more than 8 bits (mode I;16), whose range"),
    ("restore", ("one.png",), "--task is one of sr2, sr4, "),
    ("restore", ("one.png", "--task", "zoom"), "task is one of sr2"),
    ("restore", ("one.png", "--task", "inpainting"), "--task inpainting without --mask"),
    ("restore", ("small.png", *SR, "--mask", "mask.png"), "--task sr2 with --mask"),
    ("restore", ("one.png", "--task", "inpainting", "--mask", "grey.png"), "has grey pixels (128"),
    ("restore", ("one.png", "--task", "inpainting", "--mask", "small.png"), "grey pixels"),
    ("restore", ("one.png", "--task", "box-inpainting"), "give its --task-seed; a mask of your"),
    ("restore", ("one.png", "--task", "motion-blur"), "give its --task-seed\n"),
    ("restore", ("one.png", "--task", "sr3"), "grayscale, inpainting; got 'sr3'"),
    (
        "restore",
        ("one.png", "--task", "motion-blur", "--simulate", "--task-seed", "-1"),
        "--task-seed must be >= 0",
    ),
    ("paint", ("--method", "aps"), "nothing does: give a style"),
    ("restore", ("one.png", "one.png", *SR, "--simulate"), "two images are called 'one'"),
    ("restore", ("small.png", *SR, "--truth", "one.png", "two.png"), "got 2 for 1"),
    ("restore", ("small.png", *SR, "--sigma", "0"), "sigma must be >= 1e-06"),
    ("restore", ("small.png", *SR, "--samples", "0"), "samples must be at least 1, got 0"),
    ("restore", ("small.png", *SR, "--attribute", "kind"), "NAME=VALUE, got 'kind'"),
    ("restore", ("small.png", *SR, "--class", "bag"), "no attribute 'class'; this model knows"),
    ("restore", ("small.png", *SR, "--method", "magic"), "method is one of aps"),
    ("restore", ("small.png", *SR, "--block-length", "2"), "block_length=2 has no use here"),
    ("restore", ("small.png", *SR, "--seed", "2"), "seed=2 has no use here"),
    ("restore", ("small.png", *SR, "--device", "abacus"), "no device 'abacus' here"),
    ("restore", ("x.safetensors", *SR), "--task has no use with "),
    ("restore", ("x.safetensors", "--task-seed", "0"), "--task-seed has no use with "),
    (
        "restore",
        ("small.png", "--task", "sr2", "--task-seed", "7"),
        "--task-seed 7 has no use: --task sr2 draws nothing, and without --simulate",
    ),
    (
        "restore",
        ("one.png", "--task", "inpainting", "--mask", "mask.png", "--task-seed", "0"),
        "--task-seed 0 has no use: --task inpainting draws nothing",
    ),
    ("restore", ("x.safetensors", "--sigma", "0"), "--sigma has no use with "),
    ("restore", ("small.png", *SR, "--size", "0"), "size: no option of "),
    ("restore", ("x.safetensors", "--simulate"), "--simulate has no use with "),
    ("restore", ("x.safetensors",), "no measurement at "),
    (
        "restore",
        ("small.png", *SR, "--keep-known"),
        "is of inpainting, where some pixels",
    ),
    ("paint", ("--image", "one.png"), "takes both --image and --mask"),
    ("paint", ("--widen", "1"), "--widen is of an edit"),
    ("paint", ("--widen", "0"), "--widen is of an edit"),
    ("paint", ("--statistic", "gram"), "--statistic is of a style: give --reference"),
    ("paint", ("--reference-mask", "mask.png"), "--reference-mask is of a style"),
    ("paint", ("--reference", "small.png"), "is 8 x 8 pixels, and an image of "),
    ("paint", ("--reference", "one.png", "--statistic", "mood"), "statistic is one of channels"),
    ("paint", ("--image", "one.png", "--mask", "grey.png"), "has grey pixels"),
    ("paint", ("--image", "one.png", "--mask", "mask.png", "--keep-sigma", "0"), "keep_sigma must"),
    ("paint", ("--reference", "one.png", "--reference-mask", "black.png"), "a mask that is black"),
    ("restore", ("small.png", *SR, "--size", "64"), "size: no option of "),
    ("restore", ("wide.png", *SR), "wide.png is 9000 x 9000 pixels, and sr2 of "),
    (
        "paint",
        ("--reference", "one.png", "two.png", "--reference-mask", "mask.png"),
        "--reference-mask is of one reference, got 2",
    ),
    ("paint", ("--attribute", "kind=z"), "kind='z' is not one of a, b"),
    (
        "restore",
        ("one.png", "--task", "inpainting", "--mask", "black.png"),
        "black.png is black everywhere, so that no pixel is missing; make those that are missing",
    ),
    (
        "restore",
        ("one.png", "--task", "inpainting", "--mask", "white.png"),
        "white.png is white everywhere, so that no pixel is measured; make those that are",
    ),
    (
        "paint",
        ("--image", "one.png", "--mask", "black.png"),
        "black in a file; set the pixels to change to 1, white",
    ),
]


def test_the_help_names_every_task():
    assert (*TASKS, "inpainting") == TASK_NAMES


def test_a_saved_measurement_of_another_model_names_the_mend(folder, tmp_path, capsys):
    other = Measurement(Grayscale(), torch.zeros(1, 1, 8, 8), 0.05)
    write_measurement(other, tmp_path / "m.safetensors")
    assert run("restore", folder, tmp_path / "o", tmp_path / "m.safetensors") == 2
    assert "name the model that it was made for with --model" in capsys.readouterr().err
    for name, own in (("mini-portraits", "mini-portraits"), (str(tmp_path), None)):
        write_y(other, tmp_path, name)  # a folder's path is not written down
        assert model_of(tmp_path / "measurement.safetensors") == own
    write_y(other, tmp_path, "mini-portraits")
    saved = tmp_path / "measurement.safetensors"
    assert run("restore", folder, tmp_path / "o", saved) == 2
    assert f"not of {folder}; give --model mini-portraits (" in capsys.readouterr().err


def test_a_saved_measurement_of_another_range_says_so(folder, tmp_path, capsys):
    degradation = SuperResolution(2)
    other = Measurement(degradation, torch.full((1, 1, 8, 8), 200.0), 0.05)
    write_measurement(other, tmp_path / "m.safetensors")
    assert run("restore", folder, tmp_path / "o", tmp_path / "m.safetensors") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"aps: {tmp_path / 'm.safetensors'}: pixels are in [-1, 1]")
    assert "got up to 200; from 0 to 255: x / 127.5 - 1" in error
    assert "--model" not in error  # no model would take it


@pytest.mark.parametrize(("command", "args", "says"), BAD, ids=range(len(BAD)))
def test_errors_name_the_value_and_the_mend(folder, files, tmp_path, capsys, command, args, says):
    given = [files / a if a.endswith((".png", ".safetensors")) else a for a in args]
    more = [] if command == "paint" else FEW
    whole = [command, *map(str, given), "--model", str(folder), "--out", str(tmp_path / "o"), *more]
    assert main(whole) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert shown.err.startswith("aps: ")
    assert shown.out == ""
    assert not (tmp_path / "o").exists()


def test_an_unknown_model_says_what_was_looked_for(files, tmp_path, capsys):
    assert main(["restore", str(files / "small.png"), *SR, "--model", "mini-cars"]) == 2
    assert "no image model 'mini-cars'" in capsys.readouterr().err


def test_a_saved_measurement_of_two_images_takes_two_truths_and_no_sigma(
    folder, files, tmp_path, capsys
):
    clean = files / "one.png", files / "two.png"
    task = ["--task", "sr2", "--simulate", "--sigma", "0.02"]
    assert run("restore", folder, tmp_path / "a", *clean, *task) == 0
    saved = tmp_path / "a" / "measurement.safetensors"
    capsys.readouterr()
    assert run("restore", folder, tmp_path / "b", saved, "--truth", *clean) == 0
    assert capsys.readouterr().out.count("PSNR") >= 2
    for more, said in (
        (["--truth", clean[0]], "got 1 for 2"),
        (["--sigma", "0.9"], "--sigma has no use"),
        (["--model-sigma", "0.1"], "--model-sigma has no use"),
    ):
        assert run("restore", folder, tmp_path / "c", saved, *more) == 2
        assert said in capsys.readouterr().err


def test_the_truth_of_another_image_is_warned_of(folder, files, tmp_path, caplog):
    clean = [files / "one.png", files / "two.png"]
    task = ("--task", "sr2", "--simulate", "--sigma", "0.02")
    assert run("restore", folder, tmp_path / "a", *clean, *task) == 0
    saved = tmp_path / "a" / "measurement.safetensors"
    for truths, warned in ((clean, 0), (clean[::-1], 2)):
        caplog.clear()
        assert run("restore", folder, tmp_path / "b", saved, "--truth", *truths) == 0
        assert caplog.text.count("of its --truth is ") == warned


def test_the_truth_of_another_task_seed_is_warned_of(folder, files, tmp_path, caplog):
    """The samples are as bad as the truth, so only the noise tells."""
    clean, out = files / "one.png", tmp_path / "a"
    task = ("--task", "random-inpainting", "--task-seed")
    assert run("restore", folder, out, clean, *task, "0", "--simulate", "--sigma", "0.02") == 0
    y = read_measurement(out / "measurement.safetensors").y
    write_image(y[0].clamp(-1, 1), tmp_path / "y.png")
    how = ("--sigma", "0.02", "--truth", clean)
    for seed, warned in (("0", False), ("1", True)):
        caplog.clear()
        assert run("restore", folder, tmp_path / "b", tmp_path / "y.png", *task, seed, *how) == 0
        assert ("y: the chi2 of its --truth is " in caplog.text) == warned


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("sigma", [1e-6, 0.01, 0.05])
def test_the_truth_of_what_a_file_has_rounded_is_not_warned_of(task, sigma, caplog):
    truth = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)).round() * 2 - 1
    truth[2:] = torch.linspace(-1, 1, 32)
    degradation = make_task(task, (32, 32))
    noisy = Measurement.simulate(degradation, truth, sigma, torch.Generator().manual_seed(1))
    file = Measurement(degradation, ((noisy.y.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1, sigma)
    rounded = ((truth + 1) * 127.5).round() / 127.5 - 1
    warn_of_truths(file, rounded, ["a"])
    warn_of_truths(noisy, truth, ["a"])
    assert not caplog.text
    warn_of_truths(file, -rounded, ["a"])
    assert caplog.text.count("of its --truth is ") == 4


def test_the_known_pixels_are_kept_where_asked(folder, files, tmp_path, capsys):
    holes = ("--task", "inpainting", "--mask", files / "mask.png")
    assert run("restore", folder, tmp_path, files / "one.png", *holes) == 0
    said = capsys.readouterr().out
    assert "  9.8% missing\n" in said  # 25 of 256
    chi2 = re.search(r"  chi2 (\S+)  ", said)[1]
    drawn = read_image(tmp_path / "one-1.png", 1)
    assert run("restore", folder, tmp_path, files / "one.png", *holes, "--keep-known") == 0
    assert f"  chi2 before pasting {chi2}  9.8% missing\n" in capsys.readouterr().out
    pasted, image = (read_image(p, 1) for p in (tmp_path / "one-1.png", files / "one.png"))
    hole = read_image(files / "mask.png", 1) > 0
    assert torch.equal(pasted[~hole], image[~hole])
    assert torch.equal(pasted[hole], drawn[hole])
    assert not torch.equal(drawn[~hole], image[~hole])
    saved = tmp_path / "measurement.safetensors"
    assert run("restore", folder, tmp_path / "b", saved, "--keep-known") == 0
    again = read_image(tmp_path / "b" / "measurement-1.png", 1)
    assert torch.equal(again, pasted)


def test_what_was_drawn_before_a_stop_is_kept(folder, files, tmp_path, monkeypatch, capsys):
    args = ("restore", folder, tmp_path, files / "one.png", "--task", "sr2", "--simulate")
    more = ("--samples", "5", "--batch-size", "2")
    assert run(*args, *more) == 0
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for path in tmp_path.iterdir():
        path.unlink()
    calls = iter(range(100))

    def stopped(self, *a, **k):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return drawn(self, *a, **k)

    drawn = APS.steps
    monkeypatch.setattr(APS, "steps", stopped)
    capsys.readouterr()
    assert run(*args, *more) == 130
    assert (
        f"aps: 4 of 5 samples are in {tmp_path}, with the measurement\n" in capsys.readouterr().err
    )
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    names = ["one-1.png", "one-2.png", "one-3.png", "one-4.png", "measurement.safetensors"]
    assert left == {name: whole[name] for name in names}


@pytest.mark.parametrize("edit", [False, True])
def test_what_was_painted_before_a_stop_is_kept(folder, files, tmp_path, monkeypatch, capsys, edit):
    more = ["--samples", "5", "--batch-size", "2", "--steps", "4", "--reference"]
    more += [str(files / "two.png")]
    kind, begun = "painted", "painting"
    if edit:
        kind, begun = "edited", "editing"
        more += ["--image", str(files / "one.png"), "--mask", str(files / "mask.png")]
    args = ["paint", "--model", str(folder), "--out", str(tmp_path), *more]
    monkeypatch.setattr("aps_text.commands.waiting.BETWEEN", 0)
    assert main(args) == 0
    assert f"aps: {begun}, 4 of 5 samples done, step 4 of 4 ...\n" in capsys.readouterr().err
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert whole.keys() == {*(f"{kind}-{n}.png" for n in range(1, 6)), "sheet.png"}
    for path in tmp_path.iterdir():
        path.unlink()
    calls, drawn = iter(range(100)), APS.steps

    def stopped(self, *a, **k):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return drawn(self, *a, **k)

    monkeypatch.setattr(APS, "steps", stopped)
    assert main(args) == 130
    assert f"aps: 4 of 5 samples are in {tmp_path}\n" in capsys.readouterr().err
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == {name: whole[name] for name in (f"{kind}-{n}.png" for n in range(1, 5))}


def test_progress_is_told_where_there_is_no_bar(folder, files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("aps_text.commands.waiting.BETWEEN", 0)
    args = ("restore", folder, tmp_path, files / "small.png", "--task", "sr2")
    assert run(*args, "--samples", "2", "--batch-size", "1") == 0
    said = capsys.readouterr().err
    assert "aps: restoring, 0 of 2 samples done, step 1 of 4 ...\n" in said
    assert "aps: restoring, 1 of 2 samples done, step 4 of 4 ...\n" in said
    assert run(*args, "--json") == 0
    assert "restoring" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sides", "wanted", "clean", "says"),
    [
        ((16, 16), (8, 8), (16, 16), "if it is clean, degrade it first with --simulate; to resize"),
        ((9, 9), (8, 8), (16, 16), "give a clean image of 16 x 16 with --simulate; to resize or"),
        ((9, 9), (16, 16), (16, 16), "give a clean image of 16 x 16 with --simulate; to resize"),
        ((9, 9), (16, 16), None, "resize it to 16 x 16 (images.files.square in Python)"),
        ((9, 7), (16, 16), None, "crop it square and resize it to 16 x 16"),
        ((64, 64), (32, 32), None, "the model that takes this size by --model (mini-portraits)"),
        ((16, 16), (8, 8), (32, 32), "the model that takes this size by --model (mini-portraits)"),
    ],
)
def test_an_image_of_another_size_is_told_what_to_do(sides, wanted, clean, says):
    assert says in size_mend(sides, wanted, clean)
    assert "give a clean" not in size_mend(sides, wanted, None)
    if clean is not None:
        assert "resize it" not in size_mend(sides, wanted, clean)


@pytest.mark.parametrize("command", ["restore", "paint"])
def test_the_default_model_that_is_not_embedded_says_where_to_get_one(
    command, files, tmp_path, capsys
):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "recipes/mini_image" in "".join(capsys.readouterr().out.split())
    given = [str(files / "small.png"), *SR] if command == "restore" else []
    if "mini-garments" not in embedded_image_models():
        assert main([command, *given, "--out", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert "no image model 'mini-garments'" in said
        assert "recipes/mini_image, and give the folder" in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["restore", "none.png", *SR], "no image file at"),
        (["restore", "small.png", "--task", "sr3"], "--task is one of sr2, sr4"),
        (["restore", "small.png", "--task", "box-inpainting"], "draws a part at random"),
        (["restore", "small.png", *SR, "--truth", "none.png"], "no image file at"),
        (["restore", "small.png", *SR, "--sigma", "0"], "sigma must be >= 1e-06"),
        (["restore", "small.png", *SR, "--model-sigma", "-1"], "--model-sigma must be >= 0"),
        (
            ["restore", "small.png", *SR, "--simulate", "--task-seed", "-1"],
            "--task-seed must be >= 0",
        ),
        (["restore", "none.safetensors"], "no measurement at"),
        (["restore", "small.png", *SR, "--method", "none"], "method is one of aps, plain"),
        (["restore", "small.png", *SR, "--block-length", "8"], "block_length=8 has no use here"),
        (["restore", "small.png", *SR, "--attribute", "bag"], "an attribute is NAME=VALUE"),
        (["restore", "one.png", "--task", "inpainting", "--mask", "one.png"], "has grey pixels"),
        (["paint", "--reference", "none.png"], "no image file at"),
        (["paint", "--image", "one.png", "--mask", "none.png"], "no image file at"),
        (["paint", "--image", "one.png", "--mask", "one.png"], "has grey pixels"),
        (["paint", "--samples", "0"], "samples must be at least 1"),
        (["paint", "--text", "a", "--class", "bag"], "give one kind"),
    ],
)
def test_all_but_sizes_is_judged_before_the_model_is_loaded(files, tmp_path, capsys, args, said):
    given = [str(files / a) if a.endswith((".png", ".safetensors")) else a for a in args]
    assert main([*given, "--model", "no-such-model", "--out", str(tmp_path / "o")]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "no-such-model" not in shown


def test_an_output_folder_is_judged_before_the_model_is_loaded(files, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "inside"):
        for command in (("restore", "one.png", "--task", "sr2"), ("paint",)):
            args = [files / one if one.endswith("png") else one for one in command[1:]]
            assert run(command[0], "no-such-model", out, *args) == 2
            said = capsys.readouterr().err
            assert f"--out {out}: {tmp_path / 'file'} is no folder; name a folder" in said


def test_an_output_folder_is_a_folder_s_name_that_can_be_written_to(tmp_path, capsys):
    assert run("paint", "no-such-model", tmp_path / "x.png") == 2
    said = "x.png is the name of an image file, and several files are written"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
    (tmp_path / "y.png").mkdir()  # a folder that is there may have such a name
    assert main(["paint", "--model", "no-such-model", "--out", str(tmp_path / "y.png")]) == 2
    assert "no image model 'no-such-model'" in capsys.readouterr().err
    assert not any((tmp_path / "y.png").iterdir())
    with pytest.raises(SystemExit):
        run("paint", "no-such-model", "")
    assert "argument --out: is empty; name a folder" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc, where root cannot write")
def test_an_output_folder_that_even_root_cannot_write_to_is_refused(capsys):
    assert run("paint", "no-such-model", "/proc/none") == 2
    said = "/proc cannot be written to (No such file or directory); name another"
    assert said in capsys.readouterr().err
    assert not Path("/proc/none").exists()


def test_a_flag_of_another_command_is_told_whose_it_is(capsys):
    for flag, said in (
        ("--html=x.html", "arguments: --html=x.html (--html is of aps ask, not of aps restore)"),
        ("--shine", "unrecognized arguments: --shine\n"),
    ):
        with pytest.raises(SystemExit):
            main(["restore", "a.png", flag])
        shown = capsys.readouterr().err
        assert shown.startswith("usage: aps restore ")
        assert said in shown


def test_one_sample_has_no_mean_whose_error_is_shown():
    assert columns_of(1, True) == ["truth", "measurement", "sample 1", "error x 4"]
    assert columns_of(2, True)[-2:] == ["error of the mean x 4", "spread x 4"]


def test_a_folder_in_the_way_of_an_image_is_told_before_the_model_is_loaded(
    files, tmp_path, capsys
):
    args = ["--model", str(tmp_path / "none"), "--out", str(tmp_path)]
    for name, command in (
        ("one-1.png", ["restore", str(files / "one.png"), "--task", "sr2", "--simulate"]),
        ("sheet.png", ["paint", "--samples", "1"]),
        (
            "measurement.safetensors",
            ["restore", str(files / "one.png"), "--task", "sr2", "--simulate"],
        ),
    ):
        (tmp_path / name).mkdir()
        assert main([*command, *args]) == 2
        assert f"{name} in it is a folder, and a file of that name" in capsys.readouterr().err
        (tmp_path / name).rmdir()


def test_no_input_is_written_over(folder, files, tmp_path, capsys):
    """An edit of an edit lies where edits are written."""
    for name in ("edited-1", "one-1", "one", "sheet", "painted-2"):
        shutil.copy(files / "one.png", tmp_path / f"{name}.png")
    before = (files / "one.png").read_bytes()
    simulated = ("--task", "sr2", "--simulate")
    edit = ("--image", tmp_path / "edited-1.png", "--mask", files / "mask.png")
    for command, args, lost in (
        ("paint", edit, "edited-1"),
        ("paint", ("--reference", tmp_path / "painted-2.png"), "painted-2"),
        ("restore", (tmp_path / "one.png", tmp_path / "one-1.png", *simulated), "one-1"),
        ("restore", (tmp_path / "sheet.png", *simulated), "sheet"),
        ("restore", (files / "small.png", "--truth", tmp_path / "sheet.png"), "sheet"),
    ):
        assert run(command, folder, tmp_path, *args) == 2
        assert f"{lost}.png would be written over" in capsys.readouterr().err
        assert (tmp_path / f"{lost}.png").read_bytes() == before
    assert run("paint", folder, tmp_path / "again", *edit, "--samples", "1") == 0
    assert run("restore", folder, tmp_path, tmp_path / "one.png", *simulated, "--samples", "2") == 0
    again = tmp_path / "measurement.safetensors"
    assert run("restore", folder, tmp_path, again) == 0  # the same file once more
    upper = shutil.copy(again, tmp_path / "Y.SAFETENSORS")
    assert run("restore", folder, tmp_path, upper) == 0


def test_no_input_is_written_over_through_a_link(folder, files, tmp_path, capsys):
    """A link in the output folder is followed, and what it points to replaced."""
    photo = shutil.copy(files / "one.png", tmp_path / "photo.png")
    before, out = (tmp_path / "photo.png").read_bytes(), tmp_path / "out"
    out.mkdir()
    (out / "sheet.png").symlink_to(photo)
    for given in (photo, out / "sheet.png"):
        assert run("restore", folder, out, given, "--task", "sr2", "--simulate") == 2
        assert f"{given} would be written over: it is sheet.png in" in capsys.readouterr().err
    assert (tmp_path / "photo.png").read_bytes() == before


def test_the_files_of_a_saved_measurement_of_several_images_are_those_judged(
    folder, files, tmp_path, capsys
):
    pipe = RestorationPipeline(load_image_model(folder))
    clean = torch.cat([read_image(files / "one.png", 1)] * 2)
    write_measurement(pipe.measure(clean, "sr2"), tmp_path / "y.safetensors")
    shutil.copy(files / "one.png", tmp_path / "y-2-1.png")
    truth = ("--truth", files / "one.png", tmp_path / "y-2-1.png")
    assert run("restore", folder, tmp_path, tmp_path / "y.safetensors", *truth) == 2
    assert "y-2-1.png would be written over" in capsys.readouterr().err


def test_a_name_that_is_too_long_for_what_is_written_is_told_at_once(files, tmp_path, capsys):
    long = shutil.copy(files / "one.png", tmp_path / ("\u00e4" * 124 + ".png"))
    given = ["restore", str(long), "--task", "sr2", "--simulate", "--samples", "100"]
    assert main([*given, "--model", "no-such-model", "--out", str(tmp_path / "o")]) == 2
    assert "-100.png is to be written, and a file's name has at most 255" in capsys.readouterr().err


def test_the_pixels_of_an_image_of_another_size_are_not_read(folder, files, tmp_path, monkeypatch):
    from PIL import Image

    def loaded(self):
        raise AssertionError("the pixels were read")

    monkeypatch.setattr(Image.Image, "convert", loaded)
    assert run("restore", folder, tmp_path, files / "wide.png", "--task", "sr2") == 2


def test_the_sheet_shows_some_of_many_samples(folder, files, tmp_path, capsys):
    few = ["--steps", "1", "--method", "plain"]
    given = ["restore", files / "one.png", "--task", "sr2", "--simulate", "--samples", 19]
    out = tmp_path / "r"
    assert main([*map(str, given), "--model", str(folder), "--out", str(out), *few]) == 0
    shown = capsys.readouterr().out
    assert "sample 16, mean, error of the mean x 4, spread x 4 (of 19)\n" in shown
    assert (out / "one-19.png").is_file()
    sheet = read_image(out / "sheet.png")
    assert sheet.shape[-1] == (2 + 16 + 3) * (64 + 2) + 2
    every = torch.cat([read_image(out / f"one-{n + 1}.png", 1) for n in range(19)])
    truth = read_image(files / "one.png", 1).expand_as(every)
    found = float(re.search(r"PSNR (\S+)", shown)[1])
    assert found == pytest.approx(float(psnr(every, truth).mean()), abs=0.1)
    out = tmp_path / "p"
    assert (
        main(["paint", "--samples", "19", "--model", str(folder), "--out", str(out), *few[:2]]) == 0
    )
    assert "painted-15, painted-16 (of 19)\n" in capsys.readouterr().out
    assert (out / "painted-19.png").is_file()


@pytest.mark.parametrize("command", ["restore", "paint"])
def test_more_samples_than_memory_are_refused_before_any_is_drawn(
    folder, files, tmp_path, capsys, command
):
    given = [files / "small.png", "--task", "sr2"] if command == "restore" else []
    call = [command, *map(str, given), "--samples", str(10**12)]
    assert main([*call, "--model", str(folder), "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert re.search(r"samples=1000000000000 of 1 image\(s\) take \S+ GiB, and there are", said)
    assert re.search(r"ask for at most \d+, and call again with another seed", said)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["paint"], ["restore", "a.png"]], ids=lambda one: one[0])
def test_pillow_is_missed_before_anything_is_loaded(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(command) != 0
    shown = capsys.readouterr().err
    assert shown.splitlines()[-1] == "aps: image files need Pillow: pip install pillow"
    assert "loading" not in shown
