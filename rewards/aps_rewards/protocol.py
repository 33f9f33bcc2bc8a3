"""The interface of a reward: TRL's signature, plus an optional differentiable side.

    reward(prompts, completions, completion_ids=None, **columns) -> list[float | None]

`prompts` and `completions` are lists of B strings, or of chat messages where the prompts were
messages. Further dataset columns arrive by name, one value per row. `None` means "not applicable
to this row" and counts as 0. A coroutine function works too.

The differentiable side scores EMBEDDINGS of the reward's own tokenizer, so that a gradient reaches
a distribution over tokens: `x~ (B, S, d) -> r (B,)`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard

from .errors import attribute_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "DifferentiableReward",
    "Message",
    "Prompt",
    "Reward",
    "RewardInfo",
    "describe",
    "is_differentiable",
    "last_text",
    "reward_name",
    "row_values",
    "steers_by_gradient",
]

Message: TypeAlias = dict[str, str]
Prompt: TypeAlias = str | list[Message]
"""A plain string, or chat messages `[{"role": ..., "content": ...}, ...]`."""

Reward: TypeAlias = Callable[..., Any]
"""Anything called as `reward(prompts=..., completions=..., completion_ids=..., **columns)`."""


class DifferentiableReward(Protocol):
    """A reward that also scores embeddings; both sides must give equal scores for equal tokens.

    Attributes:
        name: short, for reports.
        measures: what it measures, in one line.
        range: `(low, high)`, possibly infinite.
        differentiable: True; a class whose instances differ sets it per instance.
        tokenizer: a Hugging Face FAST tokenizer, the one `embedding_table` belongs to.
        steering_beta: optional, for any reward: the default `beta` of a call, in the reward's own
            units.
        estimator: optional; "rloo" if samples steer better than the gradient: `estimator="auto"`
            then uses RLOO. `estimator="relaxed"` still uses the gradient.
    """

    name: str
    measures: str
    range: tuple[float, float]
    differentiable: bool
    tokenizer: Any

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float | None]:
        """Score text: B numbers."""
        ...

    def embedding_table(self) -> Tensor:
        """Word embeddings `(V, d)`, detached, on the reward's device; the same tensor each call."""
        ...

    def frame(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """Token ids before and after the answer: `[CLS]` and `[SEP]`, or a chat template with the
        prompt. Use special tokens only if the reward was trained with them. If it also has
        `**columns`, it is given the row's dataset columns, too."""
        ...

    def score_embeds(
        self,
        embeds: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        *,
        prompts: list[Prompt],
        **columns: list[Any],
    ) -> Tensor:
        """Score framed answers given as embeddings, differentiable in `embeds`.

        Args:
            embeds: `(B, S, d)` on the reward's device.
            attention_mask: `(B, S)` int64; zeros may be ANYWHERE: before the prefix (padding),
                between the answer and the suffix (an answer that stopped early), after it. A head
                that reads the last token must find it by the mask.
            position_ids: `(B, S)`, `cumsum(attention_mask) - 1`, never negative.
            prompts: B prompts; columns: B values each.

        Returns:
            `(B,)` scores, equal to the text side's on hard embeddings.
        """
        ...


@dataclass(frozen=True)
class RewardInfo:
    """A reward's metadata, as shown by `aps rewards`.

    Attributes:
        name: short.
        measures: what it measures, in one line.
        range: `(low, high)`; infinite if unknown.
        differentiable: True = steers by gradient; False = black box, steers by RLOO.
        licence: of its weights or word list; empty if it has none.
    """

    name: str
    measures: str
    range: tuple[float, float]
    differentiable: bool
    licence: str = ""


def reward_name(reward: Reward) -> str:
    """`reward.name`, else the function's or the class's own name."""
    if isinstance(reward, functools.partial):
        return reward_name(reward.func)
    for attribute in ("name", "__name__"):
        try:
            value = getattr(reward, attribute, None)
        except Exception:  # a property that raises
            continue
        if isinstance(value, str) and value:
            return value
    return type(reward).__name__


def describe(reward: Reward) -> RewardInfo:
    """Metadata of a reward or a reward class; defaults for attributes that it does not have.

    Raises:
        RewardError: its `range` is a property that raises.
    """
    while isinstance(reward, functools.partial):
        reward = reward.func
    first_line = (getattr(reward, "__doc__", None) or "").strip().partition("\n")[0]
    name = reward_name(reward)
    return RewardInfo(
        name=name,
        measures=getattr(reward, "measures", "") or first_line or "not stated",
        range=range_of(reward, name),
        differentiable=bool(getattr(reward, "differentiable", False)),
        licence=getattr(reward, "licence", ""),
    )


def range_of(reward: Reward, name: str) -> tuple[float, float]:
    """A reward's `range`; infinite where it has none, or one that is not two numbers.

    Args:
        name: of the reward, for the error.

    Raises:
        RewardError: it is a property that raises.
    """
    while isinstance(reward, functools.partial):
        reward = reward.func
    found = attribute_of(reward, name, "range", None)
    try:
        low, high = map(float, found)
    except Exception:  # a user's object may hold anything under this name, which is then no range
        return -math.inf, math.inf
    return (-math.inf, math.inf) if math.isnan(low) or math.isnan(high) else (low, high)


def is_differentiable(reward: Reward) -> TypeGuard[DifferentiableReward]:
    """Whether a reward is a `DifferentiableReward`.

    False for a composed reward (`aps_rewards.composition`), whose parts may be; see
    `steers_by_gradient`.

    Raises:
        TypeError: it has `differentiable = True` but not all of `DifferentiableReward`.
        RewardError: one of these attributes is a property that raises.
    """
    name = reward_name(reward)
    if is_composed(reward) or not attribute_of(reward, name, "differentiable", False):
        return False
    parts = ("tokenizer", "embedding_table", "frame", "score_embeds")
    absent = object()
    missing = [part for part in parts if attribute_of(reward, name, part, absent) is absent]
    if missing:
        raise TypeError(
            f"reward {name!r} says differentiable=True but has no "
            f"{', '.join(missing)}; add what is missing or set differentiable = False"
        )
    return True


def is_composed(reward: Reward) -> bool:
    """Whether a reward is a function of other rewards' scores, with `parts` and `combine`."""
    return hasattr(reward, "combine") and hasattr(reward, "parts")


def steers_by_gradient(reward: Reward) -> bool:
    """Whether a reward has a gradient, itself or through its parts."""
    if is_composed(reward):
        return bool(getattr(reward, "differentiable", False))
    return is_differentiable(reward)


def last_text(turn: Prompt) -> str:
    """The text of a prompt or completion; of messages, the content of the last one."""
    if isinstance(turn, str):
        return turn
    return turn[-1]["content"] if turn else ""


def row_values(
    reward: str, name: str, fixed: Any, columns: Mapping[str, Sequence[Any]], count: int
) -> list[Any]:
    """`fixed` for each of `count` rows, or, if it is None, the values of the column `name`.

    Args:
        reward: its name, for errors.

    Raises:
        ValueError: `fixed` is None and there is no such column, or the column's length is not
            `count`.
    """
    if fixed is not None:
        return [fixed] * count
    if name not in columns:
        raise ValueError(
            f"reward {reward!r} needs {name!r}: give it as an option, '{reward}:{name}=...', or as "
            f"a column with one value per prompt, columns={{{name!r}: [...]}}; "
            f"got columns {sorted(columns) or 'none'}"
        )
    values = list(columns[name])
    if len(values) != count:
        raise ValueError(
            f"column {name!r} has {len(values)} values for {count} answers; give one per answer"
        )
    return values
