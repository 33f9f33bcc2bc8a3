"""Stored answers scored batch by batch; each batch is on the disk before the next begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..rows import Row
from ..run.progress import Answers
from ..run.run_log import now
from ..store import RowStore
from .amending import Verdict, amended
from .judges import Asked, Judge

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Judged", "score_rows"]


@dataclass
class Judged:
    """Counts of what was judged.

    Attributes:
        written: rows with a new value.
        errors: messages of answers that a reward failed on, by judge; these have no value of it.
    """

    written: int = 0
    errors: dict[str, list[str]] = field(default_factory=dict)


def score_rows(
    rows: Sequence[Row],
    left: Mapping[str, Sequence[Judge]],
    asked: Mapping[str, Asked],
    file: Path,
    batch_size: int,
    again: bool,
    console: Console,
) -> Judged:
    """Score rows and write them again with their new values.

    Args:
        left: the judges of each row, by its key; rows without any are left out.
        asked: the items of these rows.
        file: the `rows.jsonl` that they are in.
        again: replace values that stand.

    Raises:
        ValueError: a reward that judged no answer to a task before fails on the whole first batch.
    """
    store, tally, done = RowStore(file), Judged(), 0
    groups: dict[tuple[str, tuple[int, ...]], list[Row]] = {}
    for row in rows:
        if row.key in left:
            who = tuple(id(judge) for judge in left[row.key])
            groups.setdefault((row.task, who), []).append(row)
    with Answers(console) as on_batch:
        on_batch(0, len(left))
        for (task, _), own in groups.items():
            judges = left[own[0].key]
            others = [row for row in rows if row.task == task]
            new = [one for one in judges if all(one.standing(row) is None for row in others)]
            for first in range(0, len(own), batch_size):
                batch = own[first : first + batch_size]
                verdicts = _verdicts(batch, judges, asked, tally, [] if first else new)
                at = now()
                changes = {
                    row.key: amended(some, asked[row.key], at, again)
                    for row, some in zip(batch, verdicts, strict=True)
                    if some
                }
                tally.written += store.amend(changes)
                done += len(batch)
                on_batch(done, len(left))
    return tally


def _verdicts(
    batch: Sequence[Row],
    judges: Sequence[Judge],
    asked: Mapping[str, Asked],
    tally: Judged,
    new: Sequence[Judge],
) -> list[list[Verdict]]:
    """What the judges say of each row of a batch; failures go to the tally.

    Args:
        new: judges that have judged no answer to this task before.
    """
    items, found = [asked[row.key] for row in batch], [list[Verdict]() for _ in batch]
    for judge in judges:
        scored = judge.score(items, [row.answer for row in batch])
        errors = [one for one in scored if isinstance(one, str)]
        if len(errors) == len(batch) and any(judge is one for one in new):
            columns = ", ".join(items[0].task.columns) or "none"
            raise ValueError(
                f"{errors[0]}. It failed on each of the first {len(batch)} answers to task "
                f"{items[0].task.name!r}; of a stored answer a reward is given the prompt, the "
                f"text and the task's columns ({columns}), and no token ids"
            )
        tally.errors.setdefault(judge.title, []).extend(errors)
        for own, one in zip(found, scored, strict=True):
            if not isinstance(one, str):
                own.append(Verdict(judge, one))
    tally.errors = {title: some for title, some in tally.errors.items() if some}
    return found
