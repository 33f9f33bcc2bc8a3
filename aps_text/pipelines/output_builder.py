"""From finished batches to an `APSOutput`: text, rewards by role, the chosen answers, warnings."""

from __future__ import annotations

import math
from typing import Any

from aps_rewards import RewardError
from torch import Tensor

from ..core.cost import Cost
from ..core.settings import Fit
from ..core.step import StepState
from ..models.text_model import TextModel
from ..text.decoding import answer_ids, decode_canvas
from ..text.reward_operator.bridge_stats import BridgeStats
from .batch import Batch, Roles
from .diagnosis import GuidanceMonitor, GuidanceTrace, warnings_of
from .output import APSOutput, BridgeReport, Failure, RewardReport
from .request import Request

__all__ = ["OutputBuilder"]

Row = tuple[int, int]


class OutputBuilder:
    """A call's answers so far.

    Args:
        guided: whether the guiding rewards' values at the steps are the rewards' own (they are
            not under a shuffle).
        steered: whether the method steers step by step.
    """

    def __init__(
        self, model: TextModel, request: Request, roles: Roles, guided: bool, steered: bool
    ) -> None:
        self.model, self.request, self.roles = model, request, roles
        self.guided, self.steered = guided, steered
        self.cost = Cost()
        self.stats: dict[str, BridgeStats] = {}
        self.trajectory: list[list[StepState]] = []
        self.adapters: list[Any] = []
        self._answers = APSOutput([], [], [], RewardReport(), self.cost, request.config)
        self._batches = 0
        self._traces: list[GuidanceTrace] = []
        self._chosen: list[float] = []

    def add(self, batch: Batch, z: Tensor, rows: list[Row], monitor: GuidanceMonitor) -> None:
        """A finished batch: its final canvases `(B, L)`, decoded and judged.

        Raises:
            RewardError: a reward fails on a final answer; nothing is added then.
        """
        model, out = self.model, self._answers
        judged = batch.judge(z)
        stop_ids, drop = model.stop_ids, (model.fill_id,)
        texts = decode_canvas(model.tokenizer, z, stop_ids, drop)
        out.text += [model.finish(text) for text in texts]
        out.token_ids += answer_ids(z, stop_ids, drop)
        out.prompts += batch.prompts
        out.index += [prompt for prompt, _ in rows]
        out.places += [(self._batches, row) for row in range(len(rows))]
        self._batches += 1
        values = {} if judged.total is None else {"total": judged.total}
        for name, value in {**values, **judged.terms}.items():
            out.rewards.setdefault(name, []).extend(value.tolist())
        for role, names in judged.names.items():
            out.rewards.assign(role, names)
        names = judged.names["guide"] if self.guided else []
        self._traces += monitor.result(
            names, (self.request.config.sampler.fit or Fit()).gradient_gate
        )
        self._chosen += [] if judged.chosen is None else judged.chosen.tolist()

    @property
    def answers(self) -> int:
        """How many there are, those of failed prompts included."""
        return len(self._answers)

    def note(self, index: int, reward: str, why: str) -> None:
        """Prompt `index` has no answer."""
        failure = Failure(index, self.request.prompts[index], reward, why)
        self._answers.failures.append(failure)

    def fail(self, error: RewardError, rows: list[Row]) -> list[list[Row]]:
        """Note the failure of a prompt; returns batches of the rows that are left to answer.

        An error that names no prompt of these is noted where there is only one; several prompts are
        first tried one by one, so that none is lost to another's failure.
        """
        own = dict.fromkeys(prompt for prompt, _ in rows)
        if error.index not in own:
            if len(own) > 1:
                return [[row for row in rows if row[0] == prompt] for prompt in own]
            error.index = next(iter(own))
        self.note(error.index, error.reward, str(error))
        left = [row for row in rows if row[0] != error.index]
        return [left] if left else []

    def output(self) -> APSOutput:
        """Everything so far."""
        out = self._answers.take(list(range(len(self._answers))))  # what follows is not the user's
        rewards = out.rewards
        out.failures = list(out.failures)
        out.trajectory, out.adapters = list(self.trajectory), list(self.adapters)
        for name in dict.fromkeys(name for one in self._traces for name in one.after):
            rewards.relaxed[name] = [one.after.get(name, math.nan) for one in self._traces]
            rewards.before[name] = [one.before.get(name, math.nan) for one in self._traces]
        rewards.bridges = {
            name: BridgeReport(
                one.bridge.policy, one.bridge.matched_share, one.mass, one.retokenised
            )
            for name, one in self.stats.items()
            if one.bridge is not None
        }
        out.warnings = warnings_of(out, self._traces, self.stats, self.steered)
        failed = {failure.index for failure in out.failures}
        if failed or self.roles.select:
            out = out.take(self._kept(failed))
        self.cost.stop(self.model.parts.device)
        return out

    def _kept(self, failed: set[int]) -> list[int]:
        """Answers to return: none to a failed prompt, and the best of each where one selects."""
        rows = [i for i, index in enumerate(self._answers.index) if index not in failed]
        if not self.roles.select:
            return rows
        best: dict[int, int] = {}
        for i in rows:
            prompt = self._answers.index[i]
            if prompt not in best or self._chosen[i] > self._chosen[best[prompt]]:
                best[prompt] = i
        return list(best.values())
