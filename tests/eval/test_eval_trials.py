"""Trials: one setting of each method by one rule on tuning prompts; units and splits."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from aps_eval.run.grid import read_grid
from aps_eval.run.trials import Trial, best_trial
from aps_eval.store import read_rows
from eval_tiny import run_tiny, tiny_grid, tiny_values

from aps_text import APSConfig


def trial(value: float | None, kept: float | None = None, floor: float | None = None) -> Trial:
    bounds = {} if floor is None else {"f1": floor}
    return Trial("t", "g", "m", {}, value, {"f1": kept}, bounds, 0)


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ([(1.0, 0.5), (3.0, 0.4), (2.0, 0.6)], 2),  # the highest loses too much
        ([(1.0, 0.5), (1.0, 0.5)], 0),  # the first of equals
        ([(1.0, 0.1), (2.0, 0.3), (3.0, 0.2)], 1),  # none keeps it: the one that keeps most
        ([(None, None), (-2.0, 0.5)], 1),  # failed on every prompt
        ([(0.0, 0.5), (-1.0, 0.9)], 0),
    ],
)
def test_the_rule(found, best):
    assert best_trial([trial(value, kept, 0.45) for value, kept in found]) == best


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ([(1.0, 6.1, 0.9), (2.0, 6.2, 0.9), (3.0, 6.1, 0.7)], 0),  # too unlikely; unnamed
        ([(1.0, 6.0, 0.9), (2.0, 6.15, 0.85)], 1),  # on both bounds
        ([(1.0, 6.45, 0.9), (2.0, 6.2, 0.8)], 1),  # missed by 2 losses; by 1/3 and 1 of them
        ([(1.0, 6.45, 0.9), (2.0, 6.0, 0.7)], 0),  # missed by 2 losses, 0.3; by 3 of them, 0.15
        ([(1.0, None, 0.9), (0.0, 9.0, 0.9)], 1),  # no answer has it
    ],
)
def test_several_metrics_are_kept_each_in_its_direction(found, best):
    bounds, losses = {"nll": 6.15, "named": 0.85}, {"nll": 0.15, "named": 0.05}
    trials = [
        Trial("t", "g", "m", {}, value, {"nll": nll, "named": named}, bounds, 0)
        for value, nll, named in found
    ]
    assert best_trial(trials, losses) == best


def test_without_a_metric_to_keep_the_guide_decides():
    assert best_trial([trial(1.0), trial(3.0), trial(None)]) == 1
    with pytest.raises(ValueError, match="every trial of 'm' failed on every prompt"):
        best_trial([trial(None)])


TRIALS = [{"config": {"beta": 0.5}}, {"config": {"beta": 1e-3}}, {"config": {"steps": 1}}]
METHODS = ["plain", {"method": "aps", "label": "ours", "trials": TRIALS}, "best-of-n"]


def test_the_taken_trial_is_the_one_that_is_reported(tmp_path):
    grid = tiny_grid(tmp_path, 4, methods=METHODS, tuning={"prompts": 3, "keep": "f1", "loss": 1})
    rows, said = run_tiny(grid, tmp_path / "out", page=False)
    (about,) = json.loads((tmp_path / "out" / "run.json").read_text())
    trials = about["tuning"]
    assert [one["settings"] for one in trials] == [one["config"] for one in TRIALS]
    (taken,) = [n for n, one in enumerate(trials) if one["taken"]]
    assert trials[taken]["value"] == max(one["value"] for one in trials)  # a loss of 1 bars nothing
    ours = [row for row in rows if row.label == "ours"]
    config = APSConfig().replace(**{**ours[0].config, "seed": 0})
    assert config == grid.cells[1].trials[taken].config
    assert {row.split for row in rows} == {"test"}
    assert {row.label for row in rows} == {"plain", "ours", "best-of-n"}
    tuning = read_rows(tmp_path / "out" / "tuning.jsonl")
    assert len(tuning) == 4 * 3  # plain and three trials, three prompts
    assert {row.split for row in tuning} == {"tune"}
    means = [
        sum(row.scores["guide"]["total"] for row in tuning if row.config == cell.config_fields())
        / 3
        for cell in grid.cells[1].trials
    ]
    # plain decoding shares the configuration of none of them
    assert [one["value"] for one in trials] == pytest.approx(means)
    assert "f1 must stay above" in said
    again, said = run_tiny(grid, tmp_path / "out", page=False)
    assert again == rows
    assert len(read_rows(tmp_path / "out" / "tuning.jsonl")) == len(tuning)  # read back


def test_a_trial_that_loses_too_much_is_not_taken(tmp_path):
    grid = tiny_grid(
        tmp_path, 4, methods=METHODS, tuning={"prompts": 4, "keep": "words", "loss": 0}
    )
    run_tiny(grid, tmp_path / "out", page=False)
    (about,) = json.loads((tmp_path / "out" / "run.json").read_text())
    trials = about["tuning"]
    plain = [
        row.metrics["words"]
        for row in read_rows(tmp_path / "out" / "tuning.jsonl")
        if row.method == "plain"
    ]
    assert [one["bounds"]["words"] for one in trials] == pytest.approx([sum(plain) / 4] * 3)
    (taken,) = [one for one in trials if one["taken"]]
    fit = [one for one in trials if one["kept"]["words"] >= one["bounds"]["words"]]
    assert taken in (fit or trials)
    assert taken["value"] == max(one["value"] for one in fit) if fit else True


def test_trials_are_matched_by_the_knob_of_the_one_taken(tmp_path):
    methods = [
        "plain",
        {
            "method": "aps",
            "label": "ours",
            "knob": "options.best_of",
            "trials": [{"knob": "config.num_samples"}],
        },
    ]
    grid = tiny_grid(
        tmp_path, 2, methods=methods, match={"unit": "flops", "budget": "3 x plain"}, seeds=[0]
    )
    rows, _ = run_tiny(grid, tmp_path / "out", page=False, baseline="ours")
    (about,) = json.loads((tmp_path / "out" / "run.json").read_text())
    found = {one["label"]: one for one in about["matching"]}
    assert found["ours"]["knob"] == "config.num_samples"
    assert found["ours"]["budget"] == 3 * found["plain"]["cost"]
    assert {row.label for row in rows} == {"plain", "ours"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"methods": METHODS, "split": "tune"}, "split: tune may not report them"),
        ({"methods": METHODS[1:]}, "add plain to the methods"),
        ({"methods": METHODS, "tuning": {"keep": "nll"}}, r"'asked' \(f1, words\), .*'nll'"),
        ({"methods": METHODS, "tuning": {"keep": {"f1": -1}}}, "loss of f1 is a number from 0"),
        (
            {"methods": METHODS, "tuning": {"keep": {"f1": 1}, "loss": 1}},
            "loss=1 beside the losses",
        ),
        ({"methods": METHODS, "tuning": {"keep": 3}}, "a metric, a mapping or null; got 3"),
        ({"methods": METHODS, "tuning": {"keeps": "f1"}}, "tuning has no 'keeps'"),
        ({"methods": METHODS, "tuning": {"prompts": 0}}, "prompts is a whole number from 1"),
        ({"methods": METHODS, "tuning": {"loss": -1}}, "loss of f1 is a number from 0"),
        ({"methods": [{"method": "aps", "trials": ["x"]}]}, "trials is a list of mappings with"),
        (
            {"methods": [{"method": "aps", "trials": [{"label": "x"}]}]},
            "a trial has no 'label'; known: options, config, knob",
        ),
        ({"split": "train"}, "split is 'test' or 'tune', got 'train'"),
        ({"methods": [{"method": "aps", "config": {"beta": "2 unit"}}]}, "its block has no unit"),
        ({"rewards": [{"guide": ["length"], "unit": 0}]}, "unit is a number above 0, got 0"),
    ],
)
def test_what_cannot_be_tuned_is_said_before(tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        tiny_grid(tmp_path, 2, **more)


def test_a_unit_scales_what_is_said_in_it(tmp_path):
    methods = [
        "plain",
        {"method": "svdd", "label": "s", "options": {"beta": "0.1 unit"}},
        {"method": "aps", "label": "a", "trials": [{"config": {"beta": "3 unit"}}]},
        {"method": "aps", "label": "only", "guides": ["lint"], "config": {"beta": 0.5}},
    ]
    values = tiny_values(tmp_path, 2, methods=methods)
    blocks = [{"guide": ["length"], "unit": 0.3}, {"guide": ["lint"], "unit": 2}]
    grid = read_grid({**values, "rewards": blocks})
    found = {(cell.block[1], cell.label): cell for cell in grid.cells}
    assert list(found)[3:] == [("lint", label) for label in ("plain", "s", "a", "only")]
    assert found["length", "s"].options == {"beta": 0.03}
    assert found["lint", "s"].options == {"beta": 0.2}
    assert found["length", "a"].config.beta == 0.9
    assert found["lint", "a"].trials[0].config.beta == 6
    assert found["lint", "only"].config.beta == 0.5


def test_tuning_items_are_answered_and_called_so(tmp_path):
    values = tiny_values(tmp_path, 6)
    task = {**values["tasks"][0], "tune_every": 3}
    del task["tune"]
    values = {**values, "tasks": [task], "split": "tune", "baseline": "aps"}
    grid = read_grid(values)
    assert (grid.split, grid.baseline) == ("tune", "aps")
    rows, said = run_tiny(grid, tmp_path / "out")
    assert len(rows) == 2 * 2  # every third of six items
    assert {row.split for row in rows} == {"tune"}
    assert "2 TUNING items" in said
    assert "minus aps" in said
    page = (tmp_path / "out" / "report.html").read_text()
    assert "TUNING prompts" in page
    both, _ = run_tiny(replace(grid, split="test"), tmp_path / "out", page=False)
    assert {row.split for row in both} == {"test"}
    assert not {row.key for row in both} & {row.key for row in rows}


def test_fluency_is_kept_by_a_judge_or_not_at_all(tmp_path, monkeypatch):
    values = tiny_values(
        tmp_path, 2, methods=METHODS, tuning={"prompts": 2, "keep": {"nll": 0.0, "f1": 1}}
    )
    values["tasks"][0]["metrics"] = ["f1", "nll"]
    grid = read_grid(values)
    with pytest.raises(ValueError, match="keeps nll, which needs the fluency judge: pip install"):
        run_tiny(grid, tmp_path / "out", page=False, fluency=False)
    monkeypatch.setattr(
        "aps_eval.judge.FluencyJudge", lambda: lambda texts: [float(len(t)) for t in texts]
    )
    _, said = run_tiny(grid, tmp_path / "judged", page=False)
    (about,) = json.loads((tmp_path / "judged" / "run.json").read_text())
    rows = read_rows(tmp_path / "judged" / "tuning.jsonl")
    plain = [len(row.answer) for row in rows if row.method == "plain"]
    assert all(one["bounds"]["nll"] == sum(plain) / 2 for one in about["tuning"])
    assert "nll must stay below" in said
    assert "f1 must stay above" in said
