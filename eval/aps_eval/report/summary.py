"""Summaries of rows: each value of each method, its interval, and its difference to the baseline.

The name of a value is a metric (`f1`), a reward on the final text (`guide:NAME`, `select:NAME`,
`report:NAME`, `guide:total`; with the suffix ` top` the best of a prompt's seeds), or a cost
(`seconds`, `flops`). Values of a whole set of answers (`distinct_2 of all`) have no interval, nor
have costs, of which each answer has an equal share of its batch's, nor values of fewer prompts than
`FEWEST`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..measures import LOWER_IS_BETTER
from ..metrics import distinct_n
from ..rows import Row
from .statistics import FEWEST, Difference, by_prompt, difference, holm, mean_interval

__all__ = ["Entry", "summarise", "title_of"]

COSTS = ("seconds", "flops", "denoiser_forwards", "reward_forwards")
SHOWN_COSTS = {"seconds", "denoiser_forwards"}
"""Those of `COSTS` that tables show."""
Group = tuple[str, str, str, str]  # task, guide, label, control


@dataclass(frozen=True)
class Entry:
    """One value of one method in one block.

    Attributes:
        task, stratum, guide, label, control: of the method; stratum is empty for the whole task.
        value: name of the value.
        prompts, seeds, failed: number of prompts with the value, of seeds, and of failed rows.
        mean, low, high: over prompts, with the 95% interval; low and high are None where there is
            no interval.
        against: the baseline's label; empty for the baseline itself.
        family, budget: as in `Row`.
        difference: to the baseline, paired.
        guided_by_it: the reported reward also guided or selected, so it is not independent.
    """

    task: str
    stratum: str
    guide: str
    label: str
    control: str
    value: str
    prompts: int
    seeds: int
    failed: int
    mean: float
    low: float | None = None
    high: float | None = None
    against: str = ""
    difference: Difference | None = None
    guided_by_it: bool = False
    family: str = ""
    budget: str = ""


def title_of(one: Entry | Row) -> str:
    """A method's name in tables and charts, with its control."""
    return f"{one.label} ({one.control})" if one.control else one.label


def summarise(
    rows: Sequence[Row], baseline: str = "plain", *, strata: bool = False, split: str = "test"
) -> list[Entry]:
    """Entries of every block, in the order of the rows; Holm's adjustment is over tasks.

    Args:
        baseline: label of the method to compare with; blocks without it have no differences. With
            several budgets, `aps` means `aps @BUDGET` for the cells of that budget.
        strata: also make entries for each stratum of each task.
        split: `test` or `tune`; rows of the other are left out.
    """
    tested = [row for row in rows if row.split == split]
    entries = _entries(tested, "", baseline)
    names = dict.fromkeys(row.stratum for row in tested if row.stratum) if strata else {}
    for name in names:
        part = [row for row in tested if row.stratum == name]
        entries += _entries(part, name, baseline)
    return _adjusted(entries)


def values_of(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Value name -> prompt -> mean over seeds, for the rows of one method, without failures."""
    rows = [row for row in rows if row.error is None]
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for row in rows for name in row.metrics):
        found[name] = by_prompt((row, row.metrics.get(name)) for row in rows)
    roles = dict.fromkeys(
        (role, name) for row in rows for role in row.scores for name in row.scores[role]
    )
    for role, name in roles:
        pairs = [(row, row.scores.get(role, {}).get(name)) for row in rows]
        found[f"{role}:{name}"] = by_prompt(pairs)
        if len({row.seed for row in rows}) > 1:
            best: dict[str, float] = {}
            for row, value in pairs:
                if value is not None:
                    best[row.item] = max(value, best.get(row.item, value))
            found[f"{role}:{name} top"] = best
    for name in COSTS:
        found[name] = by_prompt((row, row.cost.get(name)) for row in rows)
    return {name: values for name, values in found.items() if values}


def _entries(rows: Sequence[Row], stratum: str, baseline: str) -> list[Entry]:
    groups: dict[Group, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.task, row.guide, row.label, row.control or ""].append(row)
    values = {group: values_of(own) for group, own in groups.items()}
    entries = []
    for group, own in groups.items():
        task, guide, label, control = group
        budget = own[0].budget
        usual = (task, guide, baseline, "")
        base = (task, guide, f"{baseline} @{budget}", "")
        base = base if budget and base in groups else usual
        loud = {f"report:{name}" for row in own for name in row.guided_by_report}
        texts = [row.answer for row in own if row.error is None]

        common: dict[str, Any] = {
            **{"task": task, "stratum": stratum, "guide": guide, "label": label},
            **{"family": own[0].family or own[0].method, "budget": budget},
            **{"control": control, "seeds": len({row.seed for row in own})},
            **{"failed": len(own) - len(texts), "prompts": len({row.item for row in own})},
        }
        for name, column in values[group].items():
            interval = mean_interval(list(column.values()))
            gap = None
            if group != base and name in values.get(base, {}):
                better = name not in LOWER_IS_BETTER | set(COSTS)
                same = () if name in COSTS else _alike(own, groups[base])
                gap = difference(column, values[base][name], higher_is_better=better, same=same)
            more: dict[str, Any] = {**common, "prompts": len(column)}
            bounded = len(column) >= FEWEST and name not in COSTS
            entries.append(
                Entry(
                    **more,
                    value=name,
                    mean=interval.mean,
                    low=interval.low if bounded else None,
                    high=interval.high if bounded else None,
                    against=base[2] if gap is not None else "",
                    difference=gap,
                    guided_by_it=name.removesuffix(" top") in loud,
                )
            )
        if texts:
            entries.append(Entry(**common, value="distinct_2 of all", mean=distinct_n(texts)))
    return entries


def _alike(one: Sequence[Row], other: Sequence[Row]) -> set[str]:
    """Items to which both gave identical answers under the same seeds."""
    said: list[dict[str, dict[int, str]]] = [defaultdict(dict), defaultdict(dict)]
    for found, rows in zip(said, (one, other), strict=True):
        for row in rows:
            if row.error is None:
                found[row.item][row.seed] = row.answer
    return {item for item, answers in said[0].items() if answers == said[1].get(item)}


def _adjusted(entries: list[Entry]) -> list[Entry]:
    """Holm over the tasks (and strata) of each comparison."""
    families: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, one in enumerate(entries):
        if one.difference is not None:
            whole = "" if not one.stratum else "strata"
            families[one.guide, one.label, one.control, one.value, whole].append(i)
    found = list(entries)
    for family in families.values():
        adjusted = holm([entries[i].difference for i in family])  # type: ignore[misc]
        for i, gap in zip(family, adjusted, strict=True):
            found[i] = replace(entries[i], difference=gap)
    return found
