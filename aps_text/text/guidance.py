"""From what a user calls a reward to the operator a method is steered by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from rewards import load_reward, parse_reward_spec, reward_name

from ..models.text_model import TextModel
from ..operator import Operator, WeightedSum, ZeroOperator
from .operator import RewardOperator
from .prompts import Prompt

__all__ = ["RewardSpec", "load_rewards", "reward_operator"]

RewardSpec = Any
"""A name, a callable, a (reward, weight) pair, a list of those, {reward: weight}, an Operator."""

Weighted = list[tuple[str, float, Any]]


def reward_operator(
    rewards: Weighted,
    model: TextModel,
    prompts: list[Prompt],
    owners: list[int],
    columns: Mapping[str, Sequence[Any]],
) -> Operator:
    """The weighted sum of `rewards`, bound to rows; without any, the operator that says nothing.

    Args:
        rewards: from `load_rewards`.
        model: whose answers are scored.
        prompts: the prompt of each row.
        owners: which of the call's prompts each row belongs to.
        columns: dataset columns, a value per prompt of the call.
    """
    if not rewards:
        return ZeroOperator()
    mine = {name: [values[i] for i in owners] for name, values in columns.items()}
    weighted: list[tuple[float, Operator]] = []
    for name, weight, reward in rewards:
        if isinstance(reward, Operator):
            weighted.append((weight, reward.take(torch.tensor(owners))))
            continue
        operator = RewardOperator(
            reward,
            name,
            prompts=prompts,
            tokenizer=model.tokenizer,
            stop_ids=model.stop_ids,
            fill_id=model.fill_id,
            vocab_size=model.anatomy.vocab_size,
            columns=mine,
            finish=model.finish,
        )
        weighted.append((weight, operator))
    return WeightedSum(weighted)


def load_rewards(spec: RewardSpec, loaded: dict[str, Any] | None = None) -> Weighted:
    """`RewardSpec` to (name, weight, reward) triples; names load by `rewards.load_reward`.

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
    found = []
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
        found.append((name, 1.0 if weight is None else float(weight), built))
    return found
