"""The command for published weights runs on tiny ones, and its verdicts see what they must."""

from __future__ import annotations

import json

import pytest
import torch
from checkpoints_amused import write_amused
from checkpoints_lumina import write_lumina
from checkpoints_mmada import write_magvit, write_mmada
from mmada import main, nats, verdicts

from aps_text.images.files import write_image
from aps_text.models.mmada import MmadaPrior
from aps_text.models.registry import load


def test_it_runs_on_tiny_checkpoints_and_fails_them(tmp_path, capsys):
    write_mmada(tmp_path / "mmada")
    write_magvit(tmp_path / "magvit")
    write_image(torch.rand(3, 70, 90) * 2 - 1, tmp_path / "photo.png")
    options = [str(tmp_path / "photo.png"), "--text", "a dog", "--out", str(tmp_path / "out")]
    options += ["--model", str(tmp_path / "mmada"), "--tokenizer", str(tmp_path / "magvit")]
    assert main([*options, "--steps", "2", "--inner-steps", "1"]) == 1
    assert "window          FAILS" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["first"], report["size"]) == (126349, 64)
    assert report["nats"] > 9  # random weights know nothing
    assert report["nats"] != report["nats_displaced"]
    assert set(report["tasks"]) == {"sr4", "box-inpainting"}
    assert (tmp_path / "out" / "sheet.png").is_file()


def test_it_runs_on_amused_too(tmp_path, capsys):
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    write_amused(tmp_path / "amused-256")
    write_image(torch.rand(3, 70, 90) * 2 - 1, tmp_path / "photo.png")
    options = [str(tmp_path / "photo.png"), "--text", "a dog", "--out", str(tmp_path / "out")]
    options += ["--model", str(tmp_path / "amused-256"), "--steps", "2", "--inner-steps", "1"]
    assert main(options) == 1
    assert "window          FAILS" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["first"], report["size"]) == (0, 64)
    assert report["nats"] > 9  # random weights know nothing
    assert "nats_displaced" not in report


def test_it_runs_on_lumina_too(tmp_path):
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    write_lumina(tmp_path / "m")
    write_image(torch.rand(3, 32, 32) * 2 - 1, tmp_path / "photo.png")
    options = [str(tmp_path / "photo.png"), "--text", "a dog", "--out", str(tmp_path / "out")]
    options += ["--model", str(tmp_path / "m"), "--size", "32", "--steps", "1"]
    assert main([*options, "--inner-steps", "1"]) == 1
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["first"] == 126356
    assert report["nats"] != report["nats_displaced"]


def test_photo_and_folder_are_judged_before_a_model_is_loaded(tmp_path, capsys):
    write_image(torch.zeros(3, 32, 32), tmp_path / "photo.png")
    for photo, out, model, said in (
        ("none.png", "out", "no-model", "no image file at"),
        ("photo.png", "photo.png", "no-model", "File exists"),
        ("photo.png", "out", "no-model", "error: no model at 'no-model'"),
    ):
        args = [str(tmp_path / photo), "--text", "a", "--out", str(tmp_path / out)]
        with pytest.raises(SystemExit) as ended:
            main([*args, "--model", model])
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


def test_a_model_that_knows_nothing_has_the_nats_of_guessing(tmp_path):
    write_mmada(tmp_path)
    prior = MmadaPrior.of(load(tmp_path))
    head = prior.text.parts.model.lm_head.weight
    ids = torch.full((1, 16), 77)
    assert nats(prior, ids, "a dog") > 9.1
    with torch.no_grad():
        head[prior.first : prior.first + 8192] = 0
    assert abs(nats(prior, ids, "a dog") - 9.0109) < 1e-3  # log 8192


def test_verdicts():
    good = {
        "reconstruction_db": 22.0,
        "nats": 6.0,
        "nats_displaced": 12.0,
        "nats_without_text": 6.1,
        "tasks": {"sr4": {"chi2": 1.2, "chi2_plain": 80.0}},
    }
    assert all(verdicts(good).values())
    for name, change in (
        ("reconstruction", {"reconstruction_db": 9.0}),
        ("window", {"nats_displaced": 5.0}),
        ("window", {"nats": 8.9, "nats_without_text": 9.0}),
        ("text", {"nats_without_text": 5.0}),
        ("restore", {"tasks": {"box": {"chi2": 90.0, "chi2_plain": 80.0}}}),
    ):
        found = verdicts({**good, **change})
        assert [key for key, holds in found.items() if not holds] == [name]
