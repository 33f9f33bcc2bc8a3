"""Makes the missing answers of a grid, batch by batch, and writes each batch to disk.

Cells alternate, a batch each, so that the rows of an interrupted run are comparable and the
remaining time can be estimated. Before the first batch of a method under a reward, one answer is
made and thrown away: imports and caches are in nobody's seconds. The batches of a cell are of
nearly equal size: a small last batch would have a higher cost per prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from ..extraction import RULES
from ..items import Item
from ..rows import Row
from ..store import RowStore
from .answering import Answerer, Unit
from .cells import Cell

__all__ = ["Tally", "even", "planned", "run", "shown"]


@dataclass
class Tally:
    """Counts of a run.

    Attributes:
        made, failed, kept: new rows, failures among them, and rows that existed before.
        busy: seconds spent on answers.
        errors: messages of the first failures.
    """

    made: int = 0
    failed: int = 0
    kept: int = 0
    busy: float = 0.0
    errors: list[str] = field(default_factory=list)


def even(count: int, most: int) -> int:
    """The size of batches that divide `count` as equally as possible, at most `most` each."""
    return -(-count // max(1, -(-count // most))) or 1


def planned(
    answerer: Answerer,
    cells: Iterable[Cell],
    items: Mapping[str, Sequence[Item]],
    seeds: Sequence[int],
) -> list[list[Unit]]:
    """The units of each cell: every item of its task with every seed."""
    return [
        [answerer.unit(cell, item, seed) for seed in seeds for item in items[cell.task.name]]
        for cell in cells
    ]


def run(
    answerer: Answerer,
    plan: Sequence[Sequence[Unit]],
    store: RowStore,
    *,
    retry: bool = False,
    shard: tuple[int, int] = (0, 1),
    on_batch: Callable[[int, int], None] | None = None,
) -> Tally:
    """Make the rows of a plan that the store lacks; read stored answers again by newer rules.

    Args:
        plan: units by cell (`planned`).
        retry: try failures again.
        shard: (i, n): process i of n takes every n-th unit.
        on_batch: called as `on_batch(done, all)` after each batch.

    Raises:
        OSError: the rows cannot be written; those already written are safe.
    """
    number, processes = shard
    mine = _once([list(units)[number::processes] for units in plan])
    left = [[unit for unit in units if not store.done(unit.key, retry=retry)] for units in mine]
    sized = [(units, even(len(units), answerer.pipe.batch_size)) for units in left]
    _read_again(answerer, mine, store)
    tally = Tally(kept=sum(map(len, mine)) - sum(map(len, left)))
    parts = [[units[i : i + step] for i in range(0, len(units), step)] for units, step in sized]
    batches = [batch for turn in zip_longest(*parts) for batch in turn if batch]
    total = sum(map(len, batches))
    if on_batch is not None:
        on_batch(0, total)
    for batch in batches:
        answerer.warm_up(batch)
        start = time.perf_counter()
        rows = answerer.answer(batch)
        tally.busy += time.perf_counter() - start
        store.append(rows)
        _count(tally, rows)
        if on_batch is not None:
            on_batch(tally.made, total)
    return tally


def shown(plan: Sequence[Sequence[Unit]], store: RowStore) -> list[Row]:
    """The existing rows of a plan, with the labels of the plan's cells and the items' own places.

    Two cells with equal settings share their answers, which are made once and shown for both. An
    item's id and stratum are those of the task as it is now: neither is in a row's key, and an
    item's id may be its number, which changes with the records before it.
    """
    found = []
    for units in plan:
        for unit in _first_of_each(units):
            row, cell, item = store.get(unit.key), unit.cell, unit.item
            if row is not None:
                row = replace(row, label=cell.label, family=cell.family, budget=cell.budget)
                found.append(replace(row, split=unit.split, item=item.id, stratum=item.stratum))
    return found


def _first_of_each(units: Sequence[Unit]) -> list[Unit]:
    """The units without those whose key occurred before: of equal items the first."""
    first = {unit.key: unit for unit in reversed(units)}
    return [unit for unit in units if first[unit.key] is unit]


def _read_again(
    answerer: Answerer, cells: Sequence[Sequence[Unit]], store: RowStore, most: int = 1000
) -> None:
    """Read and measure the answers again that older rules have read; `most` at a time."""
    old = [
        (unit, row)
        for units in cells
        for unit in units
        if store.outdated(unit.key, RULES) and (row := store.get(unit.key))
    ]
    for i in range(0, len(old), most):
        store.append(answerer.measured_again(unit, row) for unit, row in old[i : i + most])


def _once(cells: Sequence[Sequence[Unit]]) -> list[list[Unit]]:
    """The units without those whose key occurred before."""
    seen: set[str] = set()
    found = []
    for units in cells:
        new = {unit.key: unit for unit in units if unit.key not in seen}
        seen |= set(new)
        found.append(list(new.values()))
    return found


def _count(tally: Tally, rows: Sequence[Row]) -> None:
    tally.made += len(rows)
    errors = [row.error for row in rows if row.error is not None]
    tally.failed += len(errors)
    tally.errors += errors[: max(0, 3 - len(tally.errors))]
