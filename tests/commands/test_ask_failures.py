"""What `aps ask` prints where something fails: a page, a reward, a standard stream."""

from __future__ import annotations

import json
import os
import sys

import pytest
from tiny import write_tiny

from aps_text.cli import main

SMALL = ["--steps", "3", "--max-new-tokens", "6", "--inner-steps", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def failing(tmp_path):
    """A reward that fails on `why?`."""
    (tmp_path / "fails.py").write_text(
        "def f(prompts, completions, **kwargs):\n"
        "    if 'why?' in prompts: raise ZeroDivisionError('no')\n"
        "    return [float(len(text)) for text in completions]\n"
    )
    return f"{tmp_path}/fails.py:f"


def test_a_page_that_cannot_be_written_loses_no_answer(folder, capsys):
    if not os.path.exists("/dev/full"):
        pytest.skip("the system has no full device")
    how = ["--reward", "length", "--method", "plain", "--steps", "3", "--max-new-tokens", "6"]
    assert main(["ask", "who?", "--model", folder, *how]) == 0
    want = capsys.readouterr().out.splitlines()[:3]
    assert main(["ask", "who?", "--model", folder, *how, "--html", "/dev/full"]) == 2
    shown = capsys.readouterr()
    assert shown.out.splitlines()[:3] == want
    assert "/dev/full" in shown.err


@pytest.mark.parametrize("name", ["", " "])
def test_a_page_without_a_name_is_refused(folder, capsys, name):
    assert main(["ask", "who?", "--model", folder, *SMALL, "--html", name]) == 2
    shown = capsys.readouterr()
    assert f"--html is the name of the file to write, got {name!r}" in shown.err
    assert "loading" not in shown.err


def test_the_answers_before_a_failure_are_printed(folder, failing, capsys):
    many = [f"who{number}?" for number in range(8)]  # a batch
    asked = ["ask", *many, "why?", "--model", folder, "--reward", failing, *SMALL]
    assert main(asked) == 2
    shown = capsys.readouterr()
    assert [line for line in shown.out.splitlines() if line in [*many, "why?"]] == many
    assert shown.err.splitlines()[-1].startswith("aps: reward 'f' raised on prompt 8 ('why?'")
    assert main([*asked, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [one["prompt"] for one in found] == many
    assert all("text" in one["plain"] for one in found)
    assert main([*asked, "--json", "--method", "plain", "--inner-steps", "1"]) == 2
    assert all("text" in one for one in json.loads(capsys.readouterr().out))


def test_a_run_that_failed_later_has_the_plain_answers(folder, tmp_path, capsys):
    (tmp_path / "later.py").write_text(
        "calls = []\n"
        "def f(prompts, completions, **kwargs):\n"
        "    calls.append(1)\n"
        "    if len(calls) > 1: raise ZeroDivisionError('no')\n"
        "    return [float(len(text)) for text in completions]\n"
    )
    asked = ["ask", "who?", "--model", folder, "--reward", f"{tmp_path}/later.py:f", *SMALL]
    assert main(asked) == 2
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "who?"
    assert "  plain    " in shown.out
    assert "  aps      " not in shown.out
    assert "ZeroDivisionError" in shown.err
    assert main([*asked, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)  # an object, as of one question that went well
    assert found["prompt"] == "who?"
    assert "text" in found["plain"]


def test_nothing_is_computed_for_a_closed_stdout(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["rewards"]) == 2
    assert "standard output is closed; give it a place" in capsys.readouterr().err


def test_a_closed_stderr_loses_messages_only(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["rewards", "try", "length", "q", "a"]) == 0
    assert "0.2000  a" in capsys.readouterr().out


def test_a_closed_stdin_is_empty(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["chat", "--model", folder, "--reward", "none"]) == 0
    assert capsys.readouterr().out == ""
