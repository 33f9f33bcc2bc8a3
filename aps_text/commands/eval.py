"""`aps eval`: compares methods and rewards on tasks; writes rows and a report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..core.pairs import read_pairs
from ..core.presets import TEXT_PRESETS
from .waiting import importing

__all__ = ["add_parser", "eval_command", "grid_values"]


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "eval", help="compare methods on tasks, at equal cost if asked; resumes where it stopped"
    )
    add = parser.add_argument
    add(
        "--grid",
        metavar="NAME|FILE",
        help="small, methods, ablations, rewards, pools, smol, or a YAML file "
        "(docs/evaluation.md); flags go before it",
    )
    add(
        "--only",
        nargs="+",
        metavar="PATTERN",
        help="of the grid's methods those whose label matches (`prior*`), and plain",
    )
    add("--out", default="results/eval", metavar="FOLDER", help="rows and report")
    add("--list-tasks", action="store_true", help="show the tasks that come with the library")
    add("--model", metavar="NAME", help="'mini', 'smol', a folder or a hub id")
    add(
        "--task",
        dest="tasks",
        nargs="+",
        action="extend",
        metavar="TASK",
        help="a name, a task file, a .json/.jsonl/.csv/.parquet file, or hub:NAME[:CONFIG[:SPLIT]]",
    )
    add("--question-field", metavar="FIELD", help="of a data file: what to ask")
    add("--prompt", metavar="TEMPLATE", help="in place of --question-field: text with {field}s")
    add("--gold-field", metavar="FIELD", help="of a data file: the answer, or a list of answers")
    add("--id-field", metavar="FIELD", help="of a data file: what names a record")
    add("--stratum-field", metavar="FIELD", help="what --strata groups by")
    add("--extract", metavar="HOW", help="number, choice, yes_no, boolean or text")
    add("--metrics", nargs="+", metavar="NAME", help="in place of the task's own")
    add("--data", metavar="FOLDER", help="where tasks look for files (default: $APS_TEXT_DATA)")
    add("--limit", type=int, metavar="N", help="items per task, spread evenly")
    add("--split", choices=["test", "tune"], help="tune: the items that settings are tried on")
    add("--offset", type=int, metavar="N", help="with --limit: the items N places behind those")
    add(
        "--reward",
        dest="rewards",
        nargs="+",
        action="append",
        metavar="NAME[=WEIGHT]",
        help="what guides; each --reward is one block of the grid, the file's where it has it",
    )
    add("--select", nargs="+", metavar="NAME[=WEIGHT]", help="picks among several sequences")
    add("--report", nargs="+", metavar="NAME", help="only measured (later: aps judge)")
    add(
        "--method",
        dest="methods",
        nargs="+",
        action="extend",
        metavar="NAME[:OPTION=VALUE,...]",
        help="plain, aps or a peer of docs/methods.md, e.g. fk:particles=8; an option that is none "
        "of the method's is one of APSConfig's, e.g. aps:best_of=2,top_p=1",
    )
    add("--control", dest="controls", nargs="+", metavar="KIND", help="zero, shuffled, flipped")
    add("--seeds", nargs="+", type=int, metavar="SEED", help="an answer for each (default: 0)")
    add("--preset", choices=TEXT_PRESETS, help="what --set starts from")
    add(
        "--set",
        dest="config",
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="fields of APSConfig, e.g. beta=0.02 steps=8",
    )
    add("--batch-size", type=int, metavar="N", help="answers in one pass (default: 16)")
    add("--match", choices=["seconds", "flops"], help="equal measured cost per prompt")
    add(
        "--budget",
        nargs="+",
        metavar="LABEL|NUMBER",
        help="whose cost, or how much (default: aps); several give every method each of them",
    )
    add("--baseline", metavar="LABEL", help="what differences are taken to (default: plain)")
    add("--strata", action="store_true", help="tables of each kind of item too")
    add("--count-flops", action="store_true", help="count operations of every answer (slower)")
    add("--no-fluency", action="store_true", help="do not load the fluency judge")
    add("--no-page", action="store_true", help="do not write the HTML page")
    add("--retry-failed", action="store_true", help="try rows again that failed")
    add(
        "--trust-code",
        action="store_true",
        help="let grid and task FILES name rewards that are code (docs/trust.md)",
    )
    add(
        "--lm-eval",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="tasks of lm-evaluation-harness instead: see `aps eval --lm-eval --help`",
    )
    parser.set_defaults(run=eval_command)


def eval_command(args: argparse.Namespace) -> int:
    """Run a grid, or lm-evaluation-harness with `--lm-eval`; returns 1 if answers failed."""
    if args.lm_eval is not None:
        from aps_eval.lm_eval.command import main

        return main([*args.lm_eval, *(["--trust-code"] if args.trust_code else [])])
    from aps_eval.task import load_task, task_names

    if args.list_tasks:
        for name in task_names():
            print(f"{name}: {load_task(name).about}")
        return 0
    with importing("torch"):
        from aps_eval.run.evaluate import evaluate
        from aps_eval.run.grid import read_grid
        from transformers.utils import logging
    logging.disable_progress_bar()
    rows = evaluate(
        read_grid(grid_values(args), trust_code=args.trust_code),
        args.out,
        command=typed(sys.argv),
        strata=args.strata,
        fluency=not args.no_fluency,
        count_flops=args.count_flops,
        retry=args.retry_failed,
        page=not args.no_page,
    )
    return 1 if any(row.error is not None for row in rows) else 0


def grid_values(args: argparse.Namespace) -> dict[str, Any]:
    """The grid as a mapping: the file's keys, replaced by those that flags set.

    Raises:
        ValueError: a flag that is not NAME=VALUE, field flags without a task, a file that names
            code without `--trust-code` (keys replaced by flags are not checked).
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


def typed(argv: Sequence[str]) -> list[str]:
    """The command line as one may type it again, whichever way this process was started."""
    program = Path(argv[0])
    if program.name != "__main__.py":
        return [program.name, *argv[1:]]
    return ["aps", *([] if program.parent.name == "aps_text" else ["eval"]), *argv[1:]]
