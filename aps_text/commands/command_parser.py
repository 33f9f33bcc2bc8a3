"""The parser of the command line: errors that name the flag that took a missing argument's words,
and the command that an unknown flag is of."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

__all__ = ["CommandParser"]

MISSING = "the following arguments are required: "

UNKNOWN = "unrecognized arguments: "


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
        """Print usage and message, exit with 2.

        It says so if a flag took what is missing, and of which command an unknown flag is; usage is
        the chosen command's.
        """
        if message.startswith(UNKNOWN) and (chosen := self._chosen()):
            name, commands = chosen
            for word in message.removeprefix(UNKNOWN).split():
                flag = word.partition("=")[0]
                owners = [
                    other
                    for other, command in commands.items()
                    if flag.startswith("--") and flag in command._option_string_actions
                ]
                if name in owners:
                    message += f" (write {flag} after aps {name})"
                elif owners:
                    those = ", ".join(f"aps {other}" for other in owners)
                    message += f" ({flag} is of {those}, not of aps {name})"
            commands[name].error(message)
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

    def _chosen(self) -> tuple[str, dict[str, argparse.ArgumentParser]] | None:
        """The command that the words name, and all there are; None in a command's own parser."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                name = next((word for word in self._words if word in action.choices), None)
                return (name, dict(action.choices)) if name else None
        return None

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
