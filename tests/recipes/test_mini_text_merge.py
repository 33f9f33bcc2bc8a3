"""The weighted mean of exports."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from recipes.mini_text.merge import FILE, merge


@pytest.fixture
def exports(tmp_path):
    folders = []
    for n, value in enumerate((1.0, 3.0, 5.0)):
        folder = tmp_path / f"run{n}"
        folder.mkdir()
        save_file({"w": torch.full((2, 3), value, dtype=torch.bfloat16)}, folder / FILE)
        (folder / "aps.json").write_text(str(n))
        folders.append(folder)
    return folders


def test_the_mean_is_weighted_and_keeps_dtype_and_files(exports, tmp_path):
    merge(list(zip((0.5, 0.25, 0.25), exports, strict=True)), tmp_path / "out")
    found = load_file(tmp_path / "out" / FILE)["w"]
    assert found.dtype == torch.bfloat16
    assert found.tolist() == [[2.5] * 3] * 2
    assert (tmp_path / "out" / "aps.json").read_text() == "0"


def test_what_cannot_be_merged_is_refused(exports, tmp_path):
    with pytest.raises(ValueError, match=r"sum to 1, got \[0.5, 0.6\]"):
        merge([(0.5, exports[0]), (0.6, exports[1])], tmp_path / "out")
    save_file({"w": torch.zeros(3)}, exports[1] / FILE)
    with pytest.raises(ValueError, match=r"run1 has other tensors than .*run0"):
        merge([(0.5, exports[0]), (0.5, exports[1])], tmp_path / "out")
    assert not (tmp_path / "out").exists()
