"""Task files, data files with a field mapping, and where items come from."""

from __future__ import annotations

import json
import re

import pytest
from aps_eval.extraction import extract
from aps_eval.measures import measure
from aps_eval.sources import read_records
from aps_eval.task import Task, load_task, task_names
from eval_fixtures import lines, write_sets

from recipes.mini_text.prompts import KINDS
from recipes.mini_text.subjects import split_of

OWN = [task for task in task_names() if task.startswith(("word", "open", "sentences"))]
READ = sorted(set(task_names()) - set(OWN))
RIGHT = {  # a right and a wrong answer to each set's first item, as a model would put them
    "gsm8k": ("3 + 1000 = 1003. The answer is 1,003 apples.", "The answer is 3."),
    "svamp": ("4 - 1 = 3. The answer is **3**", "The answer is 4"),
    "bbh-object-counting": ("There are three.", "I have 4"),
    "bbh-boolean-expressions": ("True and True is True.", "False"),
    "bbh-date-understanding": ("It is the day after, so the answer is (B) 4.", "(A)"),
    "bbh-navigate": ("We do not return. The answer is No", "Yes"),
    "bbh-sports-understanding": ("No, nobody drinks a ball.", "Yes it is."),
    "countdown": ("<answer>3 * 1 + 2</answer>", "3 + 2"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_sets(tmp_path_factory.mktemp("sets"))


@pytest.mark.parametrize("name", OWN)
def test_bundled_tasks_have_items_of_both_splits(name):
    task = load_task(name)
    test, tune = task.items("test"), task.items("tune")
    assert len(test) >= 20
    assert len(tune) >= 4
    assert not {item.prompt for item in test} & {item.prompt for item in tune}
    assert all(item.gold for item in test) or name in ("open", "sentences")
    assert task.about
    assert task.rewards["guide"]


def test_sentences_are_asked_about_subjects_that_no_other_split_has():
    splits = {split: load_task("sentences").items(split) for split in ("test", "tune")}
    assert {name: len(items) for name, items in splits.items()} == {"test": 120, "tune": 48}
    for split, items in splits.items():
        assert {split_of(item.columns["subject"]) for item in items} == {split}
    assert {item.stratum for item in splits["test"]} == {kind.name for kind in KINDS}


def test_open_prompts_are_fifty_of_four_kinds():
    items = load_task("open").items()
    assert len(items) == len({item.prompt for item in items}) == 50
    assert {item.stratum for item in items} == {"explain", "describe", "advise", "verse"}


@pytest.mark.parametrize(
    ("name", "answer", "accuracy"),
    [
        ("word-knowledge-kind", "A fender is a kind of barrier.", "fender"),
        ("word-knowledge-choice", "An architect is a kind of organism.", "architect"),
    ],
)
def test_keyed_questions_read_our_sentences(name, answer, accuracy):
    task = load_task(name)
    item = next(item for item in task.items() if accuracy in item.prompt)
    found = extract(task.extract, answer)
    assert measure(["accuracy"], [answer], [found], [item])[0]["accuracy"] == 1
    bare = item.gold[0]
    assert measure(["accuracy"], [bare], [extract(task.extract, bare)], [item])[0]["accuracy"] == 1


@pytest.mark.parametrize("name", ["kind", "synonym", "opposite", "example", "choice", "yesno"])
def test_every_gold_sentence_is_found_right(name):
    by_id = {item.id: item for item in load_task("word-knowledge").items()}
    task = load_task(f"word-knowledge-{name}")
    for item in task.items():
        sentence = by_id[item.id].gold[0]
        found = extract(task.extract, sentence)
        assert measure(["accuracy"], [sentence], [found], [item])[0]["accuracy"] == 1, sentence


@pytest.mark.parametrize("name", READ)
def test_published_layouts(name, data, monkeypatch):
    task = load_task(name)
    monkeypatch.setenv("APS_TEXT_DATA", str(data))
    test, tune = task.items("test"), task.items("tune")
    assert (len(test), len(tune)) == (16, 4)
    assert not {item.id for item in test} & {item.id for item in tune}
    main = task.metrics[0]
    right, wrong = RIGHT[name]
    found = [extract(task.extract, text) for text in (right, wrong)]
    values = measure([main], [right, wrong], found, [test[0]] * 2)
    assert [value[main] for value in values] == [1.0, 0.0]
    assert len(task.items("test", limit=5)) == 5
    assert "{" not in test[0].prompt


def test_an_offset_takes_other_items():
    task = load_task("word-knowledge")
    samples = [task.items("test", limit=120, offset=n) for n in range(8)]
    ids = [item.id for sample in samples for item in sample]
    assert len(set(ids)) == 8 * 120
    with pytest.raises(ValueError, match=r"offset=8.* from 0 to 7"):
        task.items("test", limit=120, offset=8)
    with pytest.raises(ValueError, match="offset=1 needs a limit"):
        task.items("test", offset=1)
    assert task.items("test", limit=10**9) == task.items("test")


def test_a_missing_file_says_where_to_put_it(monkeypatch):
    monkeypatch.delenv("APS_TEXT_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="--data or the variable APS_TEXT_DATA"):
        load_task("gsm8k").items()


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_any_data_file_with_a_field_mapping(tmp_path, ending):
    records = [{"ask": f"What is {i} + 1?", "key": str(i + 1)} for i in range(20)]
    path = tmp_path / f"sums.{ending}"
    if ending == "jsonl":
        lines(path, records)
    elif ending == "json":
        path.write_text(json.dumps(records))
    elif ending == "csv":
        path.write_text("ask,key\n" + "".join(f"{r['ask']},{r['key']}\n" for r in records))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(records), path)
    task = load_task(str(path), prompt="{ask}", gold="key", extract="number", metrics=["numeric"])
    items = task.items()
    assert task.name == "sums"
    assert items[0].prompt == "What is 0 + 1?"
    assert items[0].gold == ["1"]
    assert len(items) + len(task.items("tune")) == 20


def test_a_dataset_by_the_hubs_loader(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    lines(tmp_path / "test.jsonl", [{"q": "why ?", "a": "so"}])
    path = str(tmp_path)  # a folder of data files is a dataset like one of the hub
    found = read_records({"hub": path, "split": "test"})
    assert [one.values for one in found] == [{"q": "why ?", "a": "so"}]
    task = load_task(f"hub:{path}::test", prompt="{q}", gold="a", tune_every=0)
    assert task.items()[0].gold == ["so"]
    with pytest.raises(ValueError, match="has no tuning items: give it `tune`"):
        task.items("tune")


def test_a_hub_dataset_is_named_with_its_configuration_and_split():
    for spec, config, split in (
        ("hub:owner/name:hard:train", "hard", "train"),
        ("hub:owner/name:hard", "hard", "test"),
        ("hub:owner/name", None, "test"),
    ):
        task = load_task(spec, prompt="{q}")
        source = {"hub": "owner/name", "config": config, "split": split}
        assert (task.name, task.source) == ("name", source)


@pytest.mark.parametrize("name", ["prompt", "question"])
def test_the_usual_field_is_asked_where_none_is_named(tmp_path, name):
    path = lines(tmp_path / "few.jsonl", [{"id": "1", name: "a ?"}])
    assert load_task(str(path)).prompt == f"{{{name}}}"
    assert load_task(str(path), prompt="{id}").prompt == "{id}"


def test_two_usual_fields_are_one_too_many(tmp_path):
    path = lines(tmp_path / "few.jsonl", [{"prompt": "a ?", "question": "b ?"}])
    with pytest.raises(ValueError, match=r"which field to ask; .*has prompt, question"):
        load_task(str(path))


def test_mistakes_are_named(tmp_path):
    path = lines(tmp_path / "few.jsonl", [{"q": "a ?", "id": "1"}, {"q": "b ?", "id": "1"}])
    with pytest.raises(ValueError, match="no task 'word-knowlege'; known: bbh-"):
        load_task("word-knowlege")
    with pytest.raises(ValueError, match=r"by --question-field .it has q, id."):
        load_task(str(path))
    with pytest.raises(ValueError, match="has no 'metric'; known: about"):
        load_task(str(path), prompt="{q}", metric=["f1"])
    with pytest.raises(
        ValueError,
        match=r"no record can be used; few\.jsonl line 1: has no field 'question'; it has: q",
    ):
        load_task(str(path), prompt="{question}").items()
    with pytest.raises(ValueError, match="the id '1' occurs twice"):
        load_task(str(path), prompt="{q}", id="id").items()
    with pytest.raises(ValueError, match="task 'few': metrics are exact"):
        load_task(str(path), prompt="{q}", metrics=["bleu"])
    with pytest.raises(ValueError, match="task 'few': extract is one of"):
        load_task(str(path), prompt="{q}", extract="digits")
    broken = tmp_path / "broken.yaml"
    broken.write_text("prompt: [\n")
    with pytest.raises(ValueError, match="is not YAML"):
        load_task(str(broken))
    bad = tmp_path / "bad.jsonl"
    bad.write_text("not json\nneither\n")
    with pytest.raises(ValueError, match="line 1 is not JSON"):
        read_records({"path": str(bad)})
    one = tmp_path / "one.json"
    one.write_text('{"examples": []}')
    with pytest.raises(ValueError, match=r"no list of records \(its keys: examples\)"):
        read_records({"path": str(one)})
    with pytest.raises(ValueError, match="a source has one of bundled, path, hub"):
        read_records({"file": "x"})
    with pytest.raises(ValueError, match="a path source has no 'config'"):
        read_records({"path": str(one), "config": "x"})


def test_a_task_file_of_ones_own_extends_another(tmp_path):
    lines(tmp_path / "own.jsonl", [{"q": "one, two", "options": ["yes", "no"], "a": "no"}] * 3)
    (tmp_path / "first.yaml").write_text(
        f"source: {{path: '{tmp_path}/own.jsonl'}}\nprompt: '{{q}}'\ngold: a\ntune_every: 0\n"
    )
    (tmp_path / "second.yaml").write_text(
        "extends: first\nchoices: options\nextract: choice\nmetrics: [accuracy]\nsplit: {q: ','}\n"
    )
    task = load_task(str(tmp_path / "second.yaml"))
    item = task.items()[0]
    assert (task.name, item.prompt, item.choices) == ("second", "one, two", ["yes", "no"])
    assert extract(task.extract, "I say no", item.choices) == "no"


@pytest.mark.parametrize(
    ("wrong", "takes"),
    [
        ({"where": "x"}, "where is a mapping"),
        ({"where": [1]}, "where is a mapping"),
        ({"capture": "x"}, "capture is a mapping, {field: text}"),
        ({"capture": {"g": 5}}, "capture is a mapping, {field: text}"),
        ({"columns": ["x"]}, "columns is a mapping"),
        ({"extract": 5}, "extract is the name of a rule"),
        ({"extract": {"pattern": 5}}, "extract is the name of a rule"),
        ({"split": {"g": ""}}, "split is a mapping"),
        ({"tune_every": "5"}, "tune_every is a whole number from 0 on; got '5'"),
        ({"tune_every": -1}, "tune_every is a whole number from 0 on; got -1"),
        ({"tune_every": True}, "tune_every is a whole number from 0 on; got True"),
        ({"gold": ["g"]}, "gold is the name of a field"),
        ({"choices": 5}, "choices is the name of a field, or a list of texts; got 5"),
        ({"config": "x"}, "config is a mapping"),
        ({"rewards": {"guide": "x"}}, "rewards is a mapping of lists"),
        ({"metrics": "exact"}, "metrics is a list of names"),
    ],
)
def test_a_field_of_a_wrong_type_says_what_it_takes(wrong, takes):
    with pytest.raises(ValueError, match=f"task 't': {re.escape(takes)}"):
        Task(name="t", prompt="{q}", source={"path": "x.jsonl"}, **wrong)


def test_a_folder_named_like_a_task_is_not_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "word-knowledge").mkdir()
    assert load_task("word-knowledge").name == "word-knowledge"
    (tmp_path / "own.yml").write_text("prompt: '{q}'\nsource: {path: x.jsonl}\n")
    assert load_task("own.yml").name == "own"


def test_a_gold_of_json_true_is_yes(tmp_path):
    path = tmp_path / "boolq.jsonl"
    rows = [{"q": "a?", "g": True}, {"q": "b?", "g": False}, {"q": "c?", "g": 2}]
    path.write_text("\n".join(map(json.dumps, rows)))
    task = load_task(str(path), prompt="{q}", gold="g", extract="yes_no", tune_every=0)
    first, second, third = task.items()
    assert (first.gold, second.gold) == (["true", "yes"], ["false", "no"])
    assert "finds yes or no, never a gold answer of ['2']" in third.problem


def test_a_name_twice_in_one_object_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": "a", "q": "b"}\n{"q": "c", "more": {"x": 1, "x": 1}}\n{"q": "d"}\n')
    records = read_records({"path": str(path)})
    assert [bool(one.problem) for one in records] == [True, True, False]
    assert "the name 'q' occurs twice in one object" in records[0].problem


def test_a_space_after_each_delimiter_belongs_to_no_value(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('q, g\n"a, b", "c, d"\ne, f\n')
    assert [one.values for one in read_records({"path": str(path)})] == [
        {"q": "a, b", "g": "c, d"},
        {"q": "e", "g": "f"},
    ]
    path.write_text('q,"a, g"\n x, y\n')
    assert [one.values for one in read_records({"path": str(path)})] == [{"q": " x", "a, g": " y"}]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"n": 1}, ["a"]),
        ({"n": True}, ["b"]),
        ({"n": "1"}, ["c"]),
        ({"n": 1.0}, ["a"]),
        ({"n": 1, "q": "a"}, ["a"]),
    ],
)
def test_where_tells_true_from_one(tmp_path, where, found):
    rows = [{"q": "a", "n": 1}, {"q": "b", "n": True}, {"q": "c", "n": "x"}, {"q": "d"}]
    rows[2]["n"] = "1" if where == {"n": "1"} else "2"
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    task = load_task(str(path), prompt="{q}", where=where, tune_every=0)
    assert [item.prompt for item in task.items()] == found


def test_where_of_a_csv_means_its_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("q,level,kept\na,1,true\nb,2,False\nc,3,TRUE\n")
    for where, found in (({"level": 2}, ["b"]), ({"kept": True}, ["a", "c"]), ({"q": "c"}, ["c"])):
        task = load_task(str(path), prompt="{q}", where=where, tune_every=0)
        assert [item.prompt for item in task.items()] == found
