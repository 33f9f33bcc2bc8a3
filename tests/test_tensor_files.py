"""The one function that reads safetensors of published networks, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from paths import ROOT
from safetensors.torch import save_file

from aps_text.tensor_files import FLOATS, read_tensors

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def test_every_kind_of_float_is_read_as_it_is_stored(tmp_path):
    tensors = {kind: torch.arange(3).to(dtype) for kind, dtype in DTYPES.items()}
    save_file(tensors, tmp_path / "m.safetensors")
    found = read_tensors(tmp_path / "m.safetensors")
    assert found.keys() == tensors.keys() == FLOATS.keys()
    for kind, value in tensors.items():
        assert found[kind].dtype == DTYPES[kind]
        assert found[kind].element_size() == FLOATS[kind]
        assert torch.equal(found[kind], value)


def test_integers_are_tables_or_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"table.ids": torch.arange(3), "w": torch.ones(2)}, path)
    assert torch.equal(read_tensors(path, "table.")["table.ids"], torch.arange(3))
    with pytest.raises(ValueError, match=r"'table.ids' is stored as I64; weights are floating"):
        read_tensors(path)
    with pytest.raises(ValueError, match=r"'table.ids' is stored as I64"):
        read_tensors(path, "tables.")


@pytest.mark.parametrize("keep", [0, 5, 90, -1])
def test_a_file_that_is_cut_off_is_named(tmp_path, keep):
    path = tmp_path / "m.safetensors"
    save_file({"w": torch.ones(64)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"m.safetensors .*cut off .*download it again"):
        read_tensors(path)


def test_published_networks_are_read_by_it_alone():
    for file in ("images/magvit_files.py", "models/diffusers_files.py"):
        text = (ROOT / "aps_text" / file).read_text(encoding="utf-8")
        assert "read_tensors(" in text
        assert "safe_open" not in text, file
