"""`aps restore` and `aps paint` with MMaDA on tiny checkpoints in the published layouts."""

from __future__ import annotations

import json

import pytest
import torch
from checkpoints_mmada import write_magvit, write_mmada

from aps_text.cli import main
from aps_text.images.files import read_image, write_image


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    here = tmp_path_factory.mktemp("mmada")
    write_mmada(here / "mmada")
    write_magvit(here / "magvit")
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    write_image(image, here / "photo.png")
    return here


def run(command, parts, out, *args, tokenizer=True):
    found = [command, *map(str, args), "--model", str(parts / "mmada"), "--out", str(out)]
    return main([*found, *(["--tokenizer", str(parts / "magvit")] if tokenizer else [])])


def test_a_text_is_the_condition(parts, tmp_path, capsys):
    few = ["--steps", "2", "--inner-steps", "1", "--cfg-scale", "1.5", "--json"]
    args = [parts / "photo.png", "--task", "sr4", "--simulate", "--text", "a red violin"]
    assert run("restore", parts, tmp_path / "r", *args, *few, "--dtype", "bfloat16") == 0
    assert json.loads(capsys.readouterr().out)
    assert read_image(tmp_path / "r" / "photo-1.png").shape == (1, 3, 64, 64)
    assert run("paint", parts, tmp_path / "p", "--text", "a dog", "--samples", "1", "--steps", "2",
               "--size", "32") == 0  # fmt: skip
    assert read_image(tmp_path / "p" / "painted-1.png").shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--text", "a", "--class", "bag"], "--text is for models with texts (MMaDA, "),
        (["--class", "bag"], "takes a text that describes the image, not attributes"),
        (["--text", "a", "--size", "250"], "the nearest are 240 and 256"),
    ],
)
def test_what_does_not_fit_is_named(parts, tmp_path, capsys, args, message):
    assert run("paint", parts, tmp_path, *args, "--steps", "1") != 0
    assert message in capsys.readouterr().err


def test_an_image_tokenizer_is_needed(parts, tmp_path, capsys):
    assert run("paint", parts, tmp_path, "--text", "a", tokenizer=False) != 0
    assert "without an image tokenizer; name its own with tokenizer=" in capsys.readouterr().err
    assert run("paint", parts, tmp_path, "--text", "a", "--size", "64", tokenizer=False) != 0
    assert "without an image tokenizer; name its own with tokenizer=" in capsys.readouterr().err
