"""Warnings of answers to the same prompts side by side: what steering changed, and what was cut."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import torch

from ..methods.registry import METHODS
from ..methods.unread import unread
from .repetition import repetition
from .wording import portion

if TYPE_CHECKING:
    from .output import APSOutput

__all__ = ["already_best", "compare", "full_canvases", "notices", "unraised"]

LISTED = 5  # answers whose figures a warning lists


def notices(outputs: Mapping[str, APSOutput], method: str) -> list[str]:
    """What is told beside answers to the same prompts, as `aps ask`, `aps chat` and `aps demo` do:
    warnings of the steered call, of its comparison with the plain answers, and of cut-off ones.

    Args:
        outputs: by the method's name; without `plain` nothing is compared.
        method: the one that steered; `plain` if none did.

    Raises:
        ValueError: the prompts differ.
    """
    found = list(outputs[method].warnings) if method in outputs else []
    if method != "plain":
        found += compare(outputs[method], outputs["plain"]) if "plain" in outputs else []
    return found + full_canvases(outputs)


def compare(steered: APSOutput, plain: APSOutput) -> list[str]:
    """Warnings if the reward did not rise (`unraised`) or could not (`already_best`), or if a
    higher one goes with longer, shorter or more repetitive answers.

    Args:
        steered, plain: outputs for the same prompts.

    Raises:
        ValueError: the prompts differ.
    """
    if steered.prompts != plain.prompts:
        raise ValueError(
            f"the {len(steered)} steered and {len(plain)} plain answers have different prompts; "
            "answer the same prompts in the same order"
        )
    if "total" not in steered.rewards or "total" not in plain.rewards or not len(plain):
        return []
    found = already_best(steered, plain) + unraised(steered, plain)
    pairs = zip(steered.rewards["total"], plain.rewards["total"], strict=True)
    gain = [a - b for a, b in pairs]
    if fmean(gain) <= 0:
        return found
    for what, measure in (("words", _words), ("repeated word pairs", repetition)):
        one, two = [measure(t) for t in steered.text], [measure(t) for t in plain.text]
        follows = _correlation(gain, [a - b for a, b in zip(one, two, strict=True)])
        moved = fmean(one) - fmean(two)
        if what == "words":  # by more than a fifth; by half if there are too few to correlate
            much = abs(moved) > (0.5 if math.isnan(follows) else 0.2) * fmean(two)
        else:
            much = moved > 0.1
        if much and (math.isnan(follows) or follows * moved > 0.5 * abs(moved)):
            share = "" if math.isnan(follows) else f" (correlation with the gain {follows:+.2f})"
            found.append(
                f"the reward rose by {fmean(gain):.3g} while {what} went from {fmean(two):.3g} to "
                f"{fmean(one):.3g} an answer{share}: that may be what was rewarded"
            )
    return found


def unraised(steered: APSOutput, plain: APSOutput) -> list[str]:
    """A warning if half of the steered answers or more have no higher `total` than the plain
    answers beside them.

    Not said of answers whose `total` is the best that the guiding rewards' ranges allow, nor where
    nothing guided.

    Args:
        steered, plain: outputs for the same prompts in the same order.
    """
    if not steered.rewards.guide or "total" not in plain.rewards:
        return []
    after, before = steered.rewards["total"], plain.rewards["total"]
    best = _best(steered)
    low = [i for i, value in enumerate(after) if value <= before[i] and value < best]
    if 2 * len(low) < len(after):  # of many answers some rise little by their draws alone
        return []
    where = "" if len(low) == len(after) else f" of {portion(len(low), len(after))}"
    values = [
        (f"answer {i + 1}: " if len(after) > 1 else "") + f"{after[i]:.3g}, plain {before[i]:.3g}"
        for i in low
    ]
    said = "; ".join([*values[:LISTED], *(["..."] if len(low) > LISTED else [])])
    lost = any(after[i] < before[i] for i in low)  # else no better answer was met
    return [f"steering did not raise the reward{where} ({said}); try {_other_draws(steered, lost)}"]


def already_best(steered: APSOutput, plain: APSOutput) -> list[str]:
    """A warning if plain answers have the highest `total` that the guiding rewards' ranges allow.

    Args:
        steered, plain: outputs for the same prompts in the same order.
    """
    if not steered.rewards.guide or "total" not in plain.rewards:
        return []
    top = sum(value >= _best(steered) for value in plain.rewards["total"])
    if not top:
        return []
    guide = list(steered.rewards.guide)
    name = guide[0] if len(guide) == 1 else "total"
    best = steered.rewards.best[name]
    weights = steered.record.weights.get("guide", {}) if steered.record else {}
    end = "lowest" if weights.get(name, 1.0) < 0 else "highest"
    which = portion(top, len(plain)).replace("answer", "plain answer")
    has = "has" if len(plain) == 1 else "have"
    return [f"{which} {has} the {end} {name} there is ({best:g}): nothing to gain"]


def _best(steered: APSOutput) -> float:
    """The least `total` that counts as the best of the guiding rewards' ranges."""
    return steered.rewards.best.get("total", math.inf) - 1e-6


def full_canvases(outputs: Mapping[str, APSOutput]) -> list[str]:
    """A warning if answers may have been cut off by the end of their canvas (`APSOutput.cut_off`).

    Args:
        outputs: by the method's name.
    """
    cut = {title: out for title, out in outputs.items() if any(out.cut_off)}
    if not cut:
        return []
    which = [
        title if len(out) == 1 else f"{title} ({portion(sum(out.cut_off), len(out))})"
        for title, out in cut.items()
    ]
    tokens = max(
        len(ids)
        for out in cut.values()
        for ids, one in zip(out.token_ids, out.cut_off, strict=True)
        if one
    )
    return [
        f"the canvas of {tokens} tokens was full within a sentence: {', '.join(which)}; raise "
        "max_new_tokens"
    ]


def _other_draws(steered: APSOutput, harder: bool) -> str:
    """Settings that may raise the reward more, of those that the method reads.

    Args:
        harder: whether what is met could be chosen more surely.
    """
    tries, config = ["another seed"], steered.config
    make = METHODS.get(steered.record.method) if steered.record else None
    if make is not None:
        vain, sampler = unread(make(), config), config.sampler
        if sampler.pool_size is not None and "pool_size" not in vain:
            tries.append(f"a larger pool_size than {sampler.pool_size}")
        if "beta" not in vain and (harder or "pool_size" in vain or sampler.pool_size is None):
            tries.append(f"a smaller beta than {sampler.beta:g}")
    *most, last = tries
    return f"{', '.join(most)} or {last}" if most else last


def _words(text: str) -> float:
    return float(len(text.split()))


def _correlation(one: Sequence[float], two: Sequence[float]) -> float:
    """Pearson's correlation; NaN for fewer than five pairs or without variance."""
    if len(one) < 5 or max(one) == min(one) or max(two) == min(two):
        return math.nan
    return float(torch.corrcoef(torch.tensor([one, two], dtype=torch.float64))[0, 1])
