"""Conversion of a user's reward specification to the operator that guides a method."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from typing import Any, TypeGuard, cast

import torch
from aps_rewards import (
    Composed,
    Prompt,
    RewardError,
    WeightedSum,
    is_differentiable,
    load_reward,
    parse_reward_spec,
    reward_name,
)
from aps_rewards.calling import LARGEST
from aps_rewards.errors import attribute_of
from aps_rewards.guard import described
from aps_rewards.reward_file import file_state
from torch import Tensor

from ...core.config import APSConfig
from ...core.operator import Combined, Operator, ZeroOperator, weighted_sum
from ...core.settings import Fit, SamplerSettings
from ..vocabulary import Vocabulary
from .bridge_stats import BridgeStats
from .embedding_scorer import attributed
from .operator import RewardOperator

__all__ = [
    "RewardSpec",
    "ScoredRows",
    "WeightedRewards",
    "beta_of",
    "is_sampled",
    "load_rewards",
    "reward_operator",
    "specs_of",
]

RewardSpec = Any
"""A name, a callable, a (reward, weight) pair, a list of those, {reward: weight}, an Operator."""

BETA: float = SamplerSettings().beta
"""The beta of a reward that declares no `steering_beta`."""

WeightedRewards = list[tuple[str, float, Any]]
"""(name, weight, reward) triples."""


@dataclass(frozen=True)
class ScoredRows:
    """The rows of a batch whose answers are scored.

    Attributes:
        vocabulary: of the generator.
        prompts: the prompt of each row.
        owners: the number of each row's prompt in the call.
        columns: dataset columns, one value per prompt of the call.
        config: gives the bridge's policy, the timeout and the estimator.
        stats: the statistics of each reward by its name; binding a reward adds its entry.
    """

    vocabulary: Vocabulary
    prompts: list[Prompt]
    owners: list[int]
    columns: Mapping[str, Sequence[Any]]
    config: APSConfig
    stats: dict[str, BridgeStats] = field(default_factory=dict)


def beta_of(rewards: WeightedRewards) -> float:
    """The default `beta` of a call with these rewards.

    Of one reward it is its `steering_beta`, whatever the weight (so a weight of 2 steers twice as
    hard); of several, the mean of theirs, weighted by |weight|. A reward that declares none counts
    with `BETA`.

    Raises:
        RewardError: its `steering_beta` is a property that raises.
    """
    total = sum(abs(weight) for _, weight, _ in rewards)
    if total == 0:
        return BETA
    return (
        sum(abs(weight) * _declared_beta(reward, name) for name, weight, reward in rewards) / total
    )


def _declared_beta(reward: Any, name: str) -> float:
    found = attribute_of(reward, name, "steering_beta", None)
    if isinstance(found, bool) or not isinstance(found, Real):
        return BETA
    beta = float(found)
    return beta if 0 < beta < math.inf else BETA


def reward_operator(rewards: WeightedRewards, rows: ScoredRows) -> Operator:
    """The weighted sum of `rewards`, bound to rows; a `ZeroOperator` if there are none.

    Raises:
        ValueError: a `Normalised` reward whose scale is not set, or what the bridge raises.
    """
    if not rewards:
        return ZeroOperator()
    return weighted_sum(*((weight, _bound(reward, name, rows)) for name, weight, reward in rewards))


def _bound(reward: Any, name: str, rows: ScoredRows) -> Operator:
    """One reward bound to rows; a composed one becomes the same function of its parts."""
    if is_operator(reward):
        return reward.take(torch.tensor(rows.owners))
    if isinstance(reward, Composed):
        inner = [_bound(part, reward_name(part), rows) for part in reward.parts]
        if isinstance(reward, WeightedSum):
            return weighted_sum(*zip(reward.weights, inner, strict=True))
        reward.combine([torch.zeros(1)] * len(inner))  # raises here if a scale is missing
        combine = _attributed_combination(name, reward)
        return Combined(inner, combine, name, reward.differentiable)
    vocabulary, config = rows.vocabulary, rows.config
    return RewardOperator(
        reward,
        name,
        prompts=rows.prompts,
        vocabulary=vocabulary,
        columns={key: [values[i] for i in rows.owners] for key, values in rows.columns.items()},
        policy=_policy(reward, name, config),
        timeout=config.reward.reward_timeout,
        index=rows.owners,
        stats=rows.stats.setdefault(name, BridgeStats()),
    )


def _policy(reward: Any, name: str, config: APSConfig) -> str:
    """The bridge's policy for a reward; `rloo` for one that asks for samples where it may."""
    asks = attribute_of(reward, name, "estimator", "relaxed")
    gradient = (config.sampler.fit or Fit()).gradient
    both = gradient.relaxation is not None and gradient.score is not None
    return "rloo" if both and asks == "rloo" else config.reward.bridge


def is_sampled(reward: Any, name: str, config: APSConfig) -> bool:
    """Whether a reward steers without a gradient of its own: a black box, or one that asks for
    samples, or a bridge that does.

    Raises:
        RewardError, TypeError: see `is_differentiable`.
    """
    if is_operator(reward):
        return not reward.differentiable
    if isinstance(reward, Composed):
        summed = isinstance(reward, WeightedSum) or reward.differentiable
        return not summed or any(is_sampled(p, reward_name(p), config) for p in reward.parts)
    return _policy(reward, name, config) == "rloo" or not is_differentiable(reward)


def _attributed_combination(
    name: str, reward: Composed
) -> Callable[[Sequence[torch.Tensor]], torch.Tensor]:
    """`reward.combine` with its errors turned into `RewardError`."""

    def combine(values: Sequence[torch.Tensor]) -> torch.Tensor:
        found = attributed(name, "combine", lambda: reward.combine(values))
        if found.shape != values[0].shape or not found.detach().isfinite().all():
            raise RewardError(
                name, f"returned {described(found)} from combine; return a finite number a row"
            )
        return found

    return combine


def is_operator(reward: Any) -> TypeGuard[Operator]:
    """Whether it scores canvases; unlike `isinstance`, reads no property of a user's object."""
    methods = ("take", "log_prob", "log_prob_ids")
    return all(inspect.getattr_static(reward, name, None) is not None for name in methods)


def load_rewards(spec: RewardSpec, loaded: dict[Any, Any] | None = None) -> WeightedRewards:
    """(name, weight, reward) triples of a `RewardSpec`; names load by `aps_rewards.load_reward`.

    A `aps_rewards.WeightedSum` is split into its parts, so that each uses its own estimator.

    Args:
        loaded: cache of rewards loaded by name or built from a model, kept between calls. A reward
            of a file is loaded again where the file has changed.

    Raises:
        ValueError, TypeError: an empty specification, a weight that is not a finite number, a
            reward named `total`, or what `load_reward` raises.
    """
    if spec is None:
        return []
    loaded = {} if loaded is None else loaded
    if isinstance(spec, Mapping):
        items = list(spec.items())
    elif isinstance(spec, list):
        items = [item if isinstance(item, tuple) else (item, None) for item in spec]
    else:
        items = [spec if isinstance(spec, tuple) else (spec, None)]
    if not items:
        raise ValueError(f"reward={spec!r} has no rewards; give one, or None to steer by none")
    found: WeightedRewards = []
    for item in items:
        if len(item) != 2:
            raise ValueError(f"a weighted reward is (reward, weight), got {described(item)}")
        reward, weight = item
        if isinstance(reward, os.PathLike):
            reward = os.fspath(reward)
        if isinstance(reward, str):
            reward, named = parse_reward_spec(reward)
            weight = named if weight is None else weight
        if isinstance(reward, str):
            _load(reward, loaded)
        built = loaded[reward] if isinstance(reward, str) else reward
        if not (isinstance(built, str) or is_operator(built)):
            built = _built(built, loaded)
        name = reward if isinstance(reward, str) else reward_name(cast(Any, built))
        found += _parts(name, 1.0 if weight is None else _finite(weight, name), built)
    if any(name == "total" for name, _, _ in found):
        raise ValueError("a reward cannot be named 'total', which is the weighted sum; rename it")
    return found


def _load(name: str, loaded: dict[Any, Any]) -> None:
    """Load a reward into the cache, unless it is there and its file is as it was then."""
    state = file_state(name)
    if name not in loaded or loaded.get(("file", name)) != state:
        loaded[name] = load_reward(name)
        loaded["file", name] = state


def specs_of(rewards: WeightedRewards, loaded: Mapping[Any, Any]) -> dict[str, str]:
    """What rewards were loaded by, for the names of theirs and of their parts; objects have none.

    Args:
        loaded: the cache that `load_rewards` filled.
    """
    known = {
        id(part): spec
        for spec, reward in loaded.items()
        if isinstance(spec, str)
        for _, _, part in _parts(spec, 1.0, reward)
    }
    return {
        own: known[id(reward)]
        for name, _, reward in rewards
        if id(reward) in known
        for own in (name, *_names_in(reward))
    }


def _names_in(reward: Any) -> list[str]:
    """The names of a composed reward's parts."""
    parts = reward.parts if isinstance(reward, Composed) else ()
    return [name for part in parts for name in (reward_name(part), *_names_in(part))]


def _built(given: Any, loaded: dict[Any, Any]) -> Any:
    """`load_reward(given)`, cached for an object that is not a reward itself, such as a model."""
    key = "object", id(given)
    if key not in loaded:
        built = load_reward(given)
        if built is given or isinstance(given, type):
            return built
        loaded[key] = given, built  # holds the object, so that its id is not reused
    return loaded[key][1]


def _finite(weight: Any, name: str) -> float:
    one = isinstance(weight, Real | Decimal) or (isinstance(weight, Tensor) and not weight.ndim)
    try:
        number = float(weight) if one else math.nan
    except OverflowError:
        number = math.inf
    if not abs(number) <= LARGEST:
        raise ValueError(
            f"the weight of {name!r} is a number between -{LARGEST:g} and {LARGEST:g}, got "
            f"{described(weight)}"
        )
    return number


def _parts(name: str, weight: float, reward: Any) -> WeightedRewards:
    if not isinstance(reward, WeightedSum):
        return [(name, weight, reward)]
    return [
        triple
        for own, part in zip(reward.weights, reward.parts, strict=True)
        for triple in _parts(reward_name(part), weight * own, part)
    ]
