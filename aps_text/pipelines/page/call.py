"""`CallRecord`: what a page says about the call of an answer, and the Python that repeats it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from ...core.config import DEFAULTS, APSConfig
from ...core.sampler import Method
from ...methods.registry import METHODS
from ...text.prompts import Prompt

__all__ = ["CallRecord", "Recorded", "described", "name_of", "repeated", "steered_by"]

OWN = "method"  # what a page calls a method of the caller's own


@dataclass(frozen=True)
class CallRecord:
    """A call as plain data, with the texts of the tokens its trajectory shows.

    Attributes:
        model: the name or folder that the model was loaded by, else the model's name.
        loaded: whether `from_pretrained` made the pipeline; otherwise it is the caller's own.
        method: the method's name in `METHODS`, else its class.
        expression: Python for the argument `method`; a name in quotation marks, or an object;
            `method` where no Python makes it.
        imports: `from` lines that `expression` needs.
        weights: the rewards' weights by role (`guide`, `select`, `report`) and name; see `weights`.
        by_name: (role, name) of the rewards that were given by name; the others are objects of the
            caller.
        control: of the call.
        seeds: one per prompt.
        particles: the number among its prompt's answers of each (batch, row).
        others: further arguments of the call that a page cannot show, by name.
        mask_id, stop_ids, hidden_ids: tokens drawn as open, as the end, and not at all.
        pieces: text of every token of the trajectory, with its leading space.
    """

    model: str
    loaded: bool
    method: str
    expression: str
    imports: tuple[str, ...]
    weights: Mapping[str, Mapping[str, float]]
    by_name: frozenset[tuple[str, str]]
    control: str | None
    seeds: list[int]
    others: tuple[str, ...]
    mask_id: int
    stop_ids: frozenset[int]
    hidden_ids: frozenset[int]
    particles: dict[tuple[int, int], int] = field(default_factory=dict)
    pieces: dict[int, str] = field(default_factory=dict)


Recorded = tuple[CallRecord, APSConfig, int, int]
"""Record, settings, seed and particle of an answer."""


def name_of(method: Method) -> tuple[str, str, tuple[str, ...]]:
    """A method's name, the Python that makes it, and the imports this needs.

    The Python is `method`, without imports, for an object that a page cannot make: of a class that
    is no dataclass or cannot be imported, or with a field that is no plain value.
    """
    if not _makeable(method):
        return type(method).__name__, OWN, ()
    for name, make in METHODS.items():
        usual = make()
        if type(usual) is type(method) and _written(usual) == _written(method):
            return name, repr(name), ()
    same = [name for name, make in METHODS.items() if type(make()) is type(method)]
    imports = [f"from {kind.__module__} import {kind.__name__}" for kind in _kinds(method)]
    name = same[0] if same else type(method).__name__
    return name, _written(method), tuple(dict.fromkeys(imports))


def _makeable(value: Any) -> bool:
    """Whether `_written` and the imports of `_kinds` make a method again."""
    kind = type(value)
    if not callable(getattr(value, "steps", None)):
        try:
            ast.literal_eval(repr(value))
        except (ValueError, SyntaxError):
            return False
        return True
    if "__dataclass_fields__" not in vars(kind):  # a subclass inherits them
        return any(kind is make for make in METHODS.values())
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        return False
    return all(one.init and _makeable(getattr(value, one.name)) for one in fields(value))


def _written(value: Any) -> str:
    """Python that makes a method: its class with its fields."""
    if not callable(getattr(value, "steps", None)):
        return repr(value)
    own = fields(value) if is_dataclass(value) else ()
    parts = [f"{one.name}={_written(getattr(value, one.name))}" for one in own if one.init]
    return f"{type(value).__name__}({', '.join(parts)})"


def _kinds(value: Any) -> Iterable[type]:
    if not callable(getattr(value, "steps", None)):
        return
    yield type(value)
    for one in fields(value) if is_dataclass(value) else ():
        yield from _kinds(getattr(value, one.name))


def steered_by(weights: Mapping[str, float]) -> str:
    """Rewards with their weights in words, `2 x length and mine`; empty if none has a weight."""
    said = [
        name if weight == 1 else f"{weight:g} x {name}"
        for name, weight in weights.items()
        if weight
    ]
    return " and ".join(filter(None, [", ".join(said[:-1]), *said[-1:]]))


def described(calls: list[Recorded]) -> str:
    """The line above the answers: model, settings and seeds, and what differs on the left.

    Args:
        calls: of the answer, and of the one beside it (on the left) if any.
    """
    record, config, _, _ = calls[0]
    seeds = list(dict.fromkeys(str(seed) for _, _, seed, _ in reversed(calls)))
    usual = APSConfig(config.preset).flat()
    own = [
        f"{name} {f'{value:.3g}' if isinstance(value, float) else value}"
        for name, value in config.flat().items()
        if value != usual.get(name, DEFAULTS[name])
    ]
    said = f"seed{'s' * (len(seeds) > 1)} {' and '.join(seeds)}"
    about = ", ".join([record.model, f"preset {config.preset}", *own, said])
    return about if len(calls) == 1 else about + _unlike(calls[1], calls[0])


def _unlike(left: Recorded, right: Recorded) -> str:
    """What two answers' models and settings differ in."""
    sides = [{"model": record.model, **config.flat()} for record, config, _, _ in (left, right)]
    keys = [one for one in sides[0] if sides[0][one] != sides[1].get(one)]
    said = [", ".join(f"{one}={side.get(one)!r}" for one in keys) for side in sides]
    return f"; left: {said[0]}; right: {said[1]}" if keys else ""


def repeated(prompt: Prompt, calls: list[Recorded]) -> str:
    """Python that answers `prompt` again, with the same draws, and writes the page.

    A model, a method and a reward that were given as objects, and arguments a page cannot hold
    (columns, starts), stand in it by name only; a comment says so.

    Args:
        calls: of the answer, and of the one beside it if any.
    """
    loaded = calls[0][0].loaded
    imports = [f"from aps_text import APSConfig{', APSPipeline' if loaded else ''}"]
    lines = [f"pipe = APSPipeline.from_pretrained({calls[0][0].model!r})"] * loaded
    lines.append(f"prompt = {prompt!r}")
    names = ["out", "plain"][: len(calls)]
    missing, earlier = dict[str, None]() if loaded else {"pipe": None}, ""
    for name, (record, config, seed, _) in reversed(list(zip(names, calls, strict=True))):
        imports += record.imports
        settings = f"config = {config!r}"
        lines += [settings] * (settings != earlier)
        earlier = settings
        arguments = ["prompt"]
        for role, keyword in (("guide", ""), ("select", "select="), ("report", "report=")):
            weights = record.weights.get(role, {})
            known = {one for given, one in record.by_name if given == role}
            missing |= dict.fromkeys(_identifier(one) for one in weights if one not in known)
            if weights:
                spec = ", ".join(
                    f"{repr(one) if one in known else _identifier(one)}: {weight!r}"
                    for one, weight in weights.items()
                )
                arguments.append(f"{keyword}{{{spec}}}")
        arguments += [f"method={record.expression}"]
        arguments += [f"control={record.control!r}"] if record.control else []
        arguments += [f"{one}={one}" for one in record.others]
        missing |= dict.fromkeys([OWN] if record.expression == OWN else [])
        missing |= dict.fromkeys(record.others)
        arguments += ["config=config"] + ([f"seeds=[{seed}]"] * (seed != config.call.seed))
        arguments += ["keep_trajectory=True"]
        lines.append(f"{name} = pipe({', '.join(arguments)})")
    record, _, _, particle = calls[0]
    at = f", index={particle}" if particle and not record.weights.get("select") else ""
    beside = ", beside=plain" if len(calls) > 1 else ""
    lines.append(f'out.to_html("answer.html"{at}{beside})')
    if missing:
        lines.insert(0, f"# Your own, not in this file: {', '.join(missing)}")
    return "\n".join([*dict.fromkeys(imports), "", *lines])


def _identifier(name: str) -> str:
    """A reward's name as a Python name."""
    found = "".join(letter if letter.isalnum() else "_" for letter in name)
    return found if found.isidentifier() else f"_{found}"
