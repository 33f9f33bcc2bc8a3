"""Tables of the page: values with intervals and paired differences, matching, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..rows import Row
from .curves import number
from .summary import COSTS, Entry, title_of
from .tables import turned

__all__ = ["failures", "matching", "values"]


def values(entries: Sequence[Entry], names: Sequence[str]) -> str:
    """A table of one block's entries: a row per value of `names`, a column per method."""
    cells = {(title_of(one), one.value): one for one in entries}
    methods = list(dict.fromkeys(title_of(one) for one in entries))
    head = "".join(_method(method, entries) for method in methods)
    body = "".join(
        f"<tr><td><b>{escape(name)}</b>{_about(name)}</td>"
        + "".join(_cell(cells.get((method, name))) for method in methods)
        + "</tr>"
        for name in names
    )
    return f'<div class="wide"><table><tr><th>value</th>{head}</tr>{body}</table></div>'


def _about(name: str) -> str:
    """What a name does not say."""
    said = '<span class="gap">per prompt: an equal share of its batch\'s</span>'
    return said if name in COSTS else ""


def _method(title: str, entries: Sequence[Entry]) -> str:
    own = [one for one in entries if title_of(one) == title]
    failed = f", {own[0].failed} failed" if own[0].failed else ""
    about = f"{max(one.prompts for one in own)} prompts{failed}"
    return f'<th>{escape(title)}<span class="gap">{about}</span></th>'


def _cell(one: Entry | None) -> str:
    if one is None:
        return "<td></td>"
    interval = ""
    if one.low is not None and one.high is not None:
        interval = f" [{number(one.low)}, {number(one.high)}]"
    text = f"{number(one.mean)}{interval}"
    gap = one.difference
    if gap is not None and one.value in COSTS:
        text += f'<span class="gap">{gap.mean:+.3g}</span>'
    elif gap is not None:
        kind = gap.verdict if gap.verdict in ("better", "worse") else ""
        text += (
            f'<span class="gap">{gap.mean:+.3f}{gap.interval}</span>'
            f'<span class="gap {kind}">{gap.verdict}; wins {gap.wins:.0%}</span>'
        )
    if one.guided_by_it:
        text += '<span class="gap"><b class="loud-word">GUIDED BY IT</b></span>'
    return f'<td class="number{" guided" if one.guided_by_it else ""}">{text}</td>'


def matching(matched: Sequence[Mapping[str, Any]]) -> str:
    """A table of each method's matched setting, and its measured cost beside the budget."""
    if not matched:
        return ""
    lines = "".join(
        f"<tr><td>{escape(str(one['task']))}</td><td>{escape(str(one['guide']))}</td>"
        f"<td>{escape(str(one['label']))}</td><td>{escape(turned(one))}</td>"
        f'<td class="number">{number(one["cost"])}</td>'
        f'<td class="number">{number(one["budget"])}</td>'
        f'<td class="number">{one["ratio"]:.2f}{"" if one["matched"] else _NOT}</td></tr>'
        for one in matched
    )
    return (
        f"<h2>Matched cost</h2><p>{escape(str(matched[0]['unit']))} per prompt, measured on tuning "
        'prompts before the run.</p><div class="wide"><table><tr><th>task</th><th>guide</th>'
        "<th>method</th><th>setting</th><th>cost</th><th>budget</th><th>ratio</th></tr>"
        f"{lines}</table></div>"
    )


_NOT = ' <b class="loud-word">NOT MATCHED</b>'


def failures(rows: Sequence[Row], most: int = 50) -> str:
    """A table of failed rows; all are counted, the first `most` are listed."""
    failed = [row for row in rows if row.error is not None]
    if not failed:
        return f"<h2>Failures</h2><p>None of {len(rows)} answers failed.</p>"
    lines = "".join(
        f"<tr><td>{escape(row.task)}</td><td>{escape(row.item)}</td><td>{escape(row.label)}</td>"
        f"<td>{row.seed}</td><td>{escape(str(row.error))}</td></tr>"
        for row in failed[:most]
    )
    more = f" The first {most}:" if len(failed) > most else ""
    return (
        f'<h2>Failures</h2><p><b class="loud-word">{len(failed)} of {len(rows)} answers failed'
        f"</b> and are left out of every number.{more}</p>"
        '<div class="wide"><table><tr><th>task</th><th>item</th><th>method</th><th>seed</th>'
        f"<th>what happened</th></tr>{lines}</table></div>"
    )
