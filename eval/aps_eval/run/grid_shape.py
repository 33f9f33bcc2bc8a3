"""The shape of a grid's mapping: that each key holds a mapping, a list or a text where it must.

It is checked before anything in it is read, so that a mistake is told with its file, key and value.
What the values mean is checked where they are used (`aps_eval.run.grid_cells`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["check_shape"]


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _or_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: all(map(fits, v)) if isinstance(v, list | tuple) else fits(v)


Shape = tuple[Callable[[Any], bool], str]
MAPPING: Shape = _is_mapping, "a mapping, {name: value}"
TEXTS: Shape = _or_list_of(_is_text), "a text, or a list of texts"
NAMED: Shape = (
    _or_list_of(lambda one: _is_text(one) or _is_mapping(one)),
    "a list of names and mappings",
)
GRID: dict[str, Shape] = {
    **dict.fromkeys(("config", "model_options", "tuning"), MAPPING),
    **dict.fromkeys(("tasks", "methods"), NAMED),
    **dict.fromkeys(("model", "preset", "data", "split"), (_is_text, "a text")),
    "match": (
        lambda one: _is_text(one) or _is_mapping(one),
        "seconds, flops or a mapping, {unit: seconds, budget: aps}",
    ),
    "controls": TEXTS,
}
METHOD: dict[str, Shape] = {
    **dict.fromkeys(("options", "config"), MAPPING),
    **dict.fromkeys(("method", "knob"), (_is_text, "a text")),
    **dict.fromkeys(("controls", "guides"), TEXTS),
    "trials": (_or_list_of(_is_mapping), "a list of mappings with options, config or knob"),
}
"""Of a method and of a trial."""
BLOCK: dict[str, Shape] = {"config": MAPPING}


def check_shape(values: Mapping[str, Any], where: str) -> None:
    """Check a grid's mapping.

    Args:
        where: the grid's file, or what else it is of, for errors.

    Raises:
        ValueError: a value of another shape; names `where`, the key, the value and what it takes.
    """
    _check(values, GRID, where)
    for method in _mappings(values.get("methods")):
        called = f"{where}, method {method.get('label', method.get('method'))!r:.60}"
        _check(method, METHOD, called)
        for number, trial in enumerate(_mappings(method.get("trials")), 1):
            _check(trial, METHOD, f"{called}, trial {number}")
    for number, block in enumerate(_mappings(values.get("rewards")), 1):
        _check(block, BLOCK, f"{where}, reward block {number}")


def _check(values: Mapping[str, Any], shapes: Mapping[str, Shape], where: str) -> None:
    for key, (fits, takes) in shapes.items():
        if values.get(key) is not None and not fits(values[key]):
            raise ValueError(f"{where}: {key} is {takes}; got {values[key]!r:.80}")


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    found = value if isinstance(value, list | tuple) else [value]
    return [one for one in found if isinstance(one, Mapping)]
