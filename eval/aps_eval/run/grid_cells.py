"""The parts of a grid's mapping as cells: reward blocks, methods, trials, what matching turns.

    rewards: [{guide: [sentiment], report: [valence], config: {beta: 0.1}, unit: 0.3}]
    methods: [{method: fk, options: {particles: 8}, config: {beta: 0.1 unit}, label: FK,
               knob: options.particles, controls: [zero], guides: [sentiment],
               trials: [{config: {beta: 0.3 unit}}, {config: {beta: 1 unit}}]}]

A block's `unit` says what numbers like `0.1 unit` are multiples of, where the same methods stand
under rewards of other scales: about how much the reward varies among plain answers. A method with
`guides` stands only under those rewards. What one of its `trials` says goes before what the method
says; `aps_eval.run.trials` takes one of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rows import ROLES
from ..task import Task
from .cells import Cell

__all__ = [
    "blocks_of",
    "cell_of",
    "known",
    "listed",
    "mapping",
    "refuse_weight",
    "reward_spec",
    "stands_under",
]

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
TRIAL = ("options", "config", "knob")
METHOD = ("method", "label", *TRIAL, "controls", "guides", "trials")


def blocks_of(values: Mapping[str, Any], task: Task) -> list[dict[str, Any]]:
    """Rewards by role, with the configuration and the unit that go with them."""
    entries = listed(values.get("rewards")) or ([task.rewards] if task.rewards else [{}])
    blocks = []
    for entry in entries:
        block: dict[str, Any] = {"guide": entry if isinstance(entry, list) else [entry]}
        if isinstance(entry, Mapping):
            block = {"guide": [entry]} if "name" in entry else dict(entry)
        known(block, (*ROLES, "config", "unit"), "a reward block")
        unit = block.get("unit")
        if unit is not None and not (_is_number(unit) and unit > 0):
            raise ValueError(f"a reward block's unit is a number above 0, got {unit!r}")
        roles = {role: listed(block.get(role) or values.get(role)) for role in ROLES}
        specs = {role: [reward_spec(one) for one in ones] for role, ones in roles.items()}
        for one in specs["report"]:
            refuse_weight(one)
        config = dict(block.get("config") or {})
        blocks.append({"rewards": specs, "config": config, "unit": unit})
    return blocks


def stands_under(method: Mapping[str, Any], block: Mapping[str, Any]) -> bool:
    """Is the method one of this block: has it no `guides`, or all that guide here?"""
    guides = listed(method.get("guides"))
    return not guides or all(one["name"] in guides for one in block["rewards"]["guide"])


def cell_of(
    values: Mapping[str, Any], task: Task, block: Mapping[str, Any], method: Mapping[str, Any]
) -> Cell:
    """A method in a block, with its trials.

    Raises:
        ValueError, TypeError: a key, method or setting that does not exist; a steered method
            without a reward; trials without plain decoding or the metric they are chosen by.
    """
    known(method, METHOD, "a method")
    trials = listed(method.get("trials"))
    if not trials:
        return _cell(values, task, block, method)
    found = []
    for trial in trials:
        known(trial, TRIAL, "a trial")
        laid = {
            name: {**(method.get(name) or {}), **(trial.get(name) or {})}
            for name in ("options", "config")
        }
        one = _cell(values, task, block, {**method, **trial, **laid})
        found.append(replace(one, label=str(method.get("label", method["method"]))))
    first = found[0]
    return replace(first, family=first.label, trials=tuple(found))


def reward_spec(one: Any) -> dict[str, Any]:
    """A reward in a grid (`relevance`, `sentiment=0.3` or a mapping) as a dict with the keys
    `name`, `weight` and `options`."""
    from aps_rewards import parse_reward_spec
    from aps_rewards.calling import LARGEST

    if isinstance(one, str):
        name, weight = parse_reward_spec(one)
        return {"name": name, "weight": 1.0 if weight is None else float(weight), "options": {}}
    spec = {"weight": 1.0, "options": {}, **mapping(one, "name")}
    known(spec, ("name", "weight", "options"), "a reward")
    try:
        weight = math.nan if isinstance(spec["weight"], bool) else float(spec["weight"])
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not abs(weight) <= LARGEST:
        raise ValueError(
            f"the weight of {spec['name']!r} is a number between -{LARGEST:g} and {LARGEST:g}, got "
            f"{spec['weight']!r:.60}"
        )
    return {**spec, "weight": weight}


def refuse_weight(report: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a report that has another weight than 1."""
    if report["weight"] != 1:
        raise ValueError(
            f"a report has no weight, got {report['name']}={report['weight']:g}; leave the weight "
            "out"
        )


def _cell(
    values: Mapping[str, Any], task: Task, block: Mapping[str, Any], method: Mapping[str, Any]
) -> Cell:
    from aps_text.core.config import DEFAULTS, APSConfig
    from aps_text.core.names import renamed
    from aps_text.core.presets import text_preset

    def in_units(found: Mapping[str, Any] | None) -> dict[str, Any]:
        return {key: _in_units(one, block["unit"]) for key, one in (found or {}).items()}

    name, options = str(method["method"]), in_units(method.get("options"))
    own = in_units(method.get("config"))
    for where, some in (("task", task.config), ("rewards", block["config"]), ("method", own)):
        if "seed" in some:
            raise ValueError(
                f"{where}: config has a seed; all methods share the seeds of `seeds` (or of the "
                "grid's own config)"
            )
    shared = {**task.config, **(values.get("config") or {}), **block["config"], **own}
    config = APSConfig.make(text_preset(values.get("preset"))).replace(
        **{**in_units(shared), "seed": 0}
    )
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
    preset = APSConfig(text_preset(values.get("preset"))).flat()
    typed = {
        name: value
        for name, value in renamed(own, warn=False).items()
        if value != preset.get(name, DEFAULTS[name])
    }
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
        stated=frozenset(renamed(shared, warn=False)),
        typed=typed,
    )
    cell.build()
    if knob is not None:
        cell.turned(max(2, cell.least)).build()  # raise now for an unknown knob
    if name != "plain" and not cell.rewards["guide"]:
        raise ValueError(f"method {name!r} steers by a reward and task {task.name!r} has none")
    return cell


def _in_units(value: Any, unit: float | None) -> Any:
    """`0.3 unit` as a number, to six digits; anything else as it is.

    Raises:
        ValueError: the block has no unit.
    """
    found = re.fullmatch(r"([-+.\deE]+) unit", value) if isinstance(value, str) else None
    if found is None:
        return value
    if unit is None:
        raise ValueError(
            f"a method says {value!r}, and its block has no unit; give it one, about how much the "
            "reward varies: {guide: [NAME], unit: 0.3}"
        )
    return float(f"{float(found[1]) * unit:.6g}")


def _check_knob(knob: str | None) -> None:
    """Raise `ValueError` unless it is None, `options.NAME` or an integer setting of `config`."""
    from aps_text.core.config import SETTINGS

    kind, _, name = (knob or "").partition(".")
    if knob is not None and kind not in ("options", "config"):
        raise ValueError(f"a knob is options.NAME, config.NAME or null, got {knob!r}")
    whole = [key for key, takes in SETTINGS.items() if getattr(takes, "whole", False)]
    if kind == "config" and name not in whole:
        raise ValueError(f"knob {knob!r} is no integer setting; there are {', '.join(whole)}")


def _controls(values: Mapping[str, Any], method: Mapping[str, Any]) -> tuple[str, ...]:
    from aps_text.text.reward_operator.controls import CONTROLS

    usual = [] if method["method"] == "plain" else values.get("controls")
    found = tuple(listed(method.get("controls", usual)))
    for control in found:
        if control not in CONTROLS:
            raise ValueError(f"controls are {', '.join(CONTROLS)}; got {control!r}")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def listed(value: Any) -> list[Any]:
    """A list, or what stands where a list of one is meant."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def mapping(one: Any, key: str) -> dict[str, Any]:
    """A mapping, or the name that stands for one."""
    if isinstance(one, str):
        return {key: one}
    if not isinstance(one, Mapping) or key not in one:
        raise ValueError(f"a {key} is its name or a mapping with `{key}`, got {one!r}")
    return dict(one)


def known(values: Mapping[str, Any], names: Any, what: str) -> None:
    """Raise `ValueError` for a key that does not exist."""
    for name in values:
        if name not in names:
            raise ValueError(f"{what} has no {name!r}; known: {', '.join(names)}")
