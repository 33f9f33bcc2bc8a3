"""Answers side by side: plain, APS and the best peer, tokens coloured by when they were committed.

The prompts are evenly spaced in a block, not chosen by their answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from ..rows import Row
from .curves import number

__all__ = ["answer", "compared", "examples"]


def compared(rows: Sequence[Row], best_peer: str | None) -> list[str]:
    """Labels to show side by side: plain decoding, APS and the best peer, at the last budget."""
    last = next((row.budget for row in reversed(rows) if row.budget), "")
    rows = [row for row in rows if row.budget in ("", last) and not row.control]
    found = []
    for method in ("plain", "aps"):
        label = next((row.label for row in rows if row.method == method), None)
        if label is not None:
            found.append(label)
    return [*found, best_peer] if best_peer is not None else found


def examples(rows: Sequence[Row], labels: Sequence[str], count: int) -> tuple[str, int]:
    """HTML of `count` evenly spaced prompts with the answers of `labels`, and their number."""
    seed = min(row.seed for row in rows)
    shown = {(r.item, r.label): r for r in rows if r.seed == seed and not r.control}
    together = Counter((row.label, row.cost.get("seconds")) for row in rows)
    items = [
        item
        for item in dict.fromkeys(row.item for row in rows)
        if any((item, label) in shown for label in labels)
    ]
    count = min(count, len(items))
    items = [items[i * len(items) // count] for i in range(count)]
    parts = []
    for item in items:
        own = [shown[item, label] for label in labels if (item, label) in shown]
        golds = " or ".join(map(escape, dict.fromkeys(own[0].gold)))
        gold = f'<p class="soft">expected: {golds}</p>' if golds else ""
        cards = "".join(answer(row, together[row.label, row.cost.get("seconds")]) for row in own)
        asked = f'<h3 dir="auto">{escape(own[0].question)}</h3>'
        parts.append(f"{asked}{gold}<div class='examples'>{cards}</div>")
    return "".join(parts), count


def answer(row: Row, together: int = 1) -> str:
    """One answer as a card.

    Args:
        together: number of answers with the very same seconds: they were made in one batch, and
            these are its seconds divided by their number.
    """
    head = f"<header>{escape(row.label)}</header>"
    if row.error is not None:
        text = f'<b class="loud-word">failed</b>: {escape(row.error)}'
    elif len(row.committed) == len(row.tokens) > 0:
        last = max(row.steps - 1, 1)
        text = "".join(
            f'<span class="token" style="--t:{min(step / last, 1):.2f}" title="step {step + 1} of '
            f'{row.steps}">{escape(token)}</span>'
            for token, step in zip(row.tokens, row.committed, strict=True)
        )
    else:
        text = escape(row.answer) or '<span class="soft">(empty)</span>'
        if row.tokens:
            text += '<span class="soft"> (its steps are not recorded)</span>'
    scores = ", ".join(
        f"{escape(name)} {number(value)}"
        for name, value in {**row.scores.get("guide", {}), **row.scores.get("report", {})}.items()
        if name != "total" and value is not None
    )
    seconds = row.cost.get("seconds")
    share = f", as each of {together} answered together" if together > 1 else ""
    cost = f"; {number(seconds)} s{share}" if seconds is not None else ""
    body = f'<div class="text" dir="auto">{text}</div><div class="scores">{scores}{cost}</div>'
    return f'<div class="answer">{head}{body}</div>'
