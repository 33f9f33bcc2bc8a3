"""Reading of grids: tasks x rewards x methods x controls, with seeds and items for each cell.

model: mini
tasks: [word-knowledge, open]        # names, files, or {task: NAME, any field of it}
limit: 40                            # items per task
seeds: [0]
config: {steps: 16}                  # APSConfig fields; `preset: fast` names a preset
rewards:                             # each entry is one block of the table
  - relevance
  - {guide: [sentiment, fluency=0.3], report: [answer-quality-report], config: {beta: 0.1}}
methods: [plain, aps, {method: fk, options: {particles: 8}, label: fk-8}]
controls: [zero]                     # every steered method once more
match: {unit: seconds, budget: aps}  # see aps_eval.run.matching; a list is several budgets
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..rows import ROLES
from ..task import Task, load_task
from ..trust import check_file
from ..yaml_files import read_yaml
from .cells import Cell, Grid, Match

__all__ = ["read_grid"]

KNOBS: dict[str, str | None] = {
    "plain": None,
    "best-of-n": "options.samples",
    "aps": "config.inner_steps",
    "svdd": "options.candidates",
    "particle-gibbs": "options.sweeps",
    "vgb": "options.candidates",
    "ets": "options.candidates",
    "fk": "options.particles",
    "twisted-smc": "options.particles",
    "aps-smc": "options.particles",
}
"""The setting that matching changes (N, M or k); for other methods it is `options.best_of`."""


KEYS = (
    *("model", "model_options", "tasks", "limit", "offset", "seeds", "batch_size", "preset"),
    *("config", "rewards", "report", "select", "methods", "controls", "match", "data"),
)


def read_grid(source: str | Path | Mapping[str, Any], *, trust_code: bool = False) -> Grid:
    """A grid from a YAML file, or from a mapping with the same keys.

    Args:
        trust_code: allow this file and task files to name rewards that run code. Rewards in a
            mapping are always allowed.

    Raises:
        UntrustedError: a file names code (see `aps_eval.trust`).
        ValueError, TypeError: an unknown key, task, method, setting or reward role, two methods of
            one label, a method that steers without a reward. No model is loaded.
    """
    values = dict(source) if isinstance(source, Mapping) else read_yaml(source, "a grid's keys")
    _known(values, KEYS, "a grid")
    if not isinstance(source, Mapping) and not trust_code:
        check_file(values, source)
    tasks = [_task(one, trust_code) for one in _listed(values.get("tasks")) or ["word-knowledge"]]
    methods = [
        _mapping(one, "method") for one in _listed(values.get("methods")) or ["plain", "aps"]
    ]
    cells: list[Cell] = []
    for task in tasks:
        for block in _blocks(values, task):
            made = [_cell(values, task, block, method) for method in methods]
            labels = [cell.label for cell in made]
            for cell in made:
                if labels.count(cell.label) > 1:
                    raise ValueError(f"two methods are called {cell.label!r}; give one a `label`")
            cells += made
    seen = [(cell.block, cell.label) for cell in cells]
    if len(set(seen)) < len(seen):
        raise ValueError(
            "two blocks have the same task and guiding rewards; run them in separate folders"
        )
    seeds = _seeds(values)
    limit, offset = values.get("limit"), values.get("offset") or 0
    for name, number, least in (("limit", limit, 1), ("offset", offset, 0)):
        whole = isinstance(number, int) and not isinstance(number, bool)
        if number is not None and not (whole and number >= least):
            raise ValueError(f"{name} is a whole number from {least} on, got {number!r}")
    match = values.get("match")
    if match is not None:
        match = {"unit": match} if isinstance(match, str) else dict(match)
        _known(match, [f.name for f in dataclasses.fields(Match)], "match")
        match = Match(**match)
        _check_match(match, {cell.label for cell in cells})
    return Grid(
        cells=cells,
        seeds=seeds,
        limit=limit,
        offset=offset,
        model=str(values.get("model", "mini")),
        model_options=dict(values.get("model_options") or {}),
        batch_size=int(values.get("batch_size", 16)),
        match=match,
        data=values.get("data"),
        values=values,
    )


def reward_spec(one: Any) -> dict[str, Any]:
    """A reward in a grid (`relevance`, `sentiment=0.3` or a mapping) as a dict with the keys
    `name`, `weight` and `options`."""
    from aps_rewards import parse_reward_spec

    if isinstance(one, str):
        name, weight = parse_reward_spec(one)
        return {"name": name, "weight": 1.0 if weight is None else float(weight), "options": {}}
    spec = {"weight": 1.0, "options": {}, **_mapping(one, "name")}
    _known(spec, ("name", "weight", "options"), "a reward")
    return {**spec, "weight": float(spec["weight"])}


def _blocks(values: Mapping[str, Any], task: Task) -> list[dict[str, Any]]:
    """The blocks of a task: rewards by role, with their configuration."""
    entries = _listed(values.get("rewards")) or ([task.rewards] if task.rewards else [{}])
    blocks = []
    for entry in entries:
        block = {"guide": entry if isinstance(entry, list) else [entry]}
        if isinstance(entry, Mapping):
            block = {"guide": [entry]} if "name" in entry else dict(entry)
        _known(block, (*ROLES, "config"), "a reward block")
        roles = {role: _listed(block.get(role) or values.get(role)) for role in ROLES}
        specs = {role: [reward_spec(one) for one in ones] for role, ones in roles.items()}
        blocks.append({"rewards": specs, "config": dict(block.get("config") or {})})
    return blocks


def _cell(
    values: Mapping[str, Any], task: Task, block: Mapping[str, Any], method: Mapping[str, Any]
) -> Cell:
    from aps_text.core.config import APSConfig

    _known(method, ("method", "label", "options", "config", "knob", "controls"), "a method")
    name, options = str(method["method"]), dict(method.get("options") or {})
    own = dict(method.get("config") or {})
    for where, some in (("task", task.config), ("rewards", block["config"]), ("method", own)):
        if "seed" in some:
            raise ValueError(
                f"{where}: config has a seed; all methods share the seeds of `seeds` (or of the "
                "grid's own config)"
            )
    shared = {**task.config, **(values.get("config") or {}), **block["config"], **own}
    config = APSConfig.make(values.get("preset")).replace(**{**shared, "seed": 0})
    if config.call.num_return_sequences > 1 and not block["rewards"]["select"]:
        raise ValueError(
            f"num_return_sequences={config.call.num_return_sequences} needs `select`, a reward "
            "that picks one; or use more seeds"
        )
    usual = " ".join([name, *(f"{key}={value}" for key, value in {**options, **own}.items())])
    usual_knob = KNOBS.get(name, "options.best_of")
    if name == "aps" and config.sampler.pool_size is not None:
        usual_knob = "config.pool_size"
    knob = method.get("knob", usual_knob)
    _check_knob(knob)
    label = str(method.get("label", usual))
    cell = Cell(
        task=task,
        rewards=block["rewards"],
        method=name,
        label=label,
        # Without matching, different settings of one method are points of one line.
        family=label if values.get("match") or "label" in method else name,
        config=config,
        options=options,
        controls=_controls(values, method),
        knob=knob,
    )
    cell.build()
    if knob is not None:
        cell.turned(max(2, cell.least)).build()  # raise now for an unknown knob
    if name != "plain" and not cell.rewards["guide"]:
        raise ValueError(f"method {name!r} steers by a reward and task {task.name!r} has none")
    return cell


def _check_knob(knob: str | None) -> None:
    """Raise `ValueError` unless it is None, `options.NAME` or an integer setting of `config`."""
    from aps_text.core.config import SETTINGS

    kind, _, name = (knob or "").partition(".")
    if knob is not None and kind not in ("options", "config"):
        raise ValueError(f"a knob is options.NAME, config.NAME or null, got {knob!r}")
    whole = [key for key, takes in SETTINGS.items() if getattr(takes, "whole", False)]
    if kind == "config" and name not in whole:
        raise ValueError(f"knob {knob!r} is no integer setting; there are {', '.join(whole)}")


def _check_match(match: Match, labels: set[str]) -> None:
    if match.unit not in ("seconds", "flops"):
        raise ValueError(f"match is 'seconds' or 'flops', got {match.unit!r}")
    if not match.budgets:
        raise ValueError("match: no budget; give a method's label, a number, or a list of them")
    for budget in match.budgets:
        if isinstance(budget, str):
            if budget not in labels:
                raise ValueError(f"match: no method is called {budget!r}; give one, or a number")
        elif isinstance(budget, bool) or not isinstance(budget, int | float) or not budget > 0:
            raise ValueError(f"match: a budget is a label or a positive number, got {budget!r}")
    for name, number in (("prompts", match.prompts), ("repeats", match.repeats)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise ValueError(f"match: {name} is a whole number from 1, got {number!r}")
    names = [match.called(budget) for budget in match.budgets]
    if len(set(names)) < len(names):
        raise ValueError(f"match: a budget occurs twice: {', '.join(names)}")


def _controls(values: Mapping[str, Any], method: Mapping[str, Any]) -> tuple[str, ...]:
    from aps_text.text.reward_operator.controls import CONTROLS

    usual = [] if method["method"] == "plain" else values.get("controls")
    found = tuple(_listed(method.get("controls", usual)))
    for control in found:
        if control not in CONTROLS:
            raise ValueError(f"controls are {', '.join(CONTROLS)}; got {control!r}")
    return found


def _task(one: Any, trust_code: bool) -> Task:
    fields = _mapping(one, "task")
    return load_task(str(fields.pop("task")), trust_code=trust_code, **fields)


def _seeds(values: Mapping[str, Any]) -> list[int]:
    """The seeds in `seeds`, or the one in `config`."""
    seeds = _listed(values.get("seeds"))
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


def _listed(value: Any) -> list[Any]:
    """The value as a list; a single value becomes a list of one."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _mapping(one: Any, key: str) -> dict[str, Any]:
    if isinstance(one, str):
        return {key: one}
    if not isinstance(one, Mapping) or key not in one:
        raise ValueError(f"a {key} is its name or a mapping with `{key}`, got {one!r}")
    return dict(one)


def _known(values: Mapping[str, Any], known: Any, what: str) -> None:
    for name in values:
        if name not in known:
            raise ValueError(f"{what} has no {name!r}; known: {', '.join(known)}")
