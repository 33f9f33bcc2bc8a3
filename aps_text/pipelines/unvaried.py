"""Warnings about rewards that told no answers apart, or hardly any, and so steered nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .wording import portion, try_it

if TYPE_CHECKING:
    from ..text.reward_operator.bridge_stats import BridgeStats
    from .guidance_monitor import GuidanceTrace
    from .output import APSOutput

__all__ = ["guided_by", "hardly_varied", "unvaried_steps", "unvaried_texts"]

HARDLY = 0.05  # warn if a smaller fraction of the texts scored otherwise than the answer


def unvaried_texts(
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
                f"counts as 0 and steers nothing; {try_it(name, tries)}"
            )
        known = any(not answer.varied.get(name, True) for answer in traces)  # `unvaried_steps`
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


def unvaried_steps(
    name: str,
    output: APSOutput,
    traces: Sequence[GuidanceTrace],
    stats: Mapping[str, BridgeStats],
    certain: set[int],
    tries: Mapping[str, str],
) -> tuple[list[str], set[int]]:
    """The answers on which a reward had one value at every guided step; and those among them of
    which the model drew one text only. Answers in `certain` are left out of the warning."""
    if _never_applied(stats, name):  # said by `unvaried_texts`
        return [], set()
    rows, texts = guided_by(name, traces), stats.get(name)
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


def hardly_varied(name: str, output: APSOutput, stats: Mapping[str, BridgeStats]) -> list[str]:
    """A black box that told hardly any texts apart: at least 19 of 20 of those it scored for a
    prompt have the score of the answer, some have another, and the score is not the best of the
    reward's range (an answer with the best needs no more telling apart).

    Scores that agree to six digits are one. Where none differs, `unvaried_steps` or
    `unvaried_texts` says so; a reward with a gradient sees more than texts.
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


def guided_by(name: str, traces: Sequence[GuidanceTrace]) -> list[int]:
    """The answers that a reward guided."""
    return [i for i, one in enumerate(traces) if name in one.after]


def _never_applied(stats: Mapping[str, BridgeStats] | None, name: str) -> bool:
    one = (stats or {}).get(name)
    return one is not None and bool(one.skipped) and not one.scored


def _find(name: str, tries: Mapping[str, str]) -> str:
    """What to do about a reward that told no answers apart."""
    return (
        "ask for what it rewards in the question, draw more answers by a larger pool_size, or "
        + try_it(name, tries)
    )
