"""Small charts as inline SVG: a value against cost with intervals, and a value over steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .style import SERIES

__all__ = ["Point", "Series", "chart", "legend", "lines", "number", "ticks"]

WIDTH, HEIGHT = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 10, 36
DASHES = ("", "7 3", "2 3", "9 3 2 3")


@dataclass(frozen=True)
class Point:
    """A point of a chart; `low` and `high` are an interval of y, `name` its label."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    name: str = ""


@dataclass(frozen=True)
class Series:
    """Points joined by a line in the order of x; `dash` distinguishes lines of one colour."""

    name: str
    color: int
    points: tuple[Point, ...]
    dash: int = 0

    @property
    def dashes(self) -> str:
        """The line's pattern as an attribute."""
        pattern = DASHES[(self.dash + self.color // SERIES) % len(DASHES)]
        return f' stroke-dasharray="{pattern}"' if pattern else ""


def ticks(low: float, high: float, count: int = 4, *, whole: bool = False) -> list[float]:
    """About `count` round numbers within [low, high]; integers if `whole`."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(f for f in (1, 2, 2.5, 5, 10) if f * power >= raw * 0.999)
    if whole:
        step = max(1.0, float(math.ceil(step)))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def number(value: float) -> str:
    """A number as text, with three significant digits unless it needs more."""
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.2g}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def chart(series: Sequence[Series], *, across: str, up: str, dots: bool = True) -> str:
    """An SVG of `series`; empty text without points.

    Args:
        across, up: labels of the x and y axis.
        dots: mark each point (with its interval).
    """
    points = [point for one in series for point in one.points]
    if not points:
        return ""
    ends = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
    bottom, top = _padded(min(ends), max(ends))
    left, right = _padded(min(p.x for p in points), max(p.x for p in points))

    def x_of(x: float) -> float:
        return LEFT + (x - left) / (right - left) * (WIDTH - LEFT - RIGHT)

    def y_of(y: float) -> float:
        return TOP + (top - y) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    label = escape(f"{up} against {across}", quote=True)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{label}">'
    ]
    for y, text in _labelled(ticks(bottom, top)):
        parts.append(_line(LEFT, y_of(y), WIDTH - RIGHT, y_of(y), "axis"))
        parts.append(_text(LEFT - 6, y_of(y) + 4, text, "end"))
    for x, text in _labelled(ticks(left, right, whole=all(p.x == int(p.x) for p in points))):
        parts.append(_text(x_of(x), HEIGHT - BOTTOM + 16, text, "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, across, "middle"))
    for one in series:
        ordered = sorted(one.points, key=lambda p: p.x)
        color = one.color % SERIES
        if len(ordered) > 1:
            path = " ".join(f"{x_of(p.x):.1f},{y_of(p.y):.1f}" for p in ordered)
            parts.append(f'<polyline class="l{color}" points="{path}"{one.dashes}/>')
        for p in ordered if dots or len(ordered) == 1 else []:
            if p.low is not None and p.high is not None:
                parts.append(_line(x_of(p.x), y_of(p.low), x_of(p.x), y_of(p.high), f"l{color}"))
            said = f"{p.name or one.name}: {up} {number(p.y)} at {number(p.x)} {across}"
            parts.append(
                f'<circle cx="{x_of(p.x):.1f}" cy="{y_of(p.y):.1f}" r="4.5" class="f{color}">'
                f"<title>{escape(said)}</title></circle>"
            )
    return "".join([*parts, "</svg>"])


def legend(series: Sequence[tuple[str, int]]) -> str:
    """Names with their colours."""
    keys = "".join(
        f'<span><span class="key k{color % SERIES}"></span>{escape(name)}'
        f"{' (dashed)' if color >= SERIES else ''}</span>"
        for name, color in series
    )
    return f'<div class="legend">{keys}</div>'


def lines(series: Sequence[Series]) -> str:
    """The lines of a chart with their names."""
    keys = "".join(
        f'<span><svg class="line" width="28" height="8" aria-hidden="true"><line x1="0" y1="4" '
        f'x2="28" y2="4" class="l{one.color % SERIES}"{one.dashes}/></svg>{escape(one.name)}</span>'
        for one in series
    )
    return f'<div class="legend">{keys}</div>'


def _padded(low: float, high: float) -> tuple[float, float]:
    """The range of an axis around its values; it includes both signs only if they do.

    If the values are equal (up to rounding) the range is from 0 to twice the value.
    """
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return (min(0.0, 2 * low), max(0.0, 2 * high)) if high else (0.0, 1.0)
    gap = (high - low) * 0.08
    return (
        max(0.0, low - gap) if low >= 0 else low - gap,
        min(0.0, high + gap) if high <= 0 else high + gap,
    )


def _labelled(places: Sequence[float]) -> list[tuple[float, str]]:
    """Ticks with distinct labels: more digits if three are not enough."""
    texts = [number(place) for place in places]
    digits = 4
    while len(set(texts)) < len(texts) and digits < 15:
        texts, digits = [f"{place:.{digits}g}" for place in places], digits + 1
    return list(zip(places, texts, strict=True))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
