"""What `aps eval` was asked for, as a mapping: the keys of a grid's file, replaced by flags."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from ..core.pairs import read_pairs

__all__ = ["grid_values"]


def grid_values(args: argparse.Namespace) -> dict[str, Any]:
    """The grid as a mapping: the file's keys, replaced by those that flags set.

    Raises:
        ValueError: a flag that is not NAME=VALUE, a preset in `--set`, field flags without a task,
            a file that names code without `--trust-code` (keys replaced by flags are not checked).
    """
    values: dict[str, Any] = {}
    if args.grid:
        values = _file_values(args)
    elif args.only is not None:
        raise ValueError("--only chooses among the methods of a grid; name it by --grid")
    for name in (
        *("model", "data", "limit", "split", "offset", "select", "report", "controls", "seeds"),
        *("preset", "batch_size", "baseline"),
    ):
        if getattr(args, name) is not None:
            values[name] = getattr(args, name)
    if args.rewards is not None:
        blocks = values.get("rewards")
        values["rewards"] = [_own_block(blocks, names) or names for names in args.rewards]
    if args.prompt and args.question_field:
        raise ValueError(
            f"--prompt {args.prompt!r} and --question-field {args.question_field!r}: give one"
        )
    fields = {
        "prompt": args.prompt or (args.question_field and f"{{{args.question_field}}}"),
        "gold": args.gold_field,
        "id": args.id_field,
        "stratum": args.stratum_field,
        "extract": args.extract,
        "metrics": args.metrics,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    if args.tasks is not None:
        values["tasks"] = [{"task": name, **fields} for name in args.tasks]
    elif fields:
        raise ValueError(f"{', '.join(fields)}: the fields of which task? Name it by --task")
    if args.methods is not None:
        values["methods"] = [_method(text) for text in args.methods]
    if args.config is not None:
        own = _with_none(read_pairs(args.config, "--set takes"))
        if "preset" in own:
            raise ValueError(f"--set preset={own['preset']}: write --preset {own['preset']}")
        if "seed" in own:
            if args.seeds is not None:
                raise ValueError(f"--set seed={own['seed']} and --seeds: give one of them")
            values["seeds"] = [own.pop("seed")]
        values["config"] = {**(values.get("config") or {}), **own}
    if args.match is not None or args.budget is not None:
        match = values.get("match") or {}
        match = {"unit": match} if isinstance(match, str) else dict(match)
        match |= {"unit": args.match} if args.match else {}
        budgets = [_json(one) for one in args.budget or []]
        if budgets:
            match["budget"] = budgets if len(budgets) > 1 else budgets[0]
        values["match"] = match
    return values


def _file_values(args: argparse.Namespace) -> dict[str, Any]:
    """What stands in the grid's file, checked as far as flags leave it."""
    from aps_eval.run.grid import find_grid
    from aps_eval.run.grid_shape import check_shape
    from aps_eval.trust import check_file
    from aps_eval.yaml_files import read_yaml

    path = find_grid(args.grid)
    values = read_yaml(path, "a grid's keys")
    check_shape(values, str(path))
    if not args.trust_code:
        replaced = [key for key in ("select", "report", "tasks") if getattr(args, key)]
        left = {key: one for key, one in values.items() if key not in replaced}
        if args.rewards is not None:
            blocks = [_own_block(values.get("rewards"), names) for names in args.rewards]
            left["rewards"] = [_untyped(block) for block in blocks]
        check_file(left, path)
    if args.only is not None:
        values["methods"] = _matching(values.get("methods"), args.only)
    return values


def _own_block(blocks: Any, names: Sequence[str]) -> Any:
    """The block of a file that is guided by these rewards and no others; None without one."""
    for block in blocks if isinstance(blocks, list) else []:
        roles = isinstance(block, dict) and "name" not in block
        guide = block.get("guide") if roles else block
        guide = guide if isinstance(guide, list) else [guide]
        if [one.get("name") if isinstance(one, dict) else one for one in guide] == list(names):
            return block
    return None


def _untyped(block: Any) -> Any:
    """What the file says of a block whose guides' names were typed: all but these names."""
    if block is None or isinstance(block, str):
        return []
    if isinstance(block, list):
        return [one for one in block if not isinstance(one, str)]
    if "name" in block:
        return block
    return {**block, "guide": _untyped(block["guide"])}


def _matching(methods: Any, patterns: Sequence[str]) -> list[Any]:
    """The methods of a file whose label matches one of the patterns, and plain decoding.

    Raises:
        ValueError: a pattern that no label matches.
    """
    listed = methods if isinstance(methods, list) else [methods]
    names = [
        str(one.get("label", one.get("method")) if isinstance(one, dict) else one) for one in listed
    ]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"--only {pattern!r}: no method is called so; {', '.join(names)}")
    kept = ["plain", *patterns]
    return [
        one
        for one, name in zip(listed, names, strict=True)
        if any(fnmatchcase(name, pattern) for pattern in kept)
    ]


def _method(text: str) -> dict[str, Any]:
    """`aps:best_of=2,top_p=1`: what the method does not take is of the configuration."""
    from aps_text.core.config import SETTINGS
    from aps_text.methods.registry import options_of
    from aps_text.pipelines.text import METHODS

    name, colon, typed = text.partition(":")
    pairs = read_pairs(typed.split(",") if colon else [], f"--method {name} takes")
    own = options_of(METHODS, name) if name in METHODS else []
    config = {key: one for key, one in pairs.items() if key not in own and key in SETTINGS}
    options = {key: one for key, one in pairs.items() if key not in config}
    found = {"method": name, "options": options}
    return {**found, "config": _with_none(config)} if config else found


def _with_none(config: dict[str, Any]) -> dict[str, Any]:
    """The settings with None for `none` where they may be None, as `aps ask` reads them."""
    from aps_text.core.config import SETTINGS

    return {
        name: None
        if str(value).lower() == "none" and getattr(SETTINGS.get(name), "optional", False)
        else value
        for name, value in config.items()
    }


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
