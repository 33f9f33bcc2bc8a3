"""A whole evaluation on a tiny random model."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aps_eval.judging.judge_folder import judge_folder
from aps_eval.run.answering import Answerer
from aps_eval.run.evaluate import evaluate
from aps_eval.run.grid import read_grid
from aps_eval.run.runner import Tally, _count, even, planned, run
from aps_eval.store import RowStore, read_rows
from eval_fixtures import lines
from eval_tiny import run_tiny, tiny_grid, tiny_pipe, tiny_values

from aps_text import APSConfig


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    grid = tiny_grid(
        folder, 5, seeds=[0, 7], controls=["zero", "flipped"], report=["eval_tiny:Length"]
    )
    rows, said = run_tiny(grid, folder / "out", command=["aps", "eval"])
    return folder, grid, rows, said


def test_a_model_brings_settings_that_the_grid_does_not_state(tmp_path):
    values = tiny_values(tmp_path, 2)
    values["config"] = {"steps": 3, "max_new_tokens": 4, "adapter": "logits"}
    values["methods"] = ["plain", {"method": "aps", "label": "pool", "config": {"inner_steps": 0}}]
    presets = {"balanced": {"pool_size": 5}, "fast": {"pool_size": 6}}
    own = {"steps": 9, "temperature": 0.5, "inner_steps": 7, "lora_rank": 2, "presets": presets}
    pipe = tiny_pipe()
    pipe.model = replace(pipe.model, settings=own)
    found = {}
    for preset in (None, "fast"):
        grid = read_grid(values | ({} if preset is None else {"preset": preset}))
        rows = evaluate(grid, tmp_path / f"out {preset}", pipe=pipe, page=False, fluency=False)
        for row in rows:
            config = APSConfig(**row.config).flat()
            found[preset, row.label] = [
                config.get(name) for name in ("steps", "temperature", "inner_steps", "pool_size")
            ]
    assert found == {
        (None, "plain"): [3, 0.5, 7, 5],
        (None, "pool"): [3, 0.5, 0, 5],
        ("fast", "plain"): [3, 0.5, 7, 6],
        ("fast", "pool"): [3, 0.5, 0, 6],
    }


def test_every_cell_answers_every_item_with_every_seed(first):
    folder, _, rows, _ = first
    assert len(rows) == 5 * 2 * 4  # plain, aps, and aps under two controls
    assert len({row.key for row in rows}) == len(rows)
    assert {(row.label, row.control) for row in rows} == {
        *(("plain", None), ("aps", None), ("aps", "zero"), ("aps", "flipped"))
    }
    assert sorted(row.key for row in read_rows(folder / "out" / "rows.jsonl")) == sorted(
        row.key for row in rows
    )


def test_a_row_says_what_happened(first):
    _, grid, rows, _ = first
    pipe = tiny_pipe()
    for row in rows:
        assert row.error is None
        cell = next(c for c in grid.cells if c.label == row.label)
        how = {"control": row.control} if row.control else {}
        vowels, letters = (
            Answerer(pipe, fingerprint="x").loaded(cell.rewards[r]) for r in ("guide", "report")
        )
        out = pipe(
            row.question,
            vowels,
            method=row.method,
            report=letters,
            config=cell.config.replace(seed=row.seed),
            keep_trajectory=True,
            **how,
        )
        assert row.answer == out.text[0]
        assert row.cut_off is out.cut_off[0]
        assert (
            row.scores["guide"]["vowels"]
            == out.rewards["vowels"][0]
            == row.scores["guide"]["total"]
        )
        assert row.scores["report"] == {"letters": out.rewards["letters"][0]}
        assert row.metrics["words"] == len(row.answer.split())
        assert "".join(row.tokens).strip().lower() == row.answer.lower()
        assert len(row.committed) == len(row.tokens)
        assert all(0 <= step < row.steps <= 2 for step in row.committed)
        assert row.cost["denoiser_forwards"] > 0
        assert row.cost["seconds"] > 0
        assert ("vowels" in row.curve) == (row.label == "aps" and row.control != "zero")
    curves = [row.curve["vowels"] for row in rows if row.curve]
    assert all(len(curve) == 2 and curve[0] is not None for curve in curves)


def test_zero_control_is_the_base_sampler(first):
    _, _, rows, _ = first
    plain = {(row.item, row.seed): row.answer for row in rows if row.label == "plain"}
    zero = {(row.item, row.seed): row.answer for row in rows if row.control == "zero"}
    assert zero == plain


def test_a_shuffled_reward_steers_and_the_reward_itself_is_measured(tmp_path):
    grid = tiny_grid(tmp_path, 4, methods=["aps"], controls=["shuffled"])
    rows, said = run_tiny(grid, tmp_path / "out", page=False)
    shuffled = [row for row in rows if row.control == "shuffled"]
    assert len(shuffled) == 4
    for row in shuffled:
        vowels = sum(c in "aeiou" for c in row.answer) / max(1, len(row.answer))
        assert row.scores["guide"]["vowels"] == pytest.approx(vowels)
        assert not row.curve  # what it saw was the shuffled reward
    assert "aps (shuffled)" in said


def test_the_report(first):
    folder, _, rows, said = first
    out = folder / "out"
    with (out / "summary.csv").open() as file:
        table = list(csv.DictReader(file))
    summary = json.loads((out / "summary.json").read_text())
    assert len(table) == len(summary["entries"])
    line = next(
        r for r in table if (r["label"], r["control"], r["value"]) == ("aps", "", "report:letters")
    )
    own = [
        row.scores["report"]["letters"] for row in rows if row.label == "aps" and not row.control
    ]
    assert float(line["mean"]) == pytest.approx(sum(own) / len(own))
    assert (line["prompts"], line["seeds"], line["against"]) == ("5", "2", "plain")
    top = next(r for r in table if (r["label"], r["value"]) == ("aps", "guide:vowels top"))
    assert float(top["mean"]) >= float(
        next(r for r in table if (r["label"], r["value"]) == ("aps", "guide:vowels"))["mean"]
    )
    runs = json.loads((out / "run.json").read_text())
    assert runs[-1]["command"] == ["aps", "eval"]
    assert runs[-1]["versions"]["torch"]
    assert "seeds 0, 7" in said
    assert "40 rows, 40 of them new" in said
    assert "asked: 5 items; measured: f1, words\n" in said
    assert "GUIDED BY IT" not in said


def test_a_second_run_makes_nothing_new_and_another_setting_does_not_mix(first):
    folder, grid, rows, _ = first
    again, said = run_tiny(grid, folder / "out")
    assert again == rows
    assert "40 rows, 0 of them new" in said
    other = tiny_grid(
        folder,
        5,
        config={
            "steps": 1,
            "max_new_tokens": 4,
            "inner_steps": 1,
            "num_samples": 2,
            "adapter": "logits",
        },
    )
    new, said = run_tiny(other, folder / "out")
    assert "10 rows, 10 of them new" in said
    assert {row.config["steps"] for row in new} == {1}
    assert len(read_rows(folder / "out" / "rows.jsonl")) == 50


def test_batches_do_not_matter(first, tmp_path):
    _, _, rows, _ = first
    alone, _ = run_tiny(tiny_grid(tmp_path, 5, seeds=[0, 7], batch_size=1), tmp_path / "out")
    found = {(row.label, row.item, row.seed): row for row in rows if row.control is None}
    for row in alone:
        same = found[row.label, row.item, row.seed]
        assert (row.answer, row.tokens, row.committed, row.steps) == (
            same.answer,
            same.tokens,
            same.committed,
            same.steps,
        )


@pytest.mark.parametrize(
    ("count", "most", "size"),
    [(24, 16, 12), (40, 16, 14), (7, 4, 4), (3, 8, 3), (8, 1, 1), (0, 4, 1)],
)
def test_batches_are_even(count, most, size):
    assert even(count, most) == size


def test_cells_take_turns_a_batch_each(tmp_path):
    grid = tiny_grid(tmp_path, 5, batch_size=4)
    answerer, store = Answerer(tiny_pipe(4)), RowStore(tmp_path / "rows.jsonl")
    task = grid.cells[0].task
    run(answerer, planned(answerer, grid.cells, {task.name: task.items()}, [0]), store)
    labels = [row.label for row in store.rows()]
    assert labels == ["plain"] * 3 + ["aps"] * 3 + ["plain"] * 2 + ["aps"] * 2


def test_the_first_call_of_a_method_is_in_no_answers_seconds(tmp_path):
    """As imports and caches are: plain decoding, which comes first, would look dear."""
    grid = tiny_grid(tmp_path, 5, batch_size=4)
    answerer, store = Answerer(tiny_pipe(4)), RowStore(tmp_path / "rows.jsonl")
    task, calls, call = grid.cells[0].task, [], answerer.call

    def late_at_first(units):
        out, cost = call(units)
        first = units[0].cell.method not in {method for method, _ in calls}
        calls.append((units[0].cell.method, len(units)))
        return out, {**cost, "seconds": 99.0 if first else 1.0}

    answerer.call = late_at_first
    run(answerer, planned(answerer, grid.cells, {task.name: task.items()}, [0]), store)
    turns = [("plain", 1), ("plain", 3), ("aps", 1), ("aps", 3), ("plain", 2), ("aps", 2)]
    assert calls == turns
    assert {row.cost["seconds"] for row in store.rows()} == {1.0}
    assert len(store.rows()) == 10
    calls.clear()
    run(answerer, planned(answerer, grid.cells, {task.name: task.items()}, [0]), store)
    assert calls == []  # nothing is left to answer, so nothing is warmed up


def test_a_failing_prompt_is_a_recorded_failure(tmp_path):
    spec = {"name": "eval_tiny:Vowels", "options": {"fails_on": "cat"}}
    grid = tiny_grid(tmp_path, 4, rewards=[[spec]])
    rows, said = run_tiny(grid, tmp_path / "out", page=False)
    failed = [row for row in rows if row.error is not None]
    assert {row.question for row in failed} == {"what is a cat ?"}
    assert len(rows) == 8
    assert len(failed) == 2
    assert "no opinion on what is a cat" in failed[0].error
    assert "2 FAILED of 8 of asked, the first: " in said
    assert not failed[0].answer
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {one["failed"] for one in summary["entries"]} == {1}
    _, said = run_tiny(grid, tmp_path / "out", page=False)
    assert "0 of them new" in said
    _, said = run_tiny(grid, tmp_path / "out", retry=True, page=False)
    assert "2 of them new" in said


def test_of_many_errors_three_are_told():
    tally, failed = Tally(), SimpleNamespace(error="no")
    for _ in range(2):
        _count(tally, [failed] * 2)
    assert (tally.made, tally.failed, tally.errors) == (4, 4, ["no"] * 3)


def test_a_prompt_beyond_the_context_fails_alone(tmp_path, capfd):
    grid = tiny_grid(tmp_path, 3)
    task = grid.cells[0].task
    items = task.items()
    long = type(items[0])("long", "dog " * 90, ["x"])
    answerer = Answerer(tiny_pipe())
    store = RowStore(tmp_path / "rows.jsonl")
    plan = planned(answerer, grid.cells[:1], {task.name: [*items, long]}, [0])
    tally = run(answerer, plan, store)
    assert (tally.made, tally.failed) == (4, 1)
    assert tally.busy > 0
    assert capfd.readouterr().err == ""  # no bar per batch
    assert "_warm" not in repr(answerer)
    (failed,) = [row for row in store.rows() if row.error]
    assert failed.item == "long"
    assert "context" in failed.error


def test_a_gold_answer_that_is_no_number_fails_alone_and_is_not_answered(tmp_path):
    records = [{"q": f"what is a {w} ?", "a": a} for w, a in (("dog", "3"), ("cat", "many"))]
    path = lines(tmp_path / "counts.jsonl", records)
    task = {"task": str(path), "prompt": "{q}", "gold": "a", "extract": "number"}
    task |= {"metrics": ["numeric"], "tune_every": 0}
    grid = read_grid(tiny_values(tmp_path, tasks=[task], methods=["plain"]))
    answerer, asked = Answerer(tiny_pipe()), []
    call = answerer.call
    answerer.call = lambda units: asked.append(len(units)) or call(units)
    items = grid.cells[0].task.items()
    rows = answerer.answer([answerer.unit(grid.cells[0], item, 0) for item in items])
    assert asked == [1]
    assert [row.error is None for row in rows] == [True, False]
    assert "counts.jsonl line 2: numeric needs gold answers that are numbers" in rows[1].error


def test_a_mistake_in_the_code_stops_the_run_with_its_traceback(tmp_path, caplog):
    grid = tiny_grid(tmp_path, 3)
    task = grid.cells[0].task
    answerer = Answerer(tiny_pipe())
    store = RowStore(tmp_path / "rows.jsonl")
    plan = planned(answerer, grid.cells, {task.name: task.items()}, [0])
    calls, call = [], answerer.call

    def breaks_later(units):
        calls.append(units)
        return call(units) if len(calls) <= 2 else units.missing

    answerer.call = breaks_later
    with pytest.raises(AttributeError, match="missing"):
        run(answerer, plan, store)
    assert len(calls) == 4  # each method's warm-up, and its batch
    assert [row.error for row in read_rows(tmp_path / "rows.jsonl")] == [None] * len(calls[1])
    assert "in breaks_later" in caplog.text


def test_a_failed_measurement_is_not_taken_for_a_failed_answer(tmp_path, monkeypatch):
    grid = tiny_grid(tmp_path, 3)
    task = grid.cells[0].task
    answerer = Answerer(tiny_pipe())
    calls, call = [], answerer.call
    answerer.call = lambda units: calls.append(units) or call(units)

    def fails(*args):
        raise ValueError("a measure fails")

    monkeypatch.setattr("aps_eval.run.answering.measure", fails)
    with pytest.raises(ValueError, match="a measure fails"):
        answerer.answer([answerer.unit(grid.cells[0], item, 0) for item in task.items()])
    assert len(calls) == 1


def test_tuning_shares_the_pipeline_and_the_rewards(tmp_path):
    answerer = Answerer(tiny_pipe(), judge=len, count_flops=True)
    tuner = answerer.for_tuning()
    specs = tiny_grid(tmp_path, 3).cells[-1].rewards["guide"]
    assert tuner.loaded(specs)[0][0] is answerer.loaded(specs)[0][0]
    assert (tuner.pipe, tuner.fingerprint) == (answerer.pipe, answerer.fingerprint)
    assert (tuner.split, tuner.judge, tuner.count_flops) == ("tune", None, False)
    assert answerer.for_tuning(count_flops=True).count_flops


def test_the_report_reward_as_a_guide_is_loud(tmp_path):
    spec = [{"name": "eval_tiny:Vowels"}]
    grid = tiny_grid(tmp_path, 2, rewards=[{"guide": spec, "report": spec}])
    rows, said = run_tiny(grid, tmp_path / "out", page=False)
    assert "!! GUIDED BY IT !!" in said
    marks = [line for line in said.splitlines() if "GUIDED BY IT" in line]
    assert not any("plain" in line.split()[:2] for line in marks)
    assert all(row.guided_by_report == ["vowels"] for row in rows if row.method == "aps")


def test_selection_by_another_reward(tmp_path):
    block = {"guide": [{"name": "eval_tiny:Vowels"}], "select": [{"name": "eval_tiny:Length"}]}
    grid = tiny_grid(tmp_path, 3, rewards=[{**block, "config": {"num_return_sequences": 3}}])
    one = tiny_grid(tmp_path, 3)
    many, _ = run_tiny(grid, tmp_path / "out", page=False)
    single, _ = run_tiny(one, tmp_path / "out", page=False)
    for row in many:
        assert math.isclose(row.scores["select"]["letters"], len(row.answer) / 40, rel_tol=1e-6)
    longer = sum(len(row.answer) for row in many) - sum(len(row.answer) for row in single)
    assert longer > 0


def test_weights_decide_the_key(tmp_path):
    import torch
    from tiny import tiny_text_model

    from aps_text import APSPipeline

    grid = tiny_grid(tmp_path, 1)
    item = grid.cells[0].task.items()[0]
    keys = set()
    for seed in (0, 1, 0):
        pipe = APSPipeline(tiny_text_model(dtype=torch.float64, seed=seed))
        keys.add(Answerer(pipe).unit(grid.cells[0], item, 0).key)
    assert len(keys) == 2


def test_flops_are_counted(tmp_path):
    rows, _ = run_tiny(tiny_grid(tmp_path, 2), tmp_path / "out", count_flops=True, page=False)
    flops = {row.label: row.cost["flops"] for row in rows}
    assert 0 < flops["plain"] <= flops["aps"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["plan"]}, "method is one of aps, plain"),
        ({"methods": [{"method": "fk", "options": {"particle": 3}}]}, "no setting 'particle'"),
        ({"methods": ["aps", "aps"]}, "two methods are called 'aps'; give one a `label`"),
        ({"methods": [{"method": "aps", "knob": "config.inner_step"}]}, "inner_step"),
        ({"methods": [{"method": "aps", "knob": "config.beta"}]}, "no integer setting"),
        ({"methods": [{"method": "aps", "option": {}}]}, "a method has no 'option'"),
        ({"config": {"stepz": 3}}, "stepz"),
        ({"config": {"num_return_sequences": 2}}, "needs `select`"),
        ({"seeds": [1, 1]}, "a seed occurs twice"),
        ({"match": "minutes"}, "match is 'seconds' or 'flops', got 'minutes'"),
        ({"match": {"budget": "fk"}}, "no method is called 'fk'"),
        ({"match": {"budget": ["aps", "fk"]}}, "no method is called 'fk'"),
        ({"match": {"budget": [1, 1.0]}}, "a budget occurs twice: 1 s, 1 s"),
        ({"match": {"budget": [0]}}, "a label or a positive number, got 0"),
        ({"match": {"budget": []}}, "no budget; give a method's label"),
        ({"limit": 0}, "limit is a whole number from 1 on, got 0"),
        ({"limit": "5"}, "limit is a whole number from 1 on, got '5'"),
        ({"offset": -1}, "offset is a whole number from 0 on, got -1"),
        ({"batch_size": 0}, "batch_size is a whole number from 1 on, got 0"),
        ({"batch_size": "x"}, "batch_size is a whole number from 1 on, got 'x'"),
        ({"tuning": "x"}, "the grid: tuning is a mapping, {name: value}; got 'x'"),
        ({"config": [1]}, r"the grid: config is a mapping, {name: value}; got \[1\]"),
        ({"model_options": [1]}, r"the grid: model_options is a mapping, .*; got \[1\]"),
        ({"match": 5}, "the grid: match is seconds, flops or a mapping, .*; got 5"),
        ({"methods": 5}, "the grid: methods is a list of names and mappings; got 5"),
        (
            {"methods": [{"method": "aps", "config": 5}]},
            "the grid, method 'aps': config is a mapping, {name: value}; got 5",
        ),
        ({"methods": [{"method": "fk", "options": [1]}]}, r"'fk': options is a mapping, .*\[1\]"),
        ({"methods": [{"method": "plain", "knob": 5}]}, "'plain': knob is a text; got 5"),
        (
            {"methods": [{"method": "aps", "trials": [{"config": 5}]}]},
            "method 'aps', trial 1: config is a mapping",
        ),
        ({"rewards": [{"guide": ["lint"], "config": 5}]}, "reward block 1: config is a mapping"),
        ({"report": ["lint=0.5"]}, "a report has no weight, got lint=0.5; leave the weight out"),
        ({"select": ["lint"]}, "select=lint picks among several answers, and every method gives"),
        ({"match": {"repeats": True}}, "match: repeats is a whole number from 1 on, got True"),
        ({"seeds": [-1]}, r"a seed lies in 0 .. 2\^63 - 1, got -1"),
        ({"seeds": [2**63]}, "a seed lies in 0"),
        ({"match": {"repeats": 0}}, "match: repeats is a whole number from 1 on, got 0"),
        ({"controls": ["random"]}, "controls are zero, shuffled, flipped; got 'random'"),
        ({"rewards": [{"guides": ["x"]}]}, "a reward block has no 'guides'"),
        ({"task": ["open"]}, "a grid has no 'task'"),
    ],
)
def test_mistakes_in_a_grid_are_said_before_anything_runs(tmp_path, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        tiny_grid(tmp_path, 1, **change)


def test_one_may_stand_where_a_list_is_meant(tmp_path):
    several = tiny_grid(tmp_path, 1, methods=["aps"], seeds=[3], controls=["zero"], report=["lint"])
    block = {"guide": {"name": "eval_tiny:Vowels"}, "report": "lint"}
    one = tiny_grid(tmp_path, 1, methods="aps", seeds=3, controls="zero", rewards=block)
    assert one.cells == several.cells
    assert (one.seeds, one.cells[0].controls) == ([3], ("zero",))


def test_an_unknown_baseline_is_said_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="no method is called 'aps2'; there are plain, aps"):
        run_tiny(tiny_grid(tmp_path, 1), tmp_path / "out", baseline="aps2")
    assert not (tmp_path / "out").exists()


def test_a_steered_method_without_a_reward(tmp_path):
    from eval_tiny import tiny_values

    values = tiny_values(tmp_path, 1)
    del values["rewards"]
    with pytest.raises(ValueError, match="steers by a reward and task 'asked' has none"):
        read_grid(values)
    assert len(read_grid({**values, "methods": ["plain"]}).cells) == 1


def test_a_gold_field_alone_is_scored_and_it_says_so(tmp_path):
    """I8: gold answers are compared, not ignored, where no metrics are named."""
    path = str(lines(tmp_path / "own.jsonl", [{"q": f"why {i} ?", "a": "dog"} for i in range(5)]))
    task = {"task": path, "prompt": "{q}", "tune_every": 0}
    for more, metrics in [
        ({"gold": "a"}, ["exact", "f1", "words", "empty"]),
        ({"gold": "a", "extract": "number"}, ["exact", "f1", "accuracy", "words", "empty"]),
        ({"gold": "a", "metrics": ["contains"]}, ["contains"]),
        ({}, ["words", "empty"]),
    ]:
        values = {**tiny_values(tmp_path), "tasks": [{**task, **more}], "methods": ["plain"]}
        rows, said = run_tiny(read_grid(values), tmp_path / "out", page=False)
        assert [name for name in rows[0].metrics if name != "not found"] == metrics
        assert f"own: 5 items; measured: {', '.join(metrics)}" in said
        asked = "its gold answers are 'a'; --metrics names others" in said
        assert asked == ("gold" in more and "metrics" not in more)


def test_matching_on_a_whole_large_task_asks_how_much(tmp_path):
    """I8: nobody waits for hours unasked; the number of items allows it."""
    match = {"unit": "flops", "budget": ["aps", 1e9]}
    values = tiny_values(tmp_path, 201, match=match, seeds=[0, 1])
    said = "asked has 201 items, which are about 1,608 answers at matched cost.*--limit 201 for all"
    with pytest.raises(ValueError, match=said):
        run_tiny(read_grid({**values, "methods": ["plain", "aps"]}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    some = read_grid({**values, "limit": 1, "seeds": [0], "match": "flops"})
    assert run_tiny(some, tmp_path / "out", page=False)[0]


@pytest.mark.parametrize("terminal", [True, False])
def test_what_takes_long_is_said_on_a_terminal_and_in_a_file(tmp_path, terminal):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=200, force_terminal=terminal)
    values = tiny_values(tmp_path, 40, match="flops", limit=40)
    evaluate(read_grid(values), tmp_path / "out", pipe=tiny_pipe(3), console=console)
    said = console.file.getvalue()
    for what in ("reading asked", "loading mini", "measuring costs", "comparing", "drawing the"):
        assert what in said
    counts = [int(one) for one in re.findall(r"answers (\d+)/80", said)]
    if terminal:
        assert "80/80" in said
        assert counts == []
    else:
        assert (counts[0], counts[-1], len(counts)) == (0, 80, 11)
        assert "measuring costs: asked, eval_tiny:Vowels: aps" in said
        assert "\x1b" not in said


def test_what_is_asked_and_loaded_is_named_and_a_judge_that_is_missing(tmp_path, monkeypatch):
    from aps_text.models import smollm2

    path = lines(tmp_path / "asked [bold].jsonl", [{"q": "what is a dog ?", "a": "dog"}])
    task = {"task": str(path), "prompt": "{q}", "gold": "a", "tune_every": 0}
    task["metrics"] = ["f1", "nll"]
    values = tiny_values(tmp_path, tasks=[task], report=["eval_tiny:Length"], methods=["plain"])
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    rows, said = run_tiny(read_grid(values), tmp_path / "out", page=False)
    said = said.splitlines()
    assert "asked [bold]: 1 items; measured: f1, nll" in said
    own = [line for line in said if line.startswith("loading")]
    assert own[0].endswith(" ...")
    loaded = ["the fluency judge", "eval_tiny:Length", "eval_tiny:Vowels"]
    assert sorted(line.partition(": ")[2] for line in own[1:]) == sorted(loaded)
    assert any(line.startswith("nll is left out: the fluency judge needs") for line in said)
    assert [set(row.metrics) for row in rows] == [{"f1"}]


def test_kl_is_the_mean_over_the_steps_that_were_steered(tmp_path):
    values = tiny_values(tmp_path, 3)
    values["tasks"][0]["metrics"] = ["f1", "kl"]
    grid = read_grid({**values, "config": {**values["config"], "beta": 0.01, "steps": 3}})
    rows, said = run_tiny(grid, tmp_path / "out", page=False)
    assert [row.metrics["kl"] for row in rows if row.method == "plain"] == [None] * 3
    steered = [row for row in rows if row.method == "aps"]
    assert len(steered) == 3
    cell = grid.cells[1]
    reward = Answerer(tiny_pipe(), fingerprint="x").loaded(cell.rewards["guide"])
    for row in steered:
        seen = []
        tiny_pipe()(
            row.question,
            reward,
            config=cell.config,
            on_step=lambda step, state, seen=seen: seen.append(float(state.kl[0])),
        )
        assert row.metrics["kl"] == pytest.approx(sum(seen[: row.steps]) / row.steps)
        assert row.metrics["kl"] > 0
    assert "kl" in said


def test_a_reward_that_does_not_apply_is_no_value_of_a_report(tmp_path):
    """None counts 0 where it guides; in a report, where all values are below 0, 0 is the best."""
    (tmp_path / "mine.py").write_text(
        "def loss(prompts, completions, **columns):\n"
        "    return [None if 'dog' in p else -2.0 for p in prompts]\n"
    )
    grid = tiny_grid(tmp_path, 4, report=[f"{tmp_path}/mine.py:loss"], methods=["plain"])
    rows, said = run_tiny(grid, tmp_path / "out")
    assert [row.scores["report"]["loss"] for row in rows] == [None, -2.0, -2.0, -2.0]
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    (one,) = [e for e in found["entries"] if e["value"] == "report:loss"]
    assert (one["mean"], one["prompts"]) == (-2.0, 3)
    why = "report:loss does not apply to 1 of 4 answers, which its mean leaves out"
    assert why in said
    assert found["notes"] == [why]
    assert why in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            {"method": "aps", "config": {"adapter": "logits", "lora_rank": 64}},
            "method 'aps adapter=logits lora_rank=64': lora_rank=64 has no use here: ",
        ),
        ({"method": "plain", "config": {"beta": 7}}, "'plain beta=7': beta=7 has no use here: "),
        ({"method": "aps", "trials": [{"config": {"lora_rank": 64}}]}, "lora_rank=64 has no use"),
    ],
)
def test_what_one_method_is_given_and_ignores_is_refused(tmp_path, method, message):
    grid = tiny_grid(tmp_path, 1, methods=["plain", method], tuning={"keep": None})
    with pytest.raises(ValueError, match=message):
        run_tiny(grid, tmp_path / "out")
    assert not (tmp_path / "out" / "rows.jsonl").exists()


def test_what_methods_share_is_not_refused(tmp_path):
    grid = tiny_grid(tmp_path, 1)
    assert grid.cells[0].method == "plain"  # its config says inner_steps
    for cell in grid.cells:
        cell.refuse_unread()


def test_what_some_answers_lack_is_told_with_the_command_that_measures_it(tmp_path):
    run_tiny(tiny_grid(tmp_path, 2, methods=["plain"]), tmp_path / "out")
    judge_folder(tmp_path / "out", ["eval_tiny:Length"], ["whole"])
    _, said = run_tiny(tiny_grid(tmp_path, 2, methods=["plain", "aps"]), tmp_path / "out")
    begin = f"aps judge {tmp_path}/out"
    assert f"2 of 4 answers lack whole: {begin} --metrics whole" in said
    assert f"2 of 4 answers lack report:letters: {begin} --report eval_tiny:Length" in said


def test_a_file_in_place_of_the_folder_is_told_before_anything_is_read(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(ValueError, match="out is a file; name a folder for the rows"):
        evaluate(tiny_grid(tmp_path), tmp_path / "out", pipe=tiny_pipe(3))
    with pytest.raises(ValueError, match="out is a file; name a folder for the rows"):
        evaluate(tiny_grid(tmp_path), tmp_path / "out" / "sub", pipe=tiny_pipe(3))
    with pytest.raises(ValueError, match="out is empty; name a folder"):
        evaluate(tiny_grid(tmp_path), "", pipe=tiny_pipe(3))
