"""Killed at any moment and started again, a run loses no row and doubles none."""

from __future__ import annotations

import re

import pytest
from aps_eval.store import read_rows
from eval_tiny import run_tiny, tiny_grid
from forked import run
from paths import ROOT

SCRIPT = ROOT / "benchmarks" / "eval_kills.py"


@pytest.mark.slow
def test_eight_kills(tmp_path):
    folder = tmp_path / "killed"
    # A process of its own: it forks, and a fork of a process with threads may wait for ever.
    done = run(SCRIPT, "--kills", 8, "--items", 28, "--folder", folder)
    assert done.returncode == 0, done.stderr
    said = re.match(r"8 kills in 9 lives \((\d+) behind answers", done.stdout)
    assert 4 <= int(said[1]) <= 8
    whole, _ = run_tiny(tiny_grid(tmp_path, 28), tmp_path / "out", page=False)
    file = folder / "out" / "rows.jsonl"
    rows = read_rows(file)
    assert sorted(row.key for row in rows) == sorted(row.key for row in whole)
    assert len(file.read_text().splitlines()) == len(rows) == 56
    answers = {row.key: (row.answer, row.committed, row.scores) for row in rows}
    assert answers == {row.key: (row.answer, row.committed, row.scores) for row in whole}
