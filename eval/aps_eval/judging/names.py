"""The names of judges' values: of a judge they are the same in every row of a folder.

Tables average a column by its name, so a name may never stand for two judges. A judge takes the
names that it has in the folder already: where it judged before (the row's `judged`, or `run.json`,
where an earlier call has noted it), where the run reported it, or where it guided or selected.
Without any there it takes its own, numbered like a run's if one of any row is taken: `keywords_2`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..rows import Row
from .judges import Judge, RewardJudge, numbered

__all__ = ["with_names"]


def with_names(
    judges: Sequence[Judge], rows: Sequence[Row], noted: Iterable[Mapping[str, Any]]
) -> list[Judge]:
    """The judges, each reward with the names of its values in this folder.

    Args:
        rows: of the folder.
        noted: the judges of earlier calls, as `run.json` has them.
    """
    earlier = [one for one in noted if isinstance(one.get("names"), list)]
    everything = {name for row in rows for values in row.scores.values() for name in values}
    given: set[str] = set()
    found: list[Judge] = []
    for judge in judges:
        if not isinstance(judge, RewardJudge):
            found.append(judge)
            continue
        others = {str(name) for one in earlier if not _is_of(judge, one) for name in one["names"]}
        kept = _names_before(judge, rows, earlier, others | given)
        names = kept or numbered([name for name, _ in judge.parts], everything | others | given)
        given |= set(names)
        found.append(replace(judge, names=tuple(names)))
    return found


def _names_before(
    judge: RewardJudge,
    rows: Sequence[Row],
    earlier: Sequence[Mapping[str, Any]],
    taken: Collection[str],
) -> list[str] | None:
    """The first names that it has, or its own, which nothing else has; None without any."""
    reported, steering = set(taken), set(taken)
    for row in rows:
        reported |= set(row.scores.get("report", {})) - set(judge.standing(row) or ())
        for role in ("guide", "select"):
            steering |= set(row.scores.get(role, {})) - set(judge.measured(row, role) or ())
    fixed = [*_judged_as(judge, rows), *(one["names"] for one in earlier if _is_of(judge, one))]
    usual = [
        *(names for row in rows if (names := judge.standing(row))),
        *(n for role in ("guide", "select") for row in rows if (n := judge.measured(row, role))),
        [name for name, _ in judge.parts],
    ]
    free = [one for one in fixed if reported.isdisjoint(one)]
    free += [one for one in usual if (reported | steering).isdisjoint(one)]
    return next((one for one in free if len(one) == len(judge.parts)), None)


def _judged_as(judge: RewardJudge, rows: Iterable[Row]) -> Iterator[list[str]]:
    """Its names in each row that it judged before."""
    for row in rows:
        if any("judged" in one and judge.is_named(one) for one in row.rewards.get("report", [])):
            yield judge.standing(row) or []


def _is_of(judge: RewardJudge, one: Mapping[str, Any]) -> bool:
    """Whether an entry of `run.json` is this judge's, of whatever version."""
    return "name" in one and judge.is_named({"options": {}, **one})
