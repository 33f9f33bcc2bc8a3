"""Rows of a reward whose file or folder has changed are other rows, and are made again."""

from __future__ import annotations

import pytest
from aps_eval.reward_content import content, contents, with_content
from eval_tiny import run_tiny, tiny_grid

REWARD = "def letters(prompts, completions):\n    return [{} * len(c) for c in completions]\n"


def test_a_changed_reward_file_is_answered_again(tmp_path):
    """The old answers were served as those of the new reward."""
    file = tmp_path / "mine.py"
    grid = tiny_grid(tmp_path, 2, methods=["aps"], rewards=[[{"name": f"{file}:letters"}]])
    found = []
    for factor in (1, 1, -1):
        file.write_text(REWARD.format(factor))
        rows, _ = run_tiny(grid, tmp_path / "out")
        found.append({row.key: row.scores["guide"]["total"] for row in rows})
    first, second, third = found
    assert first == second
    assert len(third) == 2
    assert not third.keys() & first.keys()
    assert all(value <= 0 for value in third.values())
    assert all(v >= 0 for v in first.values())


def test_what_has_content(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("sentiment", "owner/model", "no_such_module:x", "a b", "", "\0", "x" * 5000):
        assert content(name) == ""
    assert content("aps_eval.rows:Row") == content("aps_eval.rows:digest") != ""
    empty = content(str(folder))
    large = folder / "model.safetensors"
    large.write_bytes(bytes(3 * 2**20))
    zeros = content(str(folder))
    large.write_bytes(bytes(3 * 2**20 - 1) + b"1")
    assert len({empty, zeros, content(str(folder))}) == 3
    monkeypatch.chdir(tmp_path)
    assert content("model") == content(str(folder))
    assert content("model:x") == ""  # an attribute of a module that is not there


def test_only_places_are_added_to_the_key(tmp_path):
    """Rows of installed rewards keep the keys they have."""
    installed = {"guide": [{"name": "sentiment", "weight": 1.0, "options": {"a": "b"}}]}
    assert with_content(installed) == installed
    (tmp_path / "words.txt").write_text("one")
    spec = {"name": "keywords", "weight": 1.0, "options": {"file": str(tmp_path / "words.txt")}}
    before = with_content({"guide": [spec]})
    (tmp_path / "words.txt").write_text("two")
    assert with_content({"guide": [spec]}) != before


@pytest.mark.parametrize("spec", ["{}:r", "{}:r:limit=1", "keywords:file={}", "keywords:a=b:c={}"])
def test_options_in_the_name_hide_no_content(spec, tmp_path):
    file = tmp_path / "mine.py"
    found = []
    for text in ("one", "two"):
        file.write_text(text)
        found.append(contents(spec.format(file)))
    assert found[0] != found[1]
