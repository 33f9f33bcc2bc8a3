"""`aps eval`: flags to a grid, and what it says when they make none."""

from __future__ import annotations

import re

import pytest
from aps_eval.lm_eval.command import lm_eval_parser
from aps_eval.run.grid import grid_names, read_grid
from aps_eval.sources import Record
from aps_eval.task import load_task
from eval_fixtures import lines
from paths import ROOT

from aps_text.cli import build_parser, main
from aps_text.commands.grid_values import grid_values


def values(*flags: str) -> dict:
    return grid_values(build_parser().parse_args(["eval", *flags]))


def test_flags_make_a_grid(tmp_path):
    path = str(lines(tmp_path / "own.jsonl", [{"ask": "why ?", "key": "so", "kind": "x"}] * 6))
    found = values(
        *("--task", path, "--question-field", "ask", "--gold-field", "key"),
        *("--stratum-field", "kind", "--metrics", "f1", "words", "--limit", "3"),
        *("--reward", "length=0.5", "lint", "--reward", "lint", "--report", "grammar"),
        *("--method", "plain", "fk:particles=8,potential=max", "--control", "zero"),
        *("--seeds", "0", "1", "--set", "steps=4", "beta=0.1", "--match", "flops"),
        *("--budget", "2.5e9", "--preset", "fast", "--batch-size", "4"),
    )
    grid = read_grid(found)
    assert len(grid.cells) == 4
    assert (grid.limit, grid.seeds, grid.batch_size) == (3, [0, 1], 4)
    assert (grid.match.unit, grid.match.budget) == ("flops", 2.5e9)
    assert {cell.label for cell in grid.cells} == {"plain", "fk particles=8 potential=max"}
    assert {cell.block[1] for cell in grid.cells} == {"0.5 length + lint", "lint"}
    cell = grid.cells[1]
    assert (cell.config.steps, cell.config.beta, cell.config.inner_steps) == (4, 0.1, 0)
    assert cell.build().particles == 8
    assert [one["name"] for one in cell.rewards["report"]] == ["grammar"]
    assert [cell.controls for cell in grid.cells] == [(), ("zero",)] * 2
    item = cell.task.items()[0]
    assert (item.prompt, item.gold, item.stratum) == ("why ?", ["so"], "x")


def test_help_and_page_name_every_grid_of_the_library():
    parser = build_parser()._subparsers._group_actions[0].choices["eval"]
    (said,) = (one.help for one in parser._actions if one.dest == "grid")
    assert all(re.search(rf"\b{name}\b", said) for name in grid_names())
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert all(f"\n| `{name}` |" in page for name in grid_names())


def test_every_flag_says_what_it_does():
    own = build_parser()._subparsers._group_actions[0].choices["eval"]
    for parser in (own, lm_eval_parser()):
        assert [one.dest for one in parser._actions if not one.help] == []


def test_a_prompt_and_a_question_field_are_one_too_many():
    with pytest.raises(ValueError, match="--question-field 'ask': give one"):
        values("--task", "own.jsonl", "--prompt", "{ask}?", "--question-field", "ask")


def test_flags_stand_in_front_of_a_file(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text("tasks: [open]\nmethods: [plain]\nconfig: {steps: 4, beta: 0.5}\nlimit: 9\n")
    found = values("--grid", str(file), "--limit", "2", "--offset", "1", "--set", "steps=8")
    assert (found["limit"], read_grid(found).offset) == (2, 1)
    assert found["config"] == {"steps": 8, "beta": 0.5}
    assert read_grid(found).cells[0].task.name == "open"
    assert values("--grid", str(file), "--budget", "1")["match"] == {"budget": 1}
    assert values("--match", "seconds", "--budget", "1", "aps")["match"] == {
        "unit": "seconds",
        "budget": [1, "aps"],
    }


def test_numbers_of_a_file_are_numbers_however_they_are_written(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text(
        "config: {learning_rate: 1e-3, beta: 2.5E1, adam_eps: .5e-1, steps: 4}\n"
        "match: {unit: flops, budget: [3e9, 4.0e9]}\n"
    )
    grid = read_grid(file)
    config = grid.cells[0].config
    assert (config.learning_rate, config.beta, config.adam_eps) == (1e-3, 25.0, 0.05)
    assert grid.match.budgets == [3e9, 4e9]
    file.write_text("tasks: [\n")
    with pytest.raises(ValueError, match="is not YAML"):
        read_grid(file)
    file.write_text("- 1e3\n")
    with pytest.raises(ValueError, match="is no mapping of a grid's keys"):
        read_grid(file)


def test_the_files_in_the_documentation_are_what_it_says(tmp_path):
    text = (ROOT / "docs" / "evaluation.md").read_text()
    task, grid, tuned = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    (tmp_path / "my-task.yaml").write_text(task)
    (tmp_path / "grid.yaml").write_text(grid)
    found = load_task(str(tmp_path / "my-task.yaml"))
    record = {"question": "One and two?", "answer": "1 + 2 #### 3", "kind": "sum"}
    item = found.item(Record("line 1", record), 0)
    assert (item.prompt, item.gold) == ("One and two? Answer with a number.", ["3"])
    read = read_grid(tmp_path / "grid.yaml")
    assert {cell.label for cell in read.cells} == {"plain", "aps", "FK", "APS logits"}
    assert len(read.cells) == 2 * 2 * 4  # tasks, rewards, methods
    (tmp_path / "tuned.yaml").write_text(tuned)
    cells = read_grid(tmp_path / "tuned.yaml").cells
    assert [cell.label for cell in cells] == ["plain", "fk"] * 2 + ["entrgi estimator=relaxed"]
    assert [one.config.beta for one in cells[1].trials] == [0.03, 0.3]


def test_a_flag_asks_for_a_grids_own_block_and_some_methods():
    flags = ("--grid", "methods", "--reward", "sentiment", "--only", "APS, *", "SVDD")
    found = values(*flags, "--split", "test", "--baseline", "SVDD")
    (block,) = found["rewards"]
    assert block["guide"] == ["sentiment"]
    assert block["unit"] == 0.4
    assert "valence" in block["report"]
    grid = read_grid({**found, "match": None})
    labels = ["plain", "APS, no LoRA", "APS, independent draws", "APS, LoRA", "SVDD"]
    assert [cell.label for cell in grid.cells] == labels
    assert (grid.split, grid.baseline) == ("test", "SVDD")
    assert values("--grid", "methods", "--reward", "lint")["rewards"] == [["lint"]]
    assert values("--grid", "rewards", "--reward", "length")["rewards"][0]["unit"] == 0.1


def test_what_a_method_does_not_take_is_a_setting():
    found = values("--method", "plain", "aps:best_of=2,top_p=1.0", "entrgi:learning_rate=0.1")
    assert found["methods"][1] == {
        "method": "aps",
        "options": {"best_of": 2},
        "config": {"top_p": 1.0},
    }
    assert found["methods"][2]["options"] == {"learning_rate": 0.1}  # its own, and not APS's
    cells = {cell.label: cell for cell in read_grid(found).cells}
    assert cells["aps best_of=2 top_p=1.0"].config.top_p == 1.0
    with pytest.raises(TypeError, match="method 'aps' has no setting 'top_q'"):
        read_grid(values("--method", "aps:top_q=1"))


def test_the_grid_of_make_eval_is_one():
    grid = read_grid("small")
    assert {cell.task.name for cell in grid.cells} == {"word-knowledge"}
    assert {cell.label for cell in grid.cells} == {"plain", "aps", "best-of-n"}


def test_a_setting_that_is_typed_goes_before_the_tasks_own():
    found = values("--task", "svamp", "--method", "plain", "--set", "max_new_tokens=20")
    assert read_grid(found).cells[0].config.max_new_tokens == 20
    assert read_grid(values("--task", "svamp")).cells[0].config.max_new_tokens == 128


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task", "no-such"], "no task 'no-such'; known: bbh-"),
        (["--gold-field", "a"], "the fields of which task"),
        (["--method", "fk:particles"], "takes NAME=VALUE, got 'particles'"),
        (["--method", "fkk"], "method is one of aps, plain"),
        (["--set", "step=3"], "step"),
        (["--set", "steps=3", "steps=4"], "steps is given twice: 3 and 4; give it once"),
        (["--method", "fk:particles=2,particles=4"], "particles is given twice: 2 and 4"),
        (["--grid", "no/such.yaml"], "no/such.yaml"),
        (["--grid", "metods"], "no grid 'metods'; known: ablations, methods, pools, rewards"),
        (["--grid", "methods", "--only", "aps"], "--only 'aps': no method is called so; plain, "),
        (["--only", "aps"], "name it by --grid"),
        (["--report", "lint=0.5"], "a report has no weight, got lint=0.5; leave the weight out"),
        (["--select", "lint"], "select=lint picks among several answers"),
    ],
)
def test_mistakes_are_one_line_and_status_2(flags, message, capsys, tmp_path):
    assert main(["eval", "--out", str(tmp_path / "out"), *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith("aps: ")
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_tasks_are_listed(capsys):
    assert main(["eval", "--list-tasks"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith("gsm8k: ") for line in said)


def test_a_seed_that_is_set_is_the_seed(tmp_path):
    """A17: `--set seed=5` answers with seed 5; two sayings are an error."""
    file = tmp_path / "grid.yaml"
    file.write_text("tasks: [open]\nmethods: [plain]\nseeds: [0, 1]\n")
    assert read_grid(values("--method", "plain", "--set", "seed=5")).seeds == [5]
    assert read_grid(values("--grid", str(file), "--set", "seed=5", "steps=4")).seeds == [5]
    assert read_grid({"config": {"seed": 7}, "methods": ["plain"]}).seeds == [7]
    with pytest.raises(ValueError, match="--set seed=5 and --seeds"):
        values("--set", "seed=5", "--seeds", "1")
    with pytest.raises(ValueError, match="--set preset=fast: write --preset fast"):
        values("--set", "preset=fast")
    with pytest.raises(ValueError, match="give one"):
        read_grid({"config": {"seed": 7}, "seeds": [1], "methods": ["plain"]})
    with pytest.raises(ValueError, match="method: config has a seed"):
        read_grid({"methods": [{"method": "plain", "config": {"seed": 1}}]})
    for wrong in (1.5, True, "x"):
        with pytest.raises(ValueError, match="a seed is a whole number"):
            read_grid({"seeds": [wrong], "methods": ["plain"]})


def test_none_is_null_where_a_setting_takes_it():
    typed = values("--set", "pool_size=none", "prior=none", "--method", "aps:trust_region=None")
    assert typed["config"] == {"pool_size": None, "prior": "none"}
    assert typed["methods"][0]["config"] == {"trust_region": None}
    assert read_grid({**typed, "tasks": ["open"], "rewards": ["lint"]}).cells


def test_a_file_of_another_shape_is_named(tmp_path, capsys):
    file = tmp_path / "grid.yaml"
    file.write_text("methods: [{method: aps, config: 5}]\n")
    assert main(["eval", "--grid", str(file), "--out", str(tmp_path / "out")]) == 2
    why = f"aps: {file}, method 'aps': config is a mapping, {{name: value}}; got 5\n"
    assert capsys.readouterr().err == why
    with pytest.raises(ValueError, match="config is a mapping"):
        read_grid(file)
