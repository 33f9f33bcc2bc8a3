"""Trials: of the settings that a method offers, the one it is reported with, by one rule for all.

Taken is the trial with the highest mean GUIDE among those whose mean `keep` (token F1) on tuning
prompts stays within `loss` of plain decoding's; where none does, the one that keeps most of it. So
methods that were given as many trials are tuned alike. Test items and rewards that only report play
no part.

Answers are kept in `tuning.jsonl` and made once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ..items import Item
from ..measures import LOWER_IS_BETTER
from ..rows import Row
from ..store import RowStore
from .answering import Answerer, Unit
from .cells import Cell, Tuning
from .processes import Workers
from .runner import planned, run

__all__ = ["Trial", "best_trial", "check_trials", "choose_trials"]


@dataclass(frozen=True)
class Trial:
    """What a setting came to on the tuning prompts.

    Attributes:
        task, guide, label: of the cell.
        settings: options, and what its configuration changes of plain decoding's.
        value: the mean guide; None where every prompt failed.
        kept, floor: the mean of what is to be kept, and the least it may be; None without such.
        failed: prompts without an answer.
        taken: is it the one?
    """

    task: str
    guide: str
    label: str
    settings: dict[str, Any]
    value: float | None
    kept: float | None
    floor: float | None
    failed: int
    taken: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For `run.json`."""
        return asdict(self)


def best_trial(found: Sequence[Trial]) -> int:
    """Which of them the rule takes; the first of equals.

    Raises:
        ValueError: all failed.
    """
    made = [n for n, one in enumerate(found) if one.value is not None]
    if not made:
        raise ValueError(f"tuning: every trial of {found[0].label!r} failed on every prompt")

    def value(n: int) -> float:
        return float(found[n].value or 0.0)

    def kept(n: int) -> float:
        return float(found[n].kept or 0.0)

    def fits(n: int) -> bool:
        floor = found[n].floor
        return floor is None or (found[n].kept is not None and kept(n) >= floor)

    fit = list(filter(fits, made))
    return max(fit, key=value) if fit else max(made, key=kept)


def check_trials(cells: Sequence[Cell], tuning: Tuning, split: str) -> None:
    """Raise `ValueError` where the trials of cells cannot be chosen among."""
    if not isinstance(tuning.prompts, int) or tuning.prompts < 1:
        raise ValueError(f"tuning: prompts is a whole number from 1, got {tuning.prompts!r}")
    if not isinstance(tuning.loss, int | float) or tuning.loss < 0:
        raise ValueError(f"tuning: loss is a number from 0, got {tuning.loss!r}")
    tried = [cell for cell in cells if cell.trials]
    if tried and split == "tune":
        raise ValueError("trials are chosen on tuning prompts, so split: tune may not report them")
    for cell in tried if tuning.keep is not None else []:
        if tuning.keep not in cell.task.metrics or tuning.keep in LOWER_IS_BETTER:
            better = [name for name in cell.task.metrics if name not in LOWER_IS_BETTER]
            raise ValueError(
                f"tuning: keep is a metric of task {cell.task.name!r} that is better the higher "
                f"({', '.join(better)}), or null; got {tuning.keep!r}"
            )
        if _plain(cell, cells) is None:
            raise ValueError(
                f"trials keep the {tuning.keep} of plain decoding; add plain to the methods"
            )


def choose_trials(
    cells: Sequence[Cell],
    tuning: Tuning,
    answerer: Answerer,
    items: Mapping[str, Sequence[Item]],
    folder: Path,
    me: Workers,
    *,
    retry: bool = False,
    on_batch: Callable[[int, int], None] | None = None,
) -> tuple[list[Cell], list[Trial]]:
    """Each cell, or the one of its trials that is taken; and what all of them came to.

    Args:
        items: tuning items by task.
        folder: of `tuning.jsonl`.
        me: this process; all share the answers and find the same.
        retry, on_batch: as of `aps_eval.run.runner.run`.

    Raises:
        ValueError: every trial of a method failed, or plain decoding did.
        OSError: answers cannot be written.
    """
    # Without the fluency judge: it takes long and decides nothing.
    tuner = answerer.for_tuning()
    store = RowStore(folder / "tuning.jsonl")
    plans = {}
    for at, cell in enumerate(cells):
        if cell.trials:
            plain = _plain(cell, cells) if tuning.keep is not None else None
            wanted = [plain, *cell.trials] if plain is not None else cell.trials
            plans[at] = planned(tuner, wanted, items, [0])
    plan = [units for one in plans.values() for units in one]
    run(tuner, plan, store, retry=retry, shard=(me.number, me.size), on_batch=on_batch)
    me.wait()
    store.refresh()
    found, report = list(cells), []
    for at, own in plans.items():
        trials = _compared(own, cells[at], tuning, store)
        best = best_trial(trials)
        found[at] = replace(cells[at].trials[best], family=cells[at].family)
        report += [replace(one, taken=n == best) for n, one in enumerate(trials)]
    return found, report


def _compared(
    plan: Sequence[Sequence[Unit]], cell: Cell, tuning: Tuning, store: RowStore
) -> list[Trial]:
    """What the trials of a cell came to; before them stands plain decoding where it is needed."""
    from aps_text.core.config import DEFAULTS

    rows = [[row for unit in units if (row := store.get(unit.key))] for units in plan]
    floor, usual = None, DEFAULTS
    if len(rows) > len(cell.trials):
        usual = {**DEFAULTS, **plan[0][0].cell.config.flat()}
        plain = _mean(rows.pop(0), tuning.keep)
        if plain is None:
            raise ValueError(f"tuning: plain decoding failed on every prompt of {cell.task.name!r}")
        floor = plain - tuning.loss
    found = []
    for one, own in zip(cell.trials, rows, strict=True):
        changed = {k: v for k, v in one.config.flat().items() if usual[k] != v}
        guides = [row.scores["guide"]["total"] for row in own if row.error is None]
        found.append(
            Trial(
                *cell.block,
                cell.label,
                {**one.options, **changed},
                fmean(guides) if guides else None,
                _mean(own, tuning.keep) if floor is not None else None,
                floor,
                sum(row.error is not None for row in own),
            )
        )
    return found


def _mean(rows: Sequence[Row], metric: str | None) -> float | None:
    """Over the answers that have it; None without any."""
    found = [row.metrics.get(metric or "") for row in rows if row.error is None]
    values = [value for value in found if value is not None]
    return fmean(values) if values else None


def _plain(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """Plain decoding in a cell's block."""
    block = [one for one in cells if one.block == cell.block and one.method == "plain"]
    return next((one for one in block if not one.trials), None)
