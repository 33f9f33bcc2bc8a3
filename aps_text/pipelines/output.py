"""`APSOutput`: what a call returns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, overload

from ..core.config import APSConfig
from ..core.cost import Cost
from ..core.step import StepState

if TYPE_CHECKING:
    from ..models.lora import FittedLora
    from ..text.prompts import Prompt

__all__ = ["APSOutput", "Answer", "BridgeReport", "Failure", "RewardReport"]

Column = dict[str, list[float]]


@dataclass(frozen=True)
class BridgeReport:
    """How the generator's tokens reached a differentiable reward of another tokenizer.

    Attributes:
        policy: of the tokens without a counterpart.
        vocabulary: matched share of the generator's text tokens, in [0, 1].
        mass: matched share of the text PROBABILITY during the run, in [0, 1]: what counts.
        retokenised: share of the answers whose text the reward's tokenizer cuts otherwise than
            the bridge mapped it, so that the relaxed score was one of other tokens, in [0, 1].
    """

    policy: str
    vocabulary: float
    mass: float
    retokenised: float


@dataclass(frozen=True)
class Failure:
    """A prompt without an answer: a reward failed on it, or it cannot be asked (`on_error="keep"`).

    Attributes:
        index: of the prompt in the call.
        prompt: as it was asked.
        reward: name of the reward at fault; "" where the prompt is.
        error: what it said.
    """

    index: int
    prompt: Prompt
    reward: str
    error: str


@dataclass(frozen=True)
class Answer:
    """One answer of an output.

    Attributes:
        text: what was answered; also what `str` and `print` give.
        prompt: what was asked.
        rewards: by name.
        index: of the prompt in the call.
    """

    text: str
    prompt: Prompt
    rewards: dict[str, float]
    index: int

    def __str__(self) -> str:
        return self.text


def _asked(prompt: Prompt) -> str:
    """A prompt on a line."""
    if isinstance(prompt, str):
        return prompt
    return " | ".join(f"{message['role']}: {message['content']}" for message in prompt)


class RewardReport(Column):
    """Each reward's value on the final TEXT, by name, one per answer; `total` is what guided.

    A plain dict of them all; the attributes tell them apart.

    Attributes:
        guide, select, report: the names that guided (weight other than 0), chose among an answer's
            candidates, and were only measured.
        relaxed: what the guiding rewards said at the last guided step, of the relaxed answer, or
            on average of the sampled ones; NaN where an answer was never guided. By name.
        before: the same at the first guided step.
        bridges: by name, of the differentiable rewards.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._roles: dict[str, list[str]] = {"guide": [], "select": [], "report": []}
        self.relaxed: Column = {}
        self.before: Column = {}
        self.bridges: dict[str, BridgeReport] = {}

    @property
    def guide(self) -> Column:
        """What steered."""
        return self._of("guide")

    @property
    def select(self) -> Column:
        """What chose among an answer's candidates."""
        return self._of("select")

    @property
    def report(self) -> Column:
        """What was only measured."""
        return self._of("report")

    @property
    def gap(self) -> Column:
        """Relaxed minus text: what steering believed it had and the text has not."""
        return {
            name: [a - b for a, b in zip(values, self[name], strict=True)]
            for name, values in self.relaxed.items()
            if name in self
        }

    def _of(self, role: str) -> Column:
        return {name: self[name] for name in self._roles[role] if name in self}

    def assign(self, role: str, names: list[str]) -> None:
        """Note which names play a role."""
        self._roles[role] = list(dict.fromkeys([*self._roles[role], *names]))

    def take(self, rows: list[int]) -> RewardReport:
        """The report of some of the answers."""
        other = RewardReport({name: [values[i] for i in rows] for name, values in self.items()})
        other._roles, other.bridges = self._roles, self.bridges
        other.relaxed = {k: [v[i] for i in rows] for k, v in self.relaxed.items()}
        other.before = {k: [v[i] for i in rows] for k, v in self.before.items()}
        return other


@dataclass(repr=False)
class APSOutput:
    """Answers and what they cost; lists are prompt-major, `num_return_sequences` per prompt.

    `out[0]` is an `Answer`, `out[:3]` an output of some, `len(out)` their number, and iterating
    gives answers.

    Attributes:
        text: the answers.
        token_ids: their tokens, up to and without the stop token.
        prompts: the prompt of each answer.
        rewards: each reward's value on the final TEXT, by name; `total` is the weighted sum of
            what guides. See `RewardReport`.
        cost: what the whole call spent.
        config: the settings in force.
        trajectory: the step states of each batch of rows, if asked for.
        adapters: each batch's LoRA adapters, if any were used; see `save_adapter`.
        index: number of the prompt each answer belongs to.
        failures: prompts without an answer (`on_error="keep"`).
        warnings: what went wrong with the steering, in words; see `diagnosis`.
    """

    text: list[str]
    token_ids: list[list[int]]
    prompts: list[Prompt]
    rewards: RewardReport
    cost: Cost
    config: APSConfig
    trajectory: list[list[StepState]] = field(default_factory=list)
    adapters: list[FittedLora] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list, repr=False)  # (batch, row)

    def __len__(self) -> int:
        """How many answers."""
        return len(self.text)

    def take(self, rows: list[int]) -> APSOutput:
        """Some of the answers, in this order; trajectory and cost stay the whole call's."""
        return APSOutput(
            [self.text[i] for i in rows],
            [self.token_ids[i] for i in rows],
            [self.prompts[i] for i in rows],
            self.rewards.take(rows),
            self.cost,
            self.config,
            self.trajectory,
            self.adapters,
            [self.index[i] for i in rows],
            self.failures,
            self.warnings,
            [self.places[i] for i in rows],
        )

    def save_adapter(self, index: int, folder: str | Path) -> None:
        """Write answer `index`'s phi, as it was after its last update, in PEFT's format.

        Raises:
            ValueError: no such answer, or no LoRA was fitted to it.
        """
        if not self.adapters or not 0 <= index < len(self.text):
            why = f"{len(self.text)} answers, adapter={self.config.flat().get('adapter')!r}"
            if self.config.sampler.fit is None:
                why += ", and inner_steps=0 fits none"
            raise ValueError(f"no LoRA adapter for answer {index}: {why}")
        batch, row = self.places[index]
        if not bool(self.adapters[batch].change[row]):
            raise ValueError(
                f"the LoRA adapter of answer {index} was never moved: no gradient of the reward "
                "reached it, so there is nothing to save (see warnings)"
            )
        self.adapters[batch].save(folder, row)

    @overload
    def __getitem__(self, which: int) -> Answer: ...

    @overload
    def __getitem__(self, which: slice) -> APSOutput: ...

    def __getitem__(self, which: int | slice) -> Answer | APSOutput:
        """One answer, or some of them."""
        if isinstance(which, slice):
            return self.take(list(range(len(self))[which]))
        try:
            i = range(len(self))[which]
        except IndexError:
            raise IndexError(f"answer {which} of {len(self)}") from None
        rewards = {name: values[i] for name, values in self.rewards.items()}
        return Answer(self.text[i], self.prompts[i], rewards, self.index[i])

    def __iter__(self) -> Iterator[Answer]:
        """The answers, one by one."""
        for i in range(len(self)):
            yield self[i]

    def __repr__(self) -> str:
        parts = [f"{len(self)} answer{'' if len(self) == 1 else 's'}"]
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        if self.warnings:
            parts.append(f"{len(self.warnings)} warning{'' if len(self.warnings) == 1 else 's'}")
        means = {name: fmean(values) for name, values in self.rewards.items() if values}
        parts += [f"{name} {mean:.3f}" for name, mean in means.items()]
        return f"APSOutput({', '.join([*parts, f'{self.cost.seconds:.1f} s'])})"

    def __str__(self) -> str:
        """Prompts, answers and rewards to be read; then failures, warnings and the cost."""
        lines: list[str] = []
        for answer in self:
            lines += [_asked(answer.prompt), f"  {answer.text}"]
            if answer.rewards:
                lines.append("  " + "  ".join(f"{k} {v:.3f}" for k, v in answer.rewards.items()))
        lines += [f"failed: {failure.error}" for failure in self.failures]
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, f"{len(self)} answers in {self.cost.seconds:.1f} s"])

    def as_dicts(self) -> list[dict[str, Any]]:
        """One JSON-ready object per answer; `cost` is the whole call's."""
        return [
            {
                "prompt": prompt,
                "text": text,
                "rewards": {name: values[i] for name, values in self.rewards.items()},
                "relaxed": {
                    name: values[i] if math.isfinite(values[i]) else None
                    for name, values in self.rewards.relaxed.items()
                },
                "cost": self.cost.as_dict(),
            }
            for i, (prompt, text) in enumerate(zip(self.prompts, self.text, strict=True))
        ]
