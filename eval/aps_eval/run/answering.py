"""`Answerer`: answers a batch of items by one cell of the grid and makes rows of the results."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..extraction import RULES, extract
from ..fingerprint import fingerprint
from ..items import Item
from ..measures import KL, NOT_FOUND, measure
from ..rereading import read_again
from ..reward_content import with_content
from ..rows import ROLES, Row, digest, row_key
from .cells import Cell
from .trace import mean_kl, trace

if TYPE_CHECKING:
    from aps_text import APSPipeline
    from aps_text.pipelines.output import APSOutput

__all__ = ["Answerer", "Unit"]

log = logging.getLogger(__name__)

CAUSED_BY_A_PROMPT = (ValueError, RuntimeError, MemoryError)
"""A prompt that is too long or of odd roles; a reward's `RewardError`; a GPU without memory."""


@dataclass(frozen=True)
class Unit:
    """One answer to make: its cell, item, seed, the key of its row, and the item's split."""

    cell: Cell
    item: Item
    seed: int
    key: str
    split: str = "test"


@dataclass
class Answerer:
    """A pipeline with its loaded rewards, which answers units.

    Attributes:
        pipe: the pipeline.
        split: the `split` of its rows.
        judge: scores fluency, e.g. `FluencyJudge()`; None leaves `nll` out.
        count_flops: also count operations, which takes extra time.
        fingerprint: of the model.
    """

    pipe: APSPipeline
    split: str = "test"
    judge: Callable[[Sequence[str]], list[float]] | None = None
    count_flops: bool = False
    fingerprint: str = ""
    _rewards: dict[str, Any] = field(default_factory=dict, repr=False)
    _warm: set[str] = field(default_factory=set, repr=False)
    _contents: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.fingerprint = self.fingerprint or fingerprint(self.pipe.model)

    def for_tuning(self, count_flops: bool = False, judged: bool = False) -> Answerer:
        """An answerer of tuning items with this one's pipeline and rewards.

        Args:
            judged: with this one's judge; without it `nll` is left out.
        """
        return Answerer(
            self.pipe,
            split="tune",
            judge=self.judge if judged else None,
            count_flops=count_flops,
            fingerprint=self.fingerprint,
            _rewards=self._rewards,
            _warm=self._warm,
            _contents=self._contents,
        )

    def unit(self, cell: Cell, item: Item, seed: int) -> Unit:
        """The unit of an item in a cell, with the key of its row."""
        key = row_key(
            task=cell.task.measured(),
            item=item.content(),
            method=cell.method,
            options=cell.options,
            config=cell.config_fields(),
            fingerprint=self.fingerprint,
            rewards=self._content(cell),
            control=cell.control,
            seed=seed,
        )
        return Unit(cell, item, seed, key, self.split)

    def answer(self, units: Sequence[Unit]) -> list[Row]:
        """Rows of some units of ONE cell; errors of a prompt are recorded in its row.

        A reward's failure does not affect the other prompts. Any other error that a prompt can
        cause (`CAUSED_BY_A_PROMPT`: beyond the context, out of memory) fails the whole call, and
        each prompt is then tried alone.

        All other errors of the call are raised, since every further prompt would only repeat them:
        an `OSError` as it is, a mistake in the code (`AttributeError`, `TypeError`, ...) after its
        traceback was logged. So are errors of measuring the answers, as they are.
        """
        good = [unit for unit in units if not unit.item.problem]
        if len(good) < len(units):
            made = {unit.key: row for unit, row in zip(good, self.answer(good), strict=True)}
            return [
                made[unit.key] if not unit.item.problem else self.row(unit, error=unit.item.problem)
                for unit in units
            ]
        if not units:
            return []
        try:
            out, cost = self.call(units)
        except CAUSED_BY_A_PROMPT as error:
            if len(units) > 1:
                return [row for unit in units for row in self.answer([unit])]
            return [self.row(units[0], error=f"{type(error).__name__}: {error}")]
        except OSError:
            raise
        except Exception:
            log.exception("the run stops at an error that no prompt caused; its rows are saved")
            raise
        return self._measured(units, out, cost)

    def call(self, units: Sequence[Unit]) -> tuple[APSOutput, dict[str, float]]:
        """The pipeline's output for some units of one cell, and each prompt's equal share of the
        cost. Raises what the pipeline raises."""
        from .flops import FlopCounter

        cell, items = units[0].cell, [unit.item for unit in units]
        columns = {name: [item.columns[name] for item in items] for name in cell.task.columns}
        guide, select, report = (self.loaded(cell.rewards[role]) for role in ROLES)
        with FlopCounter(self.count_flops) as flops:
            out = self.pipe(
                [item.prompt for item in items],
                guide or None,
                method=cell.build(),
                select=select or None,
                report=report or None,
                control=cell.control,
                on_error="keep",
                config=cell.config,
                seeds=[unit.seed for unit in units],
                columns=columns or None,
                keep_trajectory=True,
                progress=False,
            )
        cost = out.cost.as_dict()
        peak = cost.pop("peak_memory_mb")
        if self.count_flops:
            cost["flops"] = float(flops.total)
        share = {name: value / len(units) for name, value in cost.items()}
        return out, {**share, "peak_memory_mb": peak}

    def warm_up(self, units: Sequence[Unit]) -> None:
        """Answer some units of one cell once, unmeasured: the first call of a kind of cell imports,
        compiles and fills caches, which is no part of what an answer costs.

        On a CPU one unit is enough; a GPU chooses kernels by the size of the batch. An error is
        left to the call that is measured, which meets it again and records or raises it.
        """
        cell = units[0].cell
        kind = digest([cell.method, cell.rewards, cell.config.flat().get("adapter")])
        good = [unit for unit in units if not unit.item.problem]
        if kind in self._warm or not good:
            return
        cuda = self.pipe.model.parts.device.type == "cuda"
        with contextlib.suppress(Exception):
            self.call(good if cuda else good[:1])
        self._warm.add(kind)

    def _content(self, cell: Cell) -> dict[str, Any]:
        """A cell's rewards with the content of the files they name, which is read once."""
        known = digest(cell.rewards)
        if known not in self._contents:
            self._contents[known] = with_content(cell.rewards)
        return self._contents[known]

    def loaded(self, specs: Sequence[Mapping[str, Any]]) -> list[tuple[Any, float]]:
        """(reward, weight) pairs; equal specifications give the same object."""
        from aps_rewards import load_reward

        found = []
        for one in specs:
            known = digest([one["name"], one["options"]])
            if known not in self._rewards:
                self._rewards[known] = load_reward(one["name"], **one["options"])
            found.append((self._rewards[known], one["weight"]))
        return found

    def row(self, unit: Unit, **found: Any) -> Row:
        """The row of a unit; `found` are its other fields."""
        cell, item = unit.cell, unit.item
        return Row(
            key=unit.key,
            task=cell.task.name,
            item=item.id,
            split=unit.split,
            question=item.question,
            gold=item.gold,
            stratum=item.stratum,
            method=cell.method,
            label=cell.label,
            family=cell.family,
            budget=cell.budget,
            options=cell.options,
            config=cell.config_fields(),
            model=self.pipe.model.name,
            fingerprint=self.fingerprint,
            rewards=cell.rewards,
            control=cell.control,
            seed=unit.seed,
            rules=RULES,
            **found,
        )

    def measured_again(self, unit: Unit, row: Row) -> Row:
        """A unit's row, its answer read and measured by the rules of today; nothing is generated.

        See `aps_eval.rereading`; an item that is invalid today is a failure.
        """
        if unit.item.problem:
            return self.row(unit, error=unit.item.problem, judged=row.judged)
        return read_again(row, unit.cell.task, unit.item)

    def _measured(
        self, units: Sequence[Unit], out: APSOutput, cost: Mapping[str, float]
    ) -> list[Row]:
        """The rows of a call's answers and failures, in the order of `units`."""
        cell = units[0].cell
        place = {index: at for at, index in enumerate(out.index)}
        kept = [index for index in range(len(units)) if index in place]
        texts = [out.text[place[index]] for index in kept]
        items = [units[index].item for index in kept]
        found = [
            extract(cell.task.extract, text, item.choices)
            for text, item in zip(texts, items, strict=True)
        ]
        metrics = measure(cell.task.metrics, texts, found, items, self.judge)
        if cell.task.extract != "text":
            metrics = [
                {**m, NOT_FOUND: float(f is None)} for m, f in zip(metrics, found, strict=True)
            ]
        if KL in cell.task.metrics:
            metrics = [
                {**m, KL: mean_kl(out, place[i])} for m, i in zip(metrics, kept, strict=True)
            ]
        failed = {failure.index: failure.error for failure in out.failures}
        rows = {
            index: self.row(units[index], error=error, cost=dict(cost))
            for index, error in failed.items()
        }
        curves = list(out.rewards.guide) if cell.control != "shuffled" else []
        for n, index in enumerate(kept):
            at = place[index]
            rows[index] = self.row(
                units[index],
                answer=texts[n],
                cut_off=out.cut_off[at],
                extracted=found[n],
                metrics=metrics[n],
                scores=_scores(out, at),
                cost=dict(cost),
                **trace(self.pipe.model, out, at, curves),
            )
        return [rows[index] for index in range(len(units))]


def _scores(out: APSOutput, at: int) -> dict[str, dict[str, float | None]]:
    """The values of an answer by role; of a report that does not apply to it, None."""
    rewards = out.rewards
    roles = {"guide": rewards.guide, "select": rewards.select, "report": rewards.report}
    scores: dict[str, dict[str, float | None]] = {
        role: {name: values[at] for name, values in column.items()}
        for role, column in roles.items()
    }
    scores["report"] |= {
        name: None
        for name in scores["report"]
        if name in rewards.applies and not rewards.applies[name][at]
    }
    if "total" in rewards:
        scores["guide"]["total"] = rewards["total"][at]
    return {role: values for role, values in scores.items() if values}
