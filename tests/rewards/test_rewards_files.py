"""Rewards of Python files: changes of the file, modules as dataclasses need them, mistakes."""

from __future__ import annotations

import os
import sys

import pytest
from aps_rewards import list_rewards, load_reward
from aps_rewards.reward_file import file_state
from test_rewards_loading import install

from aps_text.text.reward_operator.guidance import load_rewards

SCORE = "def f(prompts, completions, **kwargs): return [{}.0] * len(completions)\n"


def score(spec: str, known: dict) -> float:
    [(_, _, reward)] = load_rewards(spec, known)
    return reward(["q"], ["a"])[0]


def test_a_changed_file_is_loaded_again_and_an_unchanged_one_is_not(tmp_path):
    file, known = tmp_path / "ed.py", {}
    file.write_text(SCORE.format(1))
    os.utime(file, (1e9, 1e9))
    spec = f"{file}:f"
    assert score(spec, known) == 1
    kept = known[spec]
    assert score(spec, known) == 1
    assert known[spec] is kept
    file.write_text(SCORE.format(2))  # as long as before, and of the same time
    os.utime(file, (1e9, 1e9))
    assert score(spec, known) == 2
    assert not (tmp_path / "__pycache__").exists()


def test_a_relative_file_is_that_of_the_folder_one_is_in(tmp_path, monkeypatch):
    known = {}
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "here.py").write_text(SCORE.format(number))
        monkeypatch.chdir(folder)
        assert score("here.py:f", known) == number


def test_only_files_have_a_state(tmp_path):
    file = tmp_path / "one.py"
    file.write_text(SCORE.format(1))
    assert file_state(f"{file}:f") == file_state(f"{file}:f:limit=2") is not None
    for other in ("length", "length:high=3", "a.b:c", "missing.py:f", "owner/name", ""):
        assert file_state(other) is None


def test_a_dataclass_with_postponed_annotations_loads(tmp_path):
    file = tmp_path / "later.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass R:\n    scale: float = 2.0\n"
        "    def __call__(self, completions, **kwargs): return [self.scale for _ in completions]\n"
    )
    assert load_reward(f"{file}:R", scale=3.0)(completions=["a"]) == [3.0]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(:\n", "SyntaxError: .*line 1"),
        ("x = 1\ny = missing\n", r"NameError: name 'missing' is not defined \(line 2\)"),
        ("1 / 0\n", r"ZeroDivisionError: division by zero \(line 1\)"),
        ("import no_such_helper\n", "ModuleNotFoundError: No module named 'no_such_helper'"),
        ("import sys\nsys.exit(3)\n", r"SystemExit: 3 \(line 2\)"),
        ("\0", "null byte"),
    ],
)
def test_a_mistake_in_a_file_is_an_error_that_names_both(tmp_path, code, said):
    file = tmp_path / "wrong.py"
    file.write_text(code)
    with pytest.raises(ImportError, match=rf"reward file '.*wrong\.py' does not load: .*{said}"):
        load_reward(f"{file}:f")
    assert not [name for name in sys.modules if name.startswith("_aps_reward_wrong")]


def test_other_mistakes_on_loading_name_the_reward(tmp_path, monkeypatch):
    (tmp_path / "plug_of_mistakes.py").write_text("y = missing\n")
    (tmp_path / "made.py").write_text("class Bad:\n    def __init__(self): {}['x']\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match=r"'plug_of_mistakes:f' does not load: NameError"):
        load_reward("plug_of_mistakes:f")
    with pytest.raises(ImportError, match=r"made\.py:Bad' does not load: KeyError: 'x'"):
        load_reward(f"{tmp_path}/made.py:Bad")


def test_a_plug_in_that_exits_on_import_is_listed_as_broken(tmp_path, monkeypatch):
    (tmp_path / "leaving_plug.py").write_text("import sys\nsys.exit(0)\n")
    install(tmp_path, monkeypatch, "leaving = leaving_plug:r")
    listed = {one.name: one for one in list_rewards()}
    assert listed["leaving"].problem == "SystemExit: 0"
    assert "length" in listed
    with pytest.raises(ImportError, match=r"'leaving' is installed .*SystemExit: 0"):
        load_reward("leaving")


def test_a_function_or_class_that_lacks_arguments_is_told_how_to_get_them(tmp_path):
    (tmp_path / "few.py").write_text(
        "def texts(texts): return [1.0 for _ in texts]\n"
        "class Needs:\n    def __init__(self, gold, other=1): pass\n"
        "    def __call__(self, completions, **kwargs): return [1.0 for _ in completions]\n"
    )
    with pytest.raises(TypeError, match=r"lacks texts; a reward itself is def reward\(prompts, co"):
        load_reward(f"{tmp_path}/few.py:texts")
    with pytest.raises(TypeError, match=r"reward 'Needs' needs gold; give NAME:gold=VALUE"):
        load_reward(f"{tmp_path}/few.py:Needs")
    assert load_reward(f"{tmp_path}/few.py:Needs", gold=2)(completions=["a"]) == [1.0]
