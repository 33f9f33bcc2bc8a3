"""What `import aps_text` gives and costs, also beside a user's files of the same names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

import aps_text


def python(code: str, folder: Path | str = ".", *options: str) -> str:
    """What a fresh interpreter prints that runs in `folder`."""
    run = subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def users_folder(tmp_path):
    """A project with modules of the names our folders and our dependencies have."""
    for name in ("rewards", "eval", "datasets", "recipes", "benchmarks", "tests"):
        (tmp_path / f"{name}.py").write_text(f"MINE = '{name}'\n", encoding="utf-8")
    return tmp_path


def test_a_users_own_files_change_nothing_and_rewards_need_none_of_the_samplers_code(users_folder):
    code = """
import rewards, eval, datasets
assert rewards.MINE == "rewards" and eval.MINE == "eval" and datasets.MINE == "datasets"
import sys
from aps_rewards.fluency import Fluency
Fluency()  # the weights' folder is found without importing the package around it
assert not any(name.split(".")[0] == "aps_text" for name in sys.modules)
import aps_text, aps_rewards, aps_eval
from aps_text import APSPipeline, load_reward
reward = load_reward("length")
print(reward(prompts=["why?"], completions=["because"]))
from aps_text.cli import main
raise SystemExit(main(["ask", "What is a dog?", "--reward", "length", "--steps", "2", "--json"]))
"""
    shown = python(code, users_folder)
    assert '"rewards"' in shown


def test_commands_run_beside_a_users_files(users_folder):
    listed = subprocess.run(
        [sys.executable, "-m", "aps_text.cli", "eval", "--list-tasks"],
        cwd=users_folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert listed.returncode == 0, listed.stderr
    assert "word-knowledge" in listed.stdout


def test_public_names_are_listed_typed_and_there():
    for name in aps_text.__all__:
        assert name in dir(aps_text)
        assert getattr(aps_text, name) is not None
    listed = set(aps_text.__all__) - {"__version__"}
    assert listed == set(aps_text._HOME)
    text = (ROOT / "aps_text" / "__init__.py").read_text(encoding="utf-8")
    for name in listed:  # a type checker reads these lines, and nothing at run time does
        assert f"import {name} as {name}\n" in text, name
    with pytest.raises(AttributeError, match="no attribute 'APSPipelin'"):
        aps_text.APSPipelin  # noqa: B018


def test_importing_the_library_imports_nothing_heavy():
    code = "import sys, aps_text; print([m for m in sys.modules if '.' not in m])"
    shown = python(code)
    for heavy in ("torch", "transformers", "peft", "rich", "numpy", "datasets", "aps_rewards"):
        assert f"'{heavy}'" not in shown, heavy


def test_the_command_imports_nothing_heavy_before_it_parses():
    code = """
import sys
from aps_text.cli import build_parser
build_parser().parse_args(["ask", "why?"])
print([name for name in sys.modules if "." not in name])
"""
    shown = python(code)
    for heavy in ("torch", "transformers", "datasets"):
        assert f"'{heavy}'" not in shown, heavy
