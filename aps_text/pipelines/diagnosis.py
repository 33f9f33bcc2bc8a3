"""Warnings about steered calls: detects common mistakes from the numbers of a run.

`GuidanceMonitor` records the guiding rewards during a batch, `warnings_of` inspects a finished
call, and `compare` compares it with plain answers to the same prompts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from aps_rewards.loading import installed_names
from torch import Tensor

from ..core.states import StepState

if TYPE_CHECKING:
    from ..text.reward_operator.bridge_stats import BridgeStats
    from .output import APSOutput

__all__ = ["GuidanceMonitor", "GuidanceTrace", "compare", "repetition", "warnings_of"]

LITTLE_MASS = 0.9  # warn if a bridge matched a smaller fraction of the probability
MUCH_REPETITION = 0.3  # warn if an answer repeats a larger fraction of its word pairs


@dataclass(frozen=True)
class GuidanceTrace:
    """The guidance of one answer; dicts by the reward's name.

    Attributes:
        before, after: values at the first and the last guided step, relaxed or averaged over
            samples.
        varied: whether the value changed between guided steps (True if there was only one).
        moved: whether a gradient ever passed the gate.
        guided: number of guided steps.
        fitted: whether gradients were computed (False where candidates are compared only).
    """

    before: dict[str, float]
    after: dict[str, float]
    varied: dict[str, bool]
    moved: bool
    guided: int = 1
    fitted: bool = True


class GuidanceMonitor:
    """Records a batch's step states; does not synchronise with the device before `result`."""

    def __init__(self, z: Tensor, mask_id: int) -> None:
        self.z, self.mask_id = z, mask_id
        self._seen: list[tuple[Tensor, dict[str, Tensor], Tensor | None]] = []

    def see(self, state: StepState) -> None:
        """Record a step's state."""
        busy = (self.z == self.mask_id).any(-1)
        self.z = state.z
        if state.guided and (state.loss or state.rewards):
            self._seen.append((busy, state.rewards, state.gradient_norm))

    def result(self, names: Sequence[str], gate: float) -> list[GuidanceTrace]:
        """The trace of each row.

        Args:
            names: of the guiding rewards.
            gate: the setting `gradient_gate`: gradients with a norm up to this are ignored.
        """
        found = []
        steps = [
            (
                busy.tolist(),
                {name: value.tolist() for name, value in rewards.items()},
                [math.inf] * len(busy) if norm is None else norm.tolist(),
            )
            for busy, rewards, norm in self._seen
        ]
        for row in range(len(self.z)):
            mine = [
                ({name: value[row] for name, value in rewards.items()}, norms[row])
                for busy, rewards, norms in steps
                if busy[row]
            ]
            values = {name: [one[name] for one, _ in mine if name in one] for name in names}
            values = {name: column for name, column in values.items() if column}
            found.append(
                GuidanceTrace(
                    {name: column[0] for name, column in values.items()},
                    {name: column[-1] for name, column in values.items()},
                    {name: len(c) < 2 or max(c) > min(c) for name, c in values.items()},
                    any(norm > gate for _, norm in mine),
                    len(mine),
                    any(norm is not None for *_, norm in self._seen),
                )
            )
        return found


def warnings_of(
    output: APSOutput,
    traces: Sequence[GuidanceTrace],
    stats: Mapping[str, BridgeStats] | None = None,
    steered: bool = False,
) -> list[str]:
    """Warnings about a steered call, in plain text.

    Args:
        traces: one entry per answer of `output`.
        stats: statistics by the reward's name, for methods that choose among texts.
        steered: whether the method steers step by step (APS does).
    """
    found: list[str] = []
    rewards = output.rewards
    stats = stats or {}
    late = sum(one.guided == 0 for one in traces) if steered else 0
    if late:
        were = "was" if len(traces) == 1 else "were"
        found.append(
            f"{_share(late, len(traces))} {were} finished before any step was steered; lower "
            "guidance_start, or take no more steps than tokens"
        )
    certain = set[int]()
    for name, one in stats.items():
        if _never_applied(stats, name):
            found.append(
                f"reward {name!r} returned None for all {one.skipped} texts it was given, so it "
                f"counts as 0 and steers nothing; {_try(name)}"
            )
        known = any(not answer.varied.get(name, True) for answer in traces)  # reported below
        flat = not known and one.scored > len(output) and one.low == one.high
        if name in rewards.guide and flat and all(map(one.certain, output.index)):
            certain |= set(range(len(output)))  # one text a prompt: that is not the reward's fault
        elif name in rewards.guide and flat:
            found.append(
                f"reward {name!r} never varied: it scored all {one.scored} texts {one.low:g}, so "
                f"no answer could be preferred; {_try(name)}"
            )
    for name in rewards.relaxed:
        rows = [i for i, one in enumerate(traces) if name in one.after]
        texts = stats.get(name)
        still = [
            i
            for i in rows
            if not traces[i].varied[name] and not (texts and texts.varied(output.index[i]))
        ]
        still = [] if _never_applied(stats, name) else still  # reported above
        certain |= {i for i in still if texts and texts.certain(output.index[i])}
        still = [i for i in still if i not in certain]
        if still:
            value, where = traces[still[0]].after[name], _share(len(still), len(rows))
            first = " on the first of them" if len(still) > 1 else ""
            so = "it had no gradient there" if traces[still[0]].fitted else "none was preferred"
            found.append(
                f"reward {name!r} never varied on {where} (always {value:g}{first}), so {so} and "
                f"it steered nothing; {_try(name)}"
            )
        rose = [traces[i].after[name] - traces[i].before[name] for i in rows]
        kept = [rewards[name][i] - traces[i].before[name] for i in rows if name in rewards]
        if rows and kept and _is_rise(fmean(rose), rewards[name]) and fmean(kept) < fmean(rose) / 2:
            found.append(
                f"the relaxed score of {name!r} rose by {fmean(rose):.3g} on average, the final "
                f"text's by {fmean(kept):.3g}: steering raised the score of relaxed answers that "
                "no text has. Try relaxation='quantized', more steps, or estimator='rloo'"
            )
    if certain:
        found.append(
            f"the model drew one text again and again for {_share(len(certain), len(traces))}, so "
            "no reward could prefer another; a higher temperature draws others"
        )
    idle = [i for i, one in enumerate(traces) if one.after and not one.moved]
    idle = [i for i in idle if any(traces[i].varied.values())]
    if idle:
        found.append(
            f"no gradient reached the model on {_share(len(idle), len(traces))}: the rewards "
            "changed from step to step, but not between the answers drawn at one step; raise "
            "num_samples, or use a reward that tells more answers apart"
        )
    for name, bridge in rewards.bridges.items():
        if bridge.mass < LITTLE_MASS:
            found.append(
                f"the vocabulary bridge to {name!r} matched only {bridge.mass:.0%} of the "
                f"probability (policy {bridge.policy!r}): the reward did not see the rest. Compare "
                "with bridge='rloo', which scores the text itself"
            )
    if output.text:
        said = [repetition(text) for text in output.text]
        many = sum(value > MUCH_REPETITION for value in said)
        if many > len(said) / 4:
            repeat, their = ("repeats", "its") if len(said) == 1 else ("repeat", "their")
            found.append(
                f"{_share(many, len(said))} {repeat} more than {MUCH_REPETITION:.0%} of {their} "
                "word pairs; a reward can be raised that way without a better answer"
            )
    return found


def compare(steered: APSOutput, plain: APSOutput) -> list[str]:
    """Warnings if a higher reward goes with longer, shorter or more repetitive answers.

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
    found: list[str] = []
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


def _never_applied(stats: Mapping[str, BridgeStats] | None, name: str) -> bool:
    one = (stats or {}).get(name)
    return one is not None and bool(one.skipped) and not one.scored


def _try(name: str) -> str:
    """Advice by the command line for an installed reward; others have no name that it knows."""
    how = f'aps rewards try {name} "question" "answer"'
    if name not in installed_names():
        how = 'aps_rewards.call_reward(reward, ["question"], ["answer"])'
    return f"try it on answers that differ: {how}"


def _words(text: str) -> float:
    return float(len(text.split()))


def repetition(text: str) -> float:
    """Fraction of an answer's word pairs that repeat an earlier one, in [0, 1]; 0 if below two."""
    words = text.lower().split()
    pairs = list(itertools.pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if len(pairs) > 1 else 0.0


def _is_rise(rise: float, values: Sequence[float]) -> bool:
    """Whether `rise` is more than a twentieth of the largest absolute value."""
    return rise > 0.05 * max(1e-12, max(map(abs, values)))


def _correlation(one: Sequence[float], two: Sequence[float]) -> float:
    """Pearson's correlation; NaN for fewer than five pairs or without variance."""
    if len(one) < 5 or max(one) == min(one) or max(two) == min(two):
        return math.nan
    return float(torch.corrcoef(torch.tensor([one, two], dtype=torch.float64))[0, 1])


def _share(part: int, whole: int) -> str:
    if part == whole == 1:
        return "the answer"
    return f"all {whole} answers" if part == whole else f"{part} of {whole} answers"
