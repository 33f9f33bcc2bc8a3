"""`aps --print-completion SHELL`, by shtab.

shtab prints a static script, once: pressing TAB starts no Python. (argcomplete asks the program
itself at each TAB, which takes as long as importing it.)
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from typing import Any

__all__ = ["FILES", "SHELLS", "PrintCompletion", "offer"]

SHELLS = ("bash", "zsh", "fish", "tcsh")
FILES = {
    "bash": "_shtab_compgen_files",
    "zsh": "_files",
    "fish": "(__fish_complete_path (commandline -ct))",
    "tcsh": "f",
}
"""shtab's FILE: an option that takes a file name."""


def offer(action: argparse.Action, names: Collection[str]) -> None:
    """Complete these values of a flag, which the flag does not check itself."""
    action.offered = tuple(names)  # type: ignore[attr-defined]


def _with_offers(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser, for a script alone: what was offered takes the place of choices, in place."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                _with_offers(one)
        elif names := getattr(action, "offered", None):
            action.choices = names
    return parser


class PrintCompletion(argparse.Action):
    """Prints the completion script of the whole parser and exits."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, choices=SHELLS, **kwargs)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Raises `SystemExit`: 0 after printing, 2 if shtab is not installed."""
        try:
            import shtab
        except ImportError:
            parser.error("--print-completion needs shtab; pip install shtab")
        print(shtab.complete(_with_offers(parser), values))
        parser.exit()
