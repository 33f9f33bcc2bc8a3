"""Reward plug-ins: plain callables on text, optionally differentiable.

    from aps_rewards import call_reward, load_reward
    relevance = load_reward("relevance")
    call_reward(relevance, ["What is a violin?"], ["A violin is a stringed instrument."])

This package does not depend on the sampler: rewards can be used on their own, and one written for
TRL's `GRPOTrainer` runs unchanged.
"""

from __future__ import annotations

from .calling import RewardCall, call_reward
from .composition import Clipped, Composed, Minimum, Normalised, Threshold, WeightedSum
from .errors import RewardError
from .loading import InstalledReward, list_rewards, load_reward
from .protocol import (
    DifferentiableReward,
    Prompt,
    Reward,
    RewardInfo,
    describe,
    is_differentiable,
    last_text,
    reward_name,
    steers_by_gradient,
)
from .specs import parse_reward_spec

__all__ = [
    "Clipped",
    "Composed",
    "DifferentiableReward",
    "InstalledReward",
    "Minimum",
    "Normalised",
    "Prompt",
    "Reward",
    "RewardCall",
    "RewardError",
    "RewardInfo",
    "Threshold",
    "WeightedSum",
    "call_reward",
    "describe",
    "is_differentiable",
    "last_text",
    "list_rewards",
    "load_reward",
    "parse_reward_spec",
    "reward_name",
    "steers_by_gradient",
]
