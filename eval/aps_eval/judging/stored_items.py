"""The items that stored answers are to, from the tasks that `run.json` names.

A row has its question and gold answers, and not its prompt as messages, its choices, or the columns
of rewards; these are read from the task again. An item is surely a row's if the row's key comes out
of the two (`aps_eval.rows.row_key`). Where no item's does, as after a change of the library or of a
reward's file, one of the same question and gold answers is taken, the one of the same id first, and
counted. The id alone says nothing: it may be a number, which changes with the records before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aps_rewards.specs import split_options

from ..reward_content import with_content
from ..rows import Row, digest, row_key
from ..run.grid import load_tasks
from ..task import Task
from .judges import Asked

__all__ = ["Found", "find_items"]


@dataclass
class Found:
    """Items by the row's key.

    Attributes:
        asked: of each row.
        unsure: how many were taken by question and gold answers only.
    """

    asked: dict[str, Asked] = field(default_factory=dict)
    unsure: int = 0


def find_items(
    rows: Sequence[Row], runs: Sequence[Mapping[str, Any]], data: str | Path | None = None
) -> Found:
    """The item of each row.

    Args:
        runs: the entries of `run.json`.
        data: the folder of data files, in place of the runs' own.

    Raises:
        ValueError: rows whose task cannot be read or lacks their questions; names the mend.
    """
    found, problems = Found(), dict[str, str]()
    known = _items(rows, runs, data, problems)
    contents: dict[str, Any] = {}
    lost: dict[str, list[Row]] = {}
    for row in rows:
        alike = known.get(_asked(row.task, row.question, row.gold), [])
        sure = [one for one in alike if _is_of(row, one, contents)]
        likely = [one for one in alike if one.item.id == row.item] or alike
        if not sure and len({str((one.item.content(), one.task.columns)) for one in likely}) > 1:
            likely = []
        if not likely:
            lost.setdefault(row.task, []).append(row)
            continue
        found.asked[row.key] = (sure or likely)[0]
        found.unsure += not sure
    for task, own in lost.items():
        why = problems.get(task) or (
            "is not named in run.json; type the run's own command again, which notes it there"
            if not any(name == task for name, *_ in known)
            else f"has no item that asks {own[0].question!r:.80} now (it was {own[0].item!r}); "
            "bring its file back as it was"
        )
        raise ValueError(f"{len(own)} answers are to task {task!r}, which {why}")
    return found


def _items(
    rows: Sequence[Row],
    runs: Sequence[Mapping[str, Any]],
    data: str | Path | None,
    problems: dict[str, str],
) -> dict[tuple[str, ...], list[Asked]]:
    """The items of the runs' tasks by `_asked`; why a task has none goes to `problems`."""
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.task, set()).add(row.split)
    known: dict[tuple[str, ...], list[Asked]] = {}
    for task, folder in _tasks(runs, problems):
        for split in sorted(splits.get(task.name, ())):
            try:
                items = task.items(split, data=data or folder)
            except (ValueError, OSError) as error:
                problems[task.name] = f"cannot be read: {error}"
                continue
            for item in items:
                asked = _asked(task.name, item.question, item.gold)
                known.setdefault(asked, []).append(Asked(task, item))
    return known


def _asked(task: str, question: str, gold: Sequence[str]) -> tuple[str, ...]:
    """What a row says of its item: the task's name, the question and the gold answers."""
    return task, question, *gold


def _tasks(
    runs: Sequence[Mapping[str, Any]], problems: dict[str, str]
) -> Iterator[tuple[Task, str | None]]:
    """Each task of the runs once, the latest first, with the run's folder of data files."""
    seen: list[tuple[Task, str | None]] = []
    for run in reversed(runs):
        grid = run.get("grid")
        if not isinstance(grid, Mapping):
            continue
        for name, task in load_tasks(grid):
            if not isinstance(task, Task):
                problems.setdefault(name, f"cannot be read: {task}")
            elif (task, grid.get("data")) not in seen:
                seen.append((task, grid.get("data")))
                yield seen[-1]


def _is_of(row: Row, one: Asked, contents: dict[str, Any]) -> bool:
    """Whether the row's key is that of its settings and this item.

    Args:
        contents: of rewards that were read before.
    """
    rewards = {
        role: [spec for spec in specs if "judged" not in spec]
        for role, specs in row.rewards.items()
    }
    names = [str(spec["name"]) for specs in rewards.values() for spec in specs]
    if any(_imports(name) for name in names):
        return False
    key = digest(rewards)
    if key not in contents:
        contents[key] = with_content(rewards)
    return row.key == row_key(
        task=one.task.measured(),
        item=one.item.content(),
        method=row.method,
        options=row.options,
        config=row.config,
        fingerprint=row.fingerprint,
        rewards=contents[key],
        control=row.control,
        seed=row.seed,
    )


def _imports(spec: str) -> bool:
    """Whether the content of a reward's name is found by importing a package, which is code that a
    folder of results would choose."""
    place, colon, _ = split_options(spec)[0].rpartition(":")
    return bool(colon) and "." in place and not place.endswith(".py")
