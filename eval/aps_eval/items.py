"""One question of a task, as a record."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Item"]


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        id: unique in its task.
        prompt: as the model is asked: a text, or chat messages.
        gold: acceptable answers.
        stratum: what tables may group by.
        choices: what there is to choose from, in order; empty where the answer is free.
        columns: what rewards are given.
        problem: why its record cannot be asked or judged, with its place; empty of a good one.
    """

    id: str
    prompt: str | list[dict[str, str]]
    gold: list[str] = field(default_factory=list)
    stratum: str = ""
    choices: list[str] = field(default_factory=list)
    columns: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def question(self) -> str:
        """The prompt as one text; messages with their roles."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n".join(f"{one['role']}: {one['content']}" for one in self.prompt)

    def content(self) -> dict[str, Any]:
        """What an answer and its measures depend on."""
        left_out = ("id", "stratum") if self.problem else ("id", "stratum", "problem")
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in left_out}
