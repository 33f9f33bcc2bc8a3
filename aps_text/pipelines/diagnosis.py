"""Warnings about steered calls: detects common mistakes from the numbers of a run.

`warnings_of` inspects a finished call, of which `GuidanceMonitor` recorded the guiding rewards;
`comparison` compares it with plain answers to the same prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from shlex import quote
from statistics import fmean
from types import MappingProxyType
from typing import TYPE_CHECKING

from .repetition import MUCH_REPETITION, broken, repetitive

if TYPE_CHECKING:
    from ..text.reward_operator.bridge_stats import BridgeStats
    from .guidance_monitor import GuidanceTrace
    from .output import APSOutput

__all__ = ["how_to_try", "portion", "warnings_alone", "warnings_of"]

NO_TRIES: Mapping[str, str] = MappingProxyType({})

LITTLE_MASS = 0.9  # warn if a bridge matched a smaller fraction of the probability
HARDLY = 0.05  # warn if a smaller fraction of the texts scored otherwise than the answer


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
    said, certain = _unvaried_texts(output, traces, stats, tries, final)
    found += said
    for name in rewards.relaxed:
        said, more = _unvaried_steps(name, output, traces, stats, certain, tries)
        certain |= more
        found += said + _relaxed_only(name, output, traces)
    for name in rewards.guide:
        found += _hardly_varied(name, output, stats)
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


def _unvaried_texts(
    output: APSOutput,
    traces: Sequence[GuidanceTrace],
    stats: Mapping[str, BridgeStats],
    tries: Mapping[str, str],
    final: int,
) -> tuple[list[str], set[int]]:
    """Rewards that judged no text, or all of a prompt alike; and the answers (positions in
    `traces`) of which the model drew one text only, which is not the reward's fault."""
    found, certain = [], set[int]()
    for name, one in stats.items():
        if _never_applied(stats, name):
            found.append(
                f"reward {name!r} returned None for all {one.skipped} texts it was given, so it "
                f"counts as 0 and steers nothing; {_try(name, tries)}"
            )
        known = any(not answer.varied.get(name, True) for answer in traces)  # `_unvaried_steps`
        flat = not known and one.scored > final and not any(map(one.varied, output.index))
        if not flat or name not in output.rewards.guide:
            continue
        if all(map(one.certain, output.index)):
            certain |= set(range(len(output)))
        else:
            low, high = f"{one.low:g}", f"{one.high:g}"
            alike = low if low == high else f"of a prompt alike ({low} to {high})"
            found.append(
                f"reward {name!r} never varied: it scored all {one.scored} texts {alike}, so "
                f"no answer could be preferred; {_find(name, tries)}"
            )
    return found, certain


def _unvaried_steps(
    name: str,
    output: APSOutput,
    traces: Sequence[GuidanceTrace],
    stats: Mapping[str, BridgeStats],
    certain: set[int],
    tries: Mapping[str, str],
) -> tuple[list[str], set[int]]:
    """The answers on which a reward had one value at every guided step; and those among them of
    which the model drew one text only. Answers in `certain` are left out of the warning."""
    if _never_applied(stats, name):  # said by `_unvaried_texts`
        return [], set()
    rows, texts = _guided_by(name, traces), stats.get(name)
    still = [
        i
        for i in rows
        if not traces[i].varied[name] and not (texts and texts.varied(output.index[i]))
    ]
    more = {i for i in still if texts and texts.certain(output.index[i])}
    still = [i for i in still if i not in certain | more]
    if not still:
        return [], more
    value, where = traces[still[0]].after[name], portion(len(still), len(rows))
    first = " on the first of them" if len(still) > 1 else ""
    so = "it had no gradient there" if traces[still[0]].fitted else "none was preferred"
    said = (
        f"reward {name!r} never varied on {where} (always {value:g}{first}), so {so} and "
        f"it steered nothing; {_find(name, tries)}"
    )
    return [said], more


def _hardly_varied(name: str, output: APSOutput, stats: Mapping[str, BridgeStats]) -> list[str]:
    """A black box that told hardly any texts apart: at least 19 of 20 of those it scored for a
    prompt have the score of the answer, some have another, and the score is not the best of the
    reward's range (an answer with the best needs no more telling apart).

    Scores that agree to six digits are one. Where none differs, `_unvaried_steps` or
    `_unvaried_texts` says so; a reward with a gradient sees more than texts.
    """
    texts, rewards = stats.get(name), output.rewards
    if texts is None or texts.bridge is not None or name not in rewards:
        return []
    best, found = rewards.best.get(name), []
    for i, score in enumerate(rewards[name]):
        other, judged = texts.others(output.index[i], score)
        if score != best and 0 < other <= HARDLY * judged:
            found.append((i, other, judged))
    if not found:
        return []
    i, other, judged = found[0]
    first = " on the first of them" if len(found) > 1 else ""
    return [
        f"reward {name!r} hardly varied on {portion(len(found), len(output))}: it scored all but "
        f"{other} of {judged} texts {rewards[name][i]:g}{first}, so hardly any was preferred and "
        "it steered next to nothing; a larger pool_size or a higher temperature draws others, a "
        "graded reward tells more apart"
    ]


def _relaxed_only(name: str, output: APSOutput, traces: Sequence[GuidanceTrace]) -> list[str]:
    """A reward that rose on relaxed answers, and less than half as much on the final texts."""
    rows, rewards = _guided_by(name, traces), output.rewards
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


def _guided_by(name: str, traces: Sequence[GuidanceTrace]) -> list[int]:
    """The answers that a reward guided."""
    return [i for i, one in enumerate(traces) if name in one.after]


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


def _never_applied(stats: Mapping[str, BridgeStats] | None, name: str) -> bool:
    one = (stats or {}).get(name)
    return one is not None and bool(one.skipped) and not one.scored


def how_to_try(spec: str | None, shell: bool = False) -> str:
    """The Python, or the command, that scores an answer with a reward.

    Args:
        spec: what the reward was loaded by; None is an object, which has Python only.
        shell: a command.
    """
    if shell and spec is not None:
        return f'aps rewards try {quote(spec)} "question" "answer"'
    reward = "reward" if spec is None else f"aps_rewards.load_reward({spec!r})"
    return f'aps_rewards.call_reward({reward}, ["question"], ["answer"])'


def _try(name: str, tries: Mapping[str, str]) -> str:
    return f"try it on answers that differ: {tries.get(name) or how_to_try(None)}"


def _find(name: str, tries: Mapping[str, str]) -> str:
    """What to do about a reward that told no answers apart."""
    return (
        "ask for what it rewards in the question, draw more answers by a larger pool_size, or "
        + _try(name, tries)
    )


def _is_rise(rise: float, values: Sequence[float]) -> bool:
    """Whether `rise` is more than a twentieth of the largest absolute value."""
    return rise > 0.05 * max(1e-12, max(map(abs, values)))


def portion(part: int, whole: int) -> str:
    """`part` of `whole` answers in words: "the answer", "all 3 answers", "2 of 3 answers"."""
    if part == whole == 1:
        return "the answer"
    return f"all {whole} answers" if part == whole else f"{part} of {whole} answers"
