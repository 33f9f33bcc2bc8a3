"""Equal cost: the setting whose measured cost is nearest to the budget."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aps_eval.items import Item
from aps_eval.report.panels import families_of
from aps_eval.run import settling
from aps_eval.run.answering import Answerer
from aps_eval.run.calibration import Calibration
from aps_eval.run.cells import Match
from aps_eval.run.matching import nearest_setting
from eval_tiny import run_tiny, tiny_grid, tiny_pipe
from rich.console import Console


@pytest.mark.parametrize(
    ("fixed", "each", "budget", "best"),
    [
        (0.0, 1.0, 7.2, 7),  # proportional
        (5.0, 1.0, 20.0, 15),  # a fixed part
        (0.5, 2.0, 1.0, 1),  # too dear already
        (1.0, 0.01, 3.0, 200),  # nearly all fixed
        (0.45, 0.03, 0.58, 4),  # in proportion it would be 1, where all of it is fixed
        (0.3, 0.0, 0.58, 1),  # flat: all are as near, and the first is taken
        (0.0, 1.0, 1e9, 512),  # the largest that is tried
    ],
)
def test_the_nearest_setting_of_a_line(fixed, each, budget, best):
    calls, tried = [], {}

    def cost(value: int) -> float:
        calls.append(value)
        return fixed + each * value

    assert nearest_setting(cost, budget, tried) == best
    assert len(calls) == len(set(calls)) == len(tried) <= 5


def test_noise_is_measured_and_not_trusted():
    table = {1: 1.0, 8: 9.5, 7: 6.6, 6: 7.4}
    tried: dict[int, float] = {}
    # 9.5 / 8 is nearer to 1 than 8 / 6.6
    assert nearest_setting(lambda value: table.get(value, float(value)), 8.0, tried) == 8
    assert tried == {1: 1.0, 8: 9.5, 7: 6.6}
    with pytest.raises(ValueError, match="a budget is positive"):
        nearest_setting(float, 0.0, {})


def test_a_second_budget_begins_with_what_the_first_measured():
    calls, tried = [], {}

    def cost(value: int) -> float:
        calls.append(value)
        return 4.0 + value

    assert nearest_setting(cost, 12.0, tried, least=2) == 8
    assert calls == [2, 4, 8]
    assert nearest_setting(cost, 30.0, tried, least=2) == 26
    assert calls == [2, 4, 8, 26]


def test_methods_get_equal_operations(tmp_path):
    small = {"steps": 1, "max_new_tokens": 3, "inner_steps": 3, "num_samples": 2}
    grid = tiny_grid(
        tmp_path,
        2,
        methods=["plain", "aps", "best-of-n"],
        match={"unit": "flops", "budget": "aps"},
        config={**small, "adapter": "lora", "lora_layers": 3},
    )
    rows, said = run_tiny(grid, tmp_path / "out", count_flops=True, page=False)
    (run,) = json.loads((tmp_path / "out" / "run.json").read_text())
    found = {one["label"]: one for one in run["matching"]}
    assert found["aps"]["knob"] == ""
    assert found["aps"]["ratio"] == 1
    assert found["best-of-n"]["value"] > 2
    assert found["best-of-n"]["matched"]
    assert "NOT MATCHED" in said  # plain decoding has no knob
    assert not found["plain"]["matched"]
    best = [row for row in rows if row.label == "best-of-n"]
    assert {row.options["samples"] for row in best} == {found["best-of-n"]["value"]}
    spent = {label: sum(r.cost["flops"] for r in rows if r.label == label) for label in found}
    assert spent["best-of-n"] == pytest.approx(spent["aps"], rel=0.25)
    lines = (tmp_path / "out" / "calibration.jsonl").read_text().splitlines()
    again, said = run_tiny(grid, tmp_path / "out", count_flops=True, page=False)
    assert again == rows
    assert "0 of them new" in said
    assert (tmp_path / "out" / "calibration.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("budget", "rival"),
    [
        ("4 x plain", (4.0, "plain")),
        ("0.5 x a x b", (0.5, "a x b")),
        (".5 x aps", (0.5, "aps")),
        ("aps", (1.0, "aps")),
        ("x plain", (1.0, "x plain")),
    ],
)
def test_a_budget_may_be_so_many_times_a_methods(budget, rival):
    assert Match.rival(budget) == rival
    assert Match().called(budget) == budget


def test_a_budget_names_a_method_of_every_block(tmp_path):
    for budget, message in [
        ("4 x fk", "no method is called 'fk'"),
        ("0 x plain", "a budget is positive, got '0 x plain'"),
    ]:
        with pytest.raises(ValueError, match=message):
            tiny_grid(tmp_path, 2, match={"unit": "flops", "budget": budget})
    methods = ["plain", {"method": "fk", "guides": ["lint"]}]
    blocks = {"rewards": ["lint", "length"], "methods": methods}
    with pytest.raises(ValueError, match="no method is called 'fk'"):
        tiny_grid(tmp_path, 2, **blocks, match={"budget": "2 x fk"})


SMALL = {"steps": 1, "max_new_tokens": 3, "inner_steps": 1, "num_samples": 2, "adapter": "logits"}


def test_every_method_at_each_of_two_budgets(tmp_path):
    values = {
        "methods": [
            "plain",
            {"method": "aps", "knob": "config.num_samples"},
            {"method": "best-of-n", "label": "best", "controls": ["flipped"]},
            "fk",
        ],
        "config": SMALL,
    }
    grid = tiny_grid(tmp_path, 2, **values, match="flops")
    items = grid.cells[0].task.items("tune", 2)
    calibration = Calibration(tmp_path / "c.jsonl", Answerer(tiny_pipe()), "flops")
    plain = calibration.cost(grid.cells[0], items)
    match = {"unit": "flops", "budget": [4 * plain, 9 * plain]}
    low, high = (f"{amount:g} flops" for amount in match["budget"])
    grid = tiny_grid(tmp_path, 2, **values, match=match)
    rows, said = run_tiny(grid, tmp_path / "out", baseline="best")
    labels = list(dict.fromkeys((row.label, row.control) for row in rows))
    assert labels == [
        ("plain", None),
        *((f"aps @{name}", None) for name in (low, high)),
        *((f"best @{name}", control) for name in (low, high) for control in (None, "flipped")),
        *((f"fk @{name}", None) for name in (low, high)),
    ]
    assert {(row.family, row.budget) for row in rows if row.method == "fk"} == {
        *(("fk", low), ("fk", high))
    }
    found = {row.label: row for row in rows}
    assert found[f"best @{low}"].options["samples"] == 4
    assert found[f"best @{high}"].options["samples"] == 9
    assert found[f"aps @{low}"].config["num_samples"] <= found[f"aps @{high}"].config["num_samples"]
    (run,) = json.loads((tmp_path / "out" / "run.json").read_text())
    costs = {(one["label"], one["budget"]): one for one in run["matching"]}
    assert costs["plain", match["budget"][0]]["cost"] == plain
    assert costs[f"best @{high}", match["budget"][1]]["matched"]
    assert len(run["matching"]) == 8
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())["entries"]
    against = {(one["label"], one["control"]): one["against"] for one in summary}
    assert against[f"fk @{low}", ""] in ("", f"best @{low}")
    assert {o["against"] for o in summary if o["label"] == f"fk @{high}"} == {"", f"best @{high}"}
    assert f"minus best @{low}, best @{high}" in said
    page = (tmp_path / "out" / "report.html").read_text()
    assert families_of(rows)[f"fk @{low}"] == families_of(rows)[f"fk @{high}"]
    assert page.count("<polyline") >= 4  # best and fk, for two values at least
    for name in (low, high):  # a table for each budget, and APS over steps in lines of its own
        assert f"Every value at {name}</h3>" in page
        assert page.count(f"</svg>aps @{name}</span>") == 1
    assert "Differences are to best at the same budget" in page
    assert f"the best peer here is best @{high}" in page or f"here is fk @{high}" in page
    assert f"<header>aps @{high}</header>" in page
    assert f"<header>aps @{low}</header>" not in page


def test_trials_may_be_chosen_at_each_budget(tmp_path):
    """Each trial meets the budget with its own number of samples before one is taken."""
    trials = [{"config": {"steps": 1}}, {"config": {"steps": 3}}]
    methods = ["plain", {"method": "best-of-n", "label": "best", "trials": trials}, "fk"]
    tuning = {"prompts": 2, "keep": None, "at_budget": True}
    match = {"unit": "flops", "budget": ["6 x plain", "12 x plain"]}
    values = {"methods": methods, "config": SMALL, "tuning": tuning}
    rows, _ = run_tiny(tiny_grid(tmp_path, 2, **values, match=match), tmp_path / "out")
    (run,) = json.loads((tmp_path / "out" / "run.json").read_text())
    labels = [f"best @{name}" for name in match["budget"]]
    found = {
        label: [(one["settings"].get("steps", 1), one["settings"]["samples"], one["taken"])
                for one in run["tuning"] if one["label"] == label]
        for label in labels
    }  # fmt: skip
    assert [[(steps, samples) for steps, samples, _ in found[label]] for label in labels] == [
        [(1, 6), (3, 2)],
        [(1, 12), (3, 4)],
    ]
    assert list(dict.fromkeys(row.label for row in rows)) == [
        "plain", *labels, *(f"fk @{name}" for name in match["budget"]),
    ]  # fmt: skip
    for label in labels:
        ((steps, samples),) = [(t, n) for t, n, taken in found[label] if taken]
        own = [row for row in rows if row.label == label]
        assert {row.config["steps"] for row in own} == {steps}
        assert {row.options["samples"] for row in own} == {samples}
        assert {(row.family, row.budget) for row in own} == {("best", label.removeprefix("best @"))}
        (matched,) = [one for one in run["matching"] if one["label"] == label]
        assert (matched["value"], matched["matched"]) == (samples, True)
    one = {**match, "budget": "6 x plain"}  # a single budget has no name in labels
    rows, _ = run_tiny(tiny_grid(tmp_path, 2, **values, match=one), tmp_path / "one", page=False)
    assert {row.label for row in rows} == {"plain", "best", "fk"}
    assert {row.options["samples"] for row in rows if row.label == "best"} <= {2, 6}


def test_trials_at_a_budget_need_one_that_does_not_hang_on_them(tmp_path):
    methods = ["plain", {"method": "aps", "knob": "config.num_samples", "trials": [{}, {}]}]
    values = {"methods": methods, "tuning": {"at_budget": True, "keep": None}, "config": SMALL}
    with pytest.raises(ValueError, match="at_budget needs match"):
        tiny_grid(tmp_path, 2, **values)
    with pytest.raises(ValueError, match="at_budget is true or false, got 'yes'"):
        tiny_grid(tmp_path, 2, **{**values, "tuning": {"at_budget": "yes"}}, match="flops")
    grid = tiny_grid(tmp_path, 2, **values, match={"unit": "flops", "budget": "2 x aps"})
    with pytest.raises(ValueError, match="the budget is its own cost"):
        run_tiny(grid, tmp_path / "out", page=False)


def test_equal_settings_are_answered_once_and_shown_by_each(tmp_path):
    values = {"methods": [{"method": "best-of-n", "label": "best"}], "config": SMALL}
    grid = tiny_grid(tmp_path, 2, **values, match={"unit": "flops", "budget": [1.0, 2.0]})
    rows, said = run_tiny(grid, tmp_path / "out", page=False)
    assert [row.label for row in rows] == ["best @1 flops"] * 2 + ["best @2 flops"] * 2
    assert rows[0].key == rows[2].key
    assert "4 rows, 2 of them new" in said
    assert len((tmp_path / "out" / "rows.jsonl").read_text().splitlines()) == 2
    assert said.count("NOT MATCHED") == 2


def test_measurements_are_kept_and_broken_ones_named(tmp_path):
    grid = tiny_grid(tmp_path, 2)
    file, answerer = tmp_path / "calibration.jsonl", Answerer(tiny_pipe())
    items = grid.cells[0].task.items("tune", 2)
    first = Calibration(file, answerer, "seconds").cost(grid.cells[0], items)
    with file.open("a") as torn:
        torn.write('{"key": "cut o')
    assert Calibration(file, answerer, "seconds").cost(grid.cells[0], items) == first
    assert len(file.read_text().splitlines()) == 1
    thrice = Calibration(file, answerer, "seconds", repeats=3)
    assert thrice.cost(grid.cells[0], items) > 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["repeats"] for line in lines] == [1, 3]
    whole = file.read_text()
    costs = ['{"key": "k", "cost": "much"}', '{"key": "k", "cost": NaN}']
    for line in ("nonsense", "[" * 9999, *costs):
        file.write_text(f"{whole}{line}\n")
        with pytest.raises(ValueError, match="line 3 is no measurement; remove it"):
            Calibration(file, answerer, "seconds")
    file.write_text("notes of mine")  # and no measurements
    with pytest.raises(ValueError, match=r"calibration.jsonl is no file of measurements"):
        Calibration(file, answerer, "seconds")
    assert file.read_text() == "notes of mine"


def test_a_failing_prompt_leaves_a_measurement_and_a_failing_method_stops_it(tmp_path):
    spec = {"name": "eval_tiny:Vowels", "options": {"fails_on": "dog"}}
    grid = tiny_grid(tmp_path, 2, rewards=[[spec]])
    calibration = Calibration(tmp_path / "c.jsonl", Answerer(tiny_pipe()), "seconds")
    dog, cat = grid.cells[0].task.items("tune", 2)
    long = Item("long", "dog " * 90)
    assert calibration.cost(grid.cells[0], [dog, cat, long]) > 0
    line = json.loads((tmp_path / "c.jsonl").read_text())
    assert line["prompts"] == 1
    assert "no opinion" in line["failures"][dog.id]
    assert set(line["failures"]) == {dog.id, "long"}
    with pytest.raises(ValueError, match=r"matching: plain failed on 'what is a dog.*no opinion"):
        calibration.cost(grid.cells[0], [dog, dog])


@pytest.mark.parametrize(("unit", "first"), [("seconds", 1), ("flops", 0)])
def test_of_a_kind_of_cell_the_first_measurement_is_preceded_by_one_that_does_not_count(
    tmp_path, monkeypatch, unit, first
):
    asked = []
    call = Answerer.call
    monkeypatch.setattr(
        Answerer, "call", lambda self, batch: (asked.append(len(batch)), call(self, batch))[1]
    )
    grid = tiny_grid(tmp_path, 4)
    plain, aps = grid.cells
    calibration = Calibration(tmp_path / "c.jsonl", Answerer(tiny_pipe(3)), unit, repeats=2)
    items = plain.task.items("tune", 4)
    repeats = 2 if unit == "seconds" else 1
    for cell, some, before in [(plain, items, first), (plain, items[:2], 0), (aps, items, first)]:
        asked.clear()
        calibration.cost(cell, some)
        batches = [3, 1] if len(some) == 4 else [2]
        assert asked == [1] * before + batches * repeats


@pytest.mark.parametrize(("unit", "asked"), [("seconds", 4), ("flops", 8)])
def test_seconds_are_measured_on_the_batches_of_one_of_the_processes(
    tmp_path, monkeypatch, unit, asked
):
    found = []

    def match_cells(cells, match, items, calibration):
        found.extend(len(items(cell)) for cell in cells)
        return list(cells), []

    monkeypatch.setattr(settling, "match_cells", match_cells)
    grid = replace(tiny_grid(tmp_path, 8, match={"unit": unit, "budget": 1.0}), batch_size=8)
    items = {cell.task.name: cell.task.items("test", 8) for cell in grid.cells}
    assert {len(each) * len(grid.seeds) for each in items.values()} == {8}
    me = SimpleNamespace(size=2, first=False, in_turn=lambda work: work())
    console = Console(file=io.StringIO())
    settling.Settling(Answerer(tiny_pipe()), items, tmp_path, me, console).equal_cost(grid)
    assert set(found) == {asked}


def test_a_cost_is_per_prompt_and_the_smallest_of_the_repeats(tmp_path):
    shares = iter([3.0, 1.0, 2.0, 2.0, 5.0, 1.0])  # of two batches, three times
    answerer = SimpleNamespace(
        pipe=SimpleNamespace(batch_size=2),
        for_tuning=lambda count_flops: answerer,
        warm_up=lambda batch: None,
        call=lambda batch: (SimpleNamespace(failures=[]), {"seconds": next(shares)}),
    )
    calibration = Calibration(tmp_path / "c.jsonl", answerer, "seconds", repeats=3)
    # 3 x 2 + 1 x 1 = 7, then 2 x 2 + 2 x 1 = 6, then 5 x 2 + 1 x 1 = 11 for three prompts
    assert calibration._measure(None, ["a", "b", "c"]) == 2.0
