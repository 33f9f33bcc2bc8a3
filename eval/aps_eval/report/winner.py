"""One sentence that names the winner of a block, by the verdicts on one value.

The value is the first reported reward that did not guide, else the first metric against gold
answers, else the guiding reward itself, which the sentence says. A method wins if its difference to
the baseline is `better` (`statistics`); a higher mean is not enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from .statistics import FEWEST
from .summary import Entry

__all__ = ["judged_by", "winner"]

GOLD = ("exact", "numeric", "accuracy", "solved", "contains", "f1", "rouge_l")
MOST = 4
"""The maximal number of methods that a sentence names."""


def judged_by(entries: Sequence[Entry]) -> str | None:
    """The value that decides a block; None if no value has a better direction."""
    loud = {one.value for one in entries if one.guided_by_it}
    names = [name for name in dict.fromkeys(one.value for one in entries) if name[-4:] != " top"]
    reports = [name for name in names if name.startswith("report:")]
    guides = [name for name in names if name.startswith("guide:")]
    total = ["guide:total"] if "guide:total" in guides and len(guides) > 2 else []
    gold = [name for name in GOLD if name in names]
    found = [*(name for name in reports if name not in loud), *gold, *reports, *total, *guides]
    return found[0] if found else None


def winner(entries: Sequence[Entry]) -> str:
    """One sentence about the entries of one block."""
    name = judged_by(entries)
    if name is None:
        return "Nobody won: nothing was measured that tells better from worse."
    own = [one for one in entries if one.value == name and not one.control]
    by = name
    if name.startswith("guide:") or any(one.guided_by_it for one in own):
        by += ", which guided and is no independent judge"
    tested = [one for one in own if one.difference is not None]
    if not tested:
        return f"Nobody won by {by}: there is no baseline beside it to compare with."
    most = max(one.difference.prompts for one in tested if one.difference)
    if most < FEWEST:
        are = "prompts are" if most > 1 else "prompt is"
        return (
            f"Nobody won by {by}: {most} {are} too few to tell (an interval needs {FEWEST}); "
            f"minus {_and(list(dict.fromkeys(one.against for one in tested)))}: {_named(tested)}."
        )
    verdicts = {one.label: one.difference.verdict for one in tested if one.difference}
    better = [one for one in tested if verdicts[one.label] == "better"]
    worse = [one for one in tested if verdicts[one.label] == "worse"]
    even = [one for one in tested if one not in better and one not in worse]
    against = _and(list(dict.fromkeys(one.against for one in tested)))
    if len(better) == 1:
        (best,) = better
        assert best.difference is not None
        return (
            f"{best.label} won by {by}: {_gap(best)} against {best.against}, better on "
            f"{best.difference.wins:.0%} of {best.difference.prompts} prompts (ties half)."
        )
    if better:
        return (
            f"{_named(better)} are better than {against} by {by}; which of them is best was not "
            "tested (name one as --baseline)."
        )
    if not even:
        are = "is" if len(worse) == 1 else "are"
        return f"{against} won by {by}: {_named(worse)} {are} worse."
    tail = f"; {_named(worse)} {'is' if len(worse) == 1 else 'are'} worse" if worse else ""
    return f"Nobody won by {by}: no difference to {against} is shown of {_named(even)}{tail}."


def _named(entries: Sequence[Entry]) -> str:
    named = [f"{one.label} ({_gap(one)})" for one in entries[:MOST]]
    return _and([*named, *([f"{len(entries) - MOST} more"] if len(entries) > MOST else [])])


def _gap(one: Entry) -> str:
    gap = one.difference
    return f"{gap.mean:+.3f}{gap.interval}" if gap is not None else ""


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
