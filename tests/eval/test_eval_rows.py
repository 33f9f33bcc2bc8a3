"""Rows: what decides a key, what a file survives, what it says when it is broken or full."""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import re
import resource

import pytest
from aps_eval.files import write_whole
from aps_eval.rows import BrokenRow, Row, row_key
from aps_eval.store import RowStore, read_rows


def row(key: str = "k0", **options) -> Row:
    values = {"task": "t", "item": key, "question": "why ?", "method": "plain", "label": "plain"}
    values |= {"model": "tiny", "fingerprint": "f", "seed": 0, "answer": f"because {key}"}
    return Row(key=key, **{**values, **options})


def scored(scores: str) -> str:
    return row("b").to_json().replace('"scores": {}', f'"scores": {scores}')


def weighted(weight: str) -> str:
    guide = [{"name": "f", "weight": 5, "options": {}}]
    return (
        row("b", rewards={"guide": guide}).to_json().replace('"weight": 5', f'"weight": {weight}')
    )


def test_a_row_survives_the_way_through_a_line():
    one = row(
        gold=["a", "b"],
        answer='é "quoted"\nsecond line\u2028third',
        cut_off=True,
        tokens=["a", "b"],
        committed=[3, 0],
        steps=4,
        curve={"length": [None, 0.25]},
        metrics={"f1": 0.5, "nll": None},
        scores={"guide": {"length": 1.0, "total": 1.0}},
        rewards={"guide": [{"name": "length", "weight": 0.5, "options": {"low": 1}}]},
    )
    line = one.to_json()
    assert "\n" not in line
    assert Row.from_json(line) == one
    assert one.guide == "0.5 length"
    half = row(error="half of a pair: \ud83d")
    assert Row.from_json(half.to_json().encode().decode()) == half
    lost = Row.from_json(row(metrics={"nll": math.nan}).to_json())
    assert lost.metrics == {"nll": None}


def test_a_report_reward_that_guided_is_named():
    scores = {"guide": {"length": 1.0, "total": 1.0}, "report": {"length": 1.0, "lint": 0.5}}
    assert row(method="aps", scores=scores).guided_by_report == ["length"]
    assert row(method="plain", scores=scores).guided_by_report == []
    silent = {"guide": {"total": 0.0}, "report": {"length": 1.0}}
    assert row(method="aps", scores=silent).guided_by_report == []
    chosen = {"select": {"length": 1.0}, "report": {"length": 1.0}}
    assert row(method="plain", scores=chosen).guided_by_report == ["length"]


def test_everything_that_decides_an_answer_decides_its_key():
    same = {
        "task": {"name": "t", "template": "{q}"},
        "item": {"prompt": "why ?", "gold": ["x"]},
        "method": "aps",
        "options": {"samples": 4, "inner": 1},
        "config": {"beta": 0.1, "steps": 8},
        "fingerprint": "abc",
        "rewards": {"guide": [["length", 1.0, {}]]},
        "control": None,
        "seed": 0,
    }
    others = {
        "task": {"name": "t", "template": "{q}?"},
        "item": {"prompt": "why ?", "gold": ["y"]},
        "method": "plain",
        "options": {"samples": 5, "inner": 1},
        "config": {"beta": 0.2, "steps": 8},
        "fingerprint": "abd",
        "rewards": {"guide": [["length", 0.5, {}]]},
        "control": "zero",
        "seed": 1,
    }
    keys = {row_key(**same), *(row_key(**{**same, name: value}) for name, value in others.items())}
    assert len(keys) == 1 + len(others)
    assert row_key(**{**same, "options": {"inner": 1, "samples": 4}}) == row_key(**same)


def test_rows_are_kept_once_and_a_failure_may_be_tried_again(tmp_path):
    store = RowStore(tmp_path / "deep" / "rows.jsonl")
    assert store.append([row("a"), row("b", answer="", error="reward raised")]) == 2
    assert store.append([row("a"), row("c")]) == 1
    assert [store.done(key) for key in "abcd"] == [True, True, True, False]
    assert not store.done("b", retry=True)
    assert store.append([row("b", answer="better")]) == 1
    again = RowStore(store.path)
    assert len(again) == 3
    assert again.rows() == store.rows() == read_rows(store.path)
    assert again.get("b").answer == "better"


def test_two_stores_on_one_file_see_each_other(tmp_path):
    one, two = (RowStore(tmp_path / "rows.jsonl") for _ in range(2))
    one.append([row("a")])
    assert two.append([row("a", answer="another"), row("b")]) == 1
    assert one.append([row("b")]) == 0
    assert one.rows() == two.rows()
    assert [r.answer for r in one.rows()] == ["because a", "because b"]


def test_a_line_cut_anywhere_is_taken_off_and_made_again(tmp_path):
    file = tmp_path / "rows.jsonl"
    RowStore(file).append([row("a"), row("b", answer="ü" * 20)])
    whole = file.read_bytes()
    start = whole.index(b"\n") + 1
    for cut in range(start + 1, len(whole)):  # inside of letters too
        file.write_bytes(whole[:cut])
        assert [r.key for r in read_rows(file)] == ["a"]
        store = RowStore(file)
        assert [r.key for r in store.rows()] == ["a"]
        store.append([row("b", answer="ü" * 20)])
        assert file.read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"key": ', r"rows.jsonl line 2 is not JSON .*; remove that line"),
        ("[1]", "line 2 is a list, not a row"),
        (row("b").to_json().replace('"seed": 0, ', ""), "line 2 lacks the field 'seed'"),
        (row("b").to_json().replace('"seed": 0', '"seed": "0"'), "'seed' is '0', not int"),
        (row("b").to_json().replace('"seed"', '"sed"'), "unknown fields: sed"),
        (row("b").to_json().replace('"cut_off": null', '"cut_off": 1'), "1, not bool | None"),
        (row("a").to_json(), "line 2: the key a... has an answer above"),
        ("[" * 99_999, "line 2 has values that cannot be read: "),
        ('{"seed": ' + "9" * 5_000 + "}", "line 2 has values that cannot be read: "),
        (scored('{"guide": {"f": "5"}}'), "line 2: the score 'f' of 'guide' is '5', not a number"),
        (scored('{"report": {"f": 1e999}}'), "line 2: the score 'f' of 'report' is inf, not a"),
        (row("b", metrics={"f1": 7.5}).to_json().replace("7.5", "NaN"), "'f1' is nan, not a n"),
        (row("b", cost={"seconds": 7}).to_json().replace("7", '"7"'), "cost 'seconds' is '7'"),
        (weighted('"1"'), "line 2: the weight of 'f' is '1', not a number; remove that line"),
        (weighted("null"), "line 2: the weight of 'f' is None, not a number"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    file = tmp_path / "rows.jsonl"
    file.write_text(row("a").to_json() + "\n" + line + "\n" + row("c").to_json() + "\n")
    with pytest.raises(BrokenRow, match=message):
        RowStore(file)


def test_a_line_that_is_no_text_is_named(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(row("a").to_json().encode() + b"\n\xff\xfe\n")
    with pytest.raises(BrokenRow, match="line 2 is not UTF-8"):
        read_rows(file)


def _fill(path, limit, queue):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    store = RowStore(path)
    store.append([row("a")])
    try:
        store.append([row("b", answer="x" * limit)])
    except OSError as error:
        queue.put((str(error), [r.key for r in store.rows()], store.append([row("c")])))


def test_a_full_disk_loses_nothing_that_was_written(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    job = context.Process(target=_fill, args=(tmp_path / "rows.jsonl", 4000, queue))
    job.start()
    message, keys, more = queue.get(timeout=30)
    job.join(30)
    assert "no space is left to write 1 rows; the 1 before them are safe" in message
    assert keys == ["a"]
    assert more == 1
    assert [r.key for r in read_rows(tmp_path / "rows.jsonl")] == ["a", "c"]


def _overfill(path, limit, queue):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    write_whole(path, "old")
    try:
        write_whole(path, "x" * 2 * limit)
    except OSError as error:
        queue.put(str(error))


def test_a_report_on_a_full_disk_leaves_the_old_one(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    job = context.Process(target=_overfill, args=(tmp_path / "report.html", 4000, queue))
    job.start()
    message = queue.get(timeout=30)
    job.join(30)
    assert "no space is left to write report.html; all rows are safe. Make room" in message
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "old"


def test_rows_are_frozen_and_their_fields_documented():
    with pytest.raises(dataclasses.FrozenInstanceError):
        row().seed = 1  # type: ignore[misc]
    for one in dataclasses.fields(Row):
        assert one.name in (Row.__doc__ or "")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rewards", {"guide": ["x"]}, "rewards of 'guide' is .* not a list of dicts"),
        ("rewards", {"report": [{"name": "x"}]}, "rewards of 'report' is .* not a list of dicts"),
        ("scores", {"report": [1]}, "the scores of 'report' are .* not a dict"),
        ("judged", [1], r"judged is \[1\], not a list of dicts"),
        ("metrics", {"f1": "x"}, "the metric 'f1' is 'x', not a number"),
    ],
)
def test_a_row_that_is_damaged_inside_is_named(field, value, message):
    names = ("key", "task", "item", "question", "method", "label", "model", "fingerprint")
    line = {**dict.fromkeys(names, "a"), "seed": 0}
    Row.from_json(json.dumps(line))
    with pytest.raises(BrokenRow, match=f"line 3: {message}"):
        Row.from_json(json.dumps({**line, field: value}), "line 3")


@pytest.mark.parametrize("text", ["3,4\n5,6", "notes of mine", '{"answer": 5}'])
def test_a_file_that_is_not_ours_is_left_as_it_is(tmp_path, text):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(BrokenRow, match=re.escape(str(path))):
        RowStore(path)
    assert path.read_text() == text


@pytest.mark.parametrize("cut", [1, 5, 40, -1])
def test_the_first_row_may_be_cut_off(tmp_path, cut):
    path = tmp_path / "rows.jsonl"
    path.write_text(row().to_json()[:cut])
    assert len(RowStore(path)) == 0
    assert path.read_text() == ""
