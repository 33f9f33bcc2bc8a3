"""What the guiding rewards were at each step of a batch, by answer; `diagnosis` judges it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..core.states import StepState

__all__ = ["GuidanceMonitor", "GuidanceTrace"]


@dataclass(frozen=True)
class GuidanceTrace:
    """The guidance of one answer; dicts by the reward's name.

    Attributes:
        before, after: values at the first and the last guided step, relaxed or averaged over
            samples.
        varied: whether the value changed between guided steps (True if there was only one).
        moved: whether a gradient ever passed the gate.
        guided: number of guided steps.
        fitted: whether gradients were computed (False where candidates are compared only).
    """

    before: dict[str, float]
    after: dict[str, float]
    varied: dict[str, bool]
    moved: bool
    guided: int = 1
    fitted: bool = True


class GuidanceMonitor:
    """Records a batch's step states; does not synchronise with the device before `result`."""

    def __init__(self, z: Tensor, mask_id: int) -> None:
        self.z, self.mask_id = z, mask_id
        self._seen: list[tuple[Tensor, dict[str, Tensor], Tensor | None]] = []

    def see(self, state: StepState) -> None:
        """Record a step's state."""
        busy = (self.z == self.mask_id).any(-1)
        self.z = state.z
        if state.guided and (state.loss or state.rewards):
            self._seen.append((busy, state.rewards, state.gradient_norm))

    def result(self, names: Sequence[str], gate: float) -> list[GuidanceTrace]:
        """The trace of each row.

        Args:
            names: of the guiding rewards.
            gate: the setting `gradient_gate`: gradients with a norm up to this are ignored.
        """
        found = []
        steps = [
            (
                busy.tolist(),
                {name: value.tolist() for name, value in rewards.items()},
                [math.inf] * len(busy) if norm is None else norm.tolist(),
            )
            for busy, rewards, norm in self._seen
        ]
        for row in range(len(self.z)):
            mine = [
                ({name: value[row] for name, value in rewards.items()}, norms[row])
                for busy, rewards, norms in steps
                if busy[row]
            ]
            values = {name: [one[name] for one, _ in mine if name in one] for name in names}
            values = {name: column for name, column in values.items() if column}
            found.append(
                GuidanceTrace(
                    {name: column[0] for name, column in values.items()},
                    {name: column[-1] for name, column in values.items()},
                    {name: len(c) < 2 or max(c) > min(c) for name, c in values.items()},
                    any(norm > gate for _, norm in mine),
                    len(mine),
                    any(norm is not None for *_, norm in self._seen),
                )
            )
        return found
