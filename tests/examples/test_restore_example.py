"""`examples/restore_garments.py` on a tiny model and a few images in Fashion-MNIST's files."""

import gzip
import importlib.util
import sys

import numpy as np
import pytest
from paths import ROOT

from aps_text.images.files import read_image


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("garments", ROOT / "examples/restore_garments.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    assert read_image(tmp_path / "s.png").shape == (1, 3, 7 * 66 + 2, 10 * 66 + 2)
