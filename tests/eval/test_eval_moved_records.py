"""A run that goes on after its task's records were moved, labelled anew, or repeated."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from aps_eval.judging.judge_folder import judge_folder
from aps_eval.run.grid import read_grid
from aps_eval.store import read_rows
from aps_eval.task import Task
from eval_tiny import WORDS, run_tiny, tiny_values


def asked(words: list[str], strata: str = "") -> list[dict[str, str]]:
    kinds = strata or "k" * len(words)
    return [{"q": f"a {w} ?", "a": w, "n": n} for w, n in zip(words, kinds, strict=True)]


def run_csv(folder: Path, records: list[dict[str, str]], methods: list[str], **options):
    with (folder / "asked.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["q", "a", "n"])
        writer.writeheader()
        writer.writerows(records)
    values = tiny_values(folder, 2, methods=methods)
    source = {"path": str(folder / "asked.csv")}
    values["tasks"][0] |= {"task": source["path"], "tune": source}
    return run_tiny(read_grid(values), folder / "out", page=False, **options)


def test_answers_are_paired_by_what_was_asked_and_not_by_the_records_number(tmp_path):
    run_csv(tmp_path, asked(WORDS[:7]), ["plain"])
    rows, _ = run_csv(tmp_path, asked([WORDS[7], *WORDS[:7]]), ["plain", "aps"])
    assert len(rows) == 16
    found = {(row.label, row.item): row.question for row in rows}
    assert len(found) == 16  # as many prompts as answers
    for number, word in enumerate([WORDS[7], *WORDS[:7]]):
        assert found["plain", str(number)] == found["aps", str(number)] == f"a {word} ?"
    entries = json.loads((tmp_path / "out" / "summary.json").read_text())["entries"]
    assert {e["prompts"] for e in entries if e["value"] == "f1"} == {8}
    # Stored rows keep the number they were made under; a judge's tables are of today's.
    stored = {row.question for row in read_rows(tmp_path / "out" / "rows.jsonl") if row.item == "0"}
    assert len(stored) == 2
    from rich.console import Console

    console = Console(file=io.StringIO(), width=200)
    judge_folder(tmp_path / "out", ["eval_tiny:Length"], console=console)
    again = json.loads((tmp_path / "out" / "summary.json").read_text())["entries"]
    kept = [one for one in again if one["value"] != "report:letters"]
    assert kept == entries
    assert {e["prompts"] for e in again if e["value"] == "report:letters"} == {8}


def test_a_judge_finds_an_item_by_its_content(tmp_path):
    run_csv(tmp_path, asked(WORDS[:4]), ["plain"])
    run_csv(tmp_path, asked(WORDS[:4][::-1]), ["plain"])
    from rich.console import Console

    console = Console(file=io.StringIO(), width=200)
    assert judge_folder(tmp_path / "out", metrics=["whole"], console=console).written == 4
    assert "joined to their items" not in console.file.getvalue()


def test_strata_are_those_of_the_records_now(tmp_path):
    run_csv(tmp_path, asked(WORDS[:6], "aaabbb"), ["plain"])
    rows, _ = run_csv(tmp_path, asked(WORDS[:6], "ccdddd"), ["plain"], strata=True)
    assert [row.stratum for row in rows] == list("ccdddd")
    entries = json.loads((tmp_path / "out" / "summary.json").read_text())["entries"]
    assert {e["stratum"]: e["prompts"] for e in entries if e["value"] == "f1"} == {
        "": 6,
        "c": 2,
        "d": 4,
    }


def test_equal_items_are_told_of(tmp_path):
    rows, said = run_csv(tmp_path, asked([*WORDS[:3], WORDS[0], WORDS[0]]), ["plain"])
    assert [row.item for row in rows] == ["0", "1", "2"]
    assert "asked: 2 of 5 items repeat another one" in said
    _, said = run_csv(tmp_path, asked(WORDS[:3]), ["plain"])
    assert "repeat" not in said


def test_a_prompt_that_asks_everybody_the_same_is_refused():
    with pytest.raises(ValueError, match=r"'Say hello' has no \{field\}, so every question"):
        Task(name="t", prompt="Say hello", source={"path": "t.csv"})
    with pytest.raises(ValueError, match=r"has no \{field\}"):
        Task(name="t", prompt="Say {{hello}}", source={"path": "t.csv"})
