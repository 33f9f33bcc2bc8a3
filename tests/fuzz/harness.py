"""Generated inputs, and what became of each: answered, refused clearly, or mishandled.

An input is refused clearly by one of our error types, raised on a line of ours, whose message is
one that can be printed and, where the kind says so, names what was given. Everything else that is
not an answer is mishandled: an error that escaped from somebody else's code, a text that cannot be
printed, an answer that is none, or something that is changed afterwards.

    python tests/fuzz 10000 [KIND ...]      tried: 10000, answered: ..., mishandled = 0
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from aps_rewards import RewardError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

CLEAR = (ValueError, TypeError, RewardError, FileNotFoundError, NotADirectoryError, ImportError)
OURS = ("aps_text", "aps_rewards", "aps_eval")


@dataclass
class Kind:
    """A kind of input.

    Attributes:
        name: for the report.
        inputs: what is tried.
        use: does with one what a user would; returns None, or what is wrong with the answer.
        share: of all inputs.
    """

    name: str
    inputs: SearchStrategy
    use: Callable[[object], str | None]
    share: float = 1.0


@dataclass
class Tally:
    """What became of the inputs of a kind."""

    counts: Counter = field(default_factory=Counter)
    mishandled: dict[str, str] = field(default_factory=dict)
    """By what went wrong, one input each."""

    def __str__(self) -> str:
        tried = sum(self.counts.values())
        return (
            f"tried: {tried}, answered: {self.counts['answered']}, refused clearly: "
            f"{self.counts['refused']}, mishandled = {self.counts['mishandled']}"
        )


def outcome(use: Callable[[object], str | None], value: object) -> tuple[str, str]:
    """`answered`, `refused` or `mishandled`, and what is to be said of it."""
    try:
        wrong = use(value)
    except CLEAR as error:
        return _judged(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return "mishandled", f"{type(error).__name__} from {_line(error)}: {_text(error)}"
    return ("mishandled", wrong) if wrong else ("answered", "")


def _judged(error: BaseException) -> tuple[str, str]:
    where, text = _line(error), _text(error)
    what = f"{type(error).__name__} from {where}: {text}"
    if not where.startswith(OURS):
        return "mishandled", what
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "mishandled", f"cannot be printed: {what!a}"
    return ("refused", what) if len(text) > 8 else ("mishandled", f"says nothing: {what}")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as inner:
        return f"<{type(inner).__name__} in its own text>"


def _line(error: BaseException) -> str:
    """`module:line` of the frame that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "nowhere"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"


def run(kind: Kind, count: int, start: int = 0) -> Tally:
    """Try `count` inputs; equal ones count once, so that a small kind may be exhausted sooner."""
    tally = Tally()

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        derandomize=False,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.inputs)
    def attempt(value: object) -> None:
        shown = ascii(value)[:300]
        found, what = outcome(kind.use, value)
        tally.counts[found] += 1
        if found == "mishandled":
            tally.mishandled.setdefault(what.partition(": ")[0], f"{shown}\n      {what[:300]!a}")

    attempt()
    return tally


def main(count: int, names: list[str]) -> int:
    """All kinds, `count` inputs in all; prints the tally and an example of each fault."""
    from kinds import KINDS

    kinds = [kind for kind in KINDS if not names or kind.name in names]
    whole, shares = Tally(), sum(kind.share for kind in kinds)
    for kind in kinds:
        tally = run(kind, max(1, round(count * kind.share / shares)))
        print(f"{kind.name}: {tally}", flush=True)
        for fault, example in tally.mishandled.items():
            print(f"    {fault}\n      {example}", flush=True)
        whole.counts += tally.counts
    print(f"all: {whole}")
    return 1 if whole.counts["mishandled"] else 0
