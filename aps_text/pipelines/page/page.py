"""The HTML of one answer's page: it loads nothing, and everything that was typed is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from ...text.visible import finite
from .frames import Frames

__all__ = ["Side", "cost_line", "page"]


@dataclass(frozen=True)
class Side:
    """One of the answers a page shows side by side.

    Attributes:
        title: the method's name.
        text: the final answer.
        rewards: of the final text, by name.
        cost: counts and seconds of the whole call, as `Cost.as_dict`.
        answers: number of answers in that call.
        frames: the answer's steps.
        by: what steered it, in words.
    """

    title: str
    text: str
    rewards: Mapping[str, float]
    cost: Mapping[str, Any]
    answers: int
    frames: Frames
    by: str = ""


def page(
    prompt: str, sides: Sequence[Side], about: str, python: str, notes: Sequence[str] = ()
) -> str:
    """The page, a whole HTML document.

    Args:
        about: one line: model, settings, seed.
        python: the call that repeats the answers.
        notes: lines shown above the answers.
    """
    script, style = _part("page.js"), _part("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    data = [
        {"title": one.title, "rewards": finite(one.rewards), **one.frames.as_dict()}
        for one in sides
    ]
    said = "".join(f'<p class="soft">{escape(note)}</p>\n' for note in notes)
    cards = "".join(_card(number, one) for number, one in enumerate(sides))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(prompt[:80])}</title>\n<style>{style}</style></head>\n"
        f'<body><main><h1 dir="auto">{escape(prompt)}</h1><p class="soft">{escape(about)}</p>\n'
        f'{said}{CONTROLS}<div class="sides" id="sides">{cards}</div>\n'
        '<div class="panels" id="panels"></div>\n'
        f"<h2>The same seed again</h2><pre>{escape(python)}</pre>\n"
        f'</main><script type="application/json" id="data">{_json(data)}</script>\n'
        f"<script>{script}</script></body></html>\n"
    )


CONTROLS = """<div class="controls" id="controls" hidden>
<button id="play" type="button">Play</button>
<label class="grow">Step <input id="step" type="range" min="0" value="0" step="1">
<output id="at" for="step"></output></label>
<label>Speed <input id="speed" type="range" min="0" max="4" value="2" step="1">
<output id="pace" for="speed"></output></label>
<label><input id="proposals" type="checkbox"> re-masked proposals</label>
</div>
<p class="legend soft" id="legend" hidden><span><i class="token open"></i> open</span>
<span><i class="token anchor">kept</i> kept at this step (anchor)</span>
<span>committed first <i class="scale"></i> last</span>
<span class="keys"><kbd>space</kbd> plays, <kbd>&larr;</kbd> <kbd>&rarr;</kbd> step</span></p>
<noscript><p class="soft">Without scripts this page shows the final answers only.</p></noscript>
"""


def _card(number: int, side: Side) -> str:
    rewards = "".join(
        f"<span>{escape(name)} <b>{value:.3f}</b></span>"
        for name, value in side.rewards.items()
        if name != "total" or len(side.rewards) > 2
    )
    facts = cost_line(side.cost)
    if side.answers > 1:
        facts += f" (the whole call of {side.answers} answers)"
    return (
        f'<section class="card" aria-label="{escape(side.title)}"><h2>{escape(side.title)} '
        f'<span class="soft">{escape(side.by)}</span></h2>'
        f'<p class="canvas" id="canvas{number}" dir="auto"></p>'
        f'<p class="final"><span class="soft">answer</span> '
        f'<span dir="auto">{escape(side.text) or "(empty)"}</span></p>'
        f'<p class="scores">{rewards}</p><p class="soft">{escape(facts)}</p>'
        f'<div class="pool" id="pool{number}" hidden></div></section>'
    )


def cost_line(cost: Mapping[str, Any]) -> str:
    """Seconds and passes of a `Cost.as_dict`, as the page says them."""
    return (
        f"{cost['seconds']:.1f} s; denoiser {cost['denoiser_forwards']} forward, "
        f"{cost['denoiser_backwards']} backward; reward {cost['reward_forwards']} forward, "
        f"{cost['reward_backwards']} backward"
    )


def _json(value: Any) -> str:
    """JSON that cannot end the element it stands in, nor a line of a script."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
