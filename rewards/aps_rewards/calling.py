"""Checked calls of rewards.

Equal rows are scored once, coroutines are awaited, and the reward gets copies; process-wide
settings that it changes are restored (`guard`). Any failure becomes a `RewardError` that names the
reward, the index and the text of the prompt: any exception except those in `guard.PASSED_ON`, and
any result that is not one number per row. `None` (not applicable) contributes 0.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from decimal import Decimal
from numbers import Real
from typing import Any

from .errors import RewardError
from .guard import PASSED_ON, copied, described
from .protocol import Prompt, Reward, last_text, reward_name
from .trainer import trainer_arguments
from .waiting import RewardTimeout, start

__all__ = ["LARGEST", "RewardCall", "call_reward", "failure", "quoted"]

LARGEST = 3.4e38  # scores are summed in float32

_Columns = dict[str, list[Any]]

_ALMOST = {"prompts", "completions", "prompt", "completion", "text", "texts"}
"""Parameters of a reward for one row, or of one that takes no names (`/`)."""


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

    Rows equal in prompt, completion, ids and every column are scored once. A reward without
    `**kwargs` gets only the columns that it has parameters for. If the reward raises on the batch,
    or returns a wrong number of values, rows are scored one by one to find the one at fault.

    Args:
        prompts, completions: B strings or message lists each.
        columns: dataset columns by name, B values each.
        completion_ids: B token id lists.
        timeout: seconds the reward may take for the batch, > 0; None is no limit.

    Raises:
        TypeError: the reward cannot be called (a name is loaded by `load_reward`).
        ValueError: a text in place of a list, lists of unequal length, a timeout that is not > 0.
        RewardError: the reward raised (chained), took too long, or returned a wrong number of
            values, or something that is neither None nor a finite number up to 3.4e38.
    """
    call = RewardCall(
        reward, prompts, completions, columns, completion_ids=completion_ids, timeout=timeout
    )
    return [0.0 if value is None else value for value in call.result()]


class RewardCall:
    """A started call, with `call_reward`'s arguments; several can run before their `result()`s.

    Attributes:
        distinct: number of distinct rows that the reward scores.
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
        if timeout is not None and not (isinstance(timeout, Real) and 0 < timeout < math.inf):
            raise ValueError(
                f"timeout is a number of seconds above 0, or None for no limit; got {timeout!r}"
            )
        if not callable(reward):
            how = f": load_reward({reward!r}) loads it" if isinstance(reward, str) else ""
            raise TypeError(f"reward is a callable, got {described(reward)}{how}")
        if inspect.isclass(reward):
            raise TypeError(f"reward is the class {reward.__name__}; pass an instance of it")
        rows: _Columns = {"prompts": list(prompts), "completions": list(completions)}
        rows["completion_ids"] = [None] * len(prompts)
        if completion_ids is not None:
            rows["completion_ids"] = [list(ids) for ids in completion_ids]
        for name, values in (columns or {}).items():
            if name in rows:
                raise ValueError(
                    f"a column cannot be named {name!r}, which is an argument of every reward; "
                    "rename it"
                )
            rows[name] = list(values)
        for name, values in [
            *(("prompts", prompts), ("completions", completions)),
            *(columns or {}).items(),
        ]:
            if isinstance(values, str):  # a list of its characters would be scored
                raise ValueError(f"{name} is a list with a value per row, got {quoted(values)}")
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
        self._wait: Callable[[], list[float | None]] | None = None
        if self._index:
            self._wait = self._start(self._rows)

    def result(self) -> list[float | None]:
        """Wait for the scores: B finite floats, None where the reward does not apply."""
        if self._wait is None:
            return []
        try:
            values = self._wait()
        except PASSED_ON:
            raise
        except BaseException as error:
            ours = isinstance(error, _NoNumber | _WrongCount)
            raise self._blame(error) from (error.__cause__ if ours else error)
        scores = dict(zip(self._index, values, strict=True))
        return [scores[i] for i in self._owner]

    def _start(self, rows: _Columns) -> Callable[[], list[float | None]]:
        """Start scoring rows, on copies of them."""
        count = len(rows["prompts"])
        arguments = _arguments(self._reward, copied(rows))
        read = functools.partial(_numbers, count=count)
        return start(self._reward, arguments, self._timeout, read)

    def _blame(self, error: BaseException) -> RewardError:
        """The error of the first row that fails when scored alone, or of the batch if none does."""
        name, rows, index = self._name, self._rows, self._index
        if isinstance(error, _WrongCount):
            return self._miscounted(error.what)
        at: int | None = 0 if len(index) == 1 else None
        if isinstance(error, _NoNumber) and (at == 0 or self._alone(error.row) is not None):
            at = error.row
        for i in range(len(index) if at is None else 0):
            found = self._alone(i)
            if found is not None:
                at, error = i, found
                break
        if isinstance(error, _NoNumber | _WrongCount) and at is not None:
            return RewardError(name, error.what, index[at], _shown(rows, at), error.mend)
        if type(error) is RewardError and "_what" in vars(error) and error.index is not None:
            if at is None:  # a composed reward: the error names its part
                return error.at(index)
            return RewardError(error.reward, error._what, index[at], _shown(rows, at), error._more)
        verb, what = failure(error)
        if at is None:
            if isinstance(error, _NoNumber):
                verb, what = error.what.removesuffix(" for"), error.mend.removeprefix("; ")
            return RewardError(
                name,
                f"{verb} on a batch of {len(index)} (the first: {_shown(rows, 0)}), though on none "
                f"of its rows alone: {what}",
            )
        lacks = re.search(r"missing \d+ required [\w-]+ arguments?: (.+)", what)
        ours = {word for word in re.findall(r"'(\w+)'", lacks[1])} if lacks else set()
        if isinstance(error, TypeError) and lacks:
            if "self" in ours:
                what += "; it is a method of a class: pass that of an instance"
            elif ours & _ALMOST or _takes(self._reward, ours):
                what += (
                    "; a reward is called by name, with lists: def reward(prompts, completions, "
                    "**kwargs), which returns a number per completion"
                )
            else:
                what += (
                    "; a reward is called with prompts, completions and the columns that are "
                    f"given: pass columns={{name: [a value per prompt]}} for {lacks[1]}"
                )
        if isinstance(rows["completions"][at], str):
            if "string indices" in what:
                what += "; if it reads chat messages, pass prompts as messages, not strings"
        elif re.search(r"'list' object has no|, (got|not) '?list|\(not \"list\"\)", what):
            what += (
                "; the prompt is chat messages, so the completion is, too: a reward of texts reads "
                "completion[-1]['content'] (aps_rewards.last_text reads both forms)"
            )
        return RewardError(name, f"{verb} on", index[at], _shown(rows, at), f": {what}")

    def _alone(self, row: int) -> BaseException | None:
        """The exception raised when a row is scored alone; None if it is scored."""
        try:
            self._start(_take(self._rows, [row]))()
        except PASSED_ON:
            raise
        except BaseException as error:
            return error
        return None

    def _miscounted(self, what: str) -> RewardError:
        """The error of the first row that fails when scored alone, or of the batch if all or none
        do."""
        wanted = _WrongCount.mend
        alone = [self._alone(i) is None for i in range(len(self._index))]
        if all(alone) or not any(alone):
            if len(alone) == 1:
                shown = _shown(self._rows, 0)
                return RewardError(self._name, f"{what}, none for", self._index[0], shown, wanted)
            return RewardError(self._name, f"{what} (the first: {_shown(self._rows, 0)}){wanted}")
        at = alone.index(False)
        shown = _shown(self._rows, at)
        return RewardError(self._name, f"{what}, none for", self._index[at], shown, wanted)


def _takes(reward: Reward, lacking: Set[str]) -> bool:
    """Whether it is the reward that lacks these arguments, having no parameter for answers."""
    try:
        own = set(inspect.signature(reward).parameters)
    except (TypeError, ValueError):  # no signature (written in C)
        return False
    return lacking <= own and not {"completions", "completion_ids"} & own


def failure(error: BaseException) -> tuple[str, str]:
    """How a call failed ("raised" or "timed out"), and the text for the error message."""
    if isinstance(error, RewardTimeout):
        return "timed out", str(error)
    what = described(error)
    if isinstance(error, ValueError) and "signal only works in main thread" in what:
        what += (
            "; Python allows signals in the main thread only, and with a timeout the reward runs "
            "in another one: set no reward_timeout (timeout), or remove the signal from the reward"
        )
    return "raised", what


class _WrongCount(Exception):
    """The result has not one value per row."""

    mend = "; return a list with one number per completion"

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class _NoNumber(Exception):
    """A value is not a finite number."""

    def __init__(self, row: int, what: str, mend: str) -> None:
        super().__init__(what)
        self.row, self.what, self.mend = row, what, mend


def _numbers(result: Any, count: int) -> list[float | None]:
    """A reward's result as `count` numbers.

    Raises:
        _WrongCount, _NoNumber: see there; and whatever the result's own code raises.
    """
    values = _as_list(result, count)
    if values is None or len(values) != count:
        got = f"a {type(result).__name__}"
        if values is not None:
            got = f"{len(values)} values" if len(values) <= count else f"more than {count} values"
            got = f"{len(result)} values" if isinstance(result, (list, tuple)) else got
        raise _WrongCount(f"returned {got} for {count} completions")
    return [_number(value, row) for row, value in enumerate(values)]


def _number(value: Any, row: int) -> float | None:
    if value is None:
        return None
    mend = "; return a finite number, or None where it does not apply"
    try:
        scalar = getattr(value, "ndim", 1) == 0
        if hasattr(value, "item") and not isinstance(value, Real) and scalar:
            value = value.item()
        number = float(value) if isinstance(value, (Real, Decimal)) else math.nan
    except OverflowError:
        number = math.inf
    except PASSED_ON:
        raise
    except BaseException as error:
        what = f"returned a {type(value).__name__} whose value cannot be read for"
        raise _NoNumber(row, what, f": {described(error)}{mend}") from error
    if not math.isfinite(number) or abs(number) > LARGEST:
        if isinstance(value, (int, float)) and not math.isnan(number):
            mend += f" (its size is limited by float32, {LARGEST:g})"
        raise _NoNumber(row, f"returned {described(value)} for", mend)
    return number


def _arguments(reward: Reward, rows: _Columns) -> dict[str, Any]:
    """The reward's keyword arguments."""
    arguments: dict[str, Any] = dict(rows)
    if all(ids is None for ids in rows["completion_ids"]):
        arguments["completion_ids"] = None
    everything = {**trainer_arguments(), **arguments}
    try:
        # A torch module's __call__ takes anything and hands it to `forward`.
        called = getattr(reward, "forward", reward) if _is_module(reward) else reward
        parameters = list(inspect.signature(called).parameters.values())
    except PASSED_ON:
        raise
    except BaseException:  # no signature (written in C, e.g.): pass everything, as TRL does
        return everything
    named = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            if parameter.name != "columns":
                return everything
            return {k: v for k, v in everything.items() if k in arguments or k in named}
    return {k: v for k, v in everything.items() if k in named}


def _is_module(reward: Any) -> bool:
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(reward, torch.nn.Module)


def _as_list(result: Any, count: int) -> list[Any] | None:
    """Up to `count + 1` values in order; None if `result` is not a list of values."""
    table = hasattr(result, "columns") and hasattr(result, "iloc")  # it iterates over names
    if table or isinstance(result, (str, bytes, bytearray, Mapping, Set)):
        return None
    if hasattr(result, "tolist"):
        if len(getattr(result, "shape", ())) == 2 and result.shape[1] == 1:
            result = result[:, 0]  # a head's logits (n, 1)
        result = result.tolist()
    if not isinstance(result, Iterable):
        return None
    return list(itertools.islice(result, count + 1))


def _shown(rows: _Columns, i: int) -> str:
    return f"{quoted(rows['prompts'][i])}, answer {quoted(rows['completions'][i])}"


def quoted(turn: Prompt) -> str:
    """The text of a prompt or completion in quotation marks, shortened."""
    try:
        text: Any = last_text(turn)
    except (LookupError, TypeError):  # messages without a content
        text = turn
    if not isinstance(text, str):
        text = described(text)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _take(rows: _Columns, index: list[int]) -> _Columns:
    return {name: [values[i] for i in index] for name, values in rows.items()}


def _freeze(value: Any) -> Any:
    """A hashable value for comparisons; unknown objects are equal only to themselves."""
    if value is None or isinstance(value, (str, bytes, int, float, bool)):
        return type(value), value
    try:
        if isinstance(value, (list, tuple)):
            return type(value), tuple(_freeze(v) for v in value)
        if isinstance(value, dict):
            return dict, tuple((k, _freeze(v)) for k, v in value.items())
    except RecursionError:  # a container that contains itself
        pass
    return id(value)
