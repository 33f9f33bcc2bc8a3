"""One answer's steps as JSON-ready data, small enough to travel inside a page.

A frame has only what its step changed. Tokens are indices into `pieces`: 0 is open, 1 the end, 2
not shown, and texts from 3 on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ...core.states import StepState
from .call import CallRecord

__all__ = ["Frames", "frames_of", "tokens_of"]

OPEN, END, HIDDEN = 0, 1, 2
LISTED = 6
"""Answers of a pool that a frame has, and the chosen one."""


@dataclass
class Frames:
    """The data of one answer's steps.

    Attributes:
        first: the canvas before the first step, an index into `pieces` for each position.
        pieces: texts of the tokens, with their leading spaces.
        frames: one a step, see `_frame`.
    """

    first: list[int]
    pieces: list[str]
    frames: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {one: getattr(self, one) for one in ("first", "pieces", "frames")}


def tokens_of(state: StepState) -> list[Tensor]:
    """The ids whose texts the frames of a step show, int64 of any shape."""
    pool = [state.pool["answers"]] if state.pool else []
    return [state.z, state.candidates, *pool]


def frames_of(states: Sequence[StepState], row: int, call: CallRecord) -> Frames:
    """The frames of one row of a batch's states, up to the last step that touched it.

    Raises:
        ValueError: there is no step.
    """
    if not states:
        raise ValueError(
            "this answer took no step (its canvas had nothing open), so there is none to show"
        )
    index = {call.mask_id: OPEN}
    pieces = ["", "", ""]

    def shown(ids: list[int]) -> list[int]:
        found, ended = [], False
        for token in ids:
            if token in call.stop_ids and not ended:
                found.append(END)
                ended = True
            elif token in call.hidden_ids or token in call.stop_ids:
                found.append(HIDDEN)
            else:
                if token not in index:
                    index[token] = len(pieces)
                    pieces.append(call.pieces[token])
                found.append(index[token])
        return found

    last = _last(states, row, call.mask_id)
    numbers = [state.step + 1 for state in states[: last + 1]]
    if any(b <= a for a, b in itertools.pairwise(numbers)):
        numbers = list(range(1, last + 2))
    start, written = states[0].z[row].tolist(), states[0].written[row].tolist()
    before = [
        token if step < 0 and token != call.mask_id else call.mask_id
        for token, step in zip(start, written, strict=True)
    ]
    frames = Frames(shown(before), pieces)
    seen, busy = shown(before), True
    for number, state in zip(numbers, states[: last + 1], strict=True):
        now = shown(state.z[row].tolist())
        busy = busy or now != seen
        drawn = shown(state.candidates[row].tolist())
        frame = _frame(number, state, row, seen, now, drawn, busy)
        if busy and state.pool:
            frame |= _compared(state, row, shown)
        frames.frames.append(frame)
        seen, busy = now, OPEN in now
    return frames


def _last(states: Sequence[StepState], row: int, mask_id: int) -> int:
    """Index of the last state that changed the row or left it open."""
    for i in range(len(states) - 1, 0, -1):
        here, before = states[i].z[row], states[i - 1].z[row]
        if bool((here != before).any()) or bool((before == mask_id).any()):
            return i
    return 0


def _frame(
    number: int,
    state: StepState,
    row: int,
    before: list[int],
    now: list[int],
    drawn: list[int],
    busy: bool,
) -> dict[str, Any]:
    """One step's changes.

    `s` the step from 1; `z` triples (position, piece, step that wrote it, from 1) of what changed;
    `a` triples (position, probability under x_phi, under x_theta) of the tokens kept; `c` pairs
    (position, piece) of proposals that were not kept; `r` rewards by name; `k` the KL in nats.
    `r` and `k` are of steered steps at which the row was open; of those that chose among whole
    answers there are also `n`, `p` and `m`, see `_compared`.
    """
    kept = state.revealed[row].tolist()
    wrote = state.written[row].tolist()
    tilted, prior = _short(state.tilted[row]), _short(state.prior[row])
    frame: dict[str, Any] = {"s": number}
    frame["z"] = [
        value
        for at, (old, new) in enumerate(zip(before, now, strict=True))
        if old != new or (kept[at] and new != HIDDEN)
        for value in (at, new, wrote[at] + 1)
    ]
    frame["a"] = [
        value for at, one in enumerate(kept) if one for value in (at, tilted[at], prior[at])
    ]
    frame["c"] = [
        value
        for at, piece in enumerate(drawn)
        if now[at] == OPEN and piece not in (OPEN, HIDDEN)
        for value in (at, piece)
    ]
    if busy:
        rewards = {name: _number(values[row]) for name, values in state.rewards.items()}
        frame["r"] = {name: value for name, value in rewards.items() if value is not None}
        frame["k"] = None if state.kl is None else _number(state.kl[row])
    return frame


def _compared(
    state: StepState, row: int, shown: Callable[[list[int]], list[int]]
) -> dict[str, Any]:
    """A row's pool: `n` answers, and `p`, a line for each of the best and for the chosen one.

    A line is the reward, how many equal answers it stands for, 1 if one of them was chosen, and the
    pieces; `m` counts the lines left out, `c` the answers that gave way since the canvas cut them
    off.
    """
    answers, rewards, out = (state.pool[name][row] for name in ("answers", "rewards", "out"))
    chosen = int(state.pool["chosen"][row])
    lines: dict[tuple[int, ...], list[Any]] = {}
    for number in (~out).nonzero().squeeze(-1).tolist():
        ids = answers[number].tolist()
        pieces = [piece for piece in shown(ids) if piece not in (OPEN, END, HIDDEN)]
        line = lines.setdefault(tuple(pieces), [_number(rewards[number]), 0, 0, pieces])
        line[1] += 1
        line[2] = int(line[2] or number == chosen)
    best = sorted(lines.values(), key=lambda line: _least(line[0]), reverse=True)
    kept = [line for place, line in enumerate(best) if place < LISTED or line[2]]
    cut = int(state.pool["cut_off"][row].sum())
    return {"n": int((~out).sum()), "p": kept, "m": len(best) - len(kept), "c": cut}


def _least(reward: float | None) -> float:
    return -math.inf if reward is None else reward


def _short(values: Tensor) -> list[float]:
    return [float(f"{value:.2g}") for value in values.tolist()]


def _number(value: Tensor) -> float | None:
    found = float(value)
    return float(f"{found:.5g}") if math.isfinite(found) else None
