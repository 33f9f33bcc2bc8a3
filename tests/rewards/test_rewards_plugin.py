"""The example plug-in is built, installed and found, without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from paths import ROOT

EXAMPLE = ROOT / "examples" / "plugin_reward"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of an interpreter that has the plug-in on its path."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")  # building leaves files beside the sources
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(folder / "source")], check=True)
    paths = [str(target), str(EXAMPLE.parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run(environment, *args):
    done = subprocess.run(
        [sys.executable, *args], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_plug_in_is_found_by_name(installed):
    code = (
        "from aps_rewards import call_reward, load_reward\n"
        "short = load_reward('brevity', words=2)\n"
        "print(call_reward(short, ['q'] * 3, ['a fiddle', 'a b c', 'a b c d']))\n"
        "print(call_reward(load_reward('short-words'), ['q'] * 2, ['ab abcd', '']))\n"
    )
    assert run(installed, "-c", code).split("\n")[:2] == ["[1.0, 0.5, 0.0]", f"[{1 / 3}, 0.0]"]


@pytest.mark.slow
def test_the_command_lists_and_tries_it(installed):
    records = {
        r["name"]: r for r in json.loads(run(installed, "-m", "aps_text.cli", "rewards", "--json"))
    }
    assert records["brevity"]["measures"].startswith("1 up to `words` words")
    assert records["short-words"]["licence"] == "CC0 (no weights)"
    assert {"relevance", "sentiment"} <= records.keys()
    args = ["try", "short-words", "q", "ab abcd", "--option", "power=2", "--json"]
    found = json.loads(run(installed, "-m", "aps_text.cli", "rewards", *args))
    assert found["answers"][0]["score"] == pytest.approx(1 / 9)


def test_nothing_is_installed_here():
    from aps_rewards import list_rewards

    assert "short-words" not in {one.name for one in list_rewards()}
