"""A question answered plainly and then steered, step by step: what the page shows meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .. import __version__
from ..core.states import StepState
from ..pipelines.comparison import notices
from ..pipelines.output import APSOutput
from ..pipelines.page.frames import Frames, frames_of
from ..pipelines.text import APSPipeline
from ..text.decoding import token_pieces
from ..text.visible import finite
from .asked import FORMAT, Asked

__all__ = ["Part", "answering", "as_json", "notices_of", "same"]


@dataclass
class Part:
    """One of the two answers, as far as it is.

    Attributes:
        title: `plain` or `aps`.
        steps: of the run; 0 before it began.
        states: the steps taken.
        frames: of these steps; None before the first.
        output: the answer, when it is finished.
    """

    title: str
    steps: int = 0
    states: list[StepState] = field(default_factory=list)
    frames: Frames | None = None
    output: APSOutput | None = None


def answering(pipe: APSPipeline, asked: Asked) -> Iterator[list[Part]]:
    """Yields both parts after each step, and when an answer is finished.

    The plain answer comes first: each has the seconds it took. Nothing is computed beyond the step
    that is read. Without a reward that has a weight there is only the plain part.

    Raises:
        ValueError, TypeError: a bad question, settings or reward.
        RewardError: a reward failed.
    """
    config, spec = asked.config(pipe.model.settings), asked.spec()
    parts = [Part("plain")] + ([Part("aps")] if asked.steers else [])
    yield parts
    for part in parts:
        stream = pipe.stream(
            asked.question, spec, method=part.title, config=config, keep_trajectory=True
        )
        pieces: dict[int, str] = {}
        for state, _ in stream:
            part.states.append(state)
            part.steps = state.steps
            seen = {*state.z.unique().tolist(), *state.candidates.unique().tolist()}
            pieces |= token_pieces(pipe.tokenizer, sorted(seen - pieces.keys()))
            part.frames = frames_of(part.states, 0, replace(stream.record, pieces=pieces))
            yield parts
        part.output = stream.output()
        yield parts


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
