"""Calling a reward and not trusting the answer.

Duplicates are scored once, coroutines are awaited, and whatever goes wrong is a `RewardError` that
names the reward, the index and the text of the prompt. `None` (not applicable) contributes 0.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

from .protocol import Prompt, Reward, last_text, reward_name
from .waiting import RewardTimeout, start

__all__ = ["RewardCall", "RewardError", "call_reward"]

_Columns = dict[str, list[Any]]


class RewardError(RuntimeError):
    """A reward raised, hung, or returned something that is not one finite number per row.

    Attributes:
        reward: its name.
        index: row of the prompt at fault, or None where it is the whole batch.
        partial: what was finished before it, where a pipeline raised it (an `APSOutput`).
    """

    def __init__(
        self, reward: str, what: str, index: int | None = None, row: str = "", more: str = ""
    ) -> None:
        """The message is `reward NAME WHAT prompt INDEX (ROW)MORE`, or without the prompt."""
        super().__init__(reward, what, index, row, more)
        self.reward, self.index = reward, index
        self._what, self._row, self._more = what, row, more
        self.partial: Any = None

    def __str__(self) -> str:
        where = "" if self.index is None else f" prompt {self.index} ({self._row})"
        return f"reward {self.reward!r} {self._what}{where}{self._more}"

    def at(self, rows: Sequence[int]) -> RewardError:
        """The same error with its index looked up in `rows`: from a part to the whole."""
        index = None if self.index is None else rows[self.index]
        moved = RewardError(self.reward, self._what, index, self._row, self._more)
        moved.partial, moved.__cause__ = self.partial, self.__cause__
        return moved


def call_reward(
    reward: Reward,
    prompts: Sequence[Prompt],
    completions: Sequence[Prompt],
    columns: Mapping[str, Sequence[Any]] | None = None,
    *,
    completion_ids: Sequence[Sequence[int]] | None = None,
    timeout: float | None = None,
) -> list[float]:
    """Score B completions: B finite floats.

    _Columns equal in prompt, completion, ids and every column are scored once. A reward that names
    its parameters and takes no `**kwargs` gets only those it names. If the reward raises on the
    batch, or returns another number of values, rows are tried alone to find the one at fault.

    Args:
        timeout: seconds the reward may take for the batch; None waits for ever.

    Raises:
        ValueError: lists of unequal length.
        RewardError: the reward raised (chained), took too long, or returned a wrong number of
            values, or something that is neither a finite number nor None.
    """
    call = RewardCall(
        reward, prompts, completions, columns, completion_ids=completion_ids, timeout=timeout
    )
    return [0.0 if value is None else value for value in call.result()]


class RewardCall:
    """A started call: several may be started before the first `result` is waited for.

    Takes `call_reward`'s arguments. Attributes:
        distinct: how many different rows the reward is asked for.
    """

    def __init__(
        self,
        reward: Reward,
        prompts: Sequence[Prompt],
        completions: Sequence[Prompt],
        columns: Mapping[str, Sequence[Any]] | None = None,
        *,
        completion_ids: Sequence[Sequence[int]] | None = None,
        timeout: float | None = None,
    ) -> None:
        rows: _Columns = {"prompts": list(prompts), "completions": list(completions)}
        rows["completion_ids"] = [None] * len(prompts)
        if completion_ids is not None:
            rows["completion_ids"] = [list(ids) for ids in completion_ids]
        for name, values in (columns or {}).items():
            if name in rows:
                raise ValueError(f"column {name!r} would hide the reward's own argument; rename it")
            rows[name] = list(values)
        for name, values in rows.items():
            if len(values) != len(prompts):
                raise ValueError(f"{len(prompts)} prompts but {len(values)} values of {name!r}")
        first: dict[Any, int] = {}
        self._owner = [
            first.setdefault(_freeze([values[i] for values in rows.values()]), i)
            for i in range(len(prompts))
        ]
        self._index = sorted(first.values())
        self._rows = _take(rows, self._index)
        self._reward, self._name, self._timeout = reward, reward_name(reward), timeout
        self.distinct = len(self._index)
        self._wait: Callable[[], Any] | None = None
        if self._index:
            self._wait = start(reward, _arguments(reward, self._rows), timeout)

    def result(self) -> list[float | None]:
        """Wait for the scores: B finite floats, None where the reward does not apply."""
        if self._wait is None:
            return []
        index = self._index
        try:
            result = self._wait()
            values = _as_list(result)
        except Exception as error:
            raise self._blame(error) from error
        if values is None or len(values) != len(index):
            got = f"{len(values)} values" if values is not None else f"a {type(result).__name__}"
            raise self._miscounted(f"returned {got} for {len(index)} completions")
        scores = {
            i: self._number(value, k)
            for k, (i, value) in enumerate(zip(index, values, strict=True))
        }
        return [scores[i] for i in self._owner]

    def _blame(self, error: Exception) -> RewardError:
        """Which row makes it raise? Tried one by one; the whole batch if none does alone."""
        name, rows, index = self._name, self._rows, self._index
        at = 0 if len(index) == 1 else None
        for i in range(len(index) if at is None else 0):
            alone = _take(rows, [i])
            try:
                _as_list(start(self._reward, _arguments(self._reward, alone), self._timeout)())
            except Exception as found:
                at, error = i, found
                break
        if isinstance(error, RewardError):  # a reward made of rewards: its part is named
            return error.at([index[at]] if at is not None else index)
        late = isinstance(error, RewardTimeout)
        what = str(error) if late else f"{type(error).__name__}: {error}"
        verb = "timed out" if late else "raised"
        if at is None:
            return RewardError(
                name,
                f"{verb} on a batch of {len(index)} (the first: {_shown(rows, 0)}), though on none "
                f"of its rows alone: {what}",
            )
        if "string indices" in what and isinstance(rows["completions"][at], str):
            what += "; it reads chat messages: pass prompts as messages, not strings"
        return RewardError(name, f"{verb} on", index[at], _shown(rows, at), f": {what}")

    def _miscounted(self, what: str) -> RewardError:
        """The row that gets no list of one value alone, or the whole batch if all or none do."""
        wanted = "; return a list with one number per completion"
        alone = []
        for i in range(len(self._index)):
            row = _arguments(self._reward, _take(self._rows, [i]))
            try:
                values = _as_list(start(self._reward, row, self._timeout)())
            except Exception:  # alone it fails too; the error below names its prompt
                values = None
            alone.append(values is not None and len(values) == 1)
        if all(alone) or not any(alone):
            return RewardError(self._name, f"{what} (the first: {_shown(self._rows, 0)}){wanted}")
        at = alone.index(False)
        shown = _shown(self._rows, at)
        return RewardError(self._name, f"{what}, none for", self._index[at], shown, wanted)

    def _number(self, value: Any, row: int) -> float | None:
        if value is None:
            return None
        scalar = getattr(value, "ndim", 1) == 0
        if hasattr(value, "item") and not isinstance(value, Real) and scalar:
            value = value.item()
        if not isinstance(value, Real) or not math.isfinite(value):
            raise RewardError(
                self._name,
                f"returned {value!r} for",
                self._index[row],
                _shown(self._rows, row),
                "; return a finite number, or None where it does not apply",
            )
        return float(value)


def _arguments(reward: Reward, rows: _Columns) -> dict[str, Any]:
    """What the reward is called with."""
    arguments: dict[str, Any] = dict(rows)
    if all(ids is None for ids in rows["completion_ids"]):
        arguments["completion_ids"] = None
    parameters = inspect.signature(reward).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        named = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
        arguments = {k: v for k, v in arguments.items() if k in named}
    return arguments


def _as_list(result: Any) -> list[Any] | None:
    """A list, tuple, tensor or array of one axis as a list; None for anything else."""
    if isinstance(result, (list, tuple)):
        return list(result)
    if isinstance(result, (str, bytes, dict)) or not hasattr(result, "tolist"):
        return None
    values = result.tolist()
    return values if isinstance(values, list) else None


def _shown(rows: _Columns, i: int) -> str:
    prompt, completion = last_text(rows["prompts"][i]), last_text(rows["completions"][i])
    return f"{_short(prompt)!r}, answer {_short(completion)!r}"


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _take(rows: _Columns, index: list[int]) -> _Columns:
    return {name: [values[i] for i in index] for name, values in rows.items()}


def _freeze(value: Any) -> Any:
    """A hashable stand-in; objects it does not know are equal only to themselves."""
    if value is None or isinstance(value, (str, bytes, int, float, bool)):
        return type(value), value
    if isinstance(value, (list, tuple)):
        return type(value), tuple(_freeze(v) for v in value)
    if isinstance(value, dict):
        return dict, tuple((k, _freeze(v)) for k, v in value.items())
    return id(value)
