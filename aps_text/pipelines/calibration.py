"""Mean and scale of normalised rewards, from the base model's own answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aps_rewards import Composed, Normalised, Reward, reward_name

from .output import APSOutput

__all__ = ["normalised_in", "observe"]


def normalised_in(reward: Reward) -> list[Normalised]:
    """Every `Normalised` in a reward, innermost first.

    Raises:
        ValueError: the reward contains none.
    """
    found: list[Normalised] = []

    def walk(one: Reward) -> None:
        for part in one.parts if isinstance(one, Composed) else []:
            walk(part)
        if isinstance(one, Normalised) and one not in found:
            found.append(one)

    walk(reward)
    if not found:
        raise ValueError(
            f"reward {reward_name(reward)!r} has nothing to calibrate; wrap it: "
            "aps_rewards.Normalised(reward)"
        )
    return found


def observe(
    found: Sequence[Normalised], plain: APSOutput, columns: Mapping[str, Sequence[Any]]
) -> None:
    """Add plain answers to the statistics of each `Normalised`.

    Args:
        columns: dataset columns, one value per prompt of the call.
    """
    completions: list[Any] = [
        text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
        for prompt, text in zip(plain.prompts, plain.text, strict=True)
    ]
    own = {name: [values[i] for i in plain.index] for name, values in columns.items()}
    for reward in found:
        reward.observe(plain.prompts, completions, completion_ids=plain.token_ids, **own)
