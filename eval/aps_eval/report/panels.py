"""The page's charts: values against cost, rewards over steps, and the colours of methods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from statistics import fmean

from ..measures import LOWER_IS_BETTER
from ..rows import Row
from .curves import Point, Series, chart, lines
from .summary import Entry, title_of

__all__ = ["against_cost", "families_of", "over_steps"]

Curve = Sequence[float | None]
"""A reward at each step; None where the step was not guided or the answer had ended."""

FULL = ("f1", "exact", "numeric", "accuracy", "solved", "nll")
"""Metrics that get a chart."""


def against_cost(
    entries: Sequence[Entry],
    names: Sequence[str],
    unit: str,
    families: Mapping[str, tuple[str, int]],
) -> str:
    """A chart for each reward and main metric: its mean against the cost per prompt."""
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
    """Column title -> (family, colour); the cells of a family share a colour and a line."""
    members: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        mark = f" ({row.control})" if row.control else ""
        members[(row.family or row.method) + mark][title_of(row)] = None
    return {
        title: (next(iter(titles)) if len(titles) == 1 else family, color)
        for color, (family, titles) in enumerate(members.items())
        for title in titles
    }


def over_steps(rows: Sequence[Row], families: Mapping[str, tuple[str, int]]) -> str:
    """A chart for each guiding reward: its mean over answers at each guided step.

    An answer that has ended keeps the value of its last step, so that a line does not jump as the
    others go on. Lines of one family have the same colour and different dashes.
    """
    curves: dict[str, dict[str, list[Curve]]] = {}
    for row in rows:
        for name, curve in row.curve.items():
            curves.setdefault(name, {}).setdefault(title_of(row), []).append(curve)
    found = {
        name: {title: _held(own) for title, own in methods.items()}
        for name, methods in curves.items()
    }
    figures = []
    for name, methods in found.items():
        series: list[Series] = []
        for title, steps in methods.items():
            color = families[title][1]
            points = tuple(Point(s + 1, fmean(v)) for s, v in sorted(steps.items()))
            before = sum(one.color == color for one in series)
            series.append(Series(title, color, points, before))
        drawn = chart(series, across="step", up=name, dots=False)
        if drawn:
            caption = (
                f'{escape(name)} over steps <span class="soft">as the method saw it (relaxed, or '
                "the mean of drawn answers); an answer that ended keeps its last value</span>"
            )
            figures.append(
                f'<figure class="narrow"><figcaption>{caption}</figcaption>{drawn}{lines(series)}'
                "</figure>"
            )
    return "".join(figures)


def _held(curves: Sequence[Curve]) -> dict[int, list[float]]:
    """The values of each step at which one of the answers has one; an answer without one there has
    that of its step before, from its first on."""
    steps = sorted({at for curve in curves for at, value in enumerate(curve) if value is not None})
    found: dict[int, list[float]] = {step: [] for step in steps}
    for curve in curves:
        last: float | None = None
        for step in steps:
            value = curve[step] if step < len(curve) else None
            last = last if value is None else value
            if last is not None:
                found[step].append(last)
    return found
