"""The further arguments that TRL's `GRPOTrainer` passes to a reward, for rewards written for it.

    trainer_state              a finished training: step 1 of 1
    log_extra(column, values)  and
    log_metric(name, value)    write to this module's logger, level DEBUG

`trainer_state` has the fields of `transformers.TrainerState`. Some rewards change during training
("first the format, then the answer"); here they behave as at its end. Source: TRL's
`GRPOTrainer._calculate_rewards` and "Using a custom reward function" in its documentation,
https://huggingface.co/docs/trl/grpo_trainer (1.16).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .guard import described

__all__ = ["TrainerState", "trainer_arguments"]

logger = logging.getLogger(__name__)


@dataclass
class TrainerState:
    """The fields of `transformers.TrainerState`, at the end of a training of one step."""

    epoch: float = 1.0
    global_step: int = 1
    max_steps: int = 1
    logging_steps: int = 500
    eval_steps: int = 500
    save_steps: int = 500
    train_batch_size: int = 1
    num_train_epochs: int = 1
    num_input_tokens_seen: int = 0
    total_flos: float = 0.0
    log_history: list[dict[str, float]] = field(default_factory=list)
    best_metric: float | None = None
    best_global_step: int | None = None
    best_model_checkpoint: str | None = None
    is_local_process_zero: bool = True
    is_world_process_zero: bool = True
    is_hyper_param_search: bool = False
    trial_name: str | None = None
    trial_params: dict[str, Any] | None = None
    stateful_callbacks: dict[str, Any] = field(default_factory=dict)


def trainer_arguments() -> dict[str, Any]:
    """The keyword arguments; new objects for every call."""
    return {"trainer_state": TrainerState(), "log_extra": _log_extra, "log_metric": _log_metric}


def _log_extra(column: str, values: Sequence[Any]) -> None:
    logger.debug("column %s: %s", column, described(values))


def _log_metric(name: str, value: float) -> None:
    logger.debug("%s = %s", name, described(value))
