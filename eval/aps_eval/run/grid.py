"""Reading of grids: tasks x rewards x methods x controls, with seeds and items for each cell.

model: mini
tasks: [word-knowledge, open]        # names, files, or {task: NAME, any field of it}
limit: 40                            # items per task
split: test                          # or tune, to try settings
seeds: [0]
config: {steps: 16}                  # APSConfig fields; `preset: fast` names a preset
rewards:                             # each entry is one block of the table
  - relevance
  - {guide: [sentiment, fluency=0.3], report: [answer-quality-report], config: {beta: 0.1}}
methods: [plain, aps, {method: fk, options: {particles: 8}, label: fk-8}]
controls: [zero]                     # every steered method once more
match: {unit: seconds, budget: aps}  # see aps_eval.run.matching; a list is several budgets
baseline: plain                      # the label of the method to compare with
tuning: {prompts: 24, keep: f1, loss: 0.02}   # how methods with `trials` choose one

Blocks and methods have further keys, see `aps_eval.run.grid_cells`. The files in `aps_eval/grids`
can be given by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..task import Task, load_task
from ..trust import check_file
from ..yaml_files import read_yaml
from .cells import Cell, Grid, Match, Tuning
from .grid_cells import blocks_of, cell_of, known, listed, mapping, stands_under
from .grid_shape import check_shape
from .trials import check_trials

__all__ = ["find_grid", "grid_names", "load_tasks", "read_grid"]

KEYS = (
    *("model", "model_options", "tasks", "limit", "offset", "seeds", "batch_size", "preset"),
    *("config", "rewards", "report", "select", "methods", "controls", "match", "data"),
    *("split", "baseline", "tuning"),
)


def grid_names() -> list[str]:
    """Names of the bundled grids."""
    folder = files("aps_eval") / "grids"
    return sorted(one.name[:-5] for one in folder.iterdir() if one.name.endswith(".yaml"))


def find_grid(spec: str | Path) -> Path:
    """The file of a bundled grid by its name, or the path as it is.

    Raises:
        ValueError: neither a bundled grid's name nor a file.
    """
    if str(spec) in grid_names():
        return Path(str(files("aps_eval"))) / "grids" / f"{spec}.yaml"
    if not Path(spec).is_file():
        raise ValueError(f"no grid {str(spec)!r}; known: {', '.join(grid_names())}, or a YAML file")
    return Path(spec)


def read_grid(source: str | Path | Mapping[str, Any], *, trust_code: bool = False) -> Grid:
    """A grid from a YAML file or a bundled grid's name, or from a mapping with the same keys.

    Args:
        trust_code: allow this file and task files to name rewards that run code. Rewards in a
            mapping are always allowed.

    Raises:
        UntrustedError: a file names code (see `aps_eval.trust`).
        ValueError, TypeError: an unknown key, task, method, setting or reward role, two methods of
            one label, a method that steers without a reward. No model is loaded.
    """
    if isinstance(source, Mapping):
        values = dict(source)
        check_shape(values, "the grid")
    else:
        path = find_grid(source)
        values = read_yaml(path, "a grid's keys")
        check_shape(values, str(path))
        if not trust_code:
            check_file(values, path)
    known(values, KEYS, "a grid")
    tasks = [_task(one, trust_code) for one in _listed_tasks(values)]
    methods = [mapping(one, "method") for one in listed(values.get("methods")) or ["plain", "aps"]]
    cells: list[Cell] = []
    for task in tasks:
        for block in blocks_of(values, task):
            own = [method for method in methods if stands_under(method, block)]
            made = [cell_of(values, task, block, method) for method in own]
            labels = [cell.label for cell in made]
            for cell in made:
                if labels.count(cell.label) > 1:
                    raise ValueError(f"two methods are called {cell.label!r}; give one a `label`")
            _check_select(made)
            cells += made
    seen = [(cell.block, cell.label) for cell in cells]
    if len(set(seen)) < len(seen):
        raise ValueError(
            "two blocks have the same task and guiding rewards; run them in separate folders"
        )
    seeds = _seeds(values)
    limit, offset = values.get("limit"), values.get("offset") or 0
    batch = values.get("batch_size", 16)
    for name, number, least in (
        ("limit", limit, 1),
        ("offset", offset, 0),
        ("batch_size", batch, 1),
    ):
        if number is not None:
            _check_whole(name, number, least)
    split = str(values.get("split") or "test")
    if split not in ("test", "tune"):
        raise ValueError(f"split is 'test' or 'tune', got {split!r}")
    match = values.get("match")
    if match is not None:
        match = {"unit": match} if isinstance(match, str) else dict(match)
        known(match, [f.name for f in dataclasses.fields(Match)], "match")
        match = Match(**match)
        for which in dict.fromkeys(cell.block for cell in cells):
            _check_match(match, {cell.label for cell in cells if cell.block == which})
    tuning = values.get("tuning") or {}
    if not isinstance(tuning, Mapping):
        raise ValueError(f"tuning is a mapping, got {tuning!r}")
    tuning = dict(tuning)
    known(tuning, [f.name for f in dataclasses.fields(Tuning)], "tuning")
    if tuning.get("at_budget") and match is None:
        raise ValueError("tuning: at_budget needs match, which says the budgets")
    check_trials(cells, Tuning(**tuning), split)
    return Grid(
        cells=cells,
        seeds=seeds,
        limit=limit,
        offset=offset,
        model=str(values.get("model", "mini")),
        model_options=dict(values.get("model_options") or {}),
        batch_size=16 if batch is None else batch,
        match=match,
        data=values.get("data"),
        values=values,
        split=split,
        baseline=str(values.get("baseline") or "plain"),
        tuning=Tuning(**tuning),
    )


def load_tasks(values: Mapping[str, Any]) -> Iterator[tuple[str, Task | Exception]]:
    """The tasks of a grid's mapping, or why one cannot be loaded, by what it is called.

    Rewards that a task file names are loaded by nobody here, so they may be code.
    """
    for one in _listed_tasks(values):
        name = str(mapping(one, "task")["task"])
        try:
            task = _task(one, trust_code=True)
        except (ValueError, TypeError, OSError) as error:
            yield Path(name).stem, error
        else:
            yield task.name, task


def _listed_tasks(values: Mapping[str, Any]) -> list[Any]:
    return listed(values.get("tasks")) or ["word-knowledge"]


def _check_select(cells: list[Cell]) -> None:
    """Raise `ValueError` for a block that selects where every method gives one answer."""
    names = [one["name"] for cell in cells[:1] for one in cell.rewards["select"]]
    all_cells = [one for cell in cells for one in (cell, *cell.trials)]
    if names and all(one.config.call.num_return_sequences == 1 for one in all_cells):
        raise ValueError(
            f"select={', '.join(names)} picks among several answers, and every method gives one; "
            "set num_return_sequences above 1 (--set num_return_sequences=4, or config: in a "
            "grid), or give the reward as a report"
        )


def _check_whole(name: str, number: Any, least: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise ValueError(f"{name} is a whole number from {least} on, got {number!r}")


def _check_match(match: Match, labels: set[str]) -> None:
    if match.unit not in ("seconds", "flops"):
        raise ValueError(f"match is 'seconds' or 'flops', got {match.unit!r}")
    if not match.budgets:
        raise ValueError("match: no budget; give a method's label, a number, or a list of them")
    for budget in match.budgets:
        if isinstance(budget, str):
            times, label = match.rival(budget)
            if label not in labels:
                raise ValueError(f"match: no method is called {label!r}; give one, or a number")
            if times == 0:
                raise ValueError(f"match: a budget is positive, got {budget!r}")
        elif isinstance(budget, bool) or not isinstance(budget, int | float) or not budget > 0:
            raise ValueError(f"match: a budget is a label or a positive number, got {budget!r}")
    for name, number in (("prompts", match.prompts), ("repeats", match.repeats)):
        if number is not None:
            _check_whole(f"match: {name}", number, 1)
    names = [match.called(budget) for budget in match.budgets]
    if len(set(names)) < len(names):
        raise ValueError(f"match: a budget occurs twice: {', '.join(names)}")


def _task(one: Any, trust_code: bool) -> Task:
    fields = mapping(one, "task")
    return load_task(str(fields.pop("task")), trust_code=trust_code, **fields)


def _seeds(values: Mapping[str, Any]) -> list[int]:
    """The seeds in `seeds`, or the one in `config`."""
    seeds = listed(values.get("seeds"))
    if "seed" in (values.get("config") or {}):
        if seeds:
            raise ValueError(f"seeds={seeds} and config seed={values['config']['seed']}: give one")
        seeds = [values["config"]["seed"]]
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise ValueError(f"a seed is a whole number, got {seed!r}")
        if not 0 <= seed < 2**63:
            raise ValueError(f"a seed lies in 0 .. 2^63 - 1, got {seed}")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"a seed occurs twice: {seeds}")
    return seeds or [0]
