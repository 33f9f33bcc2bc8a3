"""Warnings about steered calls: detects common mistakes from the numbers of a run.

`warnings_of` inspects a finished call, of which `GuidanceMonitor` recorded the guiding rewards;
`comparison` compares it with plain answers to the same prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from .repetition import MUCH_REPETITION, broken, repetitive
from .unvaried import guided_by, hardly_varied, unvaried_steps, unvaried_texts
from .wording import NO_TRIES, portion

if TYPE_CHECKING:
    from ..text.reward_operator.bridge_stats import BridgeStats
    from .guidance_monitor import GuidanceTrace
    from .output import APSOutput

__all__ = ["warnings_alone", "warnings_of"]

LITTLE_MASS = 0.9  # warn if a bridge matched a smaller fraction of the probability


def warnings_of(
    output: APSOutput,
    traces: Sequence[GuidanceTrace],
    stats: Mapping[str, BridgeStats] | None = None,
    steered: bool = False,
    tries: Mapping[str, str] = NO_TRIES,
    final: int | None = None,
    drafted: bool = False,
) -> list[str]:
    """Warnings about a steered call, in plain text.

    Args:
        traces: one entry per answer of `output`.
        stats: statistics by the reward's name, for methods that choose among texts.
        steered: whether the method steers step by step (APS does).
        tries: how to try a reward, by its name (`how_to_try`); Python for an object where there is
            none.
        final: how many final answers `stats` counted; None is those of `output`.
        drafted: whether the canvas began as a draft (`init_text`).
    """
    final = len(output) if final is None else final
    stats, rewards = stats or {}, output.rewards
    found = []
    if steered and not output.config.sampler.steers:
        found.append(
            "nothing steered: inner_steps=0 fits no adapter and there is no pool to choose from; "
            "give a pool_size of 2 or more, or inner_steps"
        )
    elif steered:
        found += _unsteered(traces, drafted)
    said, certain = unvaried_texts(output, traces, stats, tries, final)
    found += said
    for name in rewards.relaxed:
        said, more = unvaried_steps(name, output, traces, stats, certain, tries)
        certain |= more
        found += said + _relaxed_only(name, output, traces)
    for name in rewards.guide:
        found += hardly_varied(name, output, stats)
    if certain:
        found.append(
            f"the model drew one text again and again for {portion(len(certain), len(traces))}, so "
            "no reward could prefer another; a higher temperature draws others"
        )
    found += _no_gradient(traces) + _little_mass(output)
    return found + _repetitive(output.text) + _broken(output.text)


def warnings_alone(
    output: APSOutput,
    traces: Sequence[GuidanceTrace],
    stats: Mapping[str, BridgeStats],
    steered: bool,
    tries: Mapping[str, str] = NO_TRIES,
    drafted: bool = False,
) -> list[list[str]]:
    """The warnings about each answer, as `warnings_of` a call of its prompt that returned this
    answer; those about the whole call (bridges) are among them."""
    final = Counter(output.index)
    own = {i: {name: one.of(i) for name, one in stats.items()} for i in final}
    known = steered, tries
    return [
        warnings_of(output.take([at]), [trace], own[prompt], *known, final[prompt], drafted)
        for at, (prompt, trace) in enumerate(zip(output.index, traces, strict=True))
    ]


def _unsteered(traces: Sequence[GuidanceTrace], drafted: bool) -> list[str]:
    """Answers that were finished before guidance began."""
    late = sum(one.guided == 0 for one in traces)
    if not late:
        return []
    were = "was" if len(traces) == 1 else "were"
    what = f"{portion(late, len(traces))} {were} finished before any step was steered"
    if drafted:
        return [
            f"{what}: next to nothing of the draft (init_text) was masked; raise init_strength, "
            "the part of it that is, or lower guidance_start"
        ]
    return [f"{what}; lower guidance_start, or take no more steps than tokens"]


def _relaxed_only(name: str, output: APSOutput, traces: Sequence[GuidanceTrace]) -> list[str]:
    """A reward that rose on relaxed answers, and less than half as much on the final texts."""
    rows, rewards = guided_by(name, traces), output.rewards
    if not rows or name not in rewards:
        return []
    rose = fmean(traces[i].after[name] - traces[i].before[name] for i in rows)
    kept = fmean(rewards[name][i] - traces[i].before[name] for i in rows)
    if not _is_rise(rose, rewards[name]) or kept >= rose / 2:
        return []
    return [
        f"the relaxed score of {name!r} rose by {rose:.3g} on average, the final "
        f"text's by {kept:.3g}: steering raised the score of relaxed answers that "
        "no text has. Try relaxation='quantized', more steps, or estimator='rloo'"
    ]


def _no_gradient(traces: Sequence[GuidanceTrace]) -> list[str]:
    """Answers whose rewards changed, and of which no gradient passed the gate."""
    idle = [one for one in traces if one.after and not one.moved and any(one.varied.values())]
    if not idle:
        return []
    return [
        f"no gradient reached the model on {portion(len(idle), len(traces))}: the rewards "
        "changed from step to step, but not between the answers drawn at one step; raise "
        "num_samples, or use a reward that tells more answers apart"
    ]


def _little_mass(output: APSOutput) -> list[str]:
    """Vocabulary bridges that matched too little of the probability."""
    return [
        f"the vocabulary bridge to {name!r} matched only {bridge.mass:.0%} of the "
        f"probability (policy {bridge.policy!r}): the reward did not see the rest. Compare "
        "with bridge='rloo', which scores the text itself"
        for name, bridge in output.rewards.bridges.items()
        if bridge.mass < LITTLE_MASS
    ]


def _repetitive(texts: Sequence[str]) -> list[str]:
    """More than a quarter of the answers repeat themselves."""
    many = repetitive(texts)
    if many <= len(texts) / 4:
        return []
    repeat, their = ("repeats", "its") if len(texts) == 1 else ("repeat", "their")
    return [
        f"{portion(many, len(texts))} {repeat} more than {MUCH_REPETITION:.0%} of {their} "
        "word pairs; a reward can be raised that way without a better answer"
    ]


def _broken(texts: Sequence[str]) -> list[str]:
    """Answers with a doubled word, a run of dots or one word again and again."""
    found = [place for place in map(broken, texts) if place]
    if not found:
        return []
    look = "looks" if len(texts) == 1 else "look"
    first = " in the first of them" if len(found) > 1 else ""
    return [
        f"{portion(len(found), len(texts))} {look} broken "
        f"({found[0]}{first}); a smaller temperature or another seed writes others"
    ]


def _is_rise(rise: float, values: Sequence[float]) -> bool:
    """Whether `rise` is more than a twentieth of the largest absolute value."""
    return rise > 0.05 * max(1e-12, max(map(abs, values)))
