"""A question answered plainly and then steered, step by step: what the page shows meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from .. import __version__
from ..core.states import StepState
from ..pipelines.comparison import notices
from ..pipelines.output import APSOutput
from ..pipelines.page.frames import Frames, frames_of, tokens_of
from ..pipelines.step_progress import StepProgress
from ..pipelines.stream import Stream
from ..pipelines.text import APSPipeline
from ..text.decoding import token_pieces
from ..text.visible import finite
from .asked import FORMAT, Asked
from .stepwise import stepwise

__all__ = ["BETWEEN", "Part", "answering", "as_json", "notices_of", "same"]

BETWEEN = 0.5
"""Seconds without a step after which the page says what the step is at."""


@dataclass
class Part:
    """One of the two answers, as far as it is.

    Attributes:
        title: `plain` or `aps`.
        by: what steers it; empty for the plain answer.
        steps: of the run; 0 before it began.
        at: what the step under way is at, where it takes long; else None.
        states: the steps taken.
        frames: of these steps; None before the first.
        output: the answer, when it is finished.
    """

    title: str
    by: str = ""
    steps: int = 0
    at: StepProgress | None = None
    states: list[StepState] = field(default_factory=list)
    frames: Frames | None = None
    output: APSOutput | None = None


def answering(
    pipe: APSPipeline, asked: Asked, between: float = math.inf
) -> Generator[list[Part], None, None]:
    """Yields both parts after each step, and when an answer is finished.

    The plain answer comes first: each has the seconds it took. Nothing is computed beyond what is
    read. Without a reward that has a weight there is only the plain part.

    Args:
        between: yield within a step, too, when so many seconds have passed and it compares answers.

    Raises:
        ValueError, TypeError: a bad question, settings or reward.
        RewardError: a reward failed.
    """
    config, spec = asked.config(pipe.model.settings), asked.spec()
    parts = [Part("plain")] + ([Part("aps", asked.by)] if asked.steers else [])
    yield parts
    for part in parts:
        stream = pipe.stream(
            asked.question, spec, method=part.title, config=config, keep_trajectory=True
        )
        pieces: dict[int, str] = {}
        with closing(stepwise(_events(stream, between))) as events:
            for found in events:
                if isinstance(found, StepProgress):
                    part.at, part.steps = found, found.steps
                else:
                    part.at, part.steps = None, found.steps
                    part.states.append(found)
                    seen = {token for ids in tokens_of(found) for token in ids.unique().tolist()}
                    pieces |= token_pieces(pipe.tokenizer, sorted(seen - pieces.keys()))
                    part.frames = frames_of(part.states, 0, replace(stream.record, pieces=pieces))
                yield parts
        part.output = stream.output()
        yield parts


def _events(stream: Stream, between: float) -> Callable[[Callable[[Any], None]], None]:
    """A call that tells a stream's steps, and from time to time what a step is at."""

    def call(tell: Callable[[Any], None]) -> None:
        last = time.monotonic()

        def passed(at: StepProgress) -> None:
            nonlocal last
            if at.answers and time.monotonic() - last >= between:
                tell(at)
                last = time.monotonic()

        stream.on_pass = passed
        for state in stream.states:
            tell(state)
            last = time.monotonic()

    return call


def as_json(pipe: APSPipeline, asked: Asked, parts: list[Part]) -> dict[str, Any]:
    """A finished run as JSON-ready data: what was asked, the answers, and their steps.

    `asked` repeats it (`read_asked`); `token_ids` tell whether a repetition is the same.
    """
    found = []
    for part in parts:
        if part.output is None or part.frames is None:
            raise ValueError(f"the answer {part.title!r} is not finished")
        answer = part.output.as_dicts()[0]
        found.append(
            {
                "title": part.title,
                "text": answer["text"],
                "cut_off": answer["cut_off"],
                "rewards": finite(answer["rewards"]),
                "cost": answer["cost"],
                "token_ids": part.output.token_ids[0],
                **part.frames.as_dict(),
            }
        )
    return {
        "format": FORMAT,
        "version": __version__,
        "model": pipe.model.name,
        "asked": asked.as_dict(),
        "answers": found,
        "warnings": notices_of(parts),
    }


def notices_of(parts: list[Part]) -> list[str]:
    """`pipelines.comparison.notices` of finished answers; before they are, none."""
    outputs = {part.title: part.output for part in parts if part.output is not None}
    return notices(outputs, parts[-1].title) if parts and len(outputs) == len(parts) else []


def same(earlier: dict[str, Any], later: dict[str, Any]) -> bool:
    """Whether two runs gave the same tokens."""
    tokens = [[answer["token_ids"] for answer in one["answers"]] for one in (earlier, later)]
    return bool(tokens[0] == tokens[1])
