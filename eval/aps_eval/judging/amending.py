"""Rows with values that were measured after the run, written as a run writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..extraction import RULES
from ..measures import MEASURES
from ..rereading import read_again
from ..rows import Row
from .judges import Asked, Judge, RewardJudge

__all__ = ["Verdict", "amended", "column", "last_judgement"]


@dataclass(frozen=True)
class Verdict:
    """What a judge says of an answer: its values, by the names of the judge's parts."""

    judge: Judge
    values: dict[str, float | None]


def amended(
    verdicts: Sequence[Verdict], asked: Asked, at: str, again: bool
) -> Callable[[Row], Row]:
    """A change of a row: the verdicts put where a run puts its reports and metrics.

    Nothing else of the row changes, but that an answer of older rules is read again by today's
    where a metric of the text is added. What stands already is left, or with `again` replaced.

    Args:
        at: the time, as of `aps_eval.run.run_log.now`.
    """

    def change(row: Row) -> Row:
        stored = row.metrics  # before they are read again
        for one in verdicts:
            standing = one.judge.standing(row)
            if standing is not None and not again:
                continue
            if isinstance(one.judge, RewardJudge):
                row = _reported(row, one.judge, one.values, standing, at)
            else:
                name, value = one.judge.title, one.values[one.judge.title]
                if name in MEASURES and row.rules < RULES:
                    row = read_again(row, *asked)
                records = [_record(one.judge, name, at, stored)]
                metrics = {**row.metrics, name: value}
                row = replace(row, metrics=metrics, judged=[*row.judged, *records])
        return row

    return change


def column(judge: Judge, name: str) -> str:
    """The name of a value in summaries: `report:valence`, `nll`."""
    return f"report:{name}" if isinstance(judge, RewardJudge) else name


def last_judgement(row: Row, judge: Judge) -> dict[str, Any] | None:
    """The record of the row's value of a judge that was measured after the run."""
    names = {column(judge, name) for name in judge.standing(row) or ()}
    return next((one for one in reversed(row.judged) if one["value"] in names), None)


def _reported(
    row: Row, judge: RewardJudge, values: dict[str, Any], standing: list[str] | None, at: str
) -> Row:
    names = standing or list(judge.names)
    before = row.scores.get("report", {})
    records = [_record(judge, name, at, before) for name in names]
    found = dict(zip(names, values.values(), strict=True))
    rewards = row.rewards
    if standing is None:
        spec = {"name": judge.spec["name"], "weight": 1.0, "options": judge.spec["options"]}
        rewards = {**rewards, "report": [*rewards.get("report", []), {**spec, "judged": names}]}
    return replace(
        row,
        rewards=rewards,
        scores={**row.scores, "report": {**before, **found}},
        judged=[*row.judged, *records],
    )


def _record(judge: Judge, name: str, at: str, before: dict[str, Any]) -> dict[str, Any]:
    one = {
        "value": column(judge, name),
        "fingerprint": judge.fingerprint,
        "version": judge.version,
        "at": at,
    }
    return {**one, "was": before[name]} if name in before else one
