"""All checks of one model, in order; a check that raises counts as failed, and the rest run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..models.text_model import TextModel
from .adapting import Fitting, check_base, check_steering, fingerprint, measure
from .answers import check_answers, check_batch
from .logits import (
    Sample,
    check_blocks,
    check_directions,
    check_left_padding,
    check_pad_keys,
    check_shift,
)
from .report import Check, Report, about
from .tokens import check_ids, check_suppressed

__all__ = ["verify"]


def verify(
    model: TextModel,
    *,
    files: Mapping[str, Mapping[str, Any]] | None = None,
    tokens: int = 16,
    settings: Mapping[str, Any] | None = None,
    show: Callable[[str], None] = lambda line: None,
    around: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
) -> Report:
    """Check a loaded model.

    Args:
        model: as `load` or `wrap` returns it.
        files: the contents of config.json and generation_config.json, by file name.
        tokens: positions of an answer, at least 4.
        settings: the arguments it was loaded with, for the report.
        show: called with each line of the report.
        around: makes a context for each check, from its name, e.g. to show which one is running.

    Raises:
        ValueError: fewer than 4 tokens, or more than the model's context leaves.
    """
    if tokens < 4:
        raise ValueError(f"tokens must be at least 4, got {tokens}")
    sample = Sample.of(model, tokens)
    room = model.context - max(map(len, sample.prompts))
    if tokens > room:
        raise ValueError(
            f"tokens={tokens}, but the context of {model.name} leaves {room}; use fewer"
        )
    report = Report(model.name, about(model, settings))
    show(report.heading())
    # Quantised layers convert their weights to the final types in the first forward.
    with around("the first forward"):
        _run("first forward", lambda: check_suppressed(model, sample))
    before = fingerprint(model.parts.model)
    checks: dict[str, Callable[[], Check]] = {
        "ids": lambda: check_ids(model, files or {}),
        "suppressed": lambda: check_suppressed(model, sample),
        "shift": lambda: check_shift(model),
        "directions": lambda: check_directions(model, sample),
        "padded keys": lambda: check_pad_keys(model, sample),
        "left padding": lambda: check_left_padding(model, sample),
        **({"blocks": lambda: check_blocks(model, sample)} if model.parts.block_causal else {}),
        "batch": lambda: check_batch(model, tokens),
        "answers": lambda: check_answers(model, tokens),
        "lora start": lambda: Fitting(model, sample).check_start(),
        "lora moves": lambda: Fitting(model, sample).check_moves(),
        "steering": lambda: check_steering(model),
        "base": lambda: check_base(model, before),
    }
    for name, check in checks.items():
        with around(name):
            report.checks.append(_run(name, check))
        show(str(report.checks[-1]))
    with around("speed and memory"):
        report.figures = _figures(model, sample)
    show(report.ending())
    return report


def _run(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # any failure of the checkpoint is reported
        return Check(name, "FAIL", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _figures(model: TextModel, sample: Sample) -> dict[str, float]:
    try:
        return measure(model, sample)
    except Exception:  # the failed check reports why
        return {}
