"""Reward plug-ins: plain callables on text, optionally differentiable.

    from rewards import call_reward, load_reward
    relevance = load_reward("relevance")
    call_reward(relevance, ["What is a violin?"], ["A violin is a stringed instrument."])

Nothing here knows the sampler: a reward is useful on its own, and one written for TRL's
`GRPOTrainer` runs unchanged.
"""

from __future__ import annotations

from .check import RewardError, call_reward
from .loading import InstalledReward, list_rewards, load_reward, parse_reward_spec
from .protocol import (
    DifferentiableReward,
    Prompt,
    Reward,
    RewardInfo,
    describe,
    is_differentiable,
    last_text,
    reward_name,
)

__all__ = [
    "DifferentiableReward",
    "InstalledReward",
    "Prompt",
    "Reward",
    "RewardError",
    "RewardInfo",
    "call_reward",
    "describe",
    "is_differentiable",
    "last_text",
    "list_rewards",
    "load_reward",
    "parse_reward_spec",
    "reward_name",
]
