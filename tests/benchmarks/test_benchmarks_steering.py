"""The tables of steering, from a small run of the evaluation; and what `speed` times."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
from aps_rewards import load_reward
from eval_tiny import run_tiny, tiny_grid
from paths import ROOT

from aps_text import APSConfig, APSPipeline


@pytest.fixture(scope="module")
def bench():
    folder = str(ROOT / "benchmarks")
    sys.path.append(folder)  # after the packages: a script's own folder comes first only when run
    yield importlib.import_module
    sys.path.remove(folder)


CHANGES = [
    {"method": "aps", "label": "steps: 1", "config": {"steps": 1}},
    {"method": "aps", "label": "steps: 3", "config": {"steps": 3}},
]
BLOCKS = [{"guide": ["length"], "report": ["lint"]}, {"guide": ["lint"], "report": ["length"]}]


@pytest.fixture(scope="module")
def ablations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablations")
    methods = ["plain", {"method": "aps", "trials": [{}, {"config": {"beta": 1}}]}, *CHANGES]
    grid = tiny_grid(folder, 4, methods=methods, rewards=BLOCKS, tuning={"prompts": 2})
    run_tiny(grid, folder / "out", page=False, count_flops=True)
    return folder / "out"


def entries_of(folder) -> dict:
    found = json.loads((folder / "summary.json").read_text())["entries"]
    return {(e["guide"], e["label"], e["value"]): e for e in found}


def test_a_table_for_each_guide_says_what_the_summary_says(bench, ablations):
    tables = bench("steering_tables")
    found, run = entries_of(ablations), tables.Run(ablations)
    lines = tables.by_method(run, "length", "").splitlines()
    assert lines[0] == "**Guide length** (minus plain)"
    assert lines[2] == "| method | cost | length | lint | token F1 |"
    assert [line.split(" | ")[0] for line in lines[4:]] == [
        f"| {label}" for label in ("plain", "aps", "steps: 1", "steps: 3")
    ]
    one = found["length", "steps: 1", "f1"]
    gap = "{:+.3f} [{:+.3f}, {:+.3f}]".format(
        *(one[f"difference_{name}"] for name in ("mean", "low", "high"))
    )
    assert f"{one['mean']:.3f} ({gap})" in lines[6].replace("**", "")
    flops = [found["length", label, "flops"]["mean"] for label in ("steps: 1", "plain")]
    assert lines[6].split(" | ")[1] == f"{flops[0] / flops[1]:.1f}x"


def test_two_methods_are_a_line_for_each_guide(bench, tmp_path):
    tables = bench("steering_tables")
    methods = ["plain", {"method": "aps", "trials": [{"config": {"beta": 0.25}}]}]
    grid = tiny_grid(tmp_path, 3, methods=methods, rewards=BLOCKS, tuning={"prompts": 2})
    run_tiny(grid, tmp_path / "out", page=False)
    head, _, *lines = tables.by_guide(tables.Run(tmp_path / "out"), "aps").splitlines()
    assert head.startswith("| reward | settings | plain | aps | reward moved | words moved |")
    assert [line.split(" | ")[:2] for line in lines] == [
        [f"| `{guide}`", "beta=0.25"] for guide in ("length", "lint")
    ]
    plain = entries_of(tmp_path / "out")["lint", "plain", "guide:lint"]["mean"]
    assert lines[1].split(" | ")[2] == f"{plain:.3f}"


def test_bold_is_what_holm_leaves_over_the_judges(bench):
    tables = bench("steering_tables")
    one = {"against": "plain", "mean": 1.0, "value": "f1", "difference_prompts": 9}
    one |= {f"difference_{k}": v for k, v in (("mean", 0.2), ("low", 0.1), ("high", 0.3))}
    one |= {"difference_wins": 1.0, "difference_p": 0.03}
    run = object.__new__(tables.Run)
    run.at = {("g", "aps", "f1"): one}
    assert list(tables.cells(run, "g", "aps", ["f1"])) == ["1.000 (**+0.200 [+0.100, +0.300]**)"]
    run.at["g", "aps", "nll"] = {**one, "value": "nll"}  # 2 * 0.03 is no longer below 5%
    both = list(tables.cells(run, "g", "aps", ["f1", "nll"]))
    assert both == ["1.000 (+0.200 [+0.100, +0.300])"] * 2


def test_a_figure_for_each_group_the_same_each_time(bench, ablations, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    tables = bench("steering_tables")
    for name in ("a", "b"):
        monkeypatch.setattr(sys, "argv", ["x", str(ablations), "--figures", str(tmp_path / name)])
        tables.main()
    (path,) = (tmp_path / "a").iterdir()
    assert path.name == "ablation-steps.svg"
    assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_the_step_that_speed_times_is_one_of_aps(bench):
    speed = bench("speed")
    config = APSConfig(lora_layers=1, inner_steps=1, pool_size=1)
    pipe = APSPipeline.from_pretrained("mini")
    tilted = speed.Setting(pipe, load_reward("relevance"), ["What is a dog?"], config).aps()
    assert tilted.log_phi.shape == (pipe.model.max_new_tokens, pipe.model.parts.vocab_size)
    assert not tilted.log_phi.equal(tilted.log_theta)
