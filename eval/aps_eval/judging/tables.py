"""The tables of a finished run, written again with the values that its rows have now.

Which rows they are of is in `summary.json` (`aps_eval.run.outputs`). In one from before it was kept
there, they are found by the labels of its entries, and taken if its means come out of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..report.summary import values_of
from ..rows import Row
from ..run.outputs import DIGITS, LABELS, rows_shown, write_outputs

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Summary", "read_summary"]

MEND = "type the command of its run again, which makes no answer anew and writes them"


@dataclass(frozen=True)
class Summary:
    """What a `summary.json` is of.

    Attributes:
        about: the run's entry of `run.json`.
        shown: its rows, under the labels that they have in the tables.
        strata: whether it has tables of each stratum.
    """

    about: dict[str, Any]
    shown: list[Row]
    strata: bool

    def write(
        self, folder: Path, rows: Sequence[Row], values: Sequence[str], console: Console
    ) -> None:
        """Write the tables, and the page if there is one, with the rows as they are now.

        Args:
            values: names of the values to print.
        """
        now = {row.key: row for row in rows}
        places = (*LABELS, "item", "stratum")
        shown = [
            replace(now[row.key], **{name: getattr(row, name) for name in places})
            for row in self.shown
        ]
        grid = self.about["grid"]
        write_outputs(
            shown,
            self.about,
            folder,
            console,
            baseline=str(self.about.get("baseline") or grid.get("baseline") or "plain"),
            strata=self.strata,
            split=str(grid.get("split") or "test"),
            page=(folder / "report.html").is_file(),
            values=values,
        )


def read_summary(folder: Path, rows: Sequence[Row]) -> Summary | str:
    """The summary in a folder, or why it cannot be written again, with the mend.

    Args:
        rows: of the folder, as they were before they were judged, failures included.
    """
    path = folder / "summary.json"
    if not path.is_file():
        return "the run is not finished and has no tables; they will have the new values when it is"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        entries, cells = found.pop("entries"), found.pop("shown", None)
        about = {**found, "grid": dict(found["grid"]), "seeds": list(found["seeds"])}
        strata = any(one["stratum"] for one in entries)
        known = {row.key[:DIGITS] for row in rows}
        gone = any(key not in known for cell in cells or () for key in cell["keys"])
        if cells is None:
            shown = _by_label(entries, about, rows)
        else:
            shown = [] if gone else rows_shown(cells, rows)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{path} is damaged, so the tables are not written again; {MEND}"
    if gone:
        return f"rows that {path} is of are gone, so the tables are not written again; {MEND}"
    if not shown:
        return f"which rows {path} is of is not known, so the tables are not written again; {MEND}"
    return Summary(about, shown, strata)


def _by_label(
    entries: Sequence[Mapping[str, Any]], about: Mapping[str, Any], rows: Sequence[Row]
) -> list[Row]:
    """The rows of a run by the labels of its entries; none unless its means come out of them."""
    split = str(about["grid"].get("split") or "test")
    own: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.fingerprint == about["fingerprint"] and row.seed in about["seeds"]:
            place = row.task, row.guide, row.label, row.control or ""
            own.setdefault(place, []).append(replace(row, split=split))
    shown: list[Row] = []
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for one in entries:
        if not one["stratum"]:
            names = tuple(str(one[name]) for name in ("task", "guide", "label", "control"))
            groups.setdefault(names, []).append(one)
    for group, values in groups.items():
        some = own.get(group) or _shared(group, values[0], about, own)
        means = {
            name: (len(by_prompt), fmean(by_prompt.values()))
            for name, by_prompt in values_of(some).items()
        }
        for one in values:
            if one["value"].endswith(" of all"):
                continue
            count, mean = means.get(one["value"], (0, math.nan))
            if count != one["prompts"] or not math.isclose(mean, one["mean"], abs_tol=1e-9):
                return []
        if len([row for row in some if row.error is not None]) != values[0]["failed"]:
            return []
        shown += some
    return shown


def _shared(
    group: tuple[str, ...],
    entry: Mapping[str, Any],
    about: Mapping[str, Any],
    own: Mapping[tuple[str, ...], Sequence[Row]],
) -> list[Row]:
    """The rows of another budget that ended at the same setting and so shares its answers."""
    task, guide, label, control = group
    at = {
        m["label"]: (m["knob"], m["value"])
        for m in about.get("matching") or ()
        if (m["task"], m["guide"]) == (task, guide)
    }
    for other, setting in at.items():
        rows = own.get((task, guide, other, control), ())
        if setting == at.get(label) and rows and rows[0].family == entry["family"]:
            return [replace(row, label=label, budget=entry["budget"]) for row in rows]
    return []
