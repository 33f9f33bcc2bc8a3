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
        prompt: as the model is asked.
        gold: acceptable answers.
        stratum: what tables may group by.
        choices: what there is to choose from, in order; empty where the answer is free.
        columns: what rewards are given.
    """

    id: str
    prompt: str
    gold: list[str] = field(default_factory=list)
    stratum: str = ""
    choices: list[str] = field(default_factory=list)
    columns: dict[str, Any] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """What an answer and its measures depend on."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in ("id", "stratum")}
