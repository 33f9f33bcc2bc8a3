"""A whole evaluation: load the model, match budgets, make the missing answers, report."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..items import Item
from ..report.tables import show_matching
from ..rows import Row, digest
from ..store import RowStore
from ..task import Task
from .answering import Answerer
from .cells import Grid, with_controls
from .outputs import write_outputs
from .processes import Workers, workers
from .progress import Answers, waiting
from .run_log import began, note
from .runner import planned, run, shown
from .settling import Settling

if TYPE_CHECKING:
    from rich.console import Console

    from aps_text import APSPipeline

__all__ = ["evaluate"]

LARGE = 200
"""A run at matched cost on a task with more items than this needs an explicit limit."""


def evaluate(
    grid: Grid,
    out: str | Path,
    *,
    command: Sequence[str] = (),
    pipe: APSPipeline | None = None,
    baseline: str | None = None,
    strata: bool = False,
    fluency: bool = True,
    count_flops: bool = False,
    retry: bool = False,
    page: bool = True,
    console: Console | None = None,
) -> list[Row]:
    """Make all rows of a grid and report them; returns the grid's rows.

    Writes `rows.jsonl`, `run.json` (command, versions, tuning, matching), `summary.csv`,
    `summary.json` and `report.html` in the folder `out`; also `tuning.jsonl` if a method has
    trials and `calibration.jsonl` if costs are matched. An interrupted run
    continues when called again; rows of other settings in the folder are kept and not shown.

    Args:
        command: the command line, for the report.
        pipe: a pipeline to use instead of loading the grid's model.
        baseline: label of the method to compare with (see `summarise`); None is the grid's.
        strata: also make tables of each stratum.
        fluency: measure `nll` for tasks that list it (loads SmolLM2).
        count_flops: count operations of every answer; slower.
        retry: try failed rows again.
        page: write the HTML page.

    Raises:
        ValueError, TypeError, ImportError: an invalid grid, before anything is answered.
        OSError: rows cannot be written; those already written are safe.
    """
    from aps_text.text.text_console import TextConsole

    console = console or TextConsole(highlight=False)
    me = workers()
    baseline = baseline or grid.baseline
    _check_baseline(baseline, grid)
    folder = Path(out)
    for above in (folder, *folder.parents):
        if above.exists() and not above.is_dir():
            raise ValueError(
                f"out {str(out)!r}: {above} is a file; name a folder for the rows and the report"
            )
    if not str(out).strip():
        raise ValueError("out is empty; name a folder for the rows and the report (. is this one)")
    tasks = {cell.task.name: cell.task for cell in grid.cells}
    with waiting(console, f"reading {', '.join(tasks)}", me.first):
        items = {
            name: task.items(grid.split, grid.limit, grid.data, offset=grid.offset)
            for name, task in tasks.items()
        }
    _check_size(grid, items)
    if me.first:
        for name, task in tasks.items():
            console.print(
                _described(task, len(items[name]), grid.split), markup=False, soft_wrap=True
            )
    with waiting(console, f"loading {grid.model}", me.first) as loading:
        answerer = Answerer(pipe or _pipeline(grid, me), grid.split, count_flops=count_flops)
        if fluency and any("nll" in cell.task.metrics for cell in grid.cells):
            loading("the fluency judge")
            answerer.judge = _judge(console, me)
        _load_rewards(grid, answerer, loading)
    model = answerer.pipe.model
    grid = replace(grid, cells=[cell.of_model(model.settings) for cell in grid.cells])
    for cell in grid.cells:
        cell.refuse_unread(model.without_effect)
    settling = Settling(answerer, items, folder, me, console)
    grid, trials = settling.trials_chosen(settling.trials_at_budgets(grid), retry)
    cells, matched = settling.equal_cost(grid)
    plan = planned(answerer, with_controls(cells), items, grid.seeds)
    if me.first:
        _say_equal(items, console)
    store = RowStore(folder / "rows.jsonl")
    about = _about(grid, command, answerer, me)
    about |= {"tuning": trials, "matching": [one.as_dict() for one in matched]}
    if me.first:
        note(folder / "run.json", about)
        if matched:
            show_matching(about["matching"], console)
    start = time.perf_counter()
    keys = [unit.key for units in plan for unit in units]
    before = {key for key in keys if store.done(key, retry=retry)}
    shard = me.number, me.size
    with Answers(console, me.first) as on_batch:
        run(answerer, plan, store, retry=retry, shard=shard, on_batch=on_batch)
    me.wait()
    store.refresh()
    rows = shown(plan, store)
    if me.first:
        new = list({row.key: row for row in rows if row.key not in before}.values())
        _said(rows, new, time.perf_counter() - start, me, console)
        write_outputs(
            rows,
            about,
            folder,
            console,
            baseline=baseline,
            strata=strata,
            split=grid.split,
            page=page,
        )
    return rows


def _load_rewards(grid: Grid, answerer: Answerer, loading: Callable[[str], object]) -> None:
    """Load the rewards now, so that one that cannot be loaded raises before anything is answered.

    Args:
        loading: told each reward's name once.
    """
    known: set[str] = set()
    for cell in grid.cells:
        for specs in cell.rewards.values():
            for one in specs:
                if one["name"] not in known:
                    known.add(one["name"])
                    loading(one["name"])
            answerer.loaded(specs)


def _check_baseline(baseline: str, grid: Grid) -> None:
    labels = list(dict.fromkeys(cell.label for cell in grid.cells))
    if grid.match is not None and len(grid.match.budgets) > 1:
        labels += [f"{one} @{grid.match.called(b)}" for one in labels for b in grid.match.budgets]
    if baseline not in labels and baseline != "plain":  # the default may be missing
        raise ValueError(
            f"baseline: no method is called {baseline!r}; there are {', '.join(labels)}"
        )


def _check_size(grid: Grid, items: Mapping[str, Sequence[Item]]) -> None:
    """Raise `ValueError` for matched costs on a whole large task, which would take hours."""
    if grid.match is None or grid.limit is not None:
        return
    most = max(items, key=lambda name: len(items[name]))
    size = len(items[most])
    if size <= LARGE:
        return
    cells = sum(cell.task.name == most for cell in with_controls(grid.cells))
    budgets = len(grid.match.budgets)
    answers = size * cells * budgets * len(grid.seeds)
    raise ValueError(
        f"{most} has {size:,} items, which are about {answers:,} answers at matched cost; say how "
        f"many items to take: --limit 24 (or limit: in a grid), --limit {size} for all"
    )


def _described(task: Task, count: int, split: str) -> str:
    kept = task.tune_every if task.tune is None and split == "test" else 0
    tuning = f"; one record in {kept} is kept for tuning" if kept else ""
    why = f" (its gold answers are {task.gold!r}; --metrics names others)"
    measures = ", ".join(task.metrics) + (why if task.usual_metrics and task.gold else "")
    kind = "items" if split == "test" else "TUNING items"
    return f"{task.name}: {count} {kind}{tuning}; measured: {measures}"


def _say_equal(items: Mapping[str, Sequence[Item]], console: Console) -> None:
    """Print how many items of a task repeat another one; these share its row."""
    for name, own in items.items():
        valid = [item for item in own if not item.problem]
        repeated = len(valid) - len({digest(item.content()) for item in valid})
        if repeated:
            console.print(
                f"{name}: {repeated} of {len(own)} items repeat another one (its prompt, gold "
                "answers, choices and columns); equal items are answered and counted once",
                markup=False, soft_wrap=True,
            )  # fmt: skip


def _pipeline(grid: Grid, me: Workers) -> APSPipeline:
    from aps_text import APSPipeline

    options = dict(grid.model_options)
    if me.device is not None:
        options.setdefault("device", me.device)
    return APSPipeline.from_pretrained(grid.model, batch_size=grid.batch_size, **options)


def _judge(console: Console, me: Workers) -> Any:
    from ..judge import FluencyJudge

    try:
        return FluencyJudge()
    except ImportError as error:
        if me.first:
            console.print(f"nll is left out: {error}", markup=False)
        return None


def _about(grid: Grid, command: Sequence[str], answerer: Answerer, me: Workers) -> dict[str, Any]:
    import torch

    model = answerer.pipe.model
    device = model.parts.device
    cuda = torch.device(device).type == "cuda"
    return {
        **began(command),
        "device": torch.cuda.get_device_name(device) if cuda else f"CPU {platform.machine()}",
        "threads": torch.get_num_threads(),
        "processes": me.size,
        "model": model.name,
        "fingerprint": answerer.fingerprint,
        "seeds": grid.seeds,
        "grid": grid.values,
    }


def _said(
    rows: Sequence[Row], new: Sequence[Row], seconds: float, me: Workers, console: Console
) -> None:
    """Print how many answers were made, how fast, and what failed."""
    console.print(f"{len(rows)} rows, {len(new)} of them new")
    if new and me.size > 1:
        work = sum(row.cost.get("seconds", 0.0) for row in new)
        console.print(
            f"{me.size} processes: {len(new)} answers in {seconds:.1f} s, "
            f"{len(new) / seconds:.2f} a second; {work:.1f} s of answering, "
            f"{work / seconds:.2f} at a time"
        )
    for task in dict.fromkeys(row.task for row in rows if row.error is not None):
        own = [row for row in rows if row.task == task]
        errors = [row.error for row in own if row.error is not None]
        console.print(f"{len(errors)} FAILED", style="red", end="")
        said = f" of {len(own)} of {task}, the first: {errors[0]}"
        console.print(said, markup=False, soft_wrap=True)
