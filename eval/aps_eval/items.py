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
        prompt: a text, or chat messages.
        gold: acceptable answers.
        stratum: group of items in tables.
        choices: options of a multiple-choice question, in order; empty for free answers.
        columns: dataset columns for rewards.
        problem: why the record is invalid, with its place; empty for a valid one.
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
        """The fields on which an answer and its measures depend."""
        left_out = ("id", "stratum") if self.problem else ("id", "stratum", "problem")
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in left_out}
