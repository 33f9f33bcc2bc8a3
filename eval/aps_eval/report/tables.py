"""A run's numbers as tables for a terminal, as CSV and as JSON.

The terminal shows per block (task and guiding reward) a line per value and method: mean and 95%
interval, and the difference to the baseline with its verdict. `summary.csv` and `summary.json` have
every number.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_whole
from ..measures import LOWER_IS_BETTER
from .statistics import FEWEST
from .summary import COSTS, SHOWN_COSTS, Entry, title_of

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["GUIDED", "records", "show", "show_matching", "show_trials", "write_csv", "write_json"]

GUIDED = "!! GUIDED BY IT !!"


def records(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The entries as flat dicts."""
    found = []
    for one in entries:
        record = asdict(one)
        gap = record.pop("difference") or {}
        for name in ("prompts", "mean", "low", "high", "wins", "p", "p_holm"):
            record[f"difference_{name}"] = gap.get(name)
        record["verdict"] = one.difference.verdict if one.difference else ""
        found.append(record)
    return found


def write_csv(entries: Sequence[Entry], path: Path) -> None:
    """Write one line per value, method and block; no cell is read as a formula."""
    rows = [{key: _cell(one) for key, one in record.items()} for record in records(entries)]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["task"])
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, file.getvalue())


FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would read as a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def write_json(entries: Sequence[Entry], about: dict[str, Any], path: Path) -> None:
    """Write the entries as one JSON object, with the run's entry of `run.json`."""
    text = json.dumps({**about, "entries": records(entries)}, indent=1, ensure_ascii=False)
    write_whole(path, text + "\n")


def show(entries: Sequence[Entry], console: Console, values: Sequence[str] | None = None) -> None:
    """Print a table for each block: a line per value and method.

    Args:
        values: names to show; None shows the main ones (the files have all).
    """
    blocks = dict.fromkeys((one.task, one.stratum, one.guide) for one in entries)
    for block in blocks:
        own = [one for one in entries if (one.task, one.stratum, one.guide) == block]
        task, stratum, guide = block
        title = " / ".join(filter(None, [task, stratum]))
        title += f", guided by {guide}" if guide else ""
        console.print(title, style="bold", markup=False, soft_wrap=True)
        against = ", ".join(dict.fromkeys(one.against for one in own if one.against))
        lines = [
            ["", "method", "prompts", "mean [95%]", f"minus {against}" * bool(against), "won", ""]
        ]
        mark = [False]
        names = list(dict.fromkeys(one.value for one in own))
        for name in [name for name in names if name in values] if values else _usual(names):
            for n, one in enumerate(one for one in own if one.value == name):
                lines.append([name if n == 0 else "", *_line(one)])
                mark.append(one.guided_by_it)
        for text, red in zip(_aligned(lines), mark, strict=True):
            console.print(text, style="red" if red else None, soft_wrap=True, markup=False)
        console.print()
    if any(one.difference for one in entries):
        console.print(
            "Differences are paired over prompts, with 95% intervals; better and worse after "
            "Holm's adjustment over tasks (5%); won: share of prompts, ties half"
        )
    if any(one.prompts < FEWEST for one in entries):
        console.print(
            f"Fewer than {FEWEST} prompts say nothing about others: no interval, no verdict"
        )
    if any(one.guided_by_it for one in entries):
        console.print(
            f"[red]{GUIDED}[/red] this reward guided or selected: its report is no judge's"
        )


def show_matching(matched: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print each method's matched setting and its measured cost."""
    if not matched:
        return
    title = f"{matched[0]['unit']} per prompt, measured on tuning prompts"
    console.print(title, style="bold", markup=False)
    lines = [["task", "guide", "method", "setting", "cost", "budget", "ratio"]]
    for one in matched:
        ratio = f"{one['ratio']:.2f}" + ("" if one["matched"] else "  !! NOT MATCHED !!")
        amounts = f"{one['cost']:.4g}", f"{one['budget']:.4g}", ratio
        lines.append([one["task"], one["guide"], one["label"], turned(one), *amounts])
    for text in _aligned(lines):
        console.print(text, soft_wrap=True, markup=False)
    console.print()


def show_trials(trials: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what each trial came to on tuning prompts, and which was taken."""
    keep = list(dict.fromkeys(name for one in trials for name in one["bounds"]))
    lines = [["task", "guide", "method", "settings", "guide's mean", *keep, ""]]
    for one in trials:
        settings = " ".join(f"{name}={value}" for name, value in one["settings"].items())
        values = [one["value"], *(one["kept"].get(name) for name in keep)]
        numbers = ["" if value is None else f"{value:.3f}" for value in values]
        failed = f"{one['failed']} failed" if one["failed"] else ""
        mark = " ".join(filter(None, ["taken" if one["taken"] else "", failed]))
        lines.append([one["task"], one["guide"], one["label"], settings, *numbers, mark])
    console.print("trials, on tuning prompts", style="bold", markup=False)
    for text in _aligned(lines):
        console.print(text, soft_wrap=True, markup=False)
    for (task, guide), bounds in {
        (one["task"], one["guide"]): one["bounds"] for one in trials
    }.items():
        for name, bound in bounds.items():
            side = "below" if name in LOWER_IS_BETTER else "above"
            console.print(f"{task}, {guide}: {name} must stay {side} {bound:.3f}", markup=False)
    console.print()


def turned(one: Mapping[str, Any]) -> str:
    """The setting that matching chose, as text: `samples=4`."""
    knob = str(one["knob"]).partition(".")[2]
    return f"{knob}={one['value']}" if knob else "as it is"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _usual(names: Sequence[str]) -> list[str]:
    hidden = {*COSTS, "guide:total"} - SHOWN_COSTS
    if sum(name.startswith("guide:") for name in names) > 2:  # a sum of several rewards
        hidden.remove("guide:total")
    return [name for name in names if name not in hidden]


def _line(one: Entry) -> list[str]:
    """Cells of a value's line, without its name."""
    failed = f" ({one.failed} failed)" if one.failed else ""
    mean = _number(one.mean) + _interval(one.low, one.high)
    line = [title_of(one), f"{one.prompts}{failed}", mean]
    gap = one.difference
    mark = GUIDED if one.guided_by_it else ""
    if gap is None:
        return [*line, "", "", mark]
    if one.value in COSTS:
        return [*line, f"{gap.mean:+.3g}", "", mark]
    verdict = " ".join(filter(None, [gap.verdict, mark]))
    interval = _interval(gap.low, gap.high) if gap.interval else ""
    return [*line, f"{gap.mean:+.3f}{interval}", f"{gap.wins:.2f}", verdict]


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"
