"""Files of others: no code, bounded YAML, cells that are no formulas, text that is no markup."""

from __future__ import annotations

import csv
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from aps_eval.files import write_whole
from aps_eval.report.summary import summarise
from aps_eval.report.tables import FORMULAS, show, write_csv
from aps_eval.run.answering import Answerer
from aps_eval.run.grid import read_grid
from aps_eval.sources import read_records
from aps_eval.task import load_task
from aps_eval.trust import UntrustedError
from aps_eval.yaml_files import read_yaml
from eval_fixtures import lines
from eval_tiny import tiny_pipe
from test_eval_statistics import answers

from aps_text.cli import build_parser, main
from aps_text.commands.grid_values import grid_values


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("010", 10),
        ("09", 9),
        ("0x10", 16),
        ("0o10", 8),
        ("-5", -5),
        ("1_000", 1000),
        ("1e-3", 0.001),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", float("-inf")),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("yes", "yes"),
        ("no", "no"),
        ("NO", "NO"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("0b11", "0b11"),
        ("2026-11-28", "2026-11-28"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("'010'", "010"),
        ("[yes, no, 1]", ["yes", "no", 1]),
    ],
)
def test_scalars_of_yaml_are_those_of_its_second_version(tmp_path, written, value):
    path = tmp_path / "x.yaml"
    path.write_text(f"a: {written}\n")
    found = read_yaml(path)["a"]
    assert (found, type(found)) == (value, type(value))
    path.write_text(f"base: &base {{b: {written}}}\nc:\n  <<: *base\n")
    assert read_yaml(path)["c"] == {"b": value}


def test_yaml_is_bounded(tmp_path):
    path = tmp_path / "x.yaml"
    bomb = "a0: &a0 [1, 1]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    for text, why in [
        (bomb, "unfolds to more than"),
        ("a: &a [*a]\n", "unfolds to more than"),
        ("a: 1\na: 2\n", "occurs twice"),
        ("a: " + "x" * 2**20, "more than 1,048,576 bytes"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deep"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=why):
            read_yaml(path)
    path.write_text("a: &a {b: 1}\nc: *a\n")
    assert read_yaml(path) == {"a": {"b": 1}, "c": {"b": 1}}


def test_labels_are_text_in_tables_and_terminals(tmp_path):
    import io

    from rich.console import Console

    for sign in (*FORMULAS, "[/INST]"):
        rows = answers("plain", [0.0, 0.5], stratum=f"{sign}x")
        rows = [replace(row, label=f"{sign}x") for row in rows]
        entries = summarise(rows, strata=True)
        write_csv(entries, tmp_path / "s.csv")
        with (tmp_path / "s.csv").open(newline="") as file:
            cells = {cell for line in csv.reader(file) for cell in line}
        assert (f"'{sign}x" if sign in FORMULAS else f"{sign}x") in cells
        console = Console(file=io.StringIO())
        show(entries, console)
        assert sign.strip() in console.file.getvalue()


def test_writers_at_once_never_tear_a_file(tmp_path):
    path, errors = tmp_path / "run.json", []

    def write(text: str) -> None:
        try:
            for _ in range(30):
                write_whole(path, text)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(c * 1000,)) for c in "abcd"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert errors == []
    assert path.read_text() in {c * 1000 for c in "abcd"}
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]


CODE = [
    "os:system",
    "evil.py:reward",
    "./evil.py:reward",
    "evil",
    "owner/model",
    "/tmp",
    "os:system=0.5",
    "os:system:x=1",
    "relevance:weights=evil",
    "fluency:weights=evil=0.5",
    {"name": "os:system", "options": {"prompts": "x"}},
    {"name": "evil.py:reward"},
    {"name": "relevance", "options": {"weights": "evil"}},
    {"name": "answer-quality", "options": {"trust_remote_code": True}},
    {"name": ["os:system"]},
]
SHAPES = [
    lambda one: {"rewards": one},
    lambda one: {"rewards": [one]},
    lambda one: {"rewards": ["sentiment", [one, "length"]]},
    lambda one: {"rewards": [{"guide": one}]},
    lambda one: {"rewards": [{"guide": "sentiment", "report": [one]}]},
    lambda one: {"rewards": [{"guide": ["sentiment"], "select": [one]}]},
    lambda one: {"rewards": "sentiment", "report": [one]},
    lambda one: {"rewards": "sentiment", "select": one},
    lambda one: {"tasks": [{"task": "open", "rewards": {"guide": [one]}}]},
    lambda one: {"tasks": {"task": "open", "rewards": {"report": [one]}}},
]


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A working folder with code that leaves a trace when it runs."""
    monkeypatch.chdir(tmp_path)
    trace = tmp_path / "ran"
    code = (
        f"open({str(trace)!r}, 'w').close()\ndef reward(prompts, completions):\n    return [0.0]\n"
    )
    (tmp_path / "evil.py").write_text(code)
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "config.json").write_text('{"auto_map": {"AutoModel": "evil.M"}}')
    return trace


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_a_grid_file_names_installed_rewards_only(evil, shape):
    for one in CODE:
        Path("grid.yaml").write_text(yaml.safe_dump(SHAPES[shape](one)))
        for read in (read_grid, lambda path: grid_values(parsed("--grid", path))):
            with pytest.raises(UntrustedError, match=r"grid\.yaml .*--trust-code"):
                read("grid.yaml")
    for one in ("lint", "length=1", {"name": "keywords", "options": {"present": ["dog"]}}):
        values = {**SHAPES[shape](one), "methods": ["plain"]}
        if "select" in str(values):
            values["config"] = {"num_return_sequences": 2}
        Path("grid.yaml").write_text(yaml.safe_dump(values))
        assert read_grid("grid.yaml").cells
    assert not evil.exists()


def test_a_task_file_names_installed_rewards_only(evil):
    lines(Path("asked.jsonl"), [{"q": "why ?"}] * 5)
    base = {"source": {"path": "asked.jsonl"}, "prompt": "{q}"}
    for one in CODE:
        for role in ("guide", "select", "report"):
            task = {**base, "rewards": {role: [one]}}
            Path("task.yaml").write_text(yaml.safe_dump(task))
            Path("below.yaml").write_text("extends: task\n")
            for name in ("task.yaml", "below.yaml"):
                with pytest.raises(UntrustedError, match=rf"{name} .*--trust-code"):
                    load_task(name)
                with pytest.raises(UntrustedError):
                    read_grid({"tasks": [name], "rewards": ["lint"], "methods": ["plain"]})
    assert load_task("task.yaml", trust_code=True).rewards
    assert not evil.exists()


def test_what_is_typed_is_allowed_and_a_file_with_the_flag(evil, capsys):
    """`--reward evil.py:reward` runs it; a file does only with `--trust-code`."""
    lines(Path("asked.jsonl"), [{"q": "why ?"}] * 5)
    Path("grid.yaml").write_text("rewards: ['evil.py:reward']\ntasks: [open]\nmethods: [aps]\n")
    assert main(["eval", "--grid", "grid.yaml", "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert "grid.yaml names the reward 'evil.py:reward'" in said
    assert len(said.splitlines()) == 1
    assert not evil.exists()
    for typed in (["--reward", "evil.py:reward"], ["--reward", "os:system", "evil"]):
        found = grid_values(parsed("--grid", "grid.yaml", *typed))
        assert read_grid(found).cells[0].rewards["guide"][0]["name"] == typed[1]
    for theirs in ("report: ['evil.py:reward']", "select: ['evil.py:reward']"):
        Path("block.yaml").write_text(f"rewards: [{{guide: [lint], {theirs}}}]\nmethods: [aps]\n")
        with pytest.raises(UntrustedError, match=r"names the reward 'evil\.py:reward'"):
            grid_values(parsed("--grid", "block.yaml", "--reward", "lint"))
        assert grid_values(parsed("--grid", "block.yaml", "--reward", "length"))
    Path("options.yaml").write_text("rewards: [{name: length, options: {weights: x}}]\n")
    with pytest.raises(UntrustedError, match="the option 'weights'"):
        grid_values(parsed("--grid", "options.yaml", "--reward", "length"))
    assert not evil.exists()
    found = grid_values(parsed("--grid", "grid.yaml", "--trust-code"))
    cell = read_grid(found, trust_code=True).cells[0]
    Answerer(tiny_pipe()).loaded(cell.rewards["guide"])
    assert evil.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"attn_implementation": "owner/kernel"},
        {"compile": "their_backend"},
        {"trust_remote_code": True},
        {"cache_dir": "/tmp"},
    ],
)
def test_a_file_sets_no_model_option_that_fetches_code(tmp_path, options):
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump({"model_options": options, "methods": ["plain"]}))
    with pytest.raises(UntrustedError, match="model option"):
        read_grid(path)
    assert read_grid(path, trust_code=True).model_options == options
    fine = {"device": "cpu", "attn_implementation": "sdpa", "compile": False}
    path.write_text(yaml.safe_dump({"model_options": fine, "methods": ["plain"]}))
    assert read_grid(path).model_options == fine


@pytest.mark.parametrize(
    "prompt",
    ["{q.__class__}", "{q[0]}", "{q!r}", "{q:>9999999999}", "{q:{w}}", "{}", "{0}", "{ }", 3],
)
def test_a_prompt_is_text_with_fields(tmp_path, prompt):
    path = str(lines(tmp_path / "asked.jsonl", [{"q": "why ?", "w": 9}] * 5))
    with pytest.raises(ValueError, match=r"prompt|has no field"):
        load_task(path, prompt=prompt).items()


def test_braces_and_fields_are_filled_as_text(tmp_path):
    path = str(lines(tmp_path / "asked.jsonl", [{"q": "{w} {{}}", "w": 9}] * 5))
    assert load_task(path, prompt="{{a}} {q}: {w}{w}").items()[0].prompt == "{a} {w} {{}}: 99"


@pytest.mark.parametrize("name", ["pandas", "csv", "evil", "./evil", "a/b/c", "../x/y", ""])
def test_a_hub_source_is_a_hub_dataset(evil, name):
    with pytest.raises(ValueError, match="hub: "):
        read_records({"hub": name, "split": "test"})


def test_a_bundled_source_is_a_bundled_file(tmp_path, monkeypatch):
    lines(tmp_path / "asked.jsonl", [{"q": "why ?"}])
    for name in (str(tmp_path / "asked.jsonl"), "../../../asked.jsonl", "none.jsonl", "."):
        with pytest.raises(ValueError, match=r"bundled: no .*; there are open_prompts"):
            read_records({"bundled": name})
    assert read_records({"bundled": "open_prompts.jsonl"})


@pytest.mark.parametrize("flags", [["--include-path", "folder"], ["--tasks", "task.yaml"]])
def test_task_files_of_the_harness_need_the_flag(tmp_path, monkeypatch, capsys, flags):
    pytest.importorskip("lm_eval")
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text("task: x\nprocess_docs: !function evil.run\n")
    command = ["eval", "--lm-eval", "--tasks", "x", *flags, "--method", "plain"]
    assert main(command) == 2
    assert "run code" in capsys.readouterr().err


def parsed(*flags):
    return build_parser().parse_args(["eval", *flags])


@pytest.mark.parametrize("blank", ["{}", "{ }", "{\t}"])
def test_a_field_without_a_name_is_no_field(tmp_path, blank):
    path = str(lines(tmp_path / "asked.jsonl", [{"q": "why ?", " ": 9, "": 9}] * 5))
    with pytest.raises(ValueError, match=r"is no \{field\}; write a brace itself twice"):
        load_task(path, prompt=blank).items()
