"""Stored answers are scored by further judges as if the run had reported them."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from aps_eval.extraction import RULES
from aps_eval.items import Item
from aps_eval.judging import judge_folder as judging
from aps_eval.judging.judge_folder import judge_folder
from aps_eval.judging.judges import Asked, RewardJudge, load_judges
from aps_eval.rows import Row
from aps_eval.run.evaluate import evaluate
from aps_eval.run.grid import read_grid
from aps_eval.store import RowStore, read_rows
from eval_fixtures import lines
from eval_tiny import run_tiny, tiny_grid, tiny_pipe, tiny_values
from paths import ROOT

from aps_text.cli import build_parser, main

LETTERS = "eval_tiny:Length"
VOWELS = "eval_tiny:Vowels"


def judge(folder: Path, report=(), metrics=(), **options):
    """What it counted, and what it printed."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=200)
    found = judge_folder(folder, report, metrics, console=console, **options)
    return found, console.file.getvalue()


def summary(folder: Path) -> dict[tuple[str, ...], dict]:
    """The entries of everything but what an answer cost."""
    found = json.loads((folder / "summary.json").read_text())["entries"]
    return {
        (e["guide"], e["label"], e["control"], e["stratum"], e["value"]): e
        for e in found
        if e["value"] not in ("seconds", "denoiser_forwards", "reward_forwards", "flops")
    }


def settings(**more) -> dict:
    return {"seeds": [0, 7], "controls": ["zero"], "methods": ["plain", "aps"], **more}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that reports nothing, and one that reports from the start."""
    folder = tmp_path_factory.mktemp("judging")
    grid = tiny_grid(folder, 4, **settings())
    run_tiny(grid, folder / "late", strata=True)
    values = tiny_values(folder, 4, **settings(report=[LETTERS, VOWELS]))
    values["tasks"][0]["metrics"] = ["f1", "words", "whole", "repetition"]
    run_tiny(read_grid(values), folder / "early", strata=True)
    return folder, grid


@pytest.fixture
def late(made, tmp_path):
    """A copy of the run that reports nothing."""
    shutil.copytree(made[0] / "late", tmp_path / "late")
    return tmp_path / "late"


def by_cell(rows) -> dict[tuple, Row]:
    return {(r.label, r.control, r.item, r.seed): r for r in rows}


def test_values_are_those_of_a_run_that_reported_from_the_start(made, late):
    folder, _ = made
    found, said = judge(late, [LETTERS, VOWELS], ["whole", "repetition"], batch_size=5)
    assert (found.written, found.errors) == (24, {})
    early, mine = (by_cell(read_rows(one / "rows.jsonl")) for one in (folder / "early", late))
    assert len(mine) == len(early) == 24
    for cell, row in mine.items():
        assert row.scores == early[cell].scores
        assert list(row.scores["report"]) == ["letters", "vowels"]
        assert row.metrics == early[cell].metrics
        assert row.guided_by_report == early[cell].guided_by_report
    assert summary(late) == summary(folder / "early")
    assert list(summary(late)) == list(summary(folder / "early"))
    assert "24 answers, 24 of them judged now; 0 had every value" in said
    assert "report:letters" in said
    assert "guide:vowels" not in said
    page = (late / "report.html").read_text()
    assert "report:letters" in page
    assert "judged after the run: report:letters (" in page


def test_a_benchmark_reads_the_new_judge(late, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import steering_tables

    judge(late, [LETTERS])
    table = steering_tables.by_method(steering_tables.Run(late), VOWELS, "")
    assert "| method | cost | " in table
    assert "| letters |" in table


class Nothing:
    """A pipeline that only has its model."""

    def __init__(self) -> None:
        pipe = tiny_pipe()
        self.model, self.batch_size = pipe.model, pipe.batch_size

    def __call__(self, *args, **options):
        raise AssertionError("an answer was generated")


def test_the_run_goes_on_as_if_nobody_had_judged(made, late, tmp_path):
    _, grid = made
    before = {row.key: row for row in read_rows(late / "rows.jsonl")}
    judge(late, [LETTERS], ["whole"])
    judged = {row.key: row for row in read_rows(late / "rows.jsonl")}
    assert list(judged) == list(before)
    file = (late / "rows.jsonl").read_bytes()
    rows = evaluate(grid, late, pipe=Nothing(), page=False)  # type: ignore[arg-type]
    assert {row.key: row for row in rows} == judged
    assert (late / "rows.jsonl").read_bytes() == file
    assert any(one[-1] == "report:letters" for one in summary(late))
    more, said = run_tiny(tiny_grid(tmp_path, 5, **settings()), late, page=False)
    assert "30 rows, 6 of them new" in said
    assert sum("report" in row.scores for row in more) == 24
    found, said = judge(late, [LETTERS])
    assert (found.written, "24 had every value" in said) == (6, True)
    entries = summary(late)
    assert {e["prompts"] for key, e in entries.items() if key[-1] == "report:letters"} == {5}


def test_nothing_else_of_a_row_changes_and_who_judged_is_in_it(late):
    before = {row.key: row for row in read_rows(late / "rows.jsonl")}
    lines_before = (late / "rows.jsonl").read_bytes()
    judge(late, [LETTERS], ["whole"], command=["aps", "judge"])
    assert (late / "rows.jsonl").read_bytes().startswith(lines_before)
    for row in read_rows(late / "rows.jsonl"):
        old = before[row.key]
        assert row.scores["guide"] == old.scores["guide"]
        assert row.rewards["guide"] == old.rewards["guide"]
        assert row.rewards["report"] == [
            {"name": LETTERS, "weight": 1.0, "options": {}, "judged": ["letters"]}
        ]
        whole, letters = sorted(row.judged, key=lambda one: one["value"] != "whole")
        assert (whole["value"], letters["value"]) == ("whole", "report:letters")
        assert whole["fingerprint"] == f"rules {RULES}"
        assert len(letters["fingerprint"]) == 16  # of the module's file
        assert letters["at"].endswith("+00:00")
        same = dataclasses.replace(
            row, scores=old.scores, rewards=old.rewards, metrics=old.metrics, judged=[]
        )
        assert same == old
    run, late_entry = json.loads((late / "run.json").read_text())
    assert (late_entry["command"], "grid" in run, "grid" in late_entry) == (
        ["aps", "judge"],
        True,
        False,
    )
    assert [one["fingerprint"] for one in late_entry["judged"]] == [
        letters["fingerprint"],
        whole["fingerprint"],
    ]
    (about,) = [
        one
        for one in json.loads((late / "summary.json").read_text())["judged"]
        if one["value"] == "whole"
    ]
    assert (about["answers"], about["first"]) == (24, whole["at"])


def test_what_stands_is_left_or_asked_for_again(late, tmp_path):
    judge(late, [LETTERS])
    file = (late / "rows.jsonl").read_bytes()
    found, said = judge(late, [LETTERS])
    assert found.written == 0
    assert "24 had every value" in said
    assert (late / "rows.jsonl").read_bytes() == file
    store = RowStore(late / "rows.jsonl")
    spoilt = {
        row.key: lambda row: dataclasses.replace(
            row,
            scores={**row.scores, "report": {"letters": -1.0}},
            judged=[*row.judged, *row.judged],
        )
        for row in store.rows()
    }
    store.amend(spoilt)
    judge(late, [LETTERS], again=True)
    for row in read_rows(late / "rows.jsonl"):
        assert row.scores["report"] == {"letters": len(row.answer) / 40}
        assert (len(row.judged), row.judged[-1]["was"]) == (3, -1.0)
        assert len(row.rewards["report"]) == 1


def test_the_runs_own_report_is_replaced_only_if_asked(made, tmp_path):
    shutil.copytree(made[0] / "early", tmp_path / "early")
    before = {row.key: row for row in read_rows(tmp_path / "early" / "rows.jsonl")}
    assert judge(tmp_path / "early", [LETTERS])[0].written == 0
    assert judge(tmp_path / "early", [LETTERS], ["f1"], again=True)[0].written == 24
    for row in read_rows(tmp_path / "early" / "rows.jsonl"):
        assert row.rewards == before[row.key].rewards
        assert [one["was"] for one in row.judged] == [
            before[row.key].scores["report"]["letters"],
            before[row.key].metrics["f1"],
        ]
        same = dataclasses.replace(row, judged=[])
        assert same == before[row.key]


def test_two_versions_of_a_judge_are_not_mixed(late, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def mine(completions, **kwargs):\n    return [1.0 for _ in completions]\n")
    judge(late, [f"{mine}:mine"])
    mine.write_text("def mine(completions, **kwargs):\n    return [2.0 for _ in completions]\n")
    file = (late / "rows.jsonl").read_bytes()
    with pytest.raises(ValueError, match=r"judged 24 of these answers as it was at 20.*--again"):
        judge(late, [f"{mine}:mine"])
    assert (late / "rows.jsonl").read_bytes() == file
    judge(late, [f"{mine}:mine"], again=True)
    assert {row.scores["report"]["mine"] for row in read_rows(late / "rows.jsonl")} == {2.0}


def test_weights_tell_versions_apart():
    import torch

    class Net:
        name = "net"

        def __init__(self, value: float) -> None:
            self.layer = torch.nn.Linear(2, 1)
            torch.nn.init.constant_(self.layer.weight, value)
            torch.nn.init.zeros_(self.layer.bias)

    from aps_eval.fingerprint import reward_fingerprint

    one, same, other = (reward_fingerprint(Net(value)) for value in (0.5, 0.5, 0.25))
    assert one == same != other
    assert reward_fingerprint(object()) == ""
    quality, report = load_judges(
        [{"name": n, "options": {}} for n in ("answer-quality", "answer-quality-report")], []
    )
    assert quality.fingerprint != report.fingerprint


def test_the_guide_is_told_of_and_marked(late):
    before = {row.key: row.scores["guide"] for row in read_rows(late / "rows.jsonl")}
    _, said = judge(late, [VOWELS])
    assert f"warning: {VOWELS} guided or selected 16 of 24 answers; its report of these" in said
    assert "!! GUIDED BY IT !!" in said
    for row in read_rows(late / "rows.jsonl"):
        assert row.scores["guide"] == before[row.key]
        assert row.guided_by_report == ([] if row.method == "plain" else ["vowels"])


def test_names_are_those_of_a_run(tmp_path):
    """The same reward with other options is another value, numbered as a run numbers it."""
    guide = {"name": "keywords", "options": {"present": ["dog"]}}
    more = ["keywords:present=cat", "keywords:present=cat,dog"]
    block = {"guide": [guide], "report": [more[0]]}
    folders = []
    for name, reports in (("early", more), ("late", more[:1])):
        grid = tiny_grid(tmp_path, 2, rewards=[{**block, "report": reports}], methods=["aps"])
        run_tiny(grid, tmp_path / name, page=False)
        folders.append(tmp_path / name)
    _, said = judge(folders[1], more)
    assert "guided or selected 2 of 2" in said  # whatever its options
    early, mine = (read_rows(folder / "rows.jsonl") for folder in folders)
    assert [row.scores for row in mine] == [row.scores for row in early]
    assert list(mine[0].scores["report"]) == ["keywords_2", "keywords_3"]
    assert judge(folders[1], more)[0].written == 0
    sure = {"name": "keywords", "options": {"present": ["dog"]}}
    assert judge(folders[1], [sure])[0].written == 2
    row = read_rows(folders[1] / "rows.jsonl")[0]
    assert row.guided_by_report == ["keywords"]


def test_parts_of_a_composed_reward_are_reported_as_a_run_reports_them(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from aps_rewards import Clipped, WeightedSum\n"
        "def clipped():\n"
        "    return Clipped(WeightedSum({'length': 2.0, 'lint': 1.0}), low=0.0, high=2.5)\n"
        "def summed():\n"
        "    return WeightedSum({'length': 2.0, 'lint': 1.0})\n"
    )
    names = [f"{mine}:clipped", f"{mine}:summed"]
    run_tiny(tiny_grid(tmp_path, 2, methods=["plain"], report=names), tmp_path / "a", page=False)
    run_tiny(tiny_grid(tmp_path, 2, methods=["plain"]), tmp_path / "b", page=False)
    judge(tmp_path / "b", names)
    early, mine_rows = (read_rows(tmp_path / name / "rows.jsonl") for name in "ab")
    assert [row.scores for row in mine_rows] == [row.scores for row in early]
    assert len(early[0].scores["report"]) == 5
    assert judge(tmp_path / "b", names)[0].written == 0


SEEN = """
def seen(prompts, completions, reference, **kwargs):
    said = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [100 * len(p) + len(c) + len(r) / 10 for p, c, r in zip(prompts, said, reference)]
"""


def test_columns_are_those_of_the_task(tmp_path):
    (tmp_path / "mine.py").write_text(SEEN)
    name = f"{tmp_path / 'mine.py'}:seen"
    records = [{"q": "what is a dog ?", "a": "dog"}, {"q": "what is a cat ?", "a": "a cat"}]
    task = {"task": str(lines(tmp_path / "own.jsonl", records)), "prompt": "{q}", "gold": "a"}
    task |= {"columns": {"reference": "a"}, "tune_every": 0}
    for folder, more in (("a", {"report": [name]}), ("b", {})):
        grid = read_grid(tiny_values(tmp_path, tasks=[task], methods=["plain"], **more))
        run_tiny(grid, tmp_path / folder, page=False)
    judge(tmp_path / "b", [name])
    early, rows = (read_rows(tmp_path / folder / "rows.jsonl") for folder in "ab")
    assert [row.scores for row in rows] == [row.scores for row in early]
    assert len({round(10 * row.scores["report"]["seen"]) % 10 for row in rows}) == 2


def test_a_reward_of_messages_gets_messages(made, tmp_path):
    (tmp_path / "mine.py").write_text(SEEN)
    _, grid = made
    task = dataclasses.replace(grid.cells[0].task, columns={"reference": "a"})
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a dog ?"}]
    asked = [Asked(task, Item("0", one, columns={"reference": "dog"})) for one in (chat, "abc")]
    (one,) = load_judges([{"name": f"{tmp_path / 'mine.py'}:seen", "options": {}}], [])
    assert one.score(asked, ["yes", "no"]) == [{"seen": 203.3}, {"seen": 302.3}]


def test_a_task_that_has_changed_is_no_longer_what_was_asked(late, made, tmp_path):
    file = made[0] / "asked.jsonl"
    text = file.read_text()
    rows = (late / "rows.jsonl").read_bytes()
    try:
        file.write_text(text.replace("what is a cat", "what was a cat"))
        with pytest.raises(
            ValueError,
            match="6 answers are to task 'asked', which has no item that asks 'what is a cat",
        ):
            judge(late, [LETTERS])
        file.unlink()
        with pytest.raises(ValueError, match="to task 'asked', which cannot be read: no file"):
            judge(late, [LETTERS])
    finally:
        file.write_text(text)
    (late / "run.json").write_text("[]")
    with pytest.raises(ValueError, match=r"'asked', which is not named in run.json; type"):
        judge(late, [LETTERS])
    assert (late / "rows.jsonl").read_bytes() == rows


def test_items_whose_keys_have_changed_are_told_of(late):
    run = json.loads((late / "run.json").read_text())
    for name in (LETTERS, "lint"):  # a judge's spec is no part of the key
        assert "question and gold" not in judge(late, [name])[1]
    run[0]["grid"]["tasks"][0]["extract"] = "choice"
    (late / "run.json").write_text(json.dumps(run))
    found, said = judge(late, [VOWELS])
    assert "24 answers are joined to their items by question and gold answers" in said
    assert found.written == 24


def test_a_run_that_is_not_finished_is_judged_without_tables(late):
    whole = (late / "rows.jsonl").read_text().splitlines(keepends=True)
    (late / "rows.jsonl").write_text("".join(whole[:9]) + whole[9][:40])
    (late / "summary.json").unlink()
    found, said = judge(late, [LETTERS])
    assert found.written == 9
    assert "the run is not finished and has no tables; they will have" in said
    assert not (late / "summary.json").exists()


def test_a_judge_that_was_stopped_goes_on(late, monkeypatch):
    calls, score = [], RewardJudge.score

    def stops(self, asked, answers):
        calls.append(len(answers))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(self, asked, answers)

    monkeypatch.setattr(RewardJudge, "score", stops)
    with pytest.raises(KeyboardInterrupt):
        judge(late, [LETTERS], batch_size=5)
    rows = read_rows(late / "rows.jsonl")
    assert (len(rows), sum("report" in row.scores for row in rows)) == (24, 10)
    found, _ = judge(late, [LETTERS], batch_size=5)
    assert (found.written, sum(calls)) == (14, 15 + 14)


def test_two_that_judge_at_once_lose_nothing(late, monkeypatch):
    """Between scoring and writing another process may write."""
    score = RewardJudge.score

    def meanwhile(self, asked, answers):
        if self.title == LETTERS:
            monkeypatch.setattr(RewardJudge, "score", score)
            judge(late, [VOWELS, "lint"])
        return score(self, asked, answers)

    monkeypatch.setattr(RewardJudge, "score", meanwhile)
    judge(late, [LETTERS, "lint"])
    for row in read_rows(late / "rows.jsonl"):
        assert list(row.scores["report"]) == ["vowels", "lint", "letters"]
        assert [one["value"] for one in row.judged] == [f"report:{n}" for n in row.scores["report"]]


def test_a_reward_that_fails_on_some_leaves_these(late):
    spec = {"name": VOWELS, "options": {"fails_on": "cat"}}
    found, said = judge(late, [spec, LETTERS])
    assert {title: len(errors) for title, errors in found.errors.items()} == {VOWELS: 6}
    assert "6 FAILED by eval_tiny:Vowels, the first: reward 'vowels' raised on" in said
    rows = read_rows(late / "rows.jsonl")
    assert all(row.error is None and "letters" in row.scores["report"] for row in rows)
    lacking = {row.question for row in rows if "vowels" not in "".join(row.scores["report"])}
    assert lacking == {"what is a cat ?"}
    found, said = judge(late, [spec, LETTERS])  # these alone are tried again
    assert (found.written, len(found.errors[VOWELS])) == (0, 6)
    assert "24 answers, 0 of them judged now; 18 had every value" in said


@pytest.mark.parametrize(
    ("report", "metrics", "message"),
    [
        ([], [], "no judge is named; give --report NAME, --metrics NAME or both"),
        (["valense"], [], "no reward 'valense'. Did you mean 'valence'"),
        (["lint=0.5"], [], "a report has no weight, got lint=0.5"),
        (["lint", "lint"], [], "--report names 'lint' twice"),
        (["exact-match"], [], "needs 'reference'.*no token ids"),
        ([], ["kl"], "--metrics kl is measured on the denoising steps, which rows do not keep"),
        ([], ["fluff"], "metrics are exact, .*got 'fluff'"),
        ([], ["named"], "--metrics named cannot judge item '0' of task 'asked': named needs the"),
        ([], ["solved"], "solved needs the column 'numbers'"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(late, report, metrics, message):
    before = {path.name: path.read_bytes() for path in late.iterdir() if path.name != "run.json"}
    with pytest.raises((ValueError, TypeError), match=message):
        judge(late, report, metrics)
    after = {path.name: path.read_bytes() for path in late.iterdir() if path.name != "run.json"}
    assert after == before


def test_a_metric_of_gold_answers_needs_them(tmp_path):
    path = lines(tmp_path / "open.jsonl", [{"q": "what is a dog ?"}])
    task = {"task": str(path), "prompt": "{q}", "tune_every": 0}
    grid = read_grid(tiny_values(tmp_path, tasks=[task], methods=["plain"]))
    run_tiny(grid, tmp_path / "out", page=False)
    with pytest.raises(ValueError, match=r"exact cannot judge item '0' of .*: it has no gold"):
        judge(tmp_path / "out", metrics=["exact"])


def test_a_folder_without_answers_is_named(tmp_path, late):
    with pytest.raises(ValueError, match=r"has no rows.jsonl; name a folder of `aps eval --out`"):
        judge(tmp_path / "none", [LETTERS])
    assert not (tmp_path / "none").exists()
    failed = [dataclasses.replace(r, error="no") for r in read_rows(late / "rows.jsonl")]
    (late / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in failed))
    with pytest.raises(ValueError, match="has no answers; all 24 rows are failures"):
        judge(late, [LETTERS])


def test_failed_answers_stay_as_they_are(tmp_path):
    spec = {"name": VOWELS, "options": {"fails_on": "cat"}}
    run_tiny(tiny_grid(tmp_path, 3, rewards=[[spec]]), tmp_path / "out", page=False)
    found, _ = judge(tmp_path / "out", [LETTERS])
    rows = read_rows(tmp_path / "out" / "rows.jsonl")
    assert (found.written, len(rows)) == (4, 6)
    assert {row.error is None for row in rows if not row.judged} == {False}
    assert {e["failed"] for e in summary(tmp_path / "out").values()} == {1}


def test_a_copy_is_judged_and_the_folder_left(late, tmp_path):
    before = {path.name: path.read_bytes() for path in late.iterdir()}
    judge(late, [LETTERS], out=tmp_path / "copy")
    assert {path.name: path.read_bytes() for path in late.iterdir()} == before
    rows = read_rows(tmp_path / "copy" / "rows.jsonl")
    assert all("letters" in row.scores["report"] for row in rows)
    assert any(one[-1] == "report:letters" for one in summary(tmp_path / "copy"))
    with pytest.raises(ValueError, match="copy has rows already; judge it itself"):
        judge(late, [VOWELS], out=tmp_path / "copy")


def without_shown(folder: Path) -> dict:
    """The summary as it was before it said which rows it is of."""
    found = json.loads((folder / "summary.json").read_text())
    del found["shown"], found["baseline"]
    (folder / "summary.json").write_text(json.dumps(found))
    return found


def test_tables_from_before_rows_were_named_are_found_by_their_means(made, late):
    without_shown(late)
    judge(late, [LETTERS, VOWELS], ["whole", "repetition"])
    assert summary(late) == summary(made[0] / "early")


def test_tables_of_other_rows_are_left(late):
    found = without_shown(late)
    found["entries"][0]["mean"] += 0.5
    (late / "summary.json").write_text(json.dumps(found))
    tables = {name: (late / name).read_bytes() for name in ("summary.json", "report.html")}
    counted, said = judge(late, [LETTERS])
    assert counted.written == 24
    assert "is not known, so the tables are not written again; type the command of its run" in said
    assert {name: (late / name).read_bytes() for name in tables} == tables
    (late / "summary.json").write_text("{")
    assert "summary.json is damaged, so the tables are not" in judge(late, [VOWELS])[1]


@pytest.mark.parametrize(
    "damage",
    [{"entries": 5}, {"entries": [5]}, {"entries": [{}]}, {"shown": 5}, {"shown": [5]}],
)
def test_a_damaged_summary_is_told_of_and_the_answers_are_judged(late, damage):
    found = json.loads((late / "summary.json").read_text())
    (late / "summary.json").write_text(json.dumps({**found, **damage}))
    tally, said = judge(late, [LETTERS])
    assert tally.written == 24
    assert "summary.json is damaged, so the tables are not written again" in said


def test_a_log_of_runs_with_other_entries_is_no_log(late):
    path = late / "run.json"
    path.write_text(json.dumps([1, *json.loads(path.read_text())]))
    with pytest.raises(ValueError, match=r"not named in run\.json; type the run's own command"):
        judge(late, [LETTERS])


@pytest.mark.parametrize("shown", [True, False])
def test_answers_that_two_budgets_share_stand_at_both(tmp_path, shown):
    match = {"unit": "flops", "budget": [1, 2]}  # both too little for more than one
    grid = tiny_grid(tmp_path, 2, methods=["plain", "best-of-n"], match=match)
    run_tiny(grid, tmp_path / "out", page=False)
    if not shown:
        without_shown(tmp_path / "out")
    judge(tmp_path / "out", [LETTERS])
    own = [key[1] for key in summary(tmp_path / "out") if key[-1] == "report:letters"]
    assert own == ["plain", "best-of-n @1 flops", "best-of-n @2 flops"]


def test_a_metric_that_was_added_is_measured_by_newer_rules_too(made, late, tmp_path):
    _, grid = made
    old = [
        dataclasses.replace(row, rules=0, metrics={**row.metrics, "words": -1.0})
        for row in read_rows(late / "rows.jsonl")
    ]
    (late / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in old))
    judge(late, [LETTERS])
    assert {row.rules for row in read_rows(late / "rows.jsonl")} == {0}
    judge(late, metrics=["whole"])
    for row in read_rows(late / "rows.jsonl"):
        assert (row.rules, row.metrics["words"]) == (RULES, len(row.answer.split()))
    spoilt = [
        dataclasses.replace(row, rules=0, metrics={**row.metrics, "whole": -1.0})
        for row in read_rows(late / "rows.jsonl")
    ]
    (late / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in spoilt))
    rows = evaluate(grid, late, pipe=Nothing(), page=False)  # type: ignore[arg-type]
    assert all(row.metrics["whole"] in (0, 1) and len(row.judged) == 2 for row in rows)


def test_what_a_value_was_is_as_it_was_stored_and_not_as_read_again(late):
    old = [
        dataclasses.replace(row, rules=0, metrics={**row.metrics, "words": -1.0, "f1": -2.0})
        for row in read_rows(late / "rows.jsonl")
    ]
    (late / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in old))
    judge(late, metrics=["words", "f1"], again=True)
    for row in read_rows(late / "rows.jsonl"):
        assert [one["was"] for one in row.judged] == [-1.0, -2.0]
        assert row.metrics["words"] == len(row.answer.split())


def test_a_line_follows_only_what_it_keeps(late):
    row = read_rows(late / "rows.jsonl")[0]
    record = {"value": "whole", "at": "now", "fingerprint": "f", "version": "0"}
    judged = dataclasses.replace(row, judged=[record])
    newer = dataclasses.replace(row, rules=row.rules + 1)
    assert judged.follows(row)
    assert newer.follows(row)
    assert dataclasses.replace(judged, rules=newer.rules).follows(newer)
    for one, other in ((row, row), (row, judged), (judged, newer), (newer, judged)):
        assert not one.follows(other)
    store = RowStore(late / "rows.jsonl")
    assert store.append([judged]) == 1
    assert store.append([newer, row]) == 0
    assert store.amend({row.key: lambda one: one}) == 0
    assert RowStore(late / "rows.jsonl").get(row.key) == judged


def test_the_command(late, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/bin/aps", "judge", str(late), "--report", LETTERS])
    assert main(["judge", str(late), "--report", LETTERS, "--metrics", "whole"]) == 0
    assert "report:letters" in capsys.readouterr().out
    run = json.loads((late / "run.json").read_text())
    assert run[-1]["command"] == ["aps", "judge", str(late), "--report", LETTERS]
    assert main(["judge", str(late), "--report", f"{VOWELS}:fails_on=cat"]) == 1
    assert main(["judge", str(late / "none"), "--report", LETTERS]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"aps: {late / 'none'} has no rows.jsonl; name a folder of `aps eval --out`"
    parser = build_parser()._subparsers._group_actions[0].choices["judge"]
    assert [one.dest for one in parser._actions if not one.help] == []
    assert judging.judge_folder is judge_folder


def columns(folder: Path, name: str) -> set[str]:
    """What the values of a report's name are of, in all rows."""
    rows = read_rows(folder / "rows.jsonl")
    specs = [one for row in rows for one in row.rewards["report"] if name in one["judged"]]
    return {f"{one['name']} {one['options']}" for one in specs}


def two_of_one_name(tmp_path: Path) -> list[str]:
    """Two rewards that are both called f; the first has no opinion on cats."""
    (tmp_path / "mine.py").write_text(
        "def one(prompts, completions, **columns):\n"
        "    if any('cat' in p for p in prompts):\n"
        "        raise ValueError('no cats')\n"
        "    return [1.0] * len(prompts)\n"
        "def two(prompts, completions, **columns):\n"
        "    return [2.0] * len(prompts)\n"
        "one.name = two.name = 'f'\n"
    )
    return [f"{tmp_path}/mine.py:one", f"{tmp_path}/mine.py:two"]


def test_judges_of_one_name_have_each_its_own_in_every_row(late, tmp_path):
    one, two = two_of_one_name(tmp_path)
    _, said = judge(late, [one, two])
    for row in read_rows(late / "rows.jsonl"):
        assert row.scores["report"]["f_2"] == 2.0  # where the first failed, too
        assert row.scores["report"].get("f") == (None if "cat" in row.question else 1.0)
    assert f"report:f is {one}" in said
    assert f"report:f_2 is {two}" in said
    assert "6 of 24 answers lack report:f: aps judge" in said
    assert f"report:f_2 is {two}" in (late / "report.html").read_text()


def test_a_judge_that_saw_a_part_keeps_its_name(late, made, tmp_path):
    one, two = two_of_one_name(tmp_path)
    whole = (late / "rows.jsonl").read_text().splitlines(keepends=True)
    (late / "rows.jsonl").write_text("".join(whole[:9]))
    judge(late, [two])
    with (late / "rows.jsonl").open("a") as file:
        file.write("".join(whole[9:]))  # the run went on
    judge(late, [one])
    judge(late, [two])
    assert columns(late, "f") == {f"{two} {{}}"}
    assert columns(late, "f_2") == {f"{one} {{}}"}
    for row in read_rows(late / "rows.jsonl"):
        assert row.scores["report"]["f"] == 2.0


def test_a_reward_with_other_options_has_a_name_of_its_own(late):
    _, said = judge(late, ["length:high=9", "length:high=10"])
    assert columns(late, "length") == {"length:high=9 {}"}
    assert columns(late, "length_2") == {"length:high=10 {}"}
    assert "report:length is length:high=9" in said
    assert "report:length_2 is length:high=10" in said


def test_a_report_that_does_not_apply_is_left_out_of_the_mean(late, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def loss(prompts, completions, **columns):\n"
        "    return [None if 'cat' in p else -2.0 for p in prompts]\n"
    )
    _, said = judge(late, [f"{tmp_path}/mine.py:loss"])
    assert "report:loss does not apply to 6 of 24 answers, which its mean leaves out" in said
    means = {e["mean"] for k, e in summary(late).items() if k[-1] == "report:loss"}
    assert means == {-2.0}
    assert judge(late, [f"{tmp_path}/mine.py:loss"])[0].written == 0
