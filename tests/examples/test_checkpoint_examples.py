"""The examples for real checkpoints, on tiny random ones in the published layout."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
from checkpoints import write_dream
from paths import ROOT


@pytest.fixture(scope="module")
def dream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dream")
    write_dream(folder)
    return folder


def run(name, *arguments, **environment):
    path = os.pathsep.join(str(ROOT / part) for part in (".", "rewards", "eval"))
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path, "ACCELERATE_USE_CPU": "true", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def printed(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


SMALL = ("--device", "cpu", "--tokens", 8, "--steps", 4)


def test_dream(dream):
    out = printed(
        run("dream.py", "What is a violin?", "--model", dream, "--reward", "length", *SMALL)
    )
    assert out.count("length ") == 2
    assert out.startswith("plain ")


def test_a_guide_and_a_judge(dream):
    options = ("--model", dream, "--guide", "length", "--judge", "flesch")
    process = run("reward_model.py", *options, "--beta", 1, *SMALL)
    out = printed(process)
    assert out.count("guide ") == 2
    assert out.count("flesch ") == 2


@pytest.mark.slow
def test_answers_do_not_depend_on_the_number_of_processes(dream, tmp_path):
    asked = [f"What is a violin? {n}" for n in range(5)]
    (tmp_path / "asked.txt").write_text("\n".join(asked) + "\n")
    options = ("--model", dream, "--reward", "length", "--tokens", 6, "--steps", 3)
    printed(run("many_gpus.py", tmp_path / "asked.txt", tmp_path / "one.jsonl", *options))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    two = [
        run(
            "many_gpus.py",
            tmp_path / "asked.txt",
            tmp_path / "two.jsonl",
            *options,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        for rank in range(2)
    ]
    for process in two:
        printed(process)
    one, both = ((tmp_path / f"{name}.jsonl").read_text() for name in ("one", "two"))
    assert [json.loads(line)["question"] for line in one.splitlines()] == asked
    assert [json.loads(line)["text"] for line in both.splitlines()] == [
        json.loads(line)["text"] for line in one.splitlines()
    ]
