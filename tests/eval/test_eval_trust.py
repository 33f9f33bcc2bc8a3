"""Files of others: bounded YAML, cells that are no formulas, markup that is text, whole files."""

from __future__ import annotations

import csv
import threading
from dataclasses import replace

import pytest
from aps_eval.files import write_whole
from aps_eval.report.summary import summarise
from aps_eval.report.tables import FORMULAS, show, write_csv
from aps_eval.yaml_files import read_yaml
from test_eval_statistics import answers


def test_yaml_is_bounded(tmp_path):
    path = tmp_path / "x.yaml"
    bomb = "a0: &a0 [1, 1]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    for text, why in [
        (bomb, "unfolds to more than"),
        ("a: &a [*a]\n", "unfolds to more than"),
        ("a: 1\na: 2\n", "stands twice"),
        ("a: " + "x" * 2**20, "more than 1,048,576 bytes"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deep"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=why):
            read_yaml(path)
    path.write_text("a: &a {b: 1}\nc: *a\n")
    assert read_yaml(path) == {"a": {"b": 1}, "c": {"b": 1}}


def test_labels_are_text_in_tables_and_terminals(tmp_path):
    import io

    from rich.console import Console

    for sign in (*FORMULAS, "[/INST]"):
        rows = answers("plain", [0.0, 0.5], stratum=f"{sign}x")
        rows = [replace(row, label=f"{sign}x") for row in rows]
        entries = summarise(rows, strata=True)
        write_csv(entries, tmp_path / "s.csv")
        with (tmp_path / "s.csv").open(newline="") as file:
            cells = {cell for line in csv.reader(file) for cell in line}
        assert (f"'{sign}x" if sign in FORMULAS else f"{sign}x") in cells
        console = Console(file=io.StringIO())
        show(entries, console)
        assert sign.strip() in console.file.getvalue()


def test_writers_at_once_never_tear_a_file(tmp_path):
    path, errors = tmp_path / "run.json", []

    def write(text: str) -> None:
        try:
            for _ in range(30):
                write_whole(path, text)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(c * 1000,)) for c in "abcd"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert errors == []
    assert path.read_text() in {c * 1000 for c in "abcd"}
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]
