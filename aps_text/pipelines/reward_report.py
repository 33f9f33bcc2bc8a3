"""`RewardReport`: the rewards of a call's answers by name, and `BridgeReport`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["BridgeReport", "RewardReport"]

Column = dict[str, list[float]]


@dataclass(frozen=True)
class BridgeReport:
    """How well the vocabulary bridge matched the generator's tokens to a differentiable reward's.

    Attributes:
        policy: for unmatched tokens.
        vocabulary: fraction of the generator's text tokens that are matched, in [0, 1].
        mass: fraction of the text PROBABILITY on matched tokens during the run, in [0, 1]; this is
            the one that matters.
        retokenised: fraction of the answers whose text the reward's tokenizer splits differently
            from the bridge, so that relaxed score and text score are of other tokens, in [0, 1].
    """

    policy: str
    vocabulary: float
    mass: float
    retokenised: float


class RewardReport(Column):
    """Each reward's values on the final TEXTS by name, one per answer, and `total`.

    A dict of all rewards; `total` is the weighted sum of the guiding ones. The attributes are dicts
    by name, too.

    Attributes:
        guide: the rewards that guided (weight other than 0).
        select: the rewards that selected among a prompt's answers.
        report: the rewards that were only measured.
        relaxed: the guiding rewards' values at the last guided step, of the relaxed answer or
            averaged over sampled ones; NaN for an answer that was never guided.
        before: the same at the first guided step.
        bridges: a `BridgeReport` for each differentiable reward.
        best: the best value that the range of each guiding reward allows, and that of `total`;
            infinite where the range is open.
        applies: by reward, whether it says anything about each answer; where it does not (None),
            its value counts 0. Empty for a report that no call made.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._roles: dict[str, list[str]] = {"guide": [], "select": [], "report": []}
        self.relaxed: Column = {}
        self.before: Column = {}
        self.bridges: dict[str, BridgeReport] = {}
        self.best: dict[str, float] = {}
        self.applies: dict[str, list[bool]] = {}

    @property
    def guide(self) -> Column:
        """The values of the guiding rewards."""
        return self._of("guide")

    @property
    def select(self) -> Column:
        """The values of the rewards that selected among a prompt's answers."""
        return self._of("select")

    @property
    def report(self) -> Column:
        """The values of the rewards that were only measured."""
        return self._of("report")

    @property
    def gap(self) -> Column:
        """Relaxed value minus the text's value, by name: the part of a gain that the text lacks."""
        return {
            name: [a - b for a, b in zip(values, self[name], strict=True)]
            for name, values in self.relaxed.items()
            if name in self
        }

    def _of(self, role: str) -> Column:
        return {name: self[name] for name in self._roles[role] if name in self}

    def assign(self, role: str, names: list[str]) -> None:
        """Set the names of a role."""
        self._roles[role] = list(dict.fromkeys([*self._roles[role], *names]))

    def take(self, rows: list[int]) -> RewardReport:
        """The report of some of the answers."""
        other = RewardReport(_taken(self, rows))
        other._roles, other.bridges, other.best = self._roles, self.bridges, self.best
        other.relaxed, other.before = _taken(self.relaxed, rows), _taken(self.before, rows)
        other.applies = {name: [known[i] for i in rows] for name, known in self.applies.items()}
        return other


def _taken(column: Column, rows: list[int]) -> Column:
    """The values of some of the answers."""
    return {name: [values[i] for i in rows] for name, values in column.items()}
