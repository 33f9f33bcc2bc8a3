"""From what a user calls a reward to the operator a method is steered by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from aps_rewards import Composed, Prompt, WeightedSum, load_reward, parse_reward_spec, reward_name

from ...core.config import APSConfig
from ...core.operator import Combined, Operator, ZeroOperator, weighted_sum
from ..vocabulary import Vocabulary
from .bridge_stats import BridgeStats
from .operator import RewardOperator

__all__ = ["RewardSpec", "ScoredRows", "WeightedRewards", "load_rewards", "reward_operator"]

RewardSpec = Any
"""A name, a callable, a (reward, weight) pair, a list of those, {reward: weight}, an Operator."""

WeightedRewards = list[tuple[str, float, Any]]
"""(name, weight, reward) triples."""


@dataclass(frozen=True)
class ScoredRows:
    """The rows of a batch whose answers are to be scored.

    Attributes:
        vocabulary: the tokens of the generator whose answers are scored.
        prompts: the prompt of each row.
        owners: which of the call's prompts each row belongs to.
        columns: dataset columns, a value per prompt of the call.
        config: the bridge's policy and the timeout.
        stats: the statistics of each reward by its name; binding a reward adds its entry.
    """

    vocabulary: Vocabulary
    prompts: list[Prompt]
    owners: list[int]
    columns: Mapping[str, Sequence[Any]]
    config: APSConfig
    stats: dict[str, BridgeStats] = field(default_factory=dict)


def reward_operator(rewards: WeightedRewards, rows: ScoredRows) -> Operator:
    """The weighted sum of `rewards`, bound to rows; without any, the operator that says nothing.

    Raises:
        ValueError: a `Normalised` reward that knows no scale yet, and what the bridge raises.
    """
    if not rewards:
        return ZeroOperator()
    return weighted_sum(*((weight, _bound(reward, name, rows)) for name, weight, reward in rewards))


def _bound(reward: Any, name: str, rows: ScoredRows) -> Operator:
    """One reward bound to rows: a composed one as the same function of its parts' operators."""
    if isinstance(reward, Operator):
        return reward.take(torch.tensor(rows.owners))
    if isinstance(reward, Composed):
        inner = [_bound(part, reward_name(part), rows) for part in reward.parts]
        if isinstance(reward, WeightedSum):
            return weighted_sum(*zip(reward.weights, inner, strict=True))
        reward.combine([torch.zeros(1)] * len(inner))  # without a scale it says so here
        return Combined(inner, reward.combine, name, reward.differentiable)
    vocabulary, config = rows.vocabulary, rows.config
    sampled = config.estimator == "auto" and getattr(reward, "estimator", "relaxed") == "rloo"
    return RewardOperator(
        reward,
        name,
        prompts=rows.prompts,
        vocabulary=vocabulary,
        columns={key: [values[i] for i in rows.owners] for key, values in rows.columns.items()},
        policy="rloo" if sampled else config.bridge,
        timeout=config.reward_timeout,
        index=rows.owners,
        stats=rows.stats.setdefault(name, BridgeStats()),
    )


def load_rewards(spec: RewardSpec, loaded: dict[str, Any] | None = None) -> WeightedRewards:
    """`RewardSpec` to (name, weight, reward) triples; names load by `aps_rewards.load_reward`.

    A `aps_rewards.WeightedSum` becomes its parts, so that each steers in its own way.
    `loaded` remembers rewards by name from one call to the next.
    """
    loaded = {} if loaded is None else loaded
    if spec is None:
        return []
    if isinstance(spec, Mapping):
        items = list(spec.items())
    elif isinstance(spec, list):
        items = [item if isinstance(item, tuple) else (item, None) for item in spec]
    else:
        items = [spec if isinstance(spec, tuple) else (spec, None)]
    found: WeightedRewards = []
    for reward, weight in items:
        if isinstance(reward, str):
            reward, named = parse_reward_spec(reward)
            weight = named if weight is None else weight
        if isinstance(reward, str) and reward not in loaded:
            loaded[reward] = load_reward(reward)
        built = loaded[reward] if isinstance(reward, str) else reward
        if not isinstance(built, str | Operator):
            built = load_reward(built)
        name = reward if isinstance(reward, str) else reward_name(cast(Any, built))
        found += _parts(name, 1.0 if weight is None else float(weight), built)
    return found


def _parts(name: str, weight: float, reward: Any) -> WeightedRewards:
    if not isinstance(reward, WeightedSum):
        return [(name, weight, reward)]
    return [
        triple
        for own, part in zip(reward.weights, reward.parts, strict=True)
        for triple in _parts(reward_name(part), weight * own, part)
    ]
