"""`aps chat`: questions one after the other, steered by rewards that can be changed in between."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO

from ..text.visible import on_terminal, visible
from .loading import add_loading, loading_options
from .settings import TEXT_HELP, add_settings, settings_in
from .streams import prints_aside
from .waiting import waiting
from .warned_once import warned_once

if TYPE_CHECKING:
    from ..pipelines.text import APSPipeline

__all__ = ["Chat", "add_parser", "chat_command"]

HELP = f"""\
/reward NAME[=WEIGHT] ...   steer by these from now on; /reward none answers plainly
/preset NAME                {TEXT_HELP}
/set NAME VALUE             a setting, e.g. /set beta 0.3; none takes it back
/new                        forget the conversation
/show                       what is set
/help, /quit                this; the end (quit, exit and Ctrl-D, too)"""
ERRORS = (ValueError, TypeError, ImportError, OSError, RuntimeError)


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "chat",
        help="ask one question after the other",
        description="Reads a question or a /command a line, also from a pipe; /help lists them.",
    )
    add = parser.add_argument
    add(
        "--reward",
        nargs="+",
        metavar="NAME[=WEIGHT]",
        help="what to steer by (default: answer-quality); none answers plainly",
    )
    add("--model", default="mini", help="'mini', 'smol', a folder or a hub id")
    add(
        "--no-compare",
        action="store_true",
        help="answer no question plainly as well, which shows whether the reward rose",
    )
    add_settings(parser)
    add_loading(parser)
    parser.set_defaults(run=chat_command)


def chat_command(args: argparse.Namespace) -> int:
    """Answer what is typed until /quit; 1 if a line of a pipe could not be answered."""
    from transformers.utils import logging

    from ..pipelines.text import APSPipeline

    logging.disable_progress_bar()
    names = args.reward or ["answer-quality"]
    piped = not sys.stdout.isatty()
    with waiting(f"loading {args.model} and {', '.join(names)}"), prints_aside(piped):
        pipe = APSPipeline.from_pretrained(args.model, **loading_options(args))
        pipe.shell = True
        chat = Chat(pipe, names, args.preset, settings_in(args), compares=not args.no_compare)
    typed = sys.stdin.isatty()
    if typed:
        print(f"{args.model}, steered by {chat.rewards_shown}. /help lists commands.")
    failed = False
    with warned_once():
        for line in lines(typed):
            try:
                if not chat.take(line):
                    break
            except KeyboardInterrupt:
                print("(stopped)", file=sys.stderr)
            except ERRORS as error:
                failed = True
                print(on_terminal(f"aps: {error}", sys.stderr), file=sys.stderr)
    return 1 if failed and not typed else 0


def lines(typed: bool) -> Iterator[str]:
    """The lines of stdin; with a sign to type behind, and history, on a terminal."""
    if not typed:
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # `take` refuses such a line alone
        yield from sys.stdin
        return
    with contextlib.suppress(ImportError):  # not on every system
        import readline  # noqa: F401  # input() then has a history
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()


class Chat:
    """A conversation and what steers it.

    A model with a chat template sees the turns before; one that answers single questions (mini)
    sees each alone.

    Args:
        rewards: names with weights; `none` alone answers plainly.
        preset: of the settings; None is the usual one.
        settings: keywords of `APSConfig`.
        compares: answer plainly as well, and show that answer's rewards: whether they rose.

    Raises:
        ValueError, TypeError, ImportError: a reward that does not load, a bad setting.
    """

    def __init__(
        self,
        pipe: APSPipeline,
        rewards: list[str],
        preset: str | None = None,
        settings: dict[str, Any] | None = None,
        compares: bool = True,
    ) -> None:
        from ..text.prompt_encoding import ChatEncoder

        self.pipe, self.preset, self.settings = pipe, preset, dict(settings or {})
        self.compares = compares
        self.turns: list[dict[str, str]] = []
        self.remembers = isinstance(pipe.model.encode, ChatEncoder)
        self.rewards: list[str] = []
        self._loaded: dict[Any, Any] = {}
        self._spec: list[Any] | None = None
        self._check(preset, self.settings)
        self.reward(rewards)

    @property
    def rewards_shown(self) -> str:
        """The rewards, for people."""
        return ", ".join(self.rewards) or "nothing"

    def take(self, line: str) -> bool:
        """Answer a question or follow a command; False at the end.

        Raises:
            ValueError, TypeError, ImportError, RuntimeError: nothing has changed.
        """
        line = line.strip()
        if any("\udc80" <= letter <= "\udcff" for letter in line):
            raise ValueError(f"the line {line!a} is not UTF-8; type it again")
        if not line:
            return True
        if line.lower() in ("quit", "exit"):
            return False
        if not line.startswith("/"):
            self.ask(line)
            return True
        name, *words = shlex.split(line[1:]) or [""]
        if name == "quit" and not words:
            return False
        known: dict[str, tuple[Callable[..., None], range]] = {
            "reward": (lambda *given: self.reward(list(given)), range(1, 1000)),
            "preset": (self.use, range(1, 2)),
            "set": (self.set, range(2, 3)),
            "new": (self.turns.clear, range(1)),
            "show": (self.show, range(1)),
            "help": (lambda: print(HELP), range(1)),
        }
        if name not in known or len(words) not in known[name][1]:
            raise ValueError(f"no command {line!r}; /help lists them")
        known[name][0](*words)
        return True

    def reward(self, names: list[str]) -> None:
        """Steer by these rewards from now on."""
        from ..text.reward_operator.guidance import load_rewards

        given = [] if names == ["none"] else list(names)
        found = load_rewards(given, self._loaded) if given else []
        self.pipe.know(self._loaded)
        self._spec = [(one, weight) for _, weight, one in found] or None
        self.rewards = given

    def use(self, preset: str) -> None:
        """Take a preset from now on."""
        self._check(preset, self.settings)
        self.preset = preset

    def set(self, name: str, value: str) -> None:
        """Set a keyword of `APSConfig`, or take it back with `none`."""
        from .settings import typed_value

        found = {"true": True, "false": False}.get(value.lower(), typed_value(value))
        changed = {key: one for key, one in self.settings.items() if key != name}
        changed |= {} if found is None and name in self.settings else {name: found}
        self._check(self.preset, changed)
        self.settings = changed

    def show(self) -> None:
        """Print what is set."""
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        parts = [f"reward {self.rewards_shown}", f"preset {self.preset or 'balanced'}", settings]
        print("; ".join(filter(None, parts)))

    def ask(self, question: str) -> None:
        """Print the answer; on a terminal as it forms. Rewards, seconds (of this answer) and
        warnings go to stderr."""
        from ..pipelines.comparison import notices
        from .canvas import Canvas

        with prints_aside(not sys.stdout.isatty()):
            self.reward(self.rewards)  # a file of a reward may have changed
        turn = {"role": "user", "content": question}
        prompt: Any = [*self.turns, turn] if self.remembers else question
        drawn = Canvas(self.pipe, transient=True) if sys.stdout.isatty() else None
        method = "plain" if self._spec is None else "aps"
        try:
            with prints_aside(drawn is None):
                out = self.pipe(
                    [prompt],
                    self._spec,
                    method=method,
                    preset=self.preset,
                    on_step=drawn.step if drawn is not None else None,
                    on_pass=drawn.passed if drawn is not None else None,
                    progress=False,
                    **self.settings,
                )
        except ValueError as error:
            raise ValueError(f"{error}{self._mend(method, str(error))}") from error
        finally:
            if drawn is not None:
                drawn.close()
        answer = out[0]
        write(answer.text, sys.stdout)
        tell(", ".join([*scores(answer.rewards), f"{out.cost.seconds:.1f} s"]))
        if self.remembers:
            self.turns += [turn, {"role": "assistant", "content": answer.text}]
        for warning in out.warnings:
            tell(f"warning: {warning}")
        outputs = {method: out}
        if self.compares and method != "plain":
            how: dict[str, Any] = {"method": "plain", "config": out.config, "progress": False}
            try:
                with waiting("answering plainly, to compare"), prints_aside(drawn is None):
                    outputs = {"plain": self.pipe([prompt], self._spec, **how), **outputs}
                tell(f"plain: {', '.join(scores(outputs['plain'][0].rewards))}")
            except KeyboardInterrupt:
                tell("(not compared)")
        for notice in notices(outputs, method)[len(out.warnings) :]:
            tell(f"warning: {notice}")

    def _mend(self, method: str, said: str) -> str:
        """The command that mends a question's error; empty if none is known."""
        if self.turns and "more than the context of" in said:
            return ", or forget the conversation by /new"
        idle = [name for name in self.settings if re.search(rf"\b{name}=", said)]
        if method == "plain" and idle:
            back = " and ".join(f"/set {name} none" for name in idle)
            return f"; undo it by {back}, or steer by /reward NAME"
        return ""

    def _check(self, preset: str | None, settings: dict[str, Any]) -> None:
        from ..core.own_settings import config_for
        from ..core.presets import text_preset

        config_for(self.pipe.model.settings, text_preset(preset), **settings)


def scores(rewards: Mapping[str, float]) -> list[str]:
    """Rewards of an answer and their names, without the total."""
    return [f"{name} {value:.3f}" for name, value in rewards.items() if name != "total"]


def tell(line: str) -> None:
    """Print a line about an answer on stderr."""
    write(line, sys.stderr, "  ")


def write(text: str, file: TextIO, head: str = "") -> None:
    """Print a text behind a head; on a terminal it is wrapped between words."""
    if not file.isatty():
        print(f"{head}{text}", file=file, flush=True)
        return
    from rich.text import Text

    from ..text.text_console import TextConsole

    TextConsole(file=file).hanging(head, Text(visible(text)))
    file.flush()
