"""The parser of the command line: a missing argument's error names the flag that took its words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

__all__ = ["CommandParser"]

MISSING = "the following arguments are required: "


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` for commands with flags that take several words (`nargs="+"`).

    Such a flag takes every word up to the next flag, so `--reward NAME QUESTION` leaves no
    question. Subparsers are of this class, too.
    """

    _words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the base class; keeps the words for `error`."""
        self._words = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print usage and message, exit with 2; says so if a flag took what is missing."""
        missing = message.removeprefix(MISSING)
        positional = missing != message and not missing.startswith("-")
        flag, taken = max(self._taken(), key=lambda one: len(one[1]), default=("", []))
        if positional and taken:
            first, words = missing.split(",")[0], ", ".join(map(repr, taken))
            if "--" in self._words:
                message = f"no {first} follows --, and {flag} took {words}; write it after --"
            else:
                message = (
                    f"no {first} is left, {flag} takes all words up to the next flag: {words}; "
                    f"put {first} before {flag}, or -- between them"
                )
        super().error(message)

    def _taken(self) -> list[tuple[str, list[str]]]:
        """The flags that take several words, each with those it took."""
        several = [flag for one in self._actions if one.nargs == "+" for flag in one.option_strings]
        found: list[tuple[str, list[str]]] = []
        inside = False
        for word in self._words:
            if word.startswith("--") and word != "--":
                flags = [flag for flag in several if flag.startswith(word)]
                inside = bool(flags)
                found += [(flags[0], [])] if flags else []
            elif word.startswith("-") and len(word) > 1:
                inside = False
            elif inside:
                found[-1][1].append(word)
        return found
