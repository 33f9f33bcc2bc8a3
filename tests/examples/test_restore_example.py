"""The examples of restoration, on a few images."""

import gzip
import importlib.util
import sys

import numpy as np
import pytest
import torch
from paths import ROOT

from aps_text.images.files import read_image
from recipes.mini_image.images import Images


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"examples/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example():
    return loaded("restore_garments")


@pytest.fixture
def data(tmp_path):
    labels = np.array([3, 3, *range(10)], np.uint8)
    pixels = np.arange(12, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)
    for kind, head, values in (("images-idx3", 16, pixels), ("labels-idx1", 8, labels)):
        with gzip.open(tmp_path / f"t10k-{kind}-ubyte.gz", "wb") as file:
            file.write(bytes(head) + values.tobytes())
    return tmp_path


def test_the_first_image_of_each_class_is_taken(example, data):
    images = example.first_of_each_class(data)
    assert images.shape == (10, 1, 32, 32)
    found = ((images[:, 0, 16, 16] + 1) * 127.5).round().int().tolist()
    assert found == [2, 3, 4, 0, 6, 7, 8, 9, 10, 11]
    assert (images[:, :, 0] == -1).all()


def test_a_folder_without_the_files_is_named(example, tmp_path):
    with pytest.raises(SystemExit, match="give Fashion-MNIST's folder"):
        example.first_of_each_class(tmp_path)


def test_the_sheet_and_the_figures(example, data, tmp_path, monkeypatch, capsys):
    arguments = ["--data", data, "--task", "sr4", "random-inpainting", "--out", tmp_path / "s.png"]
    monkeypatch.setattr(sys, "argv", ["restore_garments.py", *map(str, arguments)])
    example.main()
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()] == ["sr4", "random-inpainting"]
    found = read_image(tmp_path / "s.png")
    gap = 10  # between the tasks, as wide a sheet has it
    assert found.shape[:2] == (1, 3)
    assert found.shape[2] == 7 * 66 + 2 + 2 * round(gap * max(1, (10 * 66 + 2) / 640))
    margin = found.shape[3] - 10 * 66 - 2
    assert bool((found[0, :, :, :5] > 0.9).all())  # no name is cut
    names = (found[0, :, :, :margin] < 0.9).any(0).any(1)  # the lines of pixels with ink
    assert all(names[row * 66 : (row + 1) * 66].any() for row in range(7))


def test_the_first_portraits_of_each_design_are_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [*sys.path])
    example = loaded("restore_portraits")
    pixels = torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(12, 3, 64, 64)
    values = torch.stack([torch.zeros(12, dtype=torch.long), torch.arange(12) % 3], 1)
    held = Images(pixels, values, {"hair": ["bun"], "style": ["a", "b", "c"]})
    monkeypatch.setattr(example, "portraits", lambda folder, split: {"test": held}[split])
    images = example.first_of_each_design(tmp_path, 2)
    found = ((images[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    assert found == [0, 3, 1, 4, 2, 5]
