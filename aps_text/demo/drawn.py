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

__all__ = ["STYLE", "canvas", "curve", "drawn", "escape", "framed", "problem", "remark"]

LIGHT = """--ink: #1c1f23; --soft: #5c636b; --line: #d9dce0; --card: #ffffff; --early: #d7e6fa;
 --late: #f6b98a; --anchor: #0b7a43; --on: #ffffff; --open: #e9ebee; --s0: #5f6670; --s1: #0b62c4;
 --bad: #a3231c;"""
DARK = """--ink: #e7e9ec; --soft: #a2abb5; --line: #383e46; --card: #1d2126; --early: #1f3a5f;
 --late: #8a4a17; --anchor: #6fd39b; --on: #0d1a12; --open: #2c3138; --s0: #aab2bc; --s1: #6fb1ff;
 --bad: #ff9b94;"""
STYLE = (
    f".aps {{ {LIGHT} color: var(--ink); }} .dark .aps {{ {DARK} }}"
    """
.aps h3 { font-size: 14px; margin: 0 0 6px; font-weight: 600; color: var(--ink); }
.aps .soft { color: var(--soft); font-size: 13px; margin: 6px 0; }
.aps .bad { color: var(--bad); border: 1px solid var(--bad); border-radius: 8px; padding: 10px 12px;
  white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.aps .sides { display: grid; gap: 14px; margin: 10px 0;
  grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); }
.aps .curves { grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); }
.aps h3 .soft { font-weight: 400; } .aps .links a { margin-right: 14px; }
.aps .card { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 14px; min-width: 0; }
.aps .canvas { font-size: 17px; line-height: 1.75; margin: 0 0 8px; overflow-wrap: anywhere;
  min-height: 5.2em; color: var(--ink); }
.aps .token { border-radius: 4px; padding: 1px 2px; unicode-bidi: isolate;
  background: color-mix(in srgb, var(--late) calc(var(--t, 0) * 100%), var(--early)); }
.aps .token.given { background: none; color: var(--soft); }
.aps .token.end { font-size: 11px; vertical-align: 2px; }
.aps .token.open { background: var(--open); display: inline-block; width: 1.9em; height: 1.05em;
  vertical-align: -2px; }
.aps .token.anchor { background: var(--anchor); color: var(--on); font-weight: 600; }
.aps .answer { border-top: 1px solid var(--line); padding-top: 8px; margin: 0; color: var(--ink);
  white-space: pre-line; overflow-wrap: anywhere; }
.aps .scores { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 13px; margin: 6px 0;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; color: var(--ink); }
.aps .legend { display: flex; flex-wrap: wrap; gap: 4px 18px; }
.aps .legend i { font-style: normal; } .aps .legend .open { width: 1.6em; }
.aps .scale { display: inline-block; width: 90px; height: 11px; border-radius: 3px; margin: 0 4px;
  vertical-align: -1px; background: linear-gradient(to right, var(--early), var(--late)); }
.aps svg { display: block; width: 100%; height: auto; margin-top: 6px; }
.aps svg text { fill: var(--soft); font: 11px system-ui, "DejaVu Sans", sans-serif; }
.aps .axis { stroke: var(--line); } .aps .curve { fill: none; stroke-width: 2; }
.aps .level { stroke-width: 1.4; stroke-dasharray: 5 4; }
.aps svg .s0 { stroke: var(--s0); } .aps svg .s1 { stroke: var(--s1); }
.aps .key { display: inline-block; width: 18px; border-top: 3px solid; margin-right: 6px;
  vertical-align: 4px; } .aps .key.s0 { border-color: var(--s0); }
.aps .key.s1 { border-color: var(--s1); }
.aps iframe { width: 100%; height: 780px; border: 1px solid var(--line); border-radius: 8px;
  color-scheme: light; } .dark .aps iframe { color-scheme: dark; }
.aps table { border-collapse: collapse; width: 100%; font-size: 13px; }
.aps td, .aps th { border-bottom: 1px solid var(--line); padding: 4px 12px 4px 0; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; color: var(--ink); }
.aps .pictures { display: flex; flex-wrap: wrap; gap: 14px; margin: 10px 0; }
.aps .pictures figure { margin: 0; width: min(168px, 36vw); }
.aps .pictures img { width: 100%;
  image-rendering: pixelated; border: 1px solid var(--line); border-radius: 6px; display: block; }
.aps .pictures figcaption { font-size: 12.5px; color: var(--soft); margin-top: 4px; }
"""
)

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
    cards = "".join(_card(number, part, len(parts)) for number, part in enumerate(parts))
    warnings = "".join(
        f'<p class="soft warning" role="status">{escape(f"warning: {one}")}</p>'
        for one in notices_of(parts)
    )
    return (
        f'<div class="aps">{head}{LEGEND}<div class="sides">{cards}</div>{warnings}'
        f'<div class="sides curves">{_curves(parts)}</div></div>'
    )


def problem(message: str) -> str:
    """What went wrong, in words."""
    return f'<div class="aps"><p class="bad" role="alert">{escape(message)}</p></div>'


def remark(message: str) -> str:
    """A line about what happened."""
    return f'<div class="aps"><p class="soft" role="status">{escape(message)}</p></div>'


def framed(page: str) -> str:
    """A whole page inside of this one: its scripts run, and cannot reach what is around it."""
    return (
        '<div class="aps"><iframe sandbox="allow-scripts" title="the answers, step by step" '
        f'srcdoc="{escape(page)}"></iframe></div>'
    )


def _card(number: int, part: Part, sides: int) -> str:
    begun = part.frames is not None
    step = part.states[-1].step + 1 if part.states else 0
    state = f"step {step} of {part.steps}" if begun else "waiting"
    if part.output is not None:
        state = "finished"
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
        f'<h3><i class="key s{tone}"></i>{escape(part.title)} <span class="soft">{state}</span>'
        f'</h3><p class="canvas" dir="auto">{body}</p>{final}</section>'
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
        gap = ("<br>" if "\n" in text else " ") if text[:1].isspace() and found else ""
        found.append(
            f'{gap}<span class="{classes}" data-at="{one.at}" title="{escape(title)}"{style}>'
            f"{escape(words)}</span>"
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
        note = "x_phi from the base model, nats per open token"
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
    wide, high, left, right, top, bottom = 420, 150, 44, 12, 10, 24
    ends = {tone: value for tone, value in levels.items() if math.isfinite(value)}
    values = [value for line in curves.values() for _, value in line] + list(ends.values())
    least, most = min(values) if low is None else low, max(values)
    if most - least < 1e-3 * max(1.0, abs(most)):  # flat, but for rounding
        least, most = least - 0.5, most + 0.5

    def x(step: int) -> float:
        share = (step - 1) / (steps - 1) if steps > 1 else 0.0
        return left + share * (wide - left - right)

    def y(value: float) -> float:
        return top + (most - value) / (most - least) * (high - top - bottom)

    parts, decimals = [], max(0, math.ceil(1 - math.log10(most - least)))
    for value in (least, (least + most) / 2, most):
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
