"""The command `aps`: parses arguments, calls the pipeline and prints the results."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .commands import chat, demo, judge, models, paint, plan, restore, verify
from .commands import eval as evaluation
from .commands import rewards as reward_commands
from .commands.answers import json_rows, show, write_pages
from .commands.canvas import Canvas
from .commands.command_parser import CommandParser
from .commands.completion import FILES, PrintCompletion
from .commands.loading import add_loading, loading_options
from .commands.settings import add_settings, settings_in
from .commands.streams import open_streams, prints_aside
from .commands.waiting import said, steps_said, waiting
from .commands.warned_once import warned_once
from .text.visible import json_text, on_terminal

if TYPE_CHECKING:
    from .pipelines.output import APSOutput

__all__ = ["main"]

SHOWN = (
    "draw the canvas as it fills: a dot is open, green was kept at this step, blue to orange "
    "earlier to later"
)


def main(argv: list[str] | None = None) -> int:
    """Run `aps`; returns the exit status (2 for an error, which is printed on one line)."""
    atexit.register(skip_last_collection)
    if not open_streams():
        print("aps: standard output is closed; give it a place, e.g. > FILE", file=sys.stderr)
        return 2
    args = build_parser().parse_args(argv)
    try:
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except (ValueError, TypeError, ImportError, OSError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError) and left_by_its_reader():
            return 141
        print(on_terminal(f"aps: {error}", sys.stderr), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("aps: stopped", file=sys.stderr)
        return 130


def skip_last_collection() -> None:
    """Spare the search of all objects for cycles as the interpreter ends: seconds, with torch."""
    # triton's binding reports whatever was not collected as leaked, in thirty lines on stderr.
    if "triton" not in sys.modules:
        gc.freeze()


def left_by_its_reader() -> bool:
    """Whether nobody reads stdout any more (`aps ... | head`); what is still printed is dropped."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        left = True
    else:  # what the first flush failed to write may be gone, and the second one succeeds
        left = _is_unread(sys.stdout.fileno())
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return left


def _is_unread(descriptor: int) -> bool:
    """Whether the other end of a pipe is closed; False where the system cannot tell (Windows)."""
    if not hasattr(select, "poll"):
        return False
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(0))


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = CommandParser(
        prog="aps", description="Steer masked diffusion models with rewards at test time."
    )
    parser.add_argument("--version", action="version", version=f"aps_text {__version__}")
    parser.set_defaults(run=lambda args: help_command(parser))
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        help="print a completion script for this shell: bash, zsh, fish or tcsh",
    )
    commands = parser.add_subparsers(title="commands")
    ask = commands.add_parser("ask", help="answer questions, plainly and steered")
    ask.add_argument("questions", nargs="+", metavar="QUESTION")
    ask.add_argument(
        "--reward",
        nargs="+",
        action="extend",
        metavar="NAME[=WEIGHT]",
        help="what to steer by (default: answer-quality); weight 0 only reports; options are "
        "separated by colons, e.g. length:low=4:high=6",
    )
    ask.add_argument(
        "--select",
        nargs="+",
        action="extend",
        metavar="NAME[=WEIGHT]",
        help="of --num-return-sequences answers, show the one these like best",
    )
    ask.add_argument(
        "--control",
        choices=["zero", "shuffled", "flipped"],
        help="answer once more, steered by a reward that should not help",
    )
    ask.add_argument("--method", default="aps", help="aps, plain, or a peer of docs/methods.md")
    ask.add_argument(
        "--method-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the method itself, e.g. particles=8",
    )
    ask.add_argument("--model", default="mini", help="'mini', 'smol', a folder or a hub id")
    ask.add_argument("--show", action="store_true", help=SHOWN)
    ask.add_argument("--json", action="store_true", help="for machines")
    html = ask.add_argument(
        "--html",
        metavar="FILE",
        help="write a page that shows the plain and the steered answer step by step",
    )
    html.complete = FILES  # type: ignore[attr-defined]  # read by shtab
    add_settings(ask)
    add_loading(ask)
    ask.set_defaults(run=ask_command)
    for command in (
        *(chat, demo, restore, paint, plan, models, reward_commands, verify, evaluation),
        judge,
    ):
        command.add_parser(commands)
    return parser


def help_command(parser: argparse.ArgumentParser) -> int:
    """`aps` alone: the help, on stderr, and the status of an incomplete command."""
    parser.print_help(sys.stderr)
    return 2


def ask_command(args: argparse.Namespace) -> int:
    """`aps ask`: the plain answer and the steered one, the rewards of both, and the cost."""
    from aps_rewards import RewardError
    from transformers.utils import logging

    from .core.config import APSConfig
    from .core.own_settings import config_for
    from .core.presets import text_preset
    from .methods.ancestral import base_config
    from .methods.draws import Draws
    from .methods.registry import make_method
    from .methods.unread import own_for, refuse_unread, refuse_unsteered
    from .pipelines.batch import Roles
    from .pipelines.comparison import notices
    from .pipelines.text import METHODS, APSPipeline
    from .text.prompts import as_prompts
    from .text.reward_operator.guidance import load_rewards

    logging.disable_progress_bar()
    as_prompts(args.questions)
    single = sum(len(question.split()) == 1 for question in args.questions)
    if single > 1:
        print(f"aps: {single} questions of one word: to ask one, quote it", file=sys.stderr)
    options = settings_in(args)
    method = make_method(METHODS, args.method, args.method_option)
    preset = text_preset(args.preset)
    shuffled = args.control == "shuffled"
    steers = args.method != "plain"  # the plain answer beside is drawn by the same seed
    refuse_unread(method, options, preset, draws=Draws(control=shuffled, beside=steers))
    # Bad settings are told before anything is loaded; the model may have a start of its own.
    early = {"guidance_start": 0.0} if "guidance_end" in options else {}
    APSConfig.make(preset, **(early | options))
    names = args.reward or ["answer-quality"]
    if args.html is not None and not args.html.strip():
        raise ValueError(f"--html is the name of the file to write, got {args.html!r}")
    if args.html and not Path(args.html).absolute().parent.is_dir():
        raise ValueError(f"--html {args.html}: there is no such folder; make it first")
    if args.html and Path(args.html).is_dir():
        raise ValueError(f"--html {args.html} is a folder; name a file in it")
    loading = f"loading {args.model} and {', '.join(names)}"
    with waiting(loading), prints_aside(args.json):
        known: dict[str, Any] = {}
        # By name, for the code of a page; a file's is shown by its own name, not by its path.
        loaded = load_rewards(names, known)
        rewards = [
            (name if known.get(name) is reward and ".py:" not in name else reward, weight)
            for name, weight, reward in loaded
        ]
        pipe = APSPipeline.from_pretrained(args.model, **loading_options(args))
        pipe.know(known)
        pipe.shell = True
    own = own_for(method, pipe.model.settings)
    config = config_for(own, preset, **options)
    draws = Draws(
        control=shuffled,
        samples=shuffled or Roles(loaded).are_sampled(config),
        beside=steers and bool(Draws().sources(base_config(config))),
    )
    refuse_unread(method, options, preset, own=own, draws=draws)
    if options:
        refuse_unsteered(method, config)
    shown = Canvas(pipe) if args.show and not args.json else None
    outputs: dict[str, APSOutput] = {}
    plainly = method if args.method == "plain" else "plain"
    runs: dict[str, dict[str, Any]] = {"plain": {"method": plainly}}
    if args.method != "plain":
        runs[args.method] = {"method": method}
    elif args.control:
        raise ValueError(
            f"--control {args.control} needs a method that steers; leave out --method plain"
        )
    if args.control:
        runs[args.control] = {"method": method, "control": args.control}
    failed: RewardError | None = None
    try:
        with warned_once(), prints_aside(args.json):
            for title, how in runs.items():
                lines = steps_said(f"answering by {title}") if shown is None else None
                on_pass = None if lines is None else lines.passed
                if shown is None:
                    said(f"answering by {title}")
                else:
                    shown.title(title)
                    on_pass = shown.passed
                outputs[title] = pipe(
                    args.questions,
                    rewards,
                    select=args.select,
                    config=config,
                    **how,
                    on_step=shown.step if shown is not None else lines,
                    on_pass=on_pass,
                    keep_trajectory=bool(args.html),
                    progress=False if shown is not None else None,
                )
    except RewardError as error:  # what is done is shown before it
        failed, outputs[title] = error, error.partial
    finally:
        if shown is not None:
            shown.close()
    if failed is None:
        warnings = notices(outputs, args.method)
    else:
        outputs = {title: out for title, out in outputs.items() if out is not None and len(out)}
        warnings = [text for out in outputs.values() for text in out.warnings]
    if args.json and outputs:
        found = json_rows(outputs, args.method, args.control, whole=failed is None)
        print(json_text(found[0] if len(found) == len(args.questions) == 1 else found))
    elif outputs:
        show(outputs, warnings)
    if failed is not None:
        sys.stdout.flush()
        raise failed
    if args.html:
        sys.stdout.flush()
        write_pages(args.html, outputs, args.method)
    return 0


if __name__ == "__main__":
    sys.exit(main())
