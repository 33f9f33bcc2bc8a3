"""The report as one self-contained HTML page, without scripts, fonts, images or links.

Per block (task and guiding reward) it has: the winner, values against cost, the table of every
value with its paired 95% interval, rewards over steps, and answers side by side. All text from
models and files is escaped, and a content security policy forbids loading anything.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..rows import Row
from .curves import legend
from .examples import compared, examples
from .page_tables import failures, matching, values
from .panels import against_cost, families_of, over_steps
from .statistics import FEWEST
from .style import STYLE
from .summary import COSTS, SHOWN_COSTS, Entry, summarise, title_of
from .winner import winner

__all__ = ["write_page"]

WALL_TIME = (
    "Seconds are wall time, longer beside other programs; denoiser_forwards, the rows of the "
    "model's passes, are counted. At equal cost: --match flops."
)
SHOWN_ELSEWHERE = ("command", "versions", "matching", "notes")
"""Of a run's entry."""


def write_page(
    rows: Sequence[Row],
    path: str | Path,
    about: Mapping[str, Any] | None = None,
    *,
    baseline: str = "plain",
    shown: int = 6,
    split: str = "test",
) -> None:
    """Write the page of some rows.

    Args:
        rows: of one run or several.
        about: the run's entry of `run.json` (command, versions, matching, ...).
        baseline: label of the method with which the others are compared.
        shown: number of prompts per block whose answers are shown.
        split: `test` or `tune`; rows of the other are left out.

    Raises:
        ValueError: no rows to show.
    """
    rows = [row for row in rows if row.split == split]
    if not rows:
        raise ValueError(f"a page needs at least one row of split {split!r}, got none")
    about = about or {}
    entries = summarise(rows, baseline, split=split)
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
    facts += ["TUNING prompts, which settings are chosen on"] * (rows[0].split == "tune")
    facts += [str(about[name]) for name in ("device", "started") if name in about]
    late = [f"{one['value']} ({one['last'][:10]})" for one in about.get("judged") or ()]
    facts += [f"judged after the run: {', '.join(late)}"] * bool(late)
    ours = {row.family for row in rows if row.budget}
    same = " at the same budget" if baseline in ours else ""
    said = "".join(f'<p class="soft">{escape(one)}</p>' for one in about.get("notes") or ())
    return (
        f'<h1>Evaluation</h1><p class="soft">{escape("; ".join(facts))}</p>'
        f'<p class="soft">Differences are to {escape(baseline)}{same}, paired over prompts, with '
        "95% bootstrap intervals; "
        '"better" and "worse" hold after Holm\'s adjustment over tasks (5%), anything else is '
        f'"no difference shown". Of fewer than {FEWEST} prompts there is no interval and no '
        f"verdict.</p>{said}"
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
    hidden = {*COSTS} - SHOWN_COSTS
    if len({name for name in names if name.startswith("guide:") and name[-4:] != " top"}) <= 2:
        hidden |= {"guide:total", "guide:total top"}  # of one reward it is that reward
    names = [name for name in names if name not in hidden]
    names.sort(key=lambda name: not name.startswith(("guide", "report", "select")))
    titles = dict.fromkeys(families[title_of(one)] for one in entries)
    parts = [f"<h2>{escape(task)}{f', guided by {escape(guide)}' if guide else ''}</h2>"]
    parts.append(f'<p class="won"><b>{escape(winner(entries))}</b></p>')
    unit = "flops" if any(one.value == "flops" for one in entries) else "seconds"
    figures = against_cost(entries, names, unit, families)
    over = over_steps(rows, families)
    if figures or over:
        parts.append(legend(list(titles)))
    parts.append(f'<div class="panels">{figures}{over}</div>')
    if unit == "seconds":
        parts.append(f'<p class="soft">{WALL_TIME}</p>')
    budgets = list(dict.fromkeys(one.budget for one in entries if one.budget))
    for budget in budgets or [""]:  # entries without a budget are shown with each
        own = [one for one in entries if not budget or one.budget in ("", budget)]
        at = f" at {escape(budget)}" if budget else ""
        parts.append(f"<h3>Every value{at}</h3>{values(own, names)}")
    peer = _best_peer(entries, rows, names)
    labels = compared(rows, peer)
    said = f"the best peer here is {peer}" if peer else "no peer ran"
    cards, count = examples(rows, labels, shown)
    prompts = len({row.item for row in rows})
    some = f"{count} of {prompts} prompts, evenly spread" if count < prompts else f"all {prompts}"
    parts.append(
        f"<h3>Answers side by side</h3><p class='soft'>Shown: {some}, first seed; "
        f"{escape(said)}. A token's colour is the step that committed it, first"
        f'<span class="scale"></span>last.</p>{cards}'
    )
    return "".join(parts)


def _best_peer(entries: Sequence[Entry], rows: Sequence[Row], names: Sequence[str]) -> str | None:
    """The peer with the highest mean of the first reported (else guiding) reward, last budget."""
    last = next((row.budget for row in reversed(rows) if row.budget), "")
    methods = {
        row.label: row.method for row in rows if not row.control and row.budget in ("", last)
    }
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
    plain = {k: v for k, v in about.items() if k not in SHOWN_ELSEWHERE}
    for title, value in (("Run", plain), ("Settings of each method", _settings(rows))):
        text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
        parts.append(f"<details><summary>{title}</summary><pre>{escape(text)}</pre></details>")
    return "".join(parts)


def _settings(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Settings by label; by label and block if those of blocks differ (after matching)."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        own = {"method": row.method, "options": row.options, "config": row.config}
        found.setdefault(row.label, {})[f"{row.task}, guided by {row.guide or 'nothing'}"] = own
    settings = {}
    for label, blocks in found.items():
        first = next(iter(blocks.values()))
        if all(one == first for one in blocks.values()):
            settings[label] = first
        else:
            settings |= {f"{label} ({block})": one for block, one in blocks.items()}
    return settings
