"""What an installation holds: entry points, types for users, weights; `.ci/wheel` builds it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zlib
from importlib.metadata import entry_points

import pytest
from paths import ROOT

import aps_text
from aps_text.cli import main

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = [
    ROOT / path for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
]

USERS_FILE = """
from aps_text import APSConfig, APSOutput, APSPipeline, load_reward
from aps_rewards import Reward
from aps_eval.task import load_task

reward: Reward = load_reward("length")
pipe = APSPipeline.from_pretrained("mini")
out = pipe("What is a dog?", reward)
reveal_type(pipe)
reveal_type(out)
reveal_type(out.text)
reveal_type(APSConfig().sampler.steps)
wrong: int = out.text
"""

SKIPPED = """
[mypy]

[mypy-torch.*,numpy.*,transformers.*]
follow_imports = skip
"""
"""The types of these take mypy a minute and a half, and no type that is tested here needs them."""


def test_packages_are_typed_and_of_unique_names():
    assert [folder.name for folder in PACKAGES] == ["aps_text", "aps_rewards", "aps_eval"]
    for folder in PACKAGES:
        assert (folder / "__init__.py").is_file()
        assert (folder / "py.typed").is_file()


def test_the_weights_fit_into_a_wheel_of_125_mb():
    """A bound from one block in eight of each large file; `.ci/wheel` measures the wheel itself."""
    total = 0.0
    for file in (file for folder in PACKAGES for file in folder.rglob("*") if file.is_file()):
        data = file.read_bytes()
        blocks = [data[i : i + 2**16] for i in range(0, len(data), 2**19)]
        small = sum(len(zlib.compress(block)) for block in blocks)
        total += small * len(data) / max(1, sum(map(len, blocks)))
    print(f"the wheel will have about {total / 1e6:.0f} MB")
    assert 1e6 < total < 125e6


def test_entry_points_lead_to_rewards_and_the_command():
    named = PROJECT["project"]["entry-points"]["aps_text.rewards"]
    assert set(named) <= {point.name for point in entry_points(group="aps_text.rewards")}
    for target in named.values():
        module, _, attribute = target.partition(":")
        source = ROOT / "rewards" / f"{module.replace('.', '/')}.py"
        assert f"class {attribute}" in source.read_text(encoding="utf-8"), target
    assert PROJECT["project"]["scripts"] == {"aps": "aps_text.cli:main"}


def test_extras_need_nothing_that_is_not_there():
    extras = PROJECT["project"]["optional-dependencies"]
    for name, needed in extras.items():
        for one in needed:
            if one.startswith("aps-text["):
                wanted = one.removeprefix("aps-text[").rstrip("]").split(",")
                assert set(wanted) <= set(extras), name


def test_the_version_is_one(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out.strip() == f"aps_text {aps_text.__version__}"
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "aps_text/__init__.py"


@pytest.mark.slow
def test_a_users_file_is_checked_with_our_types(tmp_path):
    (tmp_path / "mine.py").write_text(USERS_FILE, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(SKIPPED, encoding="utf-8")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent"),
            *("--ignore-missing-imports", "mine.py"),
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    said = run.stdout
    assert 'Revealed type is "aps_text.pipelines.text.APSPipeline"' in said, said + run.stderr
    assert 'Revealed type is "aps_text.pipelines.output.APSOutput"' in said
    assert 'Revealed type is "list[str]"' in said.replace("builtins.", "")
    assert "missing library stubs or py.typed" not in said
    assert 'Incompatible types in assignment (expression has type "list[str]"' in said
