"""Two processes make the same rows as one, in one file."""

from __future__ import annotations

import socket

import accelerate
import pytest
import torch
from aps_eval.run.processes import workers
from aps_eval.store import read_rows
from eval_tiny import run_tiny, tiny_grid
from forked import together
from paths import ROOT


def test_alone():
    me = workers()
    assert (me.number, me.size, me.first, me.device) == (0, 1, True, None)


@pytest.mark.slow
def test_two_processes_make_the_rows_of_one(tmp_path):
    one, _ = run_tiny(tiny_grid(tmp_path, 7), tmp_path / "one", page=False)
    one_of_two = [ROOT / "tests" / "eval_tiny.py", tmp_path, 7]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    set_by_torchrun = {"RANK": "{rank}", "LOCAL_RANK": "{rank}", "WORLD_SIZE": "2"}
    set_by_torchrun |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    done = together(one_of_two, one_of_two, **set_by_torchrun)
    assert [process.returncode for process in done] == [0, 0], done
    rows = read_rows(tmp_path / "out" / "rows.jsonl")
    assert len(rows) == len(one) == 14

    def shown(row):
        return {k: v for k, v in row.__dict__.items() if k != "cost"}

    assert {row.key: shown(row) for row in rows} == {row.key: shown(row) for row in one}
    assert "2 processes: 14 answers" in done[0].stdout
    assert "seeds 0; rows in" in done[0].stdout
    assert "seeds 0; rows in" not in done[1].stdout  # the first one speaks


@pytest.mark.parametrize("accelerator", [True, False])
def test_processes_are_on_the_cpu_where_there_is_nothing_else(monkeypatch, accelerator):
    made = {}

    class State:
        process_index, num_processes, device = 1, 2, "somewhere"

        def __init__(self, **options):
            made.update(options)

        def wait_for_everyone(self):
            pass

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(accelerate, "PartialState", State)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    me = workers()
    assert made["cpu"] is not accelerator
    assert made["timeout"].days >= 1
    assert (me.number, me.size, me.device, me.first) == (1, 2, "somewhere", False)
