"""`APSOutput`, the result of a call, with its answers and its prompts without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, overload

from ..core.config import APSConfig
from ..core.cost import Cost
from ..core.states import StepState
from ..core.whole_files import write_whole
from .answer_rows import Answer, Failure, asked, counted, json_rows, text_rows
from .page.call import CallRecord, Recorded, described, repeated, steered_by
from .page.frames import frames_of
from .page.page import Side, page
from .reward_report import BridgeReport, RewardReport

if TYPE_CHECKING:
    from ..models.lora_files import FittedLora
    from ..text.prompts import Prompt

__all__ = ["APSOutput", "Answer", "BridgeReport", "Failure", "RewardReport"]


@dataclass(repr=False)
class APSOutput:
    """Answers and their cost; lists are ordered by prompt, with `num_return_sequences` each.

    `out[0]` is an `Answer`, `out[:3]` an `APSOutput` of three, `len(out)` the number of answers,
    and iterating yields `Answer`s.

    Attributes:
        text: the answers.
        token_ids: their tokens, without the stop token and what follows.
        prompts: the prompt of each answer.
        rewards: each reward's value on the final TEXT, by name; `total` is the weighted sum of
            the guiding rewards. See `RewardReport`.
        cost: of the whole call.
        config: the settings used.
        trajectory: the step states of each batch of rows, if `keep_trajectory`.
        adapters: each batch's LoRA adapters, if any were used; see `save_adapter`.
        index: the number in the call of each answer's prompt.
        failures: prompts without an answer (`on_error="keep"`).
        warnings: problems with the steering, in plain text; see `diagnosis`.
        answer_warnings: of each answer, the warnings that concern it: those that it would have had
            alone, and those about the whole call.
        places: (batch, row) of each answer in `trajectory` and `adapters`.
        record: what the call was, for `to_html`.
        cut_off: whether each answer filled its canvas without ending; see `text.decoding.cut_off`.
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
    answer_warnings: list[list[str]] = field(default_factory=list, repr=False)
    places: list[tuple[int, int]] = field(default_factory=list, repr=False)  # (batch, row)
    record: CallRecord | None = field(default=None, repr=False)
    cut_off: list[bool] = field(default_factory=list)

    def __len__(self) -> int:
        """The number of answers."""
        return len(self.text)

    def take(self, rows: list[int]) -> APSOutput:
        """An output of some answers, in this order; trajectory, warnings and cost are of the whole
        call."""
        return replace(
            self,
            text=[self.text[i] for i in rows],
            token_ids=[self.token_ids[i] for i in rows],
            prompts=[self.prompts[i] for i in rows],
            rewards=self.rewards.take(rows),
            index=[self.index[i] for i in rows],
            answer_warnings=[list(self.answer_warnings[i]) for i in rows],
            places=[self.places[i] for i in rows],
            cut_off=[self.cut_off[i] for i in rows],
        )

    def alone(self, index: int) -> APSOutput:
        """An output of answer `index` only, with the warnings that concern it; cost and trajectory
        are of the whole call."""
        return replace(self.take([index]), warnings=list(self.answer_warnings[index]))

    def warn(self, warning: str) -> None:
        """Add a warning about the whole call, before those there are."""
        for warnings in (self.warnings, *self.answer_warnings):
            warnings.insert(0, warning)

    def save_adapter(self, index: int, folder: str | Path) -> None:
        """Write the phi of answer `index`, after its last update, in PEFT's format.

        Raises:
            ValueError: no such answer, no LoRA was used, or this answer's was never updated.
        """
        if not self.adapters or not 0 <= index < len(self.text):
            why = f"{len(self.text)} answers, adapter={self.config.flat().get('adapter')!r}"
            if self.config.sampler.fit is None:
                why += ", and inner_steps=0 fits none"
            raise ValueError(f"no LoRA adapter for answer {index}: {why}")
        batch, row = self.places[index]
        if not bool(self.adapters[batch].change[row]):
            raise ValueError(
                f"the LoRA adapter of answer {index} was never updated: no gradient of the reward "
                "reached it, so there is nothing to save (see output.warnings)"
            )
        self.adapters[batch].save(folder, row)

    def to_html(
        self,
        path: str | Path | None = None,
        *,
        index: int = 0,
        beside: APSOutput | None = None,
        notes: Sequence[str] = (),
    ) -> str:
        """One answer as one HTML file that shows its steps and loads nothing.

        It shows the tokens step by step, those kept at a step (the anchors) in a colour of their
        own, rewards and KL over the steps, the cost, and the Python call with the same seed. The
        file holds the prompt, the answers and the model's name.

        Args:
            path: file to write, whole or not at all, in an existing folder; None writes none.
            index: of the answer in this output.
            beside: another output, of the same prompts (plain answers, say), whose answer `index`
                stands to the left.
            notes: lines of text to show above the answers, e.g. warnings.

        Returns:
            The HTML.

        Raises:
            ValueError: the call kept no steps (`keep_trajectory=True`), there is no such answer, or
                `beside` answers another prompt.
        """
        shown = [self] if beside is None else [beside, self]
        for out in shown:
            if not 0 <= index < len(out):
                raise ValueError(f"no answer {index}: the output has {len(out)}")
            if out.prompts[index] != self.prompts[index]:
                raise ValueError(
                    f"beside answers another prompt: {asked(out.prompts[index])!r}, not "
                    f"{asked(self.prompts[index])!r}"
                )
        calls = [out._recorded(index) for out in reversed(shown)]
        text = page(
            asked(self.prompts[index]),
            [out._side(index) for out in shown],
            described(calls),
            repeated(self.prompts[index], calls),
            notes,
        )
        if path is not None:
            write_whole(path, text)
        return text

    def _recorded(self, index: int) -> Recorded:
        """How an answer was made.

        Raises:
            ValueError: the call kept no steps.
        """
        if not self.trajectory or self.record is None:
            raise ValueError(
                "an output without steps has none to show; make it (and `beside`) by a call with "
                "keep_trajectory=True"
            )
        seed = self.record.seeds[self.index[index]]
        return self.record, self.config, seed, self.record.particles[self.places[index]]

    def _side(self, index: int) -> Side:
        """What a page shows of an answer."""
        record, _, _, _ = self._recorded(index)
        batch, row = self.places[index]
        title = record.method + (f", control {record.control}" if record.control else "")
        said = steered_by(record.weights.get("guide", {}))
        by = f"steered by {said}" if said and record.method != "plain" else "the model alone"
        return Side(
            title=title,
            by="" if record.control else by,
            text=self.text[index],
            rewards=self[index].rewards,
            cost=self.cost.as_dict(),
            answers=len(record.particles),
            frames=frames_of(self.trajectory[batch], row, record),
        )

    @overload
    def __getitem__(self, which: int) -> Answer: ...

    @overload
    def __getitem__(self, which: slice) -> APSOutput: ...

    def __getitem__(self, which: int | slice) -> Answer | APSOutput:
        """An `Answer`, or an `APSOutput` for a slice."""
        if isinstance(which, slice):
            return self.take(list(range(len(self))[which]))
        if isinstance(which, bool) or not hasattr(which, "__index__"):
            raise TypeError(f"an answer's number is an integer or a slice, got {which!r}")
        try:
            i = range(len(self))[which]
        except IndexError:
            raise IndexError(f"answer {which} of {len(self)}") from None
        rewards = {name: values[i] for name, values in self.rewards.items()}
        return Answer(self.text[i], self.prompts[i], rewards, self.index[i])

    def __iter__(self) -> Iterator[Answer]:
        """Iterates over the answers as `Answer`s."""
        for i in range(len(self)):
            yield self[i]

    def __repr__(self) -> str:
        parts = [counted(len(self), "answer")]
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        if self.warnings:
            parts.append(counted(len(self.warnings), "warning"))
        means = {name: fmean(values) for name, values in self.rewards.items() if values}
        parts += [f"{name} {mean:.3f}" for name, mean in means.items()]
        return f"APSOutput({', '.join([*parts, f'{self.cost.seconds:.1f} s'])})"

    def __str__(self) -> str:
        """Prompts, answers and rewards as text, then failures, warnings and the cost."""
        lines = text_rows(self, self.failures, self.warnings)
        return "\n".join([*lines, f"{counted(len(self), 'answer')} in {self.cost.seconds:.1f} s"])

    def as_dicts(self) -> list[dict[str, Any]]:
        """One JSON-ready object per answer.

        Its keys: `prompt`, `text`, `cut_off` and `rewards` of the answer; `relaxed`, the values of
        `RewardReport.relaxed`; `cost`, that of the whole call.
        """
        return json_rows(self, self.cut_off, self.rewards.relaxed, self.cost)
