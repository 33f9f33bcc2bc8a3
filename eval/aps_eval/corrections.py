"""Answers that are taken back: what is said behind the last correction counts.

The answer is 5. Wait, no, it is 6.     6
A. Actually, B                          B
5. Wait, that is wrong.                 nothing
5. Wait, let me check. Yes.             5
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["corrected"]

_BACK = re.compile(
    r"(?:(?<=[.!?;:,)\n])|(?<=[–—-]))[\s\"'*_]{0,9}(?:(?:oh|hmm{1,9}|no|oops|sorry|uh)[,.!\s]{1,9}){0,4}"
    r"(?:(?:wait(?=\s*(?:[,.!:;–—-]|$)|\s+(?:no|actually|that|this|i|it|the)\b)"
    r"|hold on(?!\s+(?:to|for|tight)\b)"
    r"|scratch that|correction(?=\s*:)|let me correct (?:that|myself|it)"
    r"|i made an? (?:mistake|error)|my mistake(?=\s*(?:[,.!:;–—-]|$))"
    r"|oops)\b[\s,:;.!–—-]{0,9}(?:actually\b[\s,]{0,9})?"
    r"|(?P<mild>(?<![,])\s*actually,\s{0,9}))",
    re.I,
)
"""What takes back the answer before it; `actually` at the start of a sentence does so mildly."""
_UNDONE = re.compile(r"\b(?:no|not|wrong|incorrect|mistaken?|error|nope)\b|n't\b", re.I)
_KEPT = re.compile(
    r"\b(?:(?P<named>(?:is|was|am) (?:right|correct))|that's (?:right|correct)|checks? out"
    r"|(?:that|this|which|it) (?:matches|works)|(?<=[.!?;,\n] )correct(?=[.!,]|\s*$))\b",
    re.I,
)
"""What confirms the answer before it, unless another one is named ("6 is correct")."""
_CLAUSE = re.compile(r"[.,;:!?\n]")
_MEANT = re.compile(r"\b(?:it|that|this|which|i)\W*$", re.I)
"""Words for the answer before it."""
_SAID = re.compile(
    r"\W*(?:(?:the |my )?(?:\w+ )?answer\b|(?:it|that)(?:'s| is| was)\b|#|\\boxed)", re.I
)
"""How another answer begins behind `actually`, which also goes on to something else."""
_LABEL = re.compile(r"\b[A-Z][.):\s\"'*]{1,4}$")
"""The letter of an option, whose own words may be "Wait." (B. Wait.)."""
_LONGEST = 200_000
"""Longer texts are read as they are."""


def corrected(answer: str, read: Callable[[str], str | None], deep: int = 3) -> str | None:
    """The answer that `read` finds behind the last correction, or before it if that confirms it,
    else in the whole text.

    Args:
        deep: earlier corrections that are looked at.

    Returns:
        None if the answer is taken back and no other one is given.
    """
    found = read(answer)
    if len(answer) > _LONGEST:
        return found
    *_, last = (None, *_BACK.finditer(answer))
    head = answer[: last.start()] if last is not None else ""
    if last is None or not head.strip():
        return found
    tail = answer[last.end() :]
    if not tail.strip() and _LABEL.search(answer[max(0, last.start() - 6) : last.start()]):
        return found
    new = read(tail)
    # What follows `actually` is rarely a check.
    if not last["mild"] and (new is None or _KEPT.search(tail)):
        before = corrected(head, read, deep - 1) if deep else read(head)
        found = found if before is None else before
    confirmed = "answer" not in tail.lower() and _confirmed(tail, found, read)
    kept = confirmed and not _UNDONE.search(last[0] + tail)
    if last["mild"]:
        kept = kept or not (_SAID.match(tail) or len(tail.strip()) <= 12)
    if found is not None and kept:
        return found
    if new is None and confirmed:
        return found
    if new is None and (last["mild"] or not (not tail.strip() or _UNDONE.search(last[0] + tail))):
        return found
    return new


def _confirmed(tail: str, found: str | None, read: Callable[[str], str | None]) -> bool:
    """Whether a text says that the answer `found` is right, and does not begin with another one."""
    kept = _KEPT.search(tail)
    if kept is None or (_SAID.match(tail) and read(_CLAUSE.split(tail)[0]) not in (None, found)):
        return False
    subject = _CLAUSE.split(tail[: kept.start()])[-1]
    return not kept["named"] or bool(_MEANT.search(subject)) or read(subject) in (None, found)
