"""What a run leaves beside its rows: `summary.csv`, `summary.json` and `report.html`.

`summary.json` also says which rows it is of, since a folder may hold rows of other settings and a
row may stand under several labels: a list of `{label, family, budget, split, keys, items, strata}`,
a key by its first 16 digits. Its item's id and stratum are those of the task at that run, since the
row may be from before records were added or labelled anew (`aps_eval.run.runner.shown`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..report.notes import notes
from ..report.summary import summarise
from ..report.tables import show, write_csv, write_json
from ..report.winner import winner
from ..rows import Row
from .progress import waiting

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["rows_shown", "write_outputs"]

DIGITS = 16
"""Of a key in `summary.json`."""
LABELS = ("label", "family", "budget", "split")


def write_outputs(
    rows: Sequence[Row],
    about: Mapping[str, Any],
    folder: Path,
    console: Console,
    *,
    baseline: str,
    strata: bool,
    split: str,
    page: bool,
    values: Collection[str] | None = None,
) -> None:
    """Compare the rows, print the tables and write the files.

    Args:
        about: the run's entry of `run.json`.
        baseline, strata, split: as of `summarise`.
        page: write the HTML page, too.
        values: names of the values to print; None prints the main ones, and who won.
    """
    judged = _judged(rows)
    about = {**about, **({"judged": judged} if judged else {})}
    said = notes([row for row in rows if row.split == split], folder)
    about = {**about, "notes": said} if said else {k: v for k, v in about.items() if k != "notes"}
    with waiting(console, "comparing"):
        entries = summarise(rows, baseline, strata=strata, split=split)
    show(entries, console, None if values is None else list(values))
    blocks = [] if values is not None else [(e.task, e.guide) for e in entries if not e.stratum]
    for block in dict.fromkeys(blocks):
        own = [e for e in entries if (e.task, e.guide) == block and not e.stratum]
        console.print(f"{block[0]}: {winner(own)}", markup=False, soft_wrap=True)
    for line in said:
        console.print(line, markup=False, soft_wrap=True)
    seeds = ", ".join(map(str, about["seeds"]))
    console.print(f"seeds {seeds}; rows in {folder / 'rows.jsonl'}", markup=False)
    write_csv(entries, folder / "summary.csv")
    written = {**about, "baseline": baseline, "shown": _cells(rows)}
    write_json(entries, written, folder / "summary.json")
    if page:
        from ..report.page import write_page

        with waiting(console, "drawing the page"):
            write_page(rows, folder / "report.html", about, baseline=baseline, split=split)
        console.print(f"page {folder / 'report.html'}", markup=False)


def rows_shown(cells: Iterable[Mapping[str, Any]], rows: Iterable[Row]) -> list[Row]:
    """The rows that `shown` of a `summary.json` is of, in its order.

    Raises:
        KeyError: one is not among `rows`.
    """
    known = {row.key[:DIGITS]: row for row in rows}
    found = []
    for cell in cells:
        own = [known[key] for key in cell["keys"]]
        labels = {name: cell[name] for name in LABELS}
        items = cell.get("items", [row.item for row in own])  # not in older files
        strata = cell.get("strata", [row.stratum for row in own])
        found += [
            replace(row, **labels, item=item, stratum=stratum)
            for row, item, stratum in zip(own, items, strata, strict=True)
        ]
    return found


def _cells(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The inverse of `rows_shown`."""
    found = []
    for labels, group in groupby(rows, lambda row: [getattr(row, name) for name in LABELS]):
        own = list(group)
        found.append(
            {
                **dict(zip(LABELS, labels, strict=True)),
                "keys": [row.key[:DIGITS] for row in own],
                "items": [row.item for row in own],
                "strata": [row.stratum for row in own],
            }
        )
    return found


def _judged(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """What was measured after the run: each value by what measured it, when, and how many rows."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in {row.key: row for row in rows}.values():
        for one in {one["value"]: one for one in row.judged}.values():
            what = one["value"], one["fingerprint"], one["version"]
            known = found.setdefault(
                what, {**dict(zip(("value", "fingerprint", "version"), what, strict=True))}
            )
            known["first"] = min(one["at"], known.get("first", one["at"]))
            known["last"] = max(one["at"], known.get("last", one["at"]))
            known["answers"] = known.get("answers", 0) + 1
    return list(found.values())
