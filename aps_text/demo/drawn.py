"""The HTML of answers that form: canvases, curves and costs. Everything typed is text.

The server draws it at every step, with the colours of the page an answer is kept as
(`pipelines.page`): a token by the step that committed it, an anchor in its own.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from ..pipelines.page.page import cost_line
from ..pipelines.page.replay import Shown, replay
from .answering import Part, notices_of
from .page_words import for_the_page

__all__ = [
    "STARTING",
    "canvas",
    "curve",
    "drawn",
    "escape",
    "framed",
    "problem",
    "remark",
]

LEGEND = (
    '<p class="legend soft"><span><i class="token open"></i> open</span>'
    '<span><i class="token anchor">kept</i> kept at this step (anchor)</span>'
    '<span>committed first <i class="scale"></i> last</span></p>'
)


def escape(text: str) -> str:
    """Text for HTML, also where braces and dollars would mean something to a template."""
    return html.escape(text).translate({36: "&#36;", 96: "&#96;", 123: "&#123;", 125: "&#125;"})


def drawn(parts: list[Part], note: str = "") -> str:
    """Canvases side by side, the warnings of finished answers and the curves under them, as far
    as they are.

    Args:
        note: a line of text above them.
    """
    head = f'<p class="soft" role="status">{escape(note)}</p>' if note else ""
    now = next((part for part in parts if part.output is None), None)
    cards = "".join(
        _card(number, part, len(parts), part is now) for number, part in enumerate(parts)
    )
    warnings = "".join(
        f'<p class="warning" role="status">{escape(f"warning: {for_the_page(one)}")}</p>'
        for one in notices_of(parts)
    )
    return (
        f'<div class="aps">{head}{LEGEND}<div class="sides">{cards}</div>{warnings}'
        f'<div class="sides curves">{_curves(parts)}</div></div>'
    )


def problem(message: str) -> str:
    """What went wrong, in words."""
    said = escape(for_the_page(message))
    return f'<div class="aps"><p class="bad" role="alert">{said}</p></div>'


def remark(message: str) -> str:
    """A line about what happened."""
    return f'<div class="aps"><p class="soft" role="status">{escape(message)}</p></div>'


STARTING = (
    '<div class="aps starting"><p class="soft" role="status">starting ...</p></div>'  # and its room
)


def framed(page: str) -> str:
    """A whole page inside of this one: its scripts run, and cannot reach what is around it."""
    return (
        '<div class="aps"><iframe sandbox="allow-scripts" title="the answers, step by step" '
        f'srcdoc="{escape(page)}"></iframe></div>'
    )


def _card(number: int, part: Part, sides: int, now: bool) -> str:
    """A side; `now`: it is the one that is being computed."""
    step = part.states[-1].step + 1 if part.states else 0
    state = "starting ..." if now else "waits for the other"
    if part.at is not None:
        state = str(part.at)
    elif part.frames is not None:
        state = f"step {step} of {part.steps}"
    if part.output is not None:
        state = "finished"
    by = f"steered by {part.by}" if part.by else "the model alone"
    body = canvas(replay(part.frames, step), part.steps) if part.frames is not None else ""
    final = ""
    if part.output is not None:
        answer = part.output[0]
        rewards = "".join(
            f"<span>{escape(name)} <b>{value:.3f}</b></span>"
            for name, value in answer.rewards.items()
            if name != "total" or len(answer.rewards) > 2
        )
        final = (
            f'<p class="answer"><span class="soft">answer</span> <span dir="auto">'
            f"{escape(answer.text) or '(empty)'}</span></p>"
            f'<p class="scores">{rewards}</p>'
            f'<p class="soft">{escape(cost_line(part.output.cost.as_dict()))}</p>'
        )
    tone = number if sides > 1 else 1
    return (
        f'<section class="card" data-side="{escape(part.title)}">'
        f'<h3><i class="key s{tone}"></i>{escape(part.title)} <span class="soft">'
        f'{escape(by)}; <span role="status">{state}</span></span></h3>'
        f'<p class="canvas" dir="auto">{body}</p>{final}</section>'
    )


def canvas(tokens: Sequence[Shown], steps: int) -> str:
    """The tokens of a canvas, coloured by when they were committed out of `steps`."""
    found = []
    for one in tokens:
        if one.kind == "open":
            found.append(f' <span class="token open" data-at="{one.at}" title="open"></span>')
            continue
        text = " ■" if one.kind == "end" else one.text
        words = text.strip() or ("⏎" if "\n" in text else "")
        classes = "token" + " end" * (one.kind == "end") + " anchor" * one.anchor
        classes += " given" * (one.wrote == 0)
        title, style = "given", ""
        if one.wrote:
            title = f"{'end' if one.kind == 'end' else words}: step {one.wrote}"
            share = (one.wrote - 1) / (steps - 1) if steps > 1 else 0.0
            style = f' style="--t: {min(share, 1.0):.3f}"'
            if one.chance is not None:
                title += f", probability {one.chance[0]:g} (base model {one.chance[1]:g})"
        space = text[: len(text) - len(text.lstrip())]
        broken = "\n" in space and bool(text.strip())
        gap = ("<br>" if broken else " ") if (broken or space[:1] == " ") and found else ""
        after = "<br>" if "\n" in text and not broken else ""
        found.append(
            f'{gap}<span class="{classes}" data-at="{one.at}" title="{escape(title)}"{style}>'
            f"{escape(words)}</span>{after}"
        )
    return "".join(found)


def _curves(parts: Sequence[Part]) -> str:
    """A panel for each reward, and one for the KL, of what was measured so far."""
    steps = max((part.steps for part in parts), default=0)
    rewards: dict[str, dict[int, list[tuple[int, float]]]] = {}
    kl: dict[int, list[tuple[int, float]]] = {}
    for number, part in enumerate(parts):
        tone = number if len(parts) > 1 else 1
        for frame in part.frames.frames if part.frames is not None else []:
            for name, value in frame.get("r", {}).items():
                rewards.setdefault(name, {}).setdefault(tone, []).append((frame["s"], value))
            if frame.get("k") is not None:
                kl.setdefault(tone, []).append((frame["s"], frame["k"]))
    panels = []
    for name, curves in rewards.items():
        levels = {
            (number if len(parts) > 1 else 1): part.output.rewards[name][0]
            for number, part in enumerate(parts)
            if part.output is not None and name in part.output.rewards
        }
        note = "of each step's whole answer; dashed: of the final text"
        panels.append(_panel(name, note, curve(name, curves, levels, steps)))
    if any(value for line in kl.values() for _, value in line):
        note = "how far steering moved the step's draws from the model's own, nats per open token"
        panels.append(_panel("KL", note, curve("KL", kl, {}, steps, low=0.0)))
    return "".join(panels)


def _panel(title: str, note: str, svg: str) -> str:
    return (
        f'<section class="card" data-curve="{escape(title)}"><h3>{escape(title)} '
        f'<span class="soft">{note}</span></h3>{svg}</section>'
    )


def curve(
    title: str,
    curves: Mapping[int, Sequence[tuple[int, float]]],
    levels: Mapping[int, float],
    steps: int,
    low: float | None = None,
) -> str:
    """An SVG of values over steps 1 to `steps`.

    Args:
        curves: (step, value) of each side by its number.
        levels: a dashed line for each side, of the final text's value; infinite ones are left out.
        low: the lower end; None is the least value.
    """
    wide, high, left, right, top, bottom = 420, 170, 56, 14, 12, 28
    ends = {tone: value for tone, value in levels.items() if math.isfinite(value)}
    values = [value for line in curves.values() for _, value in line] + list(ends.values())
    least, most = min(values) if low is None else low, max(values)
    flat = most - least < 1e-3 * max(1.0, abs(most))  # but for rounding
    if flat:
        least, most = least - 0.5, most + 0.5

    def x(step: int) -> float:
        share = (step - 1) / (steps - 1) if steps > 1 else 0.0
        return left + share * (wide - left - right)

    def y(value: float) -> float:
        return top + (most - value) / (most - least) * (high - top - bottom)

    parts, decimals = [], max(0, math.ceil(1 - math.log10(most - least))) + 2 * flat
    for value in ((least + most) / 2,) if flat else (least, (least + most) / 2, most):
        parts.append(
            f'<line class="axis" x1="{left}" x2="{wide - right}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/><text x="{left - 6}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{value:.{decimals}f}</text>'
        )
    for step in sorted({1, math.ceil(steps / 2), steps} - {0}):
        parts.append(f'<text x="{x(step):.1f}" y="{high - 6}" text-anchor="middle">{step}</text>')
    for tone, line in curves.items():
        points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in line)
        if len(line) > 1:
            parts.append(f'<polyline class="curve s{tone}" points="{points}"/>')
        elif line:
            at, of = points.split(",")
            parts.append(f'<circle class="s{tone}" r="3" cx="{at}" cy="{of}"/>')
    for tone, value in ends.items():
        parts.append(
            f'<line class="level s{tone}" x1="{left}" x2="{wide - right}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/>'
        )
    return (
        f'<svg viewBox="0 0 {wide} {high}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
