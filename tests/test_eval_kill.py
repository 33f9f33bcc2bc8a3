"""Killed at any moment and started again, a run loses no row and doubles none."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from eval_tiny import run_tiny, tiny_grid

from eval.store import read_rows


@pytest.fixture(scope="module")
def kills():
    folder = str(Path(__file__).parent.parent / "benchmarks")
    sys.path.append(folder)
    yield importlib.import_module("eval_kills")
    sys.path.remove(folder)


@pytest.mark.slow
def test_twenty_kills(kills, tmp_path):
    found = kills.kill_and_restart(tmp_path / "killed", kills=20, items=64, seed=0)
    assert found.kills == 20
    assert found.torn + found.between == 20
    whole, _ = run_tiny(tiny_grid(tmp_path, 64), tmp_path / "out", page=False)
    rows = read_rows(found.file)
    assert sorted(row.key for row in rows) == sorted(row.key for row in whole)
    lines = found.file.read_text().splitlines()
    assert len(lines) == len(rows) == 128
    answers = {row.key: (row.answer, row.committed, row.scores) for row in rows}
    assert answers == {row.key: (row.answer, row.committed, row.scores) for row in whole}
