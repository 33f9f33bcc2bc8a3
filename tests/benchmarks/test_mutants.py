"""The changes that `make mutants` makes: each is one change of running code, and all are known."""

from __future__ import annotations

import ast

import mutants
import pytest
from paths import ROOT

SOURCE = '''
__all__ = ["f"]


def f(x: int = 3, *, sure: bool = True) -> int:
    """Doc of 5."""
    if x < 2 and sure:
        raise ValueError(f"x is {x + 1}")
    x += 1
    log(x)
    return (x - 1) * -x.sum(-1) if not sure else x.detach().max()
'''


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    path = tmp_path / "f.py"
    path.write_text(SOURCE)
    return path


def test_each_is_one_change_of_what_runs(file):
    found = list(mutants.mutations(file))
    news = {m.new for m in found}
    assert {
        "def f(x: int = 4, *, sure: bool = True) -> int:",
        "def f(x: int = 3, *, sure: bool = False) -> int:",
        "if x <= 2 and sure:",
        "if x < 2 or sure:",
        "if (not (x < 2 and sure)):",
        "pass",
        "return (x + 1) * -x.sum(-1) if not sure else x.detach().max()",
        "return (x - 1) / -x.sum(-1) if not sure else x.detach().max()",
        "return (x - 1) * -x.mean(-1) if not sure else x.detach().max()",
        "return (x - 1) * -x.sum(-2) if not sure else x.detach().max()",
        "return (x - 1) * -x.sum(-1) if not sure else x.max()",
        "return (x - 1) * -x.sum(-1) if not sure else x.detach().min()",
    } <= news
    source = file.read_bytes()
    for mutant in found:
        changed = mutants.changed_text(mutant, source)
        assert changed != source
        ast.parse(changed)
        assert b"Doc of 5." in changed  # no text is touched
        assert b"{x + 1}" in changed
        assert b'["f"]' in changed


def test_every_file_of_the_areas_can_be_changed():
    for folder in mutants.AREAS.values():
        for path in sorted(folder.rglob("*.py")):
            source = path.read_bytes()
            for mutant in mutants.mutations(path):
                ast.parse(mutants.changed_text(mutant, source))


def test_what_is_named_equivalent_still_stands_there():
    """An entry whose line was rewritten is stale: it excuses nothing any more."""
    import json

    if not mutants.EQUIVALENT.is_file():
        return
    known = {
        mutant.key
        for folder in mutants.AREAS.values()
        for path in sorted(folder.rglob("*.py"))
        for mutant in mutants.mutations(path)
    }
    excused = json.loads(mutants.EQUIVALENT.read_text("utf-8"))
    assert [key for key in excused if key not in known] == []
    assert all(reason for reason in excused.values())
    assert mutants.ROOT == ROOT
