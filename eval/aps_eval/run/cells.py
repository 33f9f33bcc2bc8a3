"""The records of a grid: `Cell` (a task, rewards, a method), `Match` (of costs), and `Grid`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from aps_text.core.config import SETTINGS
from aps_text.core.own_settings import lacking
from aps_text.methods.unread import own_for, unread

from ..rows import reward_label
from ..task import Task

if TYPE_CHECKING:
    from aps_text.core.config import APSConfig
    from aps_text.core.sampler import Method

__all__ = ["Cell", "Grid", "Match", "Tuning", "with_controls"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A method with its settings and rewards, applied to a task.

    Attributes:
        task, rewards: the block of the table; rewards by role, as in `Row.rewards`.
        method, options: the method and its settings, including `best_of`.
        label: its name in tables; with several budgets `family @budget`.
        family: cells of one family are joined by a line in charts.
        budget: the budget it was matched to, as shown in tables; empty unless there are several.
        config: with seed 0; each answer gets its own seed.
        stated: the keywords of the configuration that the grid states.
        control: None, or the control that replaces the guiding rewards.
        controls: further controls to run this cell with.
        knob: the setting that matching may change: `options.NAME`, `config.NAME`, or None.
        trials: cells with the same label; one of them replaces this cell (`aps_eval.run.trials`).
        settled: its knob's value where that met the budget before trials were chosen
            (`Tuning.at_budget`); matching leaves it.
        typed: what was given of the configuration for this method alone, with another value than
            the preset's.
    """

    task: Task
    rewards: dict[str, list[dict[str, Any]]]
    method: str
    label: str
    config: APSConfig
    family: str = ""
    budget: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    control: str | None = None
    controls: tuple[str, ...] = ()
    knob: str | None = None
    trials: tuple[Cell, ...] = ()
    settled: int | None = None
    stated: frozenset[str] = frozenset()
    typed: Mapping[str, Any] = field(default_factory=dict)

    def of_model(self, own: Mapping[str, Any]) -> Cell:
        """The same cell, and its trials, with a model's `own` settings where the grid states
        nothing else (as `config_for`)."""
        mine = lacking(self.config, own_for(self.build(), own), self.stated)
        trials = tuple(trial.of_model(own) for trial in self.trials)
        return replace(self, config=self.config.replace(**mine), trials=trials)

    def refuse_unread(self, without_effect: Mapping[str, str] | None = None) -> None:
        """Raise `ValueError` for a setting of this method alone that it or the model ignores.

        Args:
            without_effect: the settings that change nothing of the model, and why.

        As in `aps_text.methods.unread`, a configuration that several methods share is not refused.
        To be called once the model's own settings are in it (`of_model`).
        """
        reasons = self.config.ineffective(self.typed) | unread(self.build(), self.config)
        reasons |= without_effect or {}
        for name, value in self.typed.items():
            if name in reasons:
                raise ValueError(
                    f"method {self.label!r}: {name}={value!r} has no use here: {reasons[name]}; "
                    "leave it out, or give it to all methods (--set, or config: in a grid)"
                )
        for trial in self.trials:
            trial.refuse_unread(without_effect)

    def build(self) -> Method:
        """The method object."""
        from aps_text.methods.registry import build_method
        from aps_text.pipelines.text import METHODS

        return build_method(METHODS, self.method, self.options)

    def config_fields(self) -> dict[str, Any]:
        """The configuration without its seed."""
        fields = json.loads(self.config.to_json())
        del fields["seed"]
        return dict(fields)

    @property
    def block(self) -> tuple[str, str]:
        """(task, guide): cells of one block are compared with each other."""
        return self.task.name, reward_label(self.rewards["guide"])

    def turned(self, value: int) -> Cell:
        """The same cell with its knob set to `value`."""
        kind, _, name = (self.knob or "").partition(".")
        if kind == "config":
            return replace(self, config=self.config.replace(**{name: value}))
        return replace(self, options={**self.options, name: value})

    @property
    def least(self) -> int:
        """The smallest value its knob can have, from 1."""
        kind, _, name = (self.knob or "").partition(".")
        return max(1, int(SETTINGS[name].low)) if kind == "config" else 1


@dataclass(frozen=True)
class Match:
    """How methods are matched to equal cost per prompt.

    Attributes:
        unit: `seconds` or `flops`.
        budget: seconds (or floating point operations) per prompt, or the label of the method whose
            measured cost is the budget, or a multiple of that cost (`4 x plain`); with a list every
            method is run at each budget.
        prompts: tuning prompts per measurement; None is one batch.
        repeats: measurements of each setting, of which the smallest counts (for a busy machine).
    """

    unit: str = "seconds"
    budget: float | str | list[float | str] = "aps"
    prompts: int | None = None
    repeats: int = 1

    @property
    def budgets(self) -> list[float | str]:
        """The budgets as a list."""
        return list(self.budget) if isinstance(self.budget, list) else [self.budget]

    @staticmethod
    def rival(budget: str) -> tuple[float, str]:
        """A budget's factor and label: `4 x plain` is `(4.0, "plain")`, `aps` is `(1.0, "aps")`."""
        times = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+) x (.+)", budget)
        return (float(times[1]), times[2]) if times else (1.0, budget)

    def called(self, budget: float | str) -> str:
        """A budget's name in labels: `3 s`, `2e+09 flops`, `aps`, `4 x plain`."""
        if isinstance(budget, str):
            return budget
        return f"{budget:g} {'s' if self.unit == 'seconds' else self.unit}"


@dataclass(frozen=True)
class Tuning:
    """How one of a method's trials is chosen (see `aps_eval.run.trials`).

    Attributes:
        prompts: number of tuning prompts, spread evenly over the task's.
        keep: the metric that a trial must not worsen, or several with the loss of each,
            `{"nll": 0.15, "named": 0.05}`; None chooses by the guide alone.
        loss: by how much a trial may worsen the one metric against plain decoding, at least 0.
        at_budget: choose for each budget of `match` anew, among trials that were first turned to
            meet it; else once, before costs are matched.
    """

    prompts: int = 24
    keep: str | Mapping[str, float] | None = "f1"
    loss: float = 0.02
    at_budget: bool = False

    def losses(self) -> dict[str, float]:
        """The metrics to keep, with the largest loss of each."""
        if isinstance(self.keep, str):
            return {self.keep: self.loss}
        return dict(self.keep or {})


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A whole run.

    Attributes:
        cells: without controls; `with_controls` adds them.
        seeds: one answer per item for each.
        limit, offset, data: of the items, see `Task.items`.
        batch_size: answers per batch.
        model, model_options: arguments of `APSPipeline.from_pretrained`.
        match: None leaves all settings unchanged.
        values: the mapping it was made from.
        split: the items to answer: `test`, or `tune` to try settings.
        baseline: label of the method to compare with.
        tuning: how trials are chosen.
    """

    cells: list[Cell]
    seeds: list[int]
    limit: int | None
    offset: int
    model: str
    model_options: dict[str, Any]
    batch_size: int
    match: Match | None
    data: str | None
    values: dict[str, Any]
    split: str = "test"
    baseline: str = "plain"
    tuning: Tuning = Tuning()


def with_controls(cells: list[Cell]) -> list[Cell]:
    """The cells, and copies of them for each of their controls."""
    return [replace(cell, control=control) for cell in cells for control in (None, *cell.controls)]
