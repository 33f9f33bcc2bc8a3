"""The canvas of an answer after a step, replayed from its frames; the page's script does the same.

For what is no browser: a picture, or a page whose server draws.
"""

from __future__ import annotations

from dataclasses import dataclass

from .frames import END, HIDDEN, OPEN, Frames

__all__ = ["Shown", "replay"]


@dataclass(frozen=True)
class Shown:
    """A position of the canvas that is shown.

    Attributes:
        at: the position.
        kind: `open`, `end` (of the answer) or `text`.
        text: of a token, with its leading space; "" for the other kinds.
        wrote: the step that committed it, from 1; 0 if it was given or is open.
        anchor: it was kept at this very step.
        chance: its probability under x_phi and under x_theta when it was kept; None if it never
            was.
    """

    at: int
    kind: str
    text: str = ""
    wrote: int = 0
    anchor: bool = False
    chance: tuple[float, float] | None = None


def replay(data: Frames, step: int) -> list[Shown]:
    """The positions shown after `step` steps, in order; 0 is the canvas before the first.

    Beyond the last frame the last canvas is shown, without anchors.
    """
    pieces, wrote = list(data.first), [0] * len(data.first)
    chance: dict[int, tuple[float, float]] = {}
    anchors: set[int] = set()
    for frame in data.frames:
        if frame["s"] > step:
            break
        for at, piece, by in _triples(frame["z"]):
            pieces[at], wrote[at] = piece, by
        for at, tilted, prior in _triples(frame["a"]):
            chance[at] = tilted, prior
        if frame["s"] == step:
            anchors = set(frame["a"][::3])
    found = []
    for at, piece in enumerate(pieces):
        if piece == OPEN:
            found.append(Shown(at, "open"))
        elif piece != HIDDEN:
            kind, text = ("end", "") if piece == END else ("text", data.pieces[piece])
            found.append(Shown(at, kind, text, max(wrote[at], 0), at in anchors, chance.get(at)))
    return found


def _triples(flat: list) -> list[tuple]:
    return list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
