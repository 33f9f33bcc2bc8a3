"""`judge_folder`: stored answers scored by rewards and metrics that their run did not report.

    rows.jsonl -> items of run.json -> judges, a batch at a time -> rows.jsonl, summaries, page

A judged row is its row written once more at the end of the file with the new values, as rows that
newer rules read are: nothing is overwritten, a batch is written whole or not at all, and a run that
uses the folder meanwhile is not disturbed. Keys do not change, so the run is continued as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_whole
from ..rows import Row
from ..run.grid_cells import refuse_weight, reward_spec
from ..run.progress import waiting
from ..run.run_log import began, note, noted
from ..store import read_rows
from .amending import column, last_judgement
from .judges import Asked, Judge, RewardJudge, load_judges
from .names import with_names
from .scoring import Judged, score_rows
from .stored_items import find_items
from .tables import Summary, read_summary

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Judged", "judge_folder"]

COPIED = (
    *("run.json", "tuning.jsonl", "calibration.jsonl"),
    *("summary.json", "summary.csv", "report.html", "rows.jsonl"),
)
"""By `out`; the rows come last, so that a folder with rows is whole."""


def judge_folder(
    folder: str | Path,
    report: Sequence[str | Mapping[str, Any]] = (),
    metrics: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    again: bool = False,
    batch_size: int = 32,
    data: str | Path | None = None,
    command: Sequence[str] = (),
    console: Console | None = None,
) -> Judged:
    """Score the answers in a folder of `evaluate`, and write its tables again.

    Answers that have a value already are left, so an interrupted call goes on where it stopped.

    Args:
        folder: with `rows.jsonl`, of a run that is finished or not.
        report: rewards, as the `report` of a grid names them.
        metrics: of `aps_eval.measures`.
        out: a new folder, to which a copy is judged; None judges the folder itself.
        again: replace the values that stand.
        batch_size: answers scored at a time, at least 1.
        data: the folder of data files, where it is not the run's own.
        command: the command line, for `run.json`.

    Raises:
        ValueError, TypeError, ImportError: nothing to judge, or no judge that can; nothing has been
            written, or the batches before the first answers to another task.
        OSError: rows cannot be written; those already written are safe.
    """
    from aps_text.text.text_console import TextConsole

    console = console or TextConsole(highlight=False)
    folder = Path(folder)
    if not report and not metrics:
        raise ValueError("no judge is named; give --report NAME, --metrics NAME or both")
    if batch_size < 1:
        raise ValueError(f"batch_size is a whole number from 1 on, got {batch_size}")
    specs = [_unweighted(one) for one in report]
    everything = _rows(folder)
    rows = [row for row in everything if row.error is None]
    with waiting(console, "loading") as loading:
        judges = load_judges(specs, metrics, loading)
    left = _left(rows, judges, again)
    _warn_of_guides(rows, judges, console)
    with waiting(console, "reading the tasks"):
        found = find_items(
            [row for row in rows if row.key in left], noted(folder / "run.json"), data
        )
    if found.unsure:
        console.print(
            f"{found.unsure} answers are joined to their items by question and gold answers, since "
            "their keys are of another version of the task, of a reward's file or of the library",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    _check_metrics(left, found.asked)
    if out is not None:
        folder = _copied(folder, Path(out))
    summary = read_summary(folder, everything)
    tally = Judged()
    if left:
        judges, left = _noted_by_name(folder / "run.json", everything, judges, left, command)
        tally = score_rows(
            rows, left, found.asked, folder / "rows.jsonl", batch_size, again, console
        )
    console.print(
        f"{len(rows)} answers, {tally.written} of them judged now; "
        f"{len(rows) - len(left)} had every value",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    for title, errors in tally.errors.items():
        console.print(f"{len(errors)} FAILED", style="red", end="")
        console.print(f" by {title}, the first: {errors[0]}", markup=False, soft_wrap=True)
    _tell(summary, folder, judges, console)
    return tally


def _noted_by_name(
    path: Path,
    rows: Sequence[Row],
    judges: Sequence[Judge],
    left: Mapping[str, Sequence[Judge]],
    command: Sequence[str],
) -> tuple[list[Judge], dict[str, list[Judge]]]:
    """The judges with the names of their values, noted in `run.json`; and `left` with these.

    Both under one lock: two calls at once may not give one name to two judges.
    """
    named: list[Judge] = []

    def entry(earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        noted = [one for run in earlier for one in run.get("judged") or ()]
        named.extend(with_names(judges, rows, [one for one in noted if isinstance(one, Mapping)]))
        return {**began(command), "judged": [_said(one) for one in named]}

    note(path, entry)
    now = {id(old): new for old, new in zip(judges, named, strict=True)}
    return named, {key: [now[id(one)] for one in own] for key, own in left.items()}


def _unweighted(one: str | Mapping[str, Any]) -> dict[str, Any]:
    spec = reward_spec(one)
    refuse_weight(spec)
    return spec


def _rows(folder: Path) -> list[Row]:
    """The rows of a folder.

    Raises:
        ValueError: none of them has an answer.
    """
    path = folder / "rows.jsonl"
    if not path.is_file():
        raise ValueError(f"{folder} has no rows.jsonl; name a folder of `aps eval --out`")
    rows = read_rows(path)
    if not any(row.error is None for row in rows):
        failed = f"; all {len(rows)} rows are failures" if rows else ""
        raise ValueError(f"{path} has no answers{failed}")
    return rows


def _left(rows: Sequence[Row], judges: Sequence[Judge], again: bool) -> dict[str, list[Judge]]:
    """What each row is to be judged by, by its key; rows that lack nothing are left out.

    Raises:
        ValueError: another version of a judge has judged some rows, and `again` is not set.
    """
    for judge in () if again else judges:
        others = [
            one
            for row in rows
            if (one := last_judgement(row, judge)) is not None
            and _identity(one["fingerprint"], one["version"])
            != _identity(judge.fingerprint, judge.version)
        ]
        if others:
            was = " ".join(filter(None, (others[-1]["fingerprint"], others[-1]["version"])))
            mine = " ".join(filter(None, (judge.fingerprint, judge.version)))
            raise ValueError(
                f"{judge.title} has judged {len(others)} of these answers as it was at "
                f"{others[-1]['at']} ({was}), and is another now ({mine}); --again judges them all "
                "by this one"
            )
    wanted = {
        row.key: [judge for judge in judges if again or judge.standing(row) is None] for row in rows
    }
    return {key: own for key, own in wanted.items() if own}


def _identity(fingerprint: str, version: str) -> str:
    """What tells a judge's versions apart: its weights; of one without any, its package's."""
    return fingerprint or version


def _warn_of_guides(rows: Sequence[Row], judges: Sequence[Judge], console: Console) -> None:
    for judge in judges:
        if isinstance(judge, RewardJudge) and (count := sum(judge.guides(row) for row in rows)):
            console.print(
                f"warning: {judge.title} guided or selected {count} of {len(rows)} answers; its "
                "report of these is no judge's, and no evidence",
                style="red", markup=False, soft_wrap=True,
            )  # fmt: skip


def _check_metrics(left: Mapping[str, Sequence[Judge]], asked: Mapping[str, Asked]) -> None:
    """Raise `ValueError` for a metric that cannot judge answers to some item."""
    seen = set()
    for key, judges in left.items():
        task, item = asked[key]
        for judge in judges:
            if isinstance(judge, RewardJudge) or (judge.title, task.name, item.id) in seen:
                continue
            seen.add((judge.title, task.name, item.id))
            judge.check(asked[key])


def _copied(folder: Path, out: Path) -> Path:
    """The folder's files in another one, `rows.jsonl` last.

    Raises:
        ValueError: there are rows already.
    """
    if (out / "rows.jsonl").exists():
        raise ValueError(f"--out {out} has rows already; judge it itself, or name a new folder")
    for name in COPIED:
        if (folder / name).is_file():
            write_whole(out / name, (folder / name).read_text(encoding="utf-8"))
    return out


def _said(judge: Judge) -> dict[str, Any]:
    """A judge in `run.json`."""
    spec: dict[str, Any] = {"metric": judge.title}
    if isinstance(judge, RewardJudge):
        spec = {**judge.spec, "names": list(judge.names)}
    return {**spec, "fingerprint": judge.fingerprint, "version": judge.version}


def _tell(summary: Summary | str, folder: Path, judges: Sequence[Judge], console: Console) -> None:
    """Write the tables and the page again and print the new values."""
    if isinstance(summary, str):
        console.print(summary, markup=False, soft_wrap=True)
        return
    rows = read_rows(folder / "rows.jsonl")
    names = Counter(
        column(judge, name)
        for row in rows
        for judge in judges
        for name in judge.standing(row) or ()
    )
    summary.write(folder, rows, list(names), console)
