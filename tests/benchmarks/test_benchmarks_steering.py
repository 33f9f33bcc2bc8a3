"""The comparison of methods and the ablations: every setting they name is one the library takes."""

from __future__ import annotations

import argparse
import importlib
import sys

import pytest
from aps_rewards import is_differentiable, load_reward
from paths import ROOT

from aps_text import APSConfig, APSPipeline


@pytest.fixture(scope="module")
def bench():
    folder = str(ROOT / "benchmarks")
    sys.path.append(folder)  # after the packages: a script's own folder comes first only when run
    yield importlib.import_module
    sys.path.remove(folder)


@pytest.mark.parametrize("reward", ["answer-quality", "sentiment", "relevance", "flesch"])
def test_every_method_has_as_many_trials_and_each_can_be_built(bench, reward):
    methods = bench("text_methods")
    assert (reward in methods.GRADIENT) == is_differentiable(load_reward(reward))
    offered = methods.trials(reward)
    assert {len(ones) for label, ones in offered.items() if label != "best-of-N"} == {3}
    args = argparse.Namespace(model="mini")
    cells = methods.grid_of(reward, [one for ones in offered.values() for one in ones], args).cells
    assert len({(c.method, str(c.options), c.config) for c in cells}) == len(cells)
    assert reward not in methods.JUDGES[reward]  # no judge is the guide


def test_ablations_change_what_they_say(bench):
    ablations = bench("ablations")
    for group, variants in ablations.GROUPS.items():
        cells = ablations.cells_of("relevance", [group])
        assert len({(cell.method, cell.config) for cell in cells}) == len(variants) + 1, group


def test_a_figure_and_a_table_of_an_ablation(bench, tmp_path):
    pytest.importorskip("matplotlib")
    ablations = bench("ablations")
    one = {"guide": [0.1, 0.0, 0.2], "f1": [0, -0.1, 0.1], "exact": [0, 0, 0], "times plain": 2.0}
    records = [
        {"reward": reward, "group": "window", "variant": variant, **one}
        for reward in ("relevance", "answer-quality")
        for variant in ablations.GROUPS["window"]
    ]
    ablations.draw(records, "window", tmp_path / "a.svg")
    ablations.draw(records, "window", tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert ablations.table(records).count("\n") == 1 + 8


def test_the_step_that_speed_times_is_one_of_aps(bench):
    speed = bench("speed")
    config = APSConfig(lora_layers=1, inner_steps=1, pool_size=1)
    pipe = APSPipeline.from_pretrained("mini")
    tilted = speed.Setting(pipe, load_reward("relevance"), ["What is a dog?"], config).aps()
    assert tilted.log_phi.shape == (pipe.model.max_new_tokens, pipe.model.parts.vocab_size)
    assert not tilted.log_phi.equal(tilted.log_theta)
