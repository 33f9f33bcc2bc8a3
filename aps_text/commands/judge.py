"""`aps judge`: scores the stored answers of `aps eval` by rewards that it did not report."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .eval import typed
from .waiting import importing

__all__ = ["add_parser", "judge_command"]


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "judge",
        help="score the stored answers of `aps eval` by further rewards and metrics",
        description="Scores answers that `aps eval` has stored, finished or not, and writes its "
        "tables and page again. Nothing is generated, and the run can be continued as before. Exit "
        "status: 0, or 1 if a reward failed on some answers.",
    )
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="of `aps eval --out`, e.g. results/smol")
    add("--report", nargs="+", action="extend", default=[], metavar="NAME", help="rewards")
    add(
        "--metrics",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="metrics that the task does not have, e.g. nll",
    )
    add("--out", metavar="FOLDER", help="leave FOLDER as it is and judge a copy of it in this one")
    add(
        "--again",
        action="store_true",
        help="replace the values that are there, e.g. since a reward has newer weights",
    )
    add("--data", metavar="FOLDER", help="where tasks look for files (default: as the run did)")
    add(
        "--batch-size",
        type=int,
        default=32,
        metavar="N",
        help="answers in one pass (default: 32)",
    )
    parser.set_defaults(run=judge_command)


def judge_command(args: argparse.Namespace) -> int:
    """Judge a folder; returns 1 if a reward failed on some answers."""
    with importing("torch"):
        from aps_eval.judging.judge_folder import judge_folder
        from transformers.utils import logging
    logging.disable_progress_bar()
    found = judge_folder(
        args.folder,
        args.report,
        args.metrics,
        out=args.out,
        again=args.again,
        batch_size=args.batch_size,
        data=args.data,
        command=typed(sys.argv),
    )
    return 1 if found.errors else 0
