"""`APSOutput`: what a call returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import APSConfig
from .cost import Cost
from .sampler import StepState

if TYPE_CHECKING:
    from .models.lora import LoraAdapter
    from .text.prompts import Prompt

__all__ = ["APSOutput"]


@dataclass
class APSOutput:
    """Answers and what they cost; lists are prompt-major, `num_return_sequences` per prompt.

    Attributes:
        text: the answers.
        token_ids: their tokens, up to and without the stop token.
        prompts: the prompt of each answer.
        rewards: each reward's value on the final TEXT, by name; `total` is the weighted sum.
        cost: what the whole call spent.
        config: the settings in force.
        trajectory: the step states of each batch of rows, if asked for.
        adapters: each batch's LoRA adapter, if one was used; see `save_adapter`.
    """

    text: list[str]
    token_ids: list[list[int]]
    prompts: list[Prompt]
    rewards: dict[str, list[float]]
    cost: Cost
    config: APSConfig
    trajectory: list[list[StepState]] = field(default_factory=list)
    adapters: list[LoraAdapter] = field(default_factory=list)

    def __len__(self) -> int:
        """How many answers."""
        return len(self.text)

    def save_adapter(self, index: int, folder: str | Path) -> None:
        """Write answer `index`'s phi, as it was after its last update, in PEFT's format.

        Raises:
            ValueError: no such answer, or none was steered by LoRA.
        """
        if not self.adapters or not 0 <= index < len(self.text):
            raise ValueError(
                f"no LoRA adapter for answer {index}: {len(self.text)} answers, "
                f"adapter={self.config.adapter!r}"
            )
        rows = len(self.adapters[0].record)
        self.adapters[index // rows].save(folder, index % rows)

    def as_dicts(self) -> list[dict[str, Any]]:
        """One JSON-ready object per answer; `cost` is the whole call's."""
        return [
            {
                "prompt": prompt,
                "text": text,
                "rewards": {name: values[i] for name, values in self.rewards.items()},
                "cost": self.cost.as_dict(),
            }
            for i, (prompt, text) in enumerate(zip(self.prompts, self.text, strict=True))
        ]
