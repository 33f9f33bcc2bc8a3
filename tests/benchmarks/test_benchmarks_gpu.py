"""The measurements for a GPU, tried at tiny size on the CPU."""

import json
import sys
from types import SimpleNamespace

import gpu
import pytest
import torch


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gpu.py", *map(str, arguments)])
    gpu.main()


def test_rows_are_measured_once_and_stand_beside_the_plan(monkeypatch, tmp_path, capsys):
    options = ("--device", "cpu", "--models", "tiny", "--out", tmp_path, "--minutes", 60)
    run(monkeypatch, *options, "--first", 1)
    run(monkeypatch, *options, "--first", 2)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(row["call"], row["batch"]) for row in rows] == [("plain", 1), ("LoRA, top 4, M=1", 1)]
    for row in rows:
        assert row["seconds"] > 0
        assert row["predicted_bytes"] == pytest.approx(row["bytes"], rel=0.1)
    assert rows[1]["bytes"] > 1.5 * rows[0]["bytes"]
    table = (tmp_path / "table.md").read_text()
    assert table.count("| tiny |") == 2
    assert table in capsys.readouterr().out


def test_rows_of_other_hardware_are_not_counted(monkeypatch, tmp_path):
    other = {"hardware": "another", "model": "tiny", "call": "plain", "batch": 1}
    (tmp_path / "rows.jsonl").write_text(json.dumps(other) + "\n")
    run(monkeypatch, "--device", "cpu", "--models", "tiny", "--out", tmp_path, "--first", 1)
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "table.md").read_text().count("| tiny |") == 1


def test_no_time_left_begins_no_row(monkeypatch, tmp_path, capsys):
    run(monkeypatch, "--device", "cpu", "--models", "tiny", "--out", tmp_path, "--minutes", 0)
    assert "no time left" in capsys.readouterr().out
    assert not (tmp_path / "rows.jsonl").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_says_what_to_write(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "--out", tmp_path)
    assert "--device cpu --models tiny" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("named", "gib", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", 24, "rtx-4090"),
        ("NVIDIA GeForce RTX 3090", 24, "rtx-3090"),
        ("NVIDIA A100-SXM4-80GB", 79, "a100-80"),
        ("NVIDIA A100-PCIE-40GB", 40, "a100-40"),
        ("NVIDIA H100 80GB HBM3", 79, "h100"),
        ("NVIDIA H200", 139, "h200"),
        ("NVIDIA L4", 22, "l4"),
        ("Tesla T4", 15, None),
    ],
)
def test_a_gpu_is_found_by_its_name(monkeypatch, named, gib, expected):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: named)
    properties = SimpleNamespace(total_memory=gib * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    found = gpu.this_gpu(torch.device("cuda", 0))
    assert (found and found.name) == expected
