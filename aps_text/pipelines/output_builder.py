"""`OutputBuilder`: collects finished batches into an `APSOutput`, with warnings and failures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from aps_rewards import RewardError
from torch import Tensor

from ..core.cost import Cost
from ..core.settings import Fit
from ..core.states import StepState
from ..models.text_model import TextModel
from ..text.decoding import answer_ids, cut_off, decode_canvas, finished, token_pieces
from ..text.prompts import begun_answer
from ..text.reward_operator.bridge_stats import BridgeStats
from .batch import Batch, Roles, best_values
from .diagnosis import warnings_alone, warnings_of
from .guidance_monitor import GuidanceMonitor, GuidanceTrace
from .output import APSOutput, Failure
from .page.call import CallRecord
from .page.frames import tokens_of
from .request import Request
from .reward_report import BridgeReport, RewardReport
from .wording import NO_TRIES

__all__ = ["OutputBuilder"]

Row = tuple[int, int]


class OutputBuilder:
    """Collects a call's answers.

    Args:
        guided: whether the step states' reward values are those of the rewards themselves (not so
            under the control `shuffled`).
        steered: whether the method steers step by step.
        silent: whether all guiding rewards have weight 0, which the output warns of.
        record: what the call was.
        tries: see `diagnosis.warnings_of`.
    """

    def __init__(
        self,
        model: TextModel,
        request: Request,
        roles: Roles,
        guided: bool,
        steered: bool,
        silent: bool,
        record: CallRecord,
        tries: Mapping[str, str] = NO_TRIES,
    ) -> None:
        self.model, self.request, self.roles = model, request, roles
        self.guided, self.steered, self.silent = guided, steered, silent
        self.record, self.tries = record, tries
        self.cost = Cost()
        self.stats: dict[str, BridgeStats] = {}
        self.trajectory: list[list[StepState]] = []
        self.adapters: list[Any] = []
        self._answers = APSOutput([], [], [], RewardReport(), self.cost, request.config)
        self._answers.record = record
        self._answers.rewards.best = best_values(roles.guide)
        self._batches = 0
        self._traces: list[GuidanceTrace] = []
        self._chosen: list[float] = []

    def add(self, batch: Batch, z: Tensor, rows: list[Row], monitor: GuidanceMonitor) -> None:
        """Decode, score and add the final canvases `z (B, L)` of a finished batch.

        Raises:
            RewardError: a reward failed on a final answer; nothing has been added.
        """
        model, out = self.model, self._answers
        judged = batch.judge(z)
        stop_ids, drop = model.stop_ids, (model.fill_id,)
        texts = decode_canvas(model.tokenizer, z, stop_ids, drop)
        texts = [
            finished(model.vocabulary, text, begun_answer(prompt))
            for text, prompt in zip(texts, batch.prompts, strict=True)
        ]
        out.text += texts
        out.cut_off += cut_off(batch.canvas, z, texts)
        out.answer_warnings += [[] for _ in texts]  # filled by `output`
        out.token_ids += answer_ids(z, stop_ids, drop)
        out.prompts += batch.prompts
        out.index += [prompt for prompt, _ in rows]
        out.places += [(self._batches, row) for row in range(len(rows))]
        for row, (_, particle) in enumerate(rows):
            self.record.particles[self._batches, row] = particle
        self._batches += 1
        values = {} if judged.total is None else {"total": judged.total}
        for name, value in {**values, **judged.terms}.items():
            out.rewards.setdefault(name, []).extend(value.tolist())
        for name in judged.terms:
            known = judged.applies.get(name)
            own = [True] * len(texts) if known is None else known.tolist()
            out.rewards.applies.setdefault(name, []).extend(own)
        for role, names in judged.names.items():
            out.rewards.assign(role, names)
        names = judged.names["guide"] if self.guided else []
        self._traces += monitor.result(
            names, (self.request.config.sampler.fit or Fit()).gradient_gate
        )
        self._chosen += [] if judged.chosen is None else judged.chosen.tolist()

    @property
    def answers(self) -> int:
        """The number of answers added, those of failed prompts included."""
        return len(self._answers)

    def note(self, index: int, reward: str, why: str) -> None:
        """Record that prompt `index` has no answer, and why."""
        failure = Failure(index, self.request.prompts[index], reward, why)
        self._answers.failures.append(failure)

    def fail(self, error: RewardError, rows: list[Row]) -> list[list[Row]]:
        """Record the failure of a prompt; returns the batches of rows that are left to answer.

        If the error names no prompt of the batch and there are several, nothing is recorded and
        each prompt becomes a batch of its own, so that none is lost to another's failure.
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
        """The output of all batches added so far; later ones do not change it."""
        out = self._answers.take(list(range(len(self._answers))))
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
        known = self._traces, self.stats, self.steered, self.tries
        drafted = "init_text" in self.request.starts
        out.warnings = warnings_of(out, *known, drafted=drafted)
        out.answer_warnings = warnings_alone(out, *known, drafted)
        if self.silent:
            out.warn(
                "every guiding reward has weight 0, so nothing steered; give one another weight, "
                "or take method 'plain', which only measures"
            )
        failed = {failure.index for failure in out.failures}
        if failed or self.roles.select:
            out = out.take(self._kept(failed))
        out.cost = replace(self.cost.stop(self.model.parts.device))
        self._name_tokens(out)  # no part of what the answers cost
        return out

    def _name_tokens(self, out: APSOutput) -> None:
        """Add the texts of the trajectory's tokens to the record."""
        pieces = self.record.pieces
        found = {
            token
            for states in out.trajectory
            if states
            for token in torch.cat([part.flatten() for s in states for part in tokens_of(s)])
            .unique()
            .tolist()
        }
        pieces.update(token_pieces(self.model.tokenizer, sorted(found - pieces.keys())))

    def _kept(self, failed: set[int]) -> list[int]:
        """The answers to return: none of a failed prompt, and each prompt's best if `select`."""
        rows = [i for i, index in enumerate(self._answers.index) if index not in failed]
        if not self.roles.select:
            return rows
        best: dict[int, int] = {}
        for i in rows:
            prompt = self._answers.index[i]
            if prompt not in best or self._chosen[i] > self._chosen[best[prompt]]:
                best[prompt] = i
        return list(best.values())
