"""`Row`: one answer of one method to one item, with its settings, scores and cost.

A row is a line of JSON in `rows.jsonl`. Its key is a SHA-256 over everything that determines the
answer, so no row is made twice and another configuration gives another row:

    key = sha256(item, task, method, options, config, model fingerprint, rewards, control, seed)

The command, versions and matching of a run are in `run.json` beside the rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aps_text.text.visible import json_text

__all__ = ["ROLES", "BrokenRow", "Row", "begins_a_line", "digest", "row_key"]

ROLES = ("guide", "select", "report")


class BrokenRow(ValueError):
    """A line that is not a row."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One answer, or one failure.

    Attributes:
        key: hex SHA-256, see `row_key`; unique in a file.
        task: name of the task.
        item: id of the item within its task.
        split: `test` (reported) or `tune` (for choosing settings and budgets).
        question: the prompt as given to the model.
        gold: acceptable answers; empty if the task has none.
        stratum: kind of item (question type, difficulty); empty if the task has none.
        method: a name in `aps_text.pipelines.text.METHODS`.
        label: name in tables, e.g. `best-of-n samples=8`; two rows of the same label, task, reward
            and control have the same method, options and config.
        family: charts join cells of one family by a line; empty means the method.
        budget: the budget its cost was matched to, if there are several.
        options: the method's own settings.
        config: the keywords of `APSConfig` except the seed.
        model, fingerprint: its name, and a hash of its weights (`aps_eval.fingerprint`).
        rewards: by role (`guide`, `select`, `report`), a list of
            `{"name": str, "weight": float, "options": {...}}`. Plain decoding has the guide it is
            compared under; it only measures it. One that was reported after the run
            (`aps_eval.judging`) has `judged`, the names of its values, and is no part of the key.
        control: `zero`, `shuffled`, `flipped`, or None.
        seed: of the answer's draws.
        answer: its text; empty on failure.
        cut_off: whether the answer filled its canvas without ending (`APSOutput.cut_off`); None on
            failure, and in files from before it was kept.
        extracted: the answer found by the task's extraction, or None.
        tokens: strings that join to the decoded answer (before capitals by rule), one per token,
            without special ones; the tokenizer's own names of the tokens if that is impossible.
        committed: step (from 0) at which each token took its final value, 0 for given text; as long
            as `tokens`, or empty if these differ from the tokens on the canvas.
        steps: denoising steps of the answer.
        curve: by guiding reward, its value at each step as the method used it (relaxed, or the mean
            of sampled answers); None at steps that were not guided. Empty if the method reports no
            values.
        metrics: by name; None if it does not apply (fluency of an empty answer). Higher is better
            except for `nll`, `repetition`, `empty`, `kl` and `not found`.
        scores: by role, reward name -> value on the final TEXT; of `guide` also `total`. A report
            that does not apply to the answer is None; what guides or selects counts it as 0.
        cost: this row's equal share of its batch's cost: the fields of `aps_text.core.cost.Cost`
            (peak_memory_mb is that of the whole batch), and `flops` if counted.
        rules: version of the rules that read `extracted` and `metrics` from the answer
            (`aps_eval.extraction.RULES`); 0 in files from before there were versions.
        judged: each value that was measured after the run, in that order: `value` (`report:NAME` or
            a metric), `fingerprint` and `version` of what measured it, `at` (UTC), and `was`, the
            value that it replaced, if there was one.
        error: the error's message, or None. A failed row has no answer, metrics or scores.
    """

    key: str
    task: str
    item: str
    question: str
    method: str
    label: str
    model: str
    fingerprint: str
    seed: int
    split: str = "test"
    gold: list[str] = field(default_factory=list)
    stratum: str = ""
    family: str = ""
    budget: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    rewards: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    control: str | None = None
    answer: str = ""
    cut_off: bool | None = None
    extracted: str | None = None
    tokens: list[str] = field(default_factory=list)
    committed: list[int] = field(default_factory=list)
    steps: int = 0
    curve: dict[str, list[float | None]] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    rules: int = 0
    judged: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None

    def follows(self, old: Row) -> bool:
        """Whether this line may stand below `old`, of the same key: another try of a failure, or
        the same answer read by newer rules or judged once more, with nothing of `old` lost."""
        if old.error is not None:
            return True
        mine, before = (self.rules, len(self.judged)), (old.rules, len(old.judged))
        return mine != before and mine[0] >= before[0] and mine[1] >= before[1]

    @property
    def guide(self) -> str:
        """The guiding rewards with their weights, as text for tables; empty without any."""
        return reward_label(self.rewards.get("guide", []))

    @property
    def guided_by_report(self) -> list[str]:
        """Rewards that are reported and also guided or selected, so they are not independent.

        Of a run's own reports the name tells; one that was judged after the run has its own name,
        and is told by its reward and options.
        """
        steers = {} if self.method == "plain" else self.scores.get("guide", {})
        used = {*steers, *self.scores.get("select", {})}
        for one in self.rewards.get("report", []):
            if "judged" in one:
                used -= set(one["judged"])
                used |= set(one["judged"] if self._steered_by(one) else ())
        return [name for name in self.scores.get("report", {}) if name in used]

    def _steered_by(self, report: Mapping[str, Any]) -> bool:
        guides = [] if self.method == "plain" else self.rewards.get("guide", [])
        steers = [one for one in guides if one["weight"] != 0] + self.rewards.get("select", [])
        what = report["name"], report["options"]
        return any((one["name"], one["options"]) == what for one in steers)

    def to_json(self) -> str:
        """One line of JSON, without a line break; numbers that are not finite become null."""
        return json_text(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str, where: str = "a row") -> Row:
        """The inverse of `to_json`.

        Raises:
            BrokenRow: not JSON, a field missing, unknown or of a wrong type; names `where`.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise BrokenRow(f"{where} is not JSON ({error.msg}): {text[:60]!r}") from None
        except (ValueError, RecursionError):  # a number of thousands of digits, or [[[[...
            raise BrokenRow(f"{where} has values that cannot be read: {text[:60]!r}") from None
        if not isinstance(values, dict):
            raise BrokenRow(f"{where} is a {type(values).__name__}, not a row: {text[:60]!r}")
        known = {f.name: f for f in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise BrokenRow(f"{where} has unknown fields: {', '.join(unknown)}")
        for name, one in known.items():
            if name not in values:
                if (
                    one.default is dataclasses.MISSING
                    and one.default_factory is dataclasses.MISSING
                ):
                    raise BrokenRow(f"{where} lacks the field {name!r}")
                continue
            wanted = _KINDS[str(one.type).partition("[")[0]]
            if not isinstance(values[name], wanted):
                raise BrokenRow(f"{where}: {name!r} is {values[name]!r}, not {one.type}")
        _check_inside(values, where)
        return cls(**values)


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "list": (list,),
    "dict": (dict,),
    "str | None": (str, type(None)),
    "bool | None": (bool, type(None)),
}


def _check_inside(values: Mapping[str, Any], where: str) -> None:
    """Raise `BrokenRow` unless rewards, scores, metrics and judgements are what is read of them."""
    for name, one in values.get("metrics", {}).items():
        _check_number(one, f"{where}: the metric {name!r}")
    for name, one in values.get("cost", {}).items():
        _check_number(one, f"{where}: the cost {name!r}")
    for role, found in values.get("scores", {}).items():
        if not isinstance(found, dict):
            raise BrokenRow(f"{where}: the scores of {role!r} are {found!r:.60}, not a dict")
        for name, one in found.items():
            _check_number(one, f"{where}: the score {name!r} of {role!r}")
    lists = [(f"rewards of {role!r}", one) for role, one in values.get("rewards", {}).items()]
    wanted = {"name", "weight", "options"}
    for what, found, fields in [
        *((what, one, wanted) for what, one in lists),
        ("judged", values.get("judged", []), {"value", "fingerprint", "version", "at"}),
    ]:
        if not isinstance(found, list) or not all(
            isinstance(one, dict) and fields <= one.keys() for one in found
        ):
            raise BrokenRow(
                f"{where}: {what} is {found!r:.60}, not a list of dicts with {sorted(fields)}"
            )
        for one in found if fields is wanted else []:
            _check_number(one["weight"], f"{where}: the weight of {one['name']!r:.60}", needed=True)
            if not isinstance(one["name"], str) or not isinstance(one["options"], dict):
                raise BrokenRow(f"{where}: {what} has {one!r:.80}, which is no reward")


def _check_number(value: Any, what: str, *, needed: bool = False) -> None:
    """Raise `BrokenRow` unless it is a finite number or, where none is `needed`, null."""
    if value is None and not needed:
        return
    if not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise BrokenRow(f"{what} is {value!r:.60}, not a number")


_LARGEST = sys.float_info.max


def reward_label(specs: list[dict[str, Any]]) -> str:
    """Rewards as text, with weights other than 1: `relevance + 0.3 sentiment`."""
    return " + ".join(
        one["name"] if one["weight"] == 1 else f"{one['weight']:g} {one['name']}" for one in specs
    )


def row_key(
    *,
    task: Mapping[str, Any],
    item: Mapping[str, Any],
    method: str,
    options: Mapping[str, Any],
    config: Mapping[str, Any],
    fingerprint: str,
    rewards: Mapping[str, Any],
    control: str | None,
    seed: int,
) -> str:
    """The key of a row.

    Args:
        task: the fields that define prompts and measures.
        item: the item's content (not its number in the task).
        method, options, control: as in `Row`.
        rewards: as in `Row`, with the content of files they name (`reward_content`).
        config: the keywords of `APSConfig`, without the seed.
    """
    return digest(
        [task, item, method, options, config, fingerprint, rewards, control, seed],
    )


def begins_a_line(torn: str) -> bool:
    """Whether an incomplete line is the beginning of one of ours; all begin with their key."""
    begin = '{"key": "'
    return torn.startswith(begin) or begin.startswith(torn)


def digest(value: Any) -> str:
    """Hex SHA-256 of a JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
