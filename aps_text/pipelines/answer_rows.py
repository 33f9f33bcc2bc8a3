"""The answers of an output one by one: as records, as lines of text, as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.cost import Cost
from ..text.visible import finite

if TYPE_CHECKING:
    from ..text.prompts import Prompt

__all__ = ["Answer", "Failure", "asked", "counted", "json_rows", "text_rows"]


@dataclass(frozen=True)
class Failure:
    """A prompt without an answer, because a reward failed or it is invalid (`on_error="keep"`).

    Attributes:
        index: of the prompt in the call.
        prompt: as it was given.
        reward: name of the reward that failed; "" if the prompt is invalid.
        error: the error's message.
    """

    index: int
    prompt: Prompt
    reward: str
    error: str


@dataclass(frozen=True)
class Answer:
    """One answer of an output.

    Attributes:
        text: the answer; also the result of `str`.
        prompt: the prompt.
        rewards: the answer's rewards by name.
        index: of the prompt in the call.
    """

    text: str
    prompt: Prompt
    rewards: dict[str, float]
    index: int

    def __str__(self) -> str:
        return self.text


def asked(prompt: Prompt) -> str:
    """A prompt on a single line."""
    if isinstance(prompt, str):
        return prompt
    return " | ".join(f"{message['role']}: {message['content']}" for message in prompt)


def counted(number: int, noun: str) -> str:
    """`1 answer`, `2 answers`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def text_rows(
    answers: Iterable[Answer], failures: Iterable[Failure], warnings: Iterable[str]
) -> list[str]:
    """Lines of prompts, answers and rewards, then of failures and of warnings."""
    lines: list[str] = []
    for answer in answers:
        lines += [asked(answer.prompt), f"  {answer.text}"]
        if answer.rewards:
            lines.append("  " + "  ".join(f"{k} {v:.3f}" for k, v in answer.rewards.items()))
    lines += [f"failed: {failure.error}" for failure in failures]
    return lines + [f"warning: {warning}" for warning in warnings]


def json_rows(
    answers: Iterable[Answer],
    cut_off: Sequence[bool],
    relaxed: Mapping[str, Sequence[float]],
    cost: Cost,
) -> list[dict[str, Any]]:
    """One JSON-ready object per answer; see `APSOutput.as_dicts`.

    Args:
        cut_off, relaxed: a value per answer; the latter by the reward's name.
    """
    return [
        {
            "prompt": answer.prompt,
            "text": answer.text,
            "cut_off": cut_off[i],
            "rewards": answer.rewards,
            "relaxed": finite({name: own[i] for name, own in relaxed.items()}),
            "cost": cost.as_dict(),
        }
        for i, answer in enumerate(answers)
    ]
