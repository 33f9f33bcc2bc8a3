"""Equal cost: the setting whose measured cost is nearest to the budget."""

from __future__ import annotations

import json

import pytest
from eval_tiny import run_tiny, tiny_grid, tiny_pipe

from eval.answering import Answerer
from eval.matching import Calibration, nearest_setting


@pytest.mark.parametrize(
    ("fixed", "each", "budget", "best"),
    [
        (0.0, 1.0, 7.2, 7),  # proportional
        (5.0, 1.0, 20.0, 15),  # a fixed part
        (0.5, 2.0, 1.0, 1),  # too dear already
        (1.0, 0.01, 3.0, 200),  # nearly all fixed
        (0.0, 1.0, 1e9, 512),  # the largest that is tried
    ],
)
def test_the_nearest_setting_of_a_line(fixed, each, budget, best):
    calls = []

    def cost(value: int) -> float:
        calls.append(value)
        return fixed + each * value

    found, tried = nearest_setting(cost, budget)
    assert found == best
    assert len(calls) == len(set(calls)) == len(tried) <= 5


def test_noise_is_measured_and_not_trusted():
    table = {1: 1.0, 8: 9.5, 7: 6.6, 6: 7.4}
    found, tried = nearest_setting(lambda value: table.get(value, float(value)), 8.0)
    assert tried == {1: 1.0, 8: 9.5, 7: 6.6}
    assert found == 8  # 9.5 / 8 is nearer to 1 than 8 / 6.6
    with pytest.raises(ValueError, match="a budget is positive"):
        nearest_setting(float, 0.0)


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


def test_measurements_are_kept_and_broken_ones_named(tmp_path):
    grid = tiny_grid(tmp_path, 2)
    file, answerer = tmp_path / "calibration.jsonl", Answerer(tiny_pipe())
    items = grid.cells[0].task.items("tune", 2)
    first = Calibration(file, answerer, "seconds").cost(grid.cells[0], items)
    with file.open("a") as torn:
        torn.write('{"key": "cut o')
    assert Calibration(file, answerer, "seconds").cost(grid.cells[0], items) == first
    assert len(file.read_text().splitlines()) == 1
    with file.open("a") as broken:
        broken.write("nonsense\n")
    with pytest.raises(ValueError, match="line 2 is no measurement; remove it"):
        Calibration(file, answerer, "seconds")


def test_a_failing_reward_stops_a_measurement(tmp_path):
    spec = {"name": "eval_tiny:Vowels", "options": {"fails_on": "dog"}}
    grid = tiny_grid(tmp_path, 2, rewards=[[spec]])
    calibration = Calibration(tmp_path / "c.jsonl", Answerer(tiny_pipe()), "seconds")
    with pytest.raises(ValueError, match="matching: plain failed on 'what is a dog"):
        calibration.cost(grid.cells[0], grid.cells[0].task.items("tune", 2))
