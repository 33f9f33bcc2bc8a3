"""What a reader of the tables must know of them: values that are missing, and numbered names.

A value is missing where a row lacks it: it was judged before the row was made, or its judge failed.
A report that is None does not apply to the answer; its mean is over the others. Two rewards of one
name (`length:high=9` and `length:high=10`) are two values, of which the second is numbered.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..measures import MEASURES
from ..rows import Row

__all__ = ["legend", "missing", "notes"]


def notes(rows: Sequence[Row], folder: str | Path) -> list[str]:
    """All of them, a line each."""
    return [*missing(rows, folder), *legend(rows)]


def missing(rows: Sequence[Row], folder: str | Path) -> list[str]:
    """Which values some answers lack, with the mend, and which reports do not apply to some.

    Metrics are looked for in the rows of a task, reports in those of a task under one guide.
    """
    answers = list({row.key: row for row in rows if row.error is None}.values())
    lacking, empty, all_of = Counter[str](), Counter[str](), Counter[str]()
    judge: dict[str, str] = {}
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in answers:
        groups["metric", row.task].append(row)
        groups["report", row.task, row.guide].append(row)
    for (kind, *_), own in groups.items():
        known = [row.metrics if kind == "metric" else row.scores.get("report", {}) for row in own]
        for name in dict.fromkeys(name for one in known for name in one):
            title = name if kind == "metric" else f"report:{name}"
            lacking[title] += sum(name not in one for one in known)
            if kind == "report":
                empty[title] += sum(name in one and one[name] is None for one in known)
            all_of[title] += len(own)
            judge.setdefault(title, _judged_by(kind, name, own, folder))
    return [
        *(
            f"{count} of {all_of[title]} answers lack {title}: {judge[title]}"
            for title, count in lacking.items()
            if count
        ),
        *(
            f"{title} does not apply to {count} of {all_of[title]} answers, which its mean leaves "
            "out"
            for title, count in empty.items()
            if count
        ),
    ]


def legend(rows: Sequence[Row]) -> list[str]:
    """What each report of a numbered name is, and of the name that it would have."""
    specs: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for name, spec in _reported(row):
            if (text := _spec_text(spec)) not in specs[name]:
                specs[name].append(text)
    names: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for name in (name for values in row.scores.values() for name in values):
            if name not in names[_unnumbered(name)]:
                names[_unnumbered(name)].append(name)
    return [
        f"report:{name} is {' or '.join(specs[name])}"
        for alike in names.values()
        for name in sorted(alike)
        if len(alike) > 1 and specs.get(name)
    ]


def _spec_text(spec: Mapping[str, Any]) -> str:
    """A reward as it is typed: `length:high=9`."""
    options = ",".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in dict(spec["options"]).items()
    )
    return f"{spec['name']}{':' * bool(options)}{options}"


def _reported(row: Row) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The names of a row's reports, each with its reward; without those of composed rewards whose
    names are not known to be theirs."""
    late = [one for one in row.rewards.get("report", []) if "judged" in one]
    for one in late:
        for name in one["judged"]:
            yield name, one
    silent = [one for one in row.rewards.get("guide", []) if one["weight"] == 0]
    own = [*silent, *(one for one in row.rewards.get("report", []) if "judged" not in one)]
    judged = {name for one in late for name in one["judged"]}
    names = [name for name in row.scores.get("report", {}) if name not in judged]
    if len(names) == len(own):
        yield from zip(names, own, strict=True)


def _judged_by(kind: str, name: str, rows: Sequence[Row], folder: str | Path) -> str:
    """The command that measures a value where it is missing."""
    begin = f"aps judge {shlex.quote(str(folder))}"
    if kind == "metric":
        return f"{begin} --metrics {name}" if name in (*MEASURES, "nll") else "run them anew"
    known = (spec for row in rows for own, spec in _reported(row) if own == name)
    spec = next(known, None)
    return f"{begin} --report {shlex.quote(_spec_text(spec) if spec is not None else name)}"


def _unnumbered(name: str) -> str:
    return re.sub(r"_\d+$", "", name)
