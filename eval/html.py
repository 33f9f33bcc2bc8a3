"""The report as one HTML page: no script, no font, no image and no address from elsewhere.

Per block (task and guiding reward): the differences that are shown, value against cost, the table
of every value with its paired 95% interval, rewards over steps, and answers side by side. All
text from models and files is escaped, and a content security policy forbids loading anything.
"""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any

from .files import write_whole
from .html_curves import Point, Series, chart, legend
from .html_examples import compared, examples
from .html_style import STYLE
from .html_tables import failures, matching, title_of, values
from .measures import LOWER_IS_BETTER
from .rows import Row
from .summary import COSTS, Entry, summarise

__all__ = ["write_page"]

FULL = ("f1", "exact", "numeric", "choice", "nll")  # metrics that get a curve


def write_page(
    rows: Sequence[Row],
    path: str | Path,
    about: Mapping[str, Any] | None = None,
    *,
    baseline: str = "plain",
    shown: int = 6,
) -> None:
    """Write the page of some rows.

    Args:
        rows: of one run or several; rows of tuning prompts are left out.
        about: what `run.json` says of the run (command, versions, matching, ...).
        baseline: label that differences are taken to.
        shown: prompts of each block whose answers are shown.

    Raises:
        ValueError: no rows to show.
    """
    rows = [row for row in rows if row.split == "test"]
    if not rows:
        raise ValueError("a page needs at least one row of split 'test', got none")
    about = about or {}
    entries = summarise(rows, baseline)
    families = families_of(rows)
    blocks = dict.fromkeys((one.task, one.guide) for one in entries)
    parts = [_head(rows, about, baseline), _loud(rows)]
    for task, guide in blocks:
        own = [one for one in entries if (one.task, one.guide) == (task, guide)]
        mine = [row for row in rows if (row.task, row.guide) == (task, guide)]
        parts.append(_block(task, guide, own, mine, families, shown))
    parts += [matching(about.get("matching") or []), failures(rows), _setup(rows, about)]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    write_whole(
        path,
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation</title><style>{STYLE}</style></head><body><main>"
        f"{''.join(parts)}</main></body></html>\n",
    )


def _head(rows: Sequence[Row], about: Mapping[str, Any], baseline: str) -> str:
    models = ", ".join(dict.fromkeys(f"{r.model} ({r.fingerprint[:12]})" for r in rows))
    seeds = ", ".join(str(seed) for seed in sorted({row.seed for row in rows}))
    facts = [f"model {models}", f"{len(rows)} answers", f"seeds {seeds}"]
    facts += [str(about[name]) for name in ("device", "started") if name in about]
    return (
        f'<h1>Evaluation</h1><p class="soft">{escape("; ".join(facts))}</p>'
        f'<p class="soft">Differences are to {escape(baseline)}, paired over prompts, with 95% '
        "bootstrap intervals; "
        '"better" and "worse" hold after Holm\'s adjustment over tasks (5%), anything else is '
        '"no difference shown".</p>'
    )


def _loud(rows: Sequence[Row]) -> str:
    names = sorted({name for row in rows for name in row.guided_by_report})
    if not names:
        return ""
    return (
        f'<div class="loud"><b>GUIDED BY IT:</b> {escape(", ".join(names))} guided or selected '
        "answers and is reported as well. Its report is no independent judgement; those cells are "
        "framed.</div>"
    )


def _block(
    task: str,
    guide: str,
    entries: Sequence[Entry],
    rows: Sequence[Row],
    families: Mapping[str, tuple[str, int]],
    shown: int,
) -> str:
    names = list(dict.fromkeys(one.value for one in entries))
    hidden = {*COSTS} - {"seconds"}
    if len({name for name in names if name.startswith("guide:") and name[-4:] != " top"}) <= 2:
        hidden |= {"guide:total", "guide:total top"}  # of one reward it is that reward
    names = [name for name in names if name not in hidden]
    names.sort(key=lambda name: not name.startswith(("guide", "report", "select")))
    colors = {title: color for title, (_, color) in families.items()}
    titles = dict.fromkeys(families[title_of(one)] for one in entries)
    parts = [f"<h2>{escape(task)}{f', guided by {escape(guide)}' if guide else ''}</h2>"]
    unit = "flops" if any(one.value == "flops" for one in entries) else "seconds"
    figures = _against_cost(entries, names, unit, families)
    over = _over_steps(rows, colors)
    if figures or over:
        parts.append(legend(list(titles)))
    parts.append(f'<div class="panels">{figures}{over}</div>')
    parts.append(f"<h3>Every value</h3>{values(entries, names)}")
    peer = _best_peer(entries, rows, names)
    labels = compared(rows, peer)
    said = f"the best peer here is {peer}" if peer else "no peer ran"
    parts.append(
        f"<h3>Answers side by side</h3><p class='soft'>Every so many of the prompts, first seed; "
        f"{escape(said)}. A token's colour is the step that committed it, first"
        '<span class="scale"></span>last.</p>' + examples(rows, labels, shown)
    )
    return "".join(parts)


def _against_cost(
    entries: Sequence[Entry],
    names: Sequence[str],
    unit: str,
    families: Mapping[str, tuple[str, int]],
) -> str:
    """A chart for each reward and main metric: its mean over the cost per prompt."""
    cost = {title_of(one): one.mean for one in entries if one.value == unit}
    figures = []
    for name in names:
        if name.endswith(" top") or not (name.startswith(("guide:", "report:")) or name in FULL):
            continue
        own = [one for one in entries if one.value == name and title_of(one) in cost]
        joined: dict[tuple[str, int], list[Point]] = defaultdict(list)
        for one in own:
            title = title_of(one)
            point = Point(cost[title], one.mean, one.low, one.high, title)
            joined[families[title]].append(point)
        series = [Series(*family, tuple(points)) for family, points in joined.items()]
        better = "lower is better" if name in LOWER_IS_BETTER else "higher is better"
        if any(one.guided_by_it for one in own):
            better += "; <b class='loud-word'>GUIDED BY IT</b>"
        drawn = chart(series, across=f"{unit} per prompt", up=name)
        if drawn:
            caption = f'{escape(name)} <span class="soft">{better}</span>'
            figures.append(f"<figure><figcaption>{caption}</figcaption>{drawn}</figure>")
    return "".join(figures)


def families_of(rows: Sequence[Row]) -> dict[str, tuple[str, int]]:
    """Column title -> name and colour: cells of a family have one colour and one line."""
    members: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        mark = f" ({row.control})" if row.control else ""
        members[(row.family or row.method) + mark][row.label + mark] = None
    return {
        title: (next(iter(titles)) if len(titles) == 1 else family, color)
        for color, (family, titles) in enumerate(members.items())
        for title in titles
    }


def _over_steps(rows: Sequence[Row], colors: Mapping[str, int]) -> str:
    """A chart for each guiding reward: the mean over answers at each step that was steered."""
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    for row in rows:
        title = f"{row.label} ({row.control})" if row.control else row.label
        for name, curve in row.curve.items():
            steps = found.setdefault(name, {}).setdefault(title, defaultdict(list))
            for step, value in enumerate(curve):
                if value is not None:
                    steps[step].append(value)
    figures = []
    for name, methods in found.items():
        series = [
            Series(
                title,
                colors[title],
                tuple(Point(s + 1, fmean(v)) for s, v in sorted(steps.items())),
            )
            for title, steps in methods.items()
            if title in colors
        ]
        drawn = chart(series, across="step", up=name, dots=False)
        if drawn:
            caption = (
                f'{escape(name)} over steps <span class="soft">as the method saw it (relaxed, or '
                "the mean of drawn answers); answers that ended are left out</span>"
            )
            figures.append(
                f'<figure class="narrow"><figcaption>{caption}</figcaption>{drawn}</figure>'
            )
    return "".join(figures)


def _best_peer(entries: Sequence[Entry], rows: Sequence[Row], names: Sequence[str]) -> str | None:
    """The peer with the highest mean of the first report (else of what guides)."""
    methods = {row.label: row.method for row in rows if not row.control}
    peers = [label for label, method in methods.items() if method not in ("plain", "aps")]
    judged = [n for n in names if n.startswith("report:") and not n.endswith(" top")]
    loud = {one.value for one in entries if one.guided_by_it}
    judged = [n for n in judged if n not in loud] or [n for n in names if n.startswith("guide:")]
    if not peers or not judged:
        return peers[0] if peers else None
    means = {one.label: one.mean for one in entries if one.value == judged[0] and not one.control}
    return max(peers, key=lambda label: means.get(label, float("-inf")))


def _setup(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """The exact command, versions, and the settings of each method."""
    parts = ["<h2>How it was made</h2>"]
    if about.get("command"):
        parts.append(f"<pre>{escape(shlex.join(map(str, about['command'])))}</pre>")
    versions = about.get("versions") or {}
    if versions:
        text = ", ".join(f"{name} {number}" for name, number in versions.items())
        parts.append(f"<p>{escape(text)}</p>")
    plain = {k: v for k, v in about.items() if k not in ("command", "versions", "matching")}
    settings = {row.label: {"options": row.options, "config": row.config} for row in rows}
    for title, value in (("Run", plain), ("Settings of each method", settings)):
        text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
        parts.append(f"<details><summary>{title}</summary><pre>{escape(text)}</pre></details>")
    return "".join(parts)
