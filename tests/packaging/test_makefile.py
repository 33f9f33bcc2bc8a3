"""`make ask`: what is typed is text, whatever it looks like; folders may have spaces."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from paths import ROOT

TEXTS = [
    "$(shell touch ran)",
    "$$(shell touch ran)",
    "${shell touch ran}",
    "$(error stop)",
    "$(eval $(shell touch ran))",
    "`touch ran`",
    "; touch ran",
    "$(touch ran)",
    "' ; touch ran ; '",
    '" ; touch ran ; "',
    "a\\ b",
    'what\'s "a" violin $HOME $$ $@ # %?',
    "*",
]


@pytest.fixture
def folder(tmp_path):
    """The Makefile beside a virtual environment whose Python prints what it is given."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("")
    for venv in (".venv", "my venv"):
        python = tmp_path / venv / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
        python.chmod(0o755)
        ready = tmp_path / venv / ".installed"
        ready.touch()
        later = (tmp_path / "pyproject.toml").stat().st_mtime + 10
        os.utime(ready, (later, later))
    return tmp_path


def make(folder, *words: str, **environment: str):
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=folder, capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
class TestMake:
    @pytest.mark.parametrize("text", TEXTS)
    def test_a_question_is_text(self, folder, text):
        before = sorted(folder.rglob("*"))
        for run in (make(folder, "ask", f"Q={text}"), make(folder, "ask", Q=text)):
            assert run.returncode == 0, run.stderr
            assert run.stdout.splitlines()[-2:] == ["--", text]
        assert sorted(folder.rglob("*")) == before

    @pytest.mark.parametrize("text", [t for t in TEXTS if "'" not in t])
    def test_a_reward_is_words_of_text(self, folder, text):
        before = sorted(folder.rglob("*"))
        run = make(folder, "ask", "Q=why?", f"REWARD={text}")
        assert run.returncode == 0, run.stderr
        assert sorted(folder.rglob("*")) == before
        assert run.stdout.splitlines()[4:] == ["--reward", *text.split(), "--", "why?"]

    @pytest.mark.parametrize("text", TEXTS)
    def test_a_model_is_one_word_of_text(self, folder, text):
        before = sorted(folder.rglob("*"))
        run = make(folder, "ask", "Q=why?", f"MODEL={text}")
        assert run.returncode == 0, run.stderr
        assert sorted(folder.rglob("*")) == before
        assert run.stdout.splitlines()[4:] == ["--model", text, "--", "why?"]
        # Many an environment has such a name for something else.
        assert make(folder, "ask", "Q=why?", MODEL=text).stdout.splitlines()[4:] == ["--", "why?"]

    @pytest.mark.parametrize(
        "name", ["APS_QUESTION", "APS_REWARD", "APS_MODEL", "APS_PYTHON", "APS_VENV"]
    )
    def test_a_name_of_the_makefiles_own_is_not_set_from_outside(self, folder, name):
        before = sorted(folder.rglob("*"))
        for more in ([], ["Q=why?"]):
            make(folder, "ask", *more, f"{name}=$(shell touch ran)")
            make(folder, "-e", "ask", *more, **{name: "$(shell touch ran)"})
            assert sorted(folder.rglob("*")) == before

    def test_an_environment_with_a_space(self, folder):
        run = make(folder, "ask", "Q=why?", "VENV=my venv")
        assert run.returncode == 0, run.stderr
        assert run.stdout.splitlines()[0] == "my venv/bin/python"
        assert make(folder, "clean", "VENV=my venv").returncode == 0
        assert not (folder / "my venv").exists()
        assert (folder / ".venv").exists()

    def test_no_question_says_what_to_write(self, folder):
        run = make(folder, "ask")
        assert run.returncode == 2
        assert 'make ask Q="Describe a garden." MODEL=smol' in run.stderr
