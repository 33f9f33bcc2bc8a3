"""Pairs for a reader: sides by the seed, no names, and marks counted for the right method."""

from __future__ import annotations

import dataclasses
import sys

import pytest
from aps_eval.rows import Row
from aps_eval.store import RowStore
from paths import ROOT


@pytest.fixture(scope="module")
def reading():
    sys.path.append(str(ROOT / "benchmarks"))
    import blind_reading

    yield blind_reading
    sys.path.remove(str(ROOT / "benchmarks"))


GUIDE = {"guide": [{"name": "length", "weight": 1.0, "options": {}}]}


def rows(items=30, methods=("plain", "aps", "best")):
    return [
        Row(
            key=f"{item}-{method}", task="t", item=str(item), question=f"Question {item}?",
            method=method, label=method, model="m", fingerprint="f", seed=0, rewards=GUIDE,
            answer="the same" if item == 0 else f"{method} says {item}",
        )
        for item in range(items) for method in methods
    ]  # fmt: skip


def test_marks_for_our_method_are_its_wins_whichever_side_it_stood_on(reading):
    found, equal = reading.pairs(rows(), "aps", seed=3)
    assert len(found) == 58
    assert equal == {("length", "plain"): 1, ("length", "best"): 1}
    assert {pair.first for pair in found} == {True, False}
    for pair in found:
        assert pair.answers[not pair.first].startswith("aps says")
    ours = ["AB"[not pair.first] for pair in found]
    theirs = ["AB"[pair.first] for pair in found]
    marked = [
        own + ("=" if at % 2 else other)
        for at, (own, other) in enumerate(zip(ours, theirs, strict=True))
    ]
    lines = reading.counted(found, equal, marked, "aps").splitlines()
    fits = [line for line in lines if "fits the wish" in line]
    assert [line.split("|")[4:8] for line in fits] == [[" 29 ", " 0 ", " 0 ", " 1 "]] * 2
    reads = [[int(c) for c in line.split("|")[4:7]] for line in lines if "reads better" in line]
    assert [sum(column) for column in zip(*reads, strict=True)] == [0, 29, 29]


def test_pairs_are_of_one_question_whatever_its_number_was(reading):
    moved = [
        dataclasses.replace(row, item=f"{int(row.item) + (row.method == 'aps')}") for row in rows()
    ]
    found, _ = reading.pairs(moved, "aps", seed=3)
    assert len(found) == 58
    for pair in found:
        assert len({answer.rpartition(" ")[2] for answer in pair.answers}) == 1


def test_the_sheet_names_no_method_and_follows_from_the_seed(reading):
    said = [
        row.__class__(**{**row.__dict__, "answer": f"{len(row.key)}{row.key[-1]}"})
        for row in rows()
    ]
    sheets = [reading.sheet(reading.pairs(said, "aps", seed)[0], {}) for seed in (0, 0, 1)]
    assert sheets[0] == sheets[1] != sheets[2]
    assert not any(name in sheets[0] for name in ("aps", "plain", "best"))
    assert "wish: longer" in reading.sheet(reading.pairs(said, "aps", 0)[0], {"length": "longer"})


def test_the_sign_test_is_that_of_the_binomial(reading):
    assert reading.sign_test(0, 0) == reading.sign_test(4, 4) == reading.sign_test(4, 5) == 1
    assert reading.sign_test(1, 9) == reading.sign_test(9, 1) == pytest.approx(22 / 1024)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 A B\n1 A A\n2 = =", "marked twice"),
        ("1 A B", "no mark of pair 2; 1 of 2"),
        ("1 A B\n3 A A", "line 2"),
        ("1 A\n2 A A", "line 1"),
    ],
)
def test_a_wrong_mark_names_its_line(reading, text, said):
    with pytest.raises(ValueError, match=said):
        reading.marks(text, 2)


def test_from_a_folder_of_rows(reading, tmp_path, capsys):
    RowStore(tmp_path / "rows.jsonl").append(rows(3))
    folder, sheet, marks = str(tmp_path), tmp_path / "sheet.md", tmp_path / "marks.txt"
    assert reading.main([folder, "--sheet", str(sheet)]) == 0
    assert "4 pairs" in capsys.readouterr().out
    marks.write_text("".join(f"{n} = =\n" for n in range(1, 5)))
    assert reading.main([folder, "--sheet", str(sheet), "--wish", "length=long = good"]) == 0
    assert "wish: long = good\n" in sheet.read_text()
    capsys.readouterr()
    assert reading.main([folder, "--sheet", str(sheet), "--wish", "lenght=longer"]) == 2
    assert "'lenght=longer' is no GUIDE=TEXT of a guide" in capsys.readouterr().err
    assert reading.main([folder, "--marks", str(marks)]) == 0
    assert "| length | plain | reads better | 0 | 0 | 2 | 1 | 1.000 |" in capsys.readouterr().out
    assert reading.main([folder, "--of", "svdd", "--sheet", str(sheet)]) == 2
    assert "no answers of 'svdd'" in capsys.readouterr().err
