"""The changes that `make mutants` makes: each is one change of running code, and all are known."""

from __future__ import annotations

import ast
import dataclasses
import itertools

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
            pieces = statements(source)
            found = list(mutants.mutations(path))
            for mutant in found:
                first, last, head = max(
                    piece for piece in pieces if piece[0] <= mutant.start and mutant.end <= piece[1]
                )
                piece = dataclasses.replace(
                    mutant, start=mutant.start - first, end=mutant.end - first
                )
                ast.parse(head + mutants.changed_text(piece, source[first:last]))
            for mutant in (*found[:1], *found[-1:]):
                ast.parse(mutants.changed_text(mutant, source))


def statements(source: bytes) -> list[tuple[int, int, bytes]]:
    """The first and last byte of each statement of a file and of its classes, which parse alone
    behind the given head: parsing these is ten times faster than parsing the file for each."""
    starts = [0, *itertools.accumulate(map(len, source.splitlines(keepends=True)))]

    def whole(node: ast.stmt, head: bytes) -> tuple[int, int, bytes]:
        lines = [node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))]
        return starts[min(lines) - 1], starts[node.end_lineno], head

    found = []
    for node in ast.parse(source).body:
        found.append(whole(node, b""))
        if isinstance(node, ast.ClassDef):
            found += [whole(one, b"class C:\n") for one in node.body]
    return found


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


def test_the_order_of_a_change_depends_on_nothing_but_seed_and_change(file):
    whole = list(mutants.mutations(file))
    keys = [m.key for m in mutants.order(whole, 0)]
    assert sorted(keys) == sorted(m.key for m in whole)
    assert keys != [m.key for m in whole]
    assert keys != [m.key for m in mutants.order(whole, 1)]
    file.write_text("# a line before\ny = 7\n" + SOURCE.replace("x += 1", "x += 5"))
    edited = [m.key for m in mutants.order(list(mutants.mutations(file)), 0)]
    kept = set(keys) & set(edited)
    assert len(kept) > len(keys) / 2
    assert [k for k in edited if k in kept] == [k for k in keys if k in kept]


def test_again_tries_what_an_earlier_run_left(file, monkeypatch, capsys):
    found = list(mutants.mutations(file))
    results = ["caught", "timeout", "survived", "survived", "unreached", "survived"]
    records = [
        {"key": m.key, "line": m.line, "result": result}
        for m, result in zip(found, results, strict=False)
    ]
    records[3]["key"] = "f.py: a line that was rewritten -> pass"
    taken = {found[2].key: "caught", found[4].key: "survived"}
    monkeypatch.setattr(mutants, "named_equivalent", lambda: {found[5].key: "it is"})
    monkeypatch.setattr(mutants, "learn", lambda paths: {"paths": paths})
    monkeypatch.setattr(mutants, "warm", lambda: None)
    monkeypatch.setattr(mutants, "tried", lambda mutant, known: taken[mutant.key])
    mutants.try_again(records, found, ["tests/f"])
    said = capsys.readouterr().out
    assert "   3 caught: f.py" in said
    assert "   4 gone: f.py: a line that was rewritten" in said
    assert "   5 survived: f.py" in said
    assert "   6 equivalent: f.py" in said
    assert "3 of 4 caught (75.0%): 2 before and 1 now; 1 are left, 1 of 6 lines are gone" in said


def test_of_lines_alike_the_nearest_is_meant(file):
    file.write_text("y = 7\n" * 9)
    found = list(mutants.mutations(file))
    record = {"key": found[0].key, "line": 4}
    assert mutants.still_there(record, found) == found[3]
    assert mutants.still_there({**record, "key": "another"}, found) is None


@pytest.mark.parametrize("area", list(mutants.AREAS))
def test_every_area_has_a_folder_of_tests(area):
    file = next(mutants.AREAS[area].rglob("*.py"))
    assert mutants.mirrored(str(file.relative_to(ROOT))) == f"tests/{area}"
    assert (ROOT / "tests" / area).is_dir()


def test_a_line_no_test_reaches_is_tried_against_tests_that_name_its_module(file):
    (file.parent / "test_f.py").write_text("import f\n")
    (file.parent / "test_g.py").write_text("import g\n")
    known = {"lines": {"f.py": {"6": ["test_g.py::c"]}}, "times": {}}
    known["times"] = {"test_f.py::a": 0.2, "test_f.py::b": 0.1, "test_g.py::c": 0.1}
    some = next(mutants.mutations(file))
    assert mutants.tests_for(some, known) == ["test_g.py::c"]
    assert mutants.tests_for(some, {**known, "lines": {}}) == ["test_f.py::b", "test_f.py::a"]


def test_tests_that_mirror_the_area_come_first(monkeypatch):
    file = next(mutants.AREAS["core"].rglob("cost.py"))
    some = next(mutants.mutations(file))
    nodes = ["tests/eval/a.py::a", "tests/core/a.py::slow", "tests/core/a.py::fast"]
    known = {
        "lines": {some.file: {str(some.line): nodes}},
        "times": dict(zip(nodes, (0.1, 3.0, 1.0), strict=True)),
    }
    assert mutants.tests_for(some, known) == [nodes[2], nodes[1], nodes[0]]
    monkeypatch.setattr(mutants, "SECONDS", 0.0)  # five are tried whatever they take
    assert len(mutants.tests_for(some, known)) == 3
