"""Settings of published reward models by hub id: the defaults of `load_reward("owner/name")`.

UNVERIFIED: taken from the models' cards; the weights were not run. Options of the call take
precedence.
"""

from __future__ import annotations

from typing import Any

__all__ = ["PUBLISHED"]

# One label, the chat template of Qwen3, trained without system prompts, stored in bfloat16.
# Scores are Bradley-Terry logits of about -20 to 40: choose beta accordingly, or use `Normalised`.
_SKYWORK: dict[str, Any] = {
    "template": "chat",
    "system": False,
    "dtype": "bfloat16",
    "max_length": 16384,
    "batch_size": 4,
    "measures": "human preference (Bradley-Terry)",
    "licence": "Apache-2.0",
}

PUBLISHED: dict[str, dict[str, Any]] = {
    "Skywork/Skywork-Reward-V2-Qwen3-0.6B": _SKYWORK,
    "Skywork/Skywork-Reward-V2-Qwen3-1.7B": _SKYWORK,
    "Skywork/Skywork-Reward-V2-Qwen3-4B": _SKYWORK,
    "cardiffnlp/twitter-roberta-base-sentiment-latest": {
        "label": "positive",
        "template": "answer",
        "measures": "log-probability of positive sentiment (tweets)",
        "licence": "see its card",
    },
    # label "neutral": the reward is the log-probability of NOT being toxic.
    "s-nlp/roberta_toxicity_classifier": {
        "label": "neutral",
        "template": "answer",
        "measures": "log-probability of not being toxic (comments)",
        "licence": "OpenRAIL++",
    },
    # Its labels have no names; label 1 means acceptable.
    "textattack/roberta-base-CoLA": {
        "label": 1,
        "template": "answer",
        "measures": "log-probability of being acceptable English (CoLA)",
        "licence": "see its card",
    },
}
