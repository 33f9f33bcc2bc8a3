"""Calling a reward and not trusting the answer.

Duplicates are scored once, coroutines are awaited, and whatever goes wrong is a `RewardError` that
names the reward, the index and the text of the prompt. `None` (not applicable) contributes 0.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from typing import Any

from .protocol import Prompt, Reward, last_text, reward_name

__all__ = ["RewardError", "call_reward"]

Rows = dict[str, list[Any]]


class RewardError(RuntimeError):
    """A reward raised, or returned something that is not one finite number per row.

    Attributes:
        reward: its name.
        index: row of the prompt at fault, or None where it is the whole batch.
    """

    def __init__(self, message: str, reward: str, index: int | None = None) -> None:
        super().__init__(message)
        self.reward, self.index = reward, index


def call_reward(
    reward: Reward,
    prompts: Sequence[Prompt],
    completions: Sequence[Prompt],
    columns: Mapping[str, Sequence[Any]] | None = None,
    *,
    completion_ids: Sequence[Sequence[int]] | None = None,
) -> list[float]:
    """Score B completions: B finite floats.

    Rows equal in prompt, completion, ids and every column are scored once. A reward that names
    its parameters and takes no `**kwargs` gets only those it names. If the reward raises on the
    batch, rows are tried one by one to find the one at fault.

    Raises:
        ValueError: lists of unequal length.
        RewardError: the reward raised (chained), or returned a wrong number of values, or
            something that is neither a finite number nor None.
    """
    rows: Rows = {"prompts": list(prompts), "completions": list(completions)}
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
    owner = [
        first.setdefault(_freeze([values[i] for values in rows.values()]), i)
        for i in range(len(prompts))
    ]
    distinct = sorted(first.values())
    scores = dict(zip(distinct, _score(reward, _take(rows, distinct), distinct), strict=True))
    return [scores[i] for i in owner]


def _score(reward: Reward, rows: Rows, index: list[int]) -> list[float]:
    """Scores of distinct rows; `index` are their places in the caller's batch."""
    if not index:
        return []
    name = reward_name(reward)
    try:
        result = _invoke(reward, rows)
    except Exception as error:
        raise _blame(reward, name, rows, index, error) from error
    values = _as_list(result)
    if values is None or len(values) != len(index):
        got = f"{len(values)} values" if values is not None else f"a {type(result).__name__}"
        raise RewardError(
            f"reward {name!r} returned {got} for {len(index)} completions "
            f"(prompt {index[0]}: {_shown(rows, 0)}); return a list with one number per completion",
            name,
        )
    return [_number(name, value, rows, i, index[i]) for i, value in enumerate(values)]


def _invoke(reward: Reward, rows: Rows) -> Any:
    arguments: dict[str, Any] = dict(rows)
    if all(ids is None for ids in rows["completion_ids"]):
        arguments["completion_ids"] = None
    parameters = inspect.signature(reward).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        named = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
        arguments = {k: v for k, v in arguments.items() if k in named}
    result = reward(**arguments)
    return _wait(result) if inspect.isawaitable(result) else result


def _wait(result: Any) -> Any:
    async def await_it() -> Any:
        return await result

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(await_it())
    # A notebook already runs a loop in this thread: run ours in another.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, await_it()).result()


def _blame(
    reward: Reward, name: str, rows: Rows, index: list[int], error: Exception
) -> RewardError:
    """Which row makes it raise? Tried one by one; the whole batch if none does alone."""
    at = 0 if len(index) == 1 else None
    for i in range(len(index) if at is None else 0):
        try:
            _invoke(reward, _take(rows, [i]))
        except Exception as alone:
            at, error = i, alone
            break
    what = f"{type(error).__name__}: {error}"
    if at is None:
        return RewardError(
            f"reward {name!r} raised on a batch of {len(index)} (prompts {index[0]} to "
            f"{index[-1]}), though on none of its rows alone: {what}",
            name,
        )
    return RewardError(
        f"reward {name!r} raised on prompt {index[at]} ({_shown(rows, at)}): {what}",
        name,
        index[at],
    )


def _as_list(result: Any) -> list[Any] | None:
    """A list, tuple, tensor or array of one axis as a list; None for anything else."""
    if isinstance(result, (list, tuple)):
        return list(result)
    if isinstance(result, (str, bytes, dict)) or not hasattr(result, "tolist"):
        return None
    values = result.tolist()
    return values if isinstance(values, list) else None


def _number(name: str, value: Any, rows: Rows, i: int, index: int) -> float:
    if value is None:
        return 0.0
    if hasattr(value, "item") and not isinstance(value, Real) and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if not isinstance(value, Real) or not math.isfinite(value):
        raise RewardError(
            f"reward {name!r} returned {value!r} for prompt {index} ({_shown(rows, i)}); "
            "return a finite number, or None where it does not apply",
            name,
            index,
        )
    return float(value)


def _shown(rows: Rows, i: int) -> str:
    prompt, completion = last_text(rows["prompts"][i]), last_text(rows["completions"][i])
    return f"{_short(prompt)!r}, answer {_short(completion)!r}"


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _take(rows: Rows, index: list[int]) -> Rows:
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
