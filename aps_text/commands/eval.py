"""`aps eval`: compares methods and rewards on tasks; writes rows and a report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.presets import TEXT_PRESETS
from .grid_values import grid_values
from .waiting import importing

__all__ = ["add_parser", "eval_command"]


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
    add(
        "--question-field",
        metavar="FIELD",
        help="of a data file: what to ask (prompt or question, if it has one of them)",
    )
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


def typed(argv: Sequence[str]) -> list[str]:
    """The command line as one may type it again, whichever way this process was started."""
    program = Path(argv[0])
    if program.name != "__main__.py":
        return [program.name, *argv[1:]]
    return ["aps", *([] if program.parent.name == "aps_text" else ["eval"]), *argv[1:]]
