"""The grids that come with the library: every setting they name is taken, and each says its own."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from aps_eval.run.grid import grid_names, read_grid
from aps_rewards import is_differentiable, load_reward
from aps_rewards.installed import GROUP
from eval_tiny import tiny_grid

from aps_text import APSConfig

LEFT_OUT = {
    *("countdown", "json-schema", "numeric-match", "sudoku-4x4"),  # want other answers
    "exact-match",  # sentences have no key
    "answer-quality-report",  # never guides
}


@pytest.mark.parametrize("name", grid_names())
def test_no_judge_is_the_guide(name):
    for cell in read_grid(name).cells:
        guides, reports = ({one["name"] for one in cell.rewards[r]} for r in ("guide", "report"))
        assert not guides & reports, cell.block


def test_methods_have_as_many_trials_that_differ():
    grid = read_grid("methods")
    assert grid.baseline in {cell.label for cell in grid.cells}
    graded = {"EntRGi", "Expectation", "APS-logits", "twisted SMC"}
    for block in {cell.block for cell in grid.cells}:
        cells = {cell.label: cell for cell in grid.cells if cell.block == block}
        counts = {label: len(cell.trials) for label, cell in cells.items()}
        assert {label: n for label, n in counts.items() if n != 3} == {"plain": 0, "best-of-N": 0}
        settings = [
            (one.method, str(one.options), one.config)
            for cell in cells.values()
            for one in cell.trials
        ]
        assert len(set(settings)) == len(settings)
        assert (graded <= set(cells)) == is_differentiable(load_reward(block[1])), block
        assert (graded & set(cells) == set()) != is_differentiable(load_reward(block[1]))


def test_ablations_change_one_thing_each():
    grid = read_grid("ablations")
    assert grid.split == "tune"
    cells = [cell for cell in grid.cells if cell.block[1] == "relevance"]
    settings = [(cell.method, str(cell.options), cell.config) for cell in cells]
    assert len(set(settings)) == len(settings)
    (base,) = [cell for cell in cells if cell.label == "aps"]
    assert base.config == APSConfig()
    groups = {cell.label.partition(":")[0] for cell in cells}
    assert groups >= {"estimator", "pool", "rank", "window", "inner steps", "learning rate", "beta"}


def test_every_reward_is_measured_or_left_out_with_a_reason():
    ours = {p.name for p in entry_points(group=GROUP) if p.value.startswith("aps_rewards.")}
    grid = read_grid("rewards")
    measured = {cell.block[1]: cell for cell in grid.cells if cell.trials}
    assert set(measured) | LEFT_OUT == ours
    assert not set(measured) & LEFT_OUT
    items = grid.cells[0].task.items("test", 3)
    for name, cell in measured.items():
        (spec,) = cell.rewards["guide"]
        columns = {key: [item.columns[key] for item in items] for key in cell.task.columns}
        scores = load_reward(name, **spec["options"])(["q"] * 3, ["a dog"] * 3, **columns)
        assert len(scores) == 3
        betas = [one.config.beta for one in cell.trials]
        assert betas == sorted(betas, reverse=True)  # from the mildest


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 1e39, 10**400, "much", None, True])
def test_a_weight_that_no_answer_could_be_made_with_is_refused(tmp_path, weight):
    rewards = [[{"name": "eval_tiny:Vowels", "weight": weight}]]
    with pytest.raises(ValueError, match="the weight of 'eval_tiny:Vowels' is a number between"):
        tiny_grid(tmp_path, rewards=rewards)


@pytest.mark.parametrize("name", grid_names())
def test_no_method_of_a_grid_is_given_what_it_ignores(name):
    for cell in read_grid(name).cells:
        cell.of_model({}).refuse_unread()
