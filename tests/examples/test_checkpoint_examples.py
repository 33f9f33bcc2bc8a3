"""The examples for real checkpoints, on tiny random ones in the published layout."""

from __future__ import annotations

import json
import socket

import pytest
from checkpoints import write_dream
from forked import together
from paths import ROOT


@pytest.fixture(scope="module")
def dream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dream")
    write_dream(folder)
    return folder


def example(name, *arguments):
    return [ROOT / "examples" / name, *arguments]


def printed(*commands, **environment):
    """What each of the commands prints, which run side by side."""
    done = together(*commands, ACCELERATE_USE_CPU="true", **environment)
    assert [process.returncode for process in done] == [0] * len(done), done
    return [process.stdout for process in done]


SMALL = ("--device", "cpu", "--tokens", 8, "--steps", 4)


def test_dream(dream):
    options = ("--model", dream, "--reward", "length", *SMALL)
    (out,) = printed(example("dream.py", "What is a violin?", *options))
    assert out.count("length ") == 2
    assert out.startswith("plain ")


def test_a_guide_and_a_judge(dream):
    options = ("--model", dream, "--guide", "length", "--judge", "flesch")
    (out,) = printed(example("reward_model.py", *options, "--beta", 1, *SMALL))
    assert out.count("guide ") == 2
    assert out.count("flesch ") == 2


@pytest.mark.slow
def test_answers_do_not_depend_on_the_number_of_processes(dream, tmp_path):
    asked = [f"What is a violin? {n}" for n in range(5)]
    (tmp_path / "asked.txt").write_text("\n".join(asked) + "\n")
    options = ("--model", dream, "--reward", "length", "--tokens", 6, "--steps", 3)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    of_two = {"RANK": "{rank}", "LOCAL_RANK": "{rank}", "WORLD_SIZE": "2"}
    of_two |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, environment in (("one", {}), ("two", of_two)):
        command = example("many_gpus.py", tmp_path / "asked.txt", tmp_path / f"{name}.jsonl")
        printed(*[[*command, *options]] * (2 if environment else 1), **environment)
    one, both = ((tmp_path / f"{name}.jsonl").read_text() for name in ("one", "two"))
    assert [json.loads(line)["question"] for line in one.splitlines()] == asked
    assert [json.loads(line)["text"] for line in both.splitlines()] == [
        json.loads(line)["text"] for line in one.splitlines()
    ]
