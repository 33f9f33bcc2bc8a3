"""Evaluation files as people have them: every malformed record fails by itself, with its line."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import json
import lzma
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from aps_eval.fields import FieldError, as_column, as_messages, as_text, as_texts
from aps_eval.run.grid import read_grid
from aps_eval.sources import read_records
from aps_eval.task import load_task
from eval_fixtures import lines
from eval_tiny import run_tiny, tiny_grid, tiny_values

GOOD = {"q": "what is a dog ?", "a": "an animal"}
CHAT = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "what is a dog ?"}]


def items_of(path, **fields):
    return load_task(str(path), **{"prompt": "{q}", "gold": "a", "tune_every": 0, **fields}).items()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"q": "x ?", "a": null}', "the field 'a' is null"),
        ('{"q": "x ?", "a": NaN}', "the field 'a' is NaN"),
        ('{"q": "x ?", "a": -Infinity}', "the field 'a' is infinite"),
        ('{"q": "x ?", "a": ["yes", null]}', "the field 'a' is null"),
        ('{"q": "x ?", "a": []}', "the field 'a' is an empty list"),
        ('{"q": "x ?", "a": [["x"]]}', "holds a list and no text"),
        ('{"q": "x ?", "a": {"text": "x"}}', "holds an object and no text"),
        ('{"q": "x ?", "a": " "}', "the field 'a' is empty"),
        ('{"q": "x ?"}', "has no field 'a'; it has: q"),
        ('{"q": null, "a": "x"}', "the field 'q' is null"),
        ('{"q": "", "a": "x"}', "the field 'q' is empty"),
        ('{"q": {"text": "x ?"}, "a": "x"}', "holds objects with text"),
        ('{"q": [{"from": "human", "value": "x ?"}], "a": "x"}', "have `role` and `content`"),
        ('{"q": [{"role": "human", "content": "x ?"}], "a": "x"}', "has the role 'human'"),
        ('{"q": [{"role": "user", "content": null}], "a": "x"}', "the field 'q' is null"),
        ('{"q": "a \\ud800 b", "a": "x"}', "has a lone surrogate, U+D800"),
        ('{"q": "x ?", "a": "\\udc00"}', "has a lone surrogate, U+DC00"),
        ('{"q": "x ?", "a": "x"', "is not JSON"),
        ('{"q": "x ?", "a": ' + "9" * 5000 + "}", "is not JSON: Exceeds the limit"),
        ("[" * 100_000, "is not JSON"),
        ('["q", "a"]', "is no object with fields"),
        ("nonsense", "is not JSON"),
        ("null", "is no object with fields"),
    ],
)
def test_a_malformed_record_fails_alone_and_says_its_line(tmp_path, line, why):
    path = tmp_path / "asked.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + line + "\n" + json.dumps(GOOD) + "\n")
    first, bad, last = items_of(path)
    assert (first.prompt, first.gold, last.problem) == (GOOD["q"], [GOOD["a"]], "")
    assert re.match(rf"asked\.jsonl line 3: .*{re.escape(why)}", bad.problem), bad.problem


def test_a_run_records_them_and_answers_the_others(tmp_path):
    values = tiny_values(tmp_path)
    good = {"q": "what is a dog", "a": "dog", "n": 1}
    path = lines(
        tmp_path / "asked.jsonl",
        [good, {**good, "a": None}, {**good, "q": CHAT[1:]}, {**good, "q": None}],
    )
    with path.open("a") as file:
        file.write("{broken\n")
    rows, said = run_tiny(read_grid(values), tmp_path / "out")
    assert len(rows) == 10
    failed = [row for row in rows if row.error]
    lines_of = [row.error.split(":")[0] for row in failed[:3]]
    assert lines_of == [f"asked.jsonl line {n}" for n in (2, 4, 5)]
    assert len(failed) == 6
    asked = {row.question for row in rows if not row.error}
    assert asked == {"what is a dog", CHAT[1]["content"]}
    assert "None" not in (tmp_path / "out" / "rows.jsonl").read_text()
    assert "asked.jsonl line 2: the field 'a' is null" in said
    assert len(run_tiny(tiny_grid(tmp_path), tmp_path / "out")[0]) == 8  # the folder still works


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (5.0, "5"),
        (5.5, "5.5"),
        (Decimal("5.50"), "5.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.25"), "-0.25"),
        (Fraction(3, 4), "3/4"),
        (True, "true"),
        (np.float32(2), "2"),
        (np.int64(7), "7"),
        (np.bool_(False), "false"),
        (np.str_("x"), "x"),
        (datetime.date(2026, 11, 28), "2026-11-28"),
        (1e300, "1e+300"),
    ],
)
def test_a_value_reads_as_a_person_writes_it(value, text):
    assert as_text(value, "a") == text
    assert as_texts(np.array(["x", "y"]), "a") == ["x", "y"]


def test_what_is_missing_is_missing_in_every_library():
    pandas = pytest.importorskip("pandas")
    nan = float("nan")
    for value in (None, nan, pandas.NA, pandas.NaT, Decimal("NaN"), np.float32(nan)):
        with pytest.raises(FieldError):
            as_text(value, "a")
        assert as_column(value, "a") is None


@pytest.mark.parametrize("write", [lambda chat: chat, json.dumps, str])
def test_chat_messages_are_a_question(tmp_path, write):
    records = [{"q": write(CHAT), "a": "x"}, {"q": write(CHAT[1]), "a": "x"}]
    path = lines(tmp_path / "asked.jsonl", records)
    two, one = items_of(path)
    assert two.prompt == CHAT
    assert one.prompt == CHAT[1]["content"]  # one message of the user is a question
    assert two.question == "system: Be short.\nuser: what is a dog ?"
    assert one.question == "what is a dog ?"
    asked = items_of(path, prompt="{q} Say why.")[0]
    assert asked.prompt == [CHAT[0], {"role": "user", "content": "what is a dog ? Say why."}]
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    found = as_messages([{"role": "user", "content": parts}], "q")
    assert found == [{"role": "user", "content": "a\nb"}]
    for text in (
        "a role and its content",
        '["a role and its content"]',
        '{"a role": "content"}',
        '[{"a role": "content"}]',
    ):
        assert as_messages(text, "q") is None  # a text like any other


FORMS = ["lines.jsonl", "lines.json", "list.jsonl", "list.json", "comma.csv", "semi.csv", "tab.tsv"]
FORMS += ["bar.csv", "mark.csv", "utf16.csv", "windows.csv"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(tmp_path, form, packed):
    records = [{"q": f'käse; {i}, "x" | y ?', "a": f"{i},5"} for i in range(3)]
    if form.startswith("lines"):
        text = "".join(json.dumps(r) + "\n" for r in records)
    elif form.startswith("list"):
        text = json.dumps(records, indent=1)
    else:
        mark = {"semi": ";", "tab": "\t", "bar": "|"}.get(form.partition(".")[0], ",")
        end = "\r\n" if form.startswith("windows") else "\n"
        rows = [["q", "a"], *([r["q"], r["a"]] for r in records)]
        quoted = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in rows]
        text = "".join(mark.join(row) + end for row in quoted)
    data = text.encode({"mark.csv": "utf-8-sig", "utf16.csv": "utf-16"}.get(form, "utf-8"))
    path = tmp_path / (form + ".gz" * packed)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert [one.values for one in read_records({"path": str(path)})] == records
    assert load_task(str(path), prompt="{q}").name == form.partition(".")[0]


@pytest.mark.parametrize("name", ["a.jsonl", "A.JSONL", "a.jsonl.gz", "A.JSONL.GZ", "a.jsonl.Gz"])
def test_the_case_of_a_files_ending_does_not_matter(tmp_path, name):
    data = b'{"q": "why ?"}\n{"q": "who ?"}\n'
    (tmp_path / name).write_bytes(gzip.compress(data) if name.lower().endswith("gz") else data)
    found = read_records({"path": str(tmp_path / name)})
    assert [one.values for one in found] == [{"q": "why ?"}, {"q": "who ?"}]


def test_a_saved_dataset(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    one = datasets.Dataset.from_list([GOOD, GOOD])
    one.save_to_disk(tmp_path / "one")
    both = datasets.DatasetDict({"train": one, "test": one.select([0])})
    both.save_to_disk(tmp_path / "both")
    assert [item.prompt for item in items_of(tmp_path / "one")] == [GOOD["q"]] * 2
    with pytest.raises(ValueError, match="has the splits train, test; name one by `split`"):
        items_of(tmp_path / "both")
    source = {"path": str(tmp_path / "both"), "split": "test"}
    assert len(read_records(source)) == 1
    with pytest.raises(ValueError, match="holds no saved dataset"):
        items_of(tmp_path)


@pytest.mark.parametrize("damage", ["state", "arrow", "info"])
def test_a_damaged_saved_dataset_is_named(tmp_path, damage):
    datasets = pytest.importorskip("datasets")

    folder = tmp_path / "saved"
    datasets.Dataset.from_list([{"q": "why ?"}]).save_to_disk(folder)
    if damage == "state":
        (folder / "state.json").write_text("{}")
    else:
        file = "*.arrow" if damage == "arrow" else "dataset_info.json"
        next(folder.glob(file)).unlink()
    with pytest.raises(ValueError, match=r"saved .*save_to_disk"):
        read_records({"path": str(folder)})


def test_tables_with_broken_rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('q;a\nx ?;1\ny ?\nz ?;2;3\n"two\nlines ?";4\n"open ?;5\n;6\n')
    items = items_of(path)
    assert [item.prompt for item in items] == ["x ?", "", "", "two\nlines ?", ""]
    assert items[1].problem == "rows.csv line 3: has 1 fields, the header 2 (parted by semicolons)"
    assert "line 4: has 3 fields" in items[2].problem
    assert "line 7: is no CSV (up to line 8): unexpected end" in items[4].problem
    (tmp_path / "twice.csv").write_text("q,a,q\n1,2,3\n")
    with pytest.raises(ValueError, match="the header names 'q' twice"):
        items_of(tmp_path / "twice.csv")
    long = "x" * 200_000
    (tmp_path / "long.csv").write_text(f"q,a\n{long},1\n")
    before = csv.field_size_limit()
    assert items_of(tmp_path / "long.csv")[0].prompt == long
    assert csv.field_size_limit() == before


def test_another_encoding_says_which_byte_and_how_to_convert(tmp_path):
    path = tmp_path / "old.csv"
    path.write_bytes("q,a\nein Käse ?,1\n".encode("latin-1"))
    said = r"old\.csv is not UTF-8: byte 0xe4 at place 9 \(line 2\).*iconv -f latin1"
    with pytest.raises(ValueError, match=said):
        items_of(path)
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b"{}" * 999)[:20])
    with pytest.raises(ValueError, match=r"is no whole \.gz file"):
        items_of(tmp_path / "torn.jsonl.gz")
    (tmp_path / "not.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(ValueError, match="is no parquet file"):
        items_of(tmp_path / "not.parquet")


def test_decimals_of_a_table_are_gold_and_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"q": ["x ?"], "a": [Decimal("12.50")], "d": [datetime.date(2026, 1, 2)]})
    parquet.write_table(table, tmp_path / "sums.parquet")
    item = items_of(tmp_path / "sums.parquet", columns={"number": "a", "day": "d"})[0]
    assert item.gold == ["12.5"]
    assert item.columns == {"number": 12.5, "day": "2026-01-02"}
    json.dumps(item.content())


def test_a_task_that_extends_itself_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b\nprompt: x\n")
    (tmp_path / "b.yaml").write_text("extends: a\nprompt: x\n")
    (tmp_path / "c.yaml").write_text("extends: ../elsewhere\nprompt: x\n")
    for name in ("a", "b", "c"):
        with pytest.raises(ValueError, match="name another task file beside it"):
            load_task(str(tmp_path / f"{name}.yaml"))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", "q\nwho\u2019s?\n".encode("cp1252"), "If it is Windows-1252, .*-f cp1252"),
        ("a.csv", "q\nwho \xe9?\n".encode("latin1"), "If it is latin-1, .*-f latin1"),
        ("a.jsonl", '{"q": "a"}\n'.encode("utf-16-le"), "holds zero bytes, as utf-16le"),
        ("a.jsonl", '{"q": "a"}\n'.encode("utf-16-be"), "holds zero bytes, as utf-16be"),
        ("a.jsonl", '{"q": "a"}\n'.encode("utf-32"), "holds zero bytes, as utf-32"),
        ("a.jsonl", gzip.compress(b'{"q": "a"}'), "packed by gzip; name it a.jsonl.gz"),
        ("a.jsonl", bz2.compress(b'{"q": "a"}'), "packed by bzip2; unpack it"),
        ("a.jsonl", lzma.compress(b'{"q": "a"}'), "packed by xz; unpack it"),
        ("a.csv", b"PK\x03\x04\x14\0\0\0", "a spreadsheet; unpack it, or save the sheet as"),
        ("a.jsonl", b"PAR1\x15\x04\x15\0", "a parquet file; name it .parquet"),
    ],
    ids=[
        "cp1252",
        "latin-1",
        "utf-16le",
        "utf-16be",
        "utf-32",
        "gzip",
        "bzip2",
        "xz",
        "zip",
        "parquet",
    ],
)
def test_an_encoding_that_is_not_read_is_named(tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=says):
        load_task(str(tmp_path / name), prompt="{q}", tune_every=0).items()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "sep=;\nq;g\nwho?;me\n"),
        ("a.csv", "q,g,,\nwho?,me,,\n"),
        ("a.jsonlines", '{"q": "who?"}\n'),
    ],
)
def test_what_spreadsheets_and_others_add_is_read_over(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    items = load_task(str(tmp_path / name), prompt="{q}", tune_every=0).items()
    assert [item.prompt for item in items] == ["who?"]
