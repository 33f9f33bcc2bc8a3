"""Words that several warnings share: how many answers, and how to try a reward."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from types import MappingProxyType

__all__ = ["NO_TRIES", "how_to_try", "portion", "try_it"]

NO_TRIES: Mapping[str, str] = MappingProxyType({})


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


def try_it(name: str, tries: Mapping[str, str]) -> str:
    """Advice to try a reward; `tries` has how, by its name."""
    return f"try it on answers that differ: {tries.get(name) or how_to_try(None)}"


def portion(part: int, whole: int) -> str:
    """`part` of `whole` answers in words: "the answer", "all 3 answers", "2 of 3 answers"."""
    if part == whole == 1:
        return "the answer"
    return f"all {whole} answers" if part == whole else f"{part} of {whole} answers"
