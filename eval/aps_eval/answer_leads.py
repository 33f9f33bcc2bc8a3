"""Where a text says its answer: behind "the answer is", and outside of its questions."""

from __future__ import annotations

import re

__all__ = ["BEHIND", "LEAD", "SAID", "asserted", "clause", "questions"]

BEHIND = 500
"""Maximal distance in characters between the words "the answer is" and the answer."""
SAID = (
    r"(?:\b{}[\"']?(?:\s+(?:is|was|would be|will be|must be|should be|has to be|equals)\b\s*:?"
    r"(?:\s*(?:clearly|obviously|definitely|certainly|probably|(?:most )?likely|therefore|thus)\b)?"
    r"|\s*[:=])\s*"
    r"|\b(?:[Aa]ntwort|[Rr]éponse|[Rr]espuesta|[Rr]isposta|[Rr]esposta|[Оо]твет)"
    r"(?:\s+(?:ist|est|es|è|é)\b\s*:?|\s*:)\s*|(?:答案|回答|答え|정답)\s*[是为為は은]?\s*:?\s*"
    r"|<(?:final_)?answer>\s*)"
)
LEAD = SAID.format("answer")
_ASKS = re.compile(
    r"(?:(?<=[.!?\n])|^)\W{0,9}(?:(?:so|but|and|then|now|ok|well|hmm)\b,?\s*)?"
    r"\b(?:is|are|was|were|what|which|how|who|why|when|where|can|could|does|do|did|should|would|will"
    r"|has|have|had|isn't|aren't|doesn't|don't|yes or no|true or false)\b",
    re.I,
)
"""The beginning of a sentence that may be a question."""
_STOP = re.compile(r"\?|\n|[.!](?=\s)")
"""The end of a sentence in which no question mark stood before."""
_SENTENCE_END = re.compile(
    r"(?:(?<!\bft)(?<!\b(?:hr|lb|yd|no|nr|ca|rs))(?<!\b(?:hrs|lbs|min|yrs|abt|est))(?<!\bapprox)\."
    r"|\.(?!\s+[-+€£¥₹~]?\d)|[!?])(?=\s|$)",
    re.I,
)
"""The end of a sentence, not of an abbreviation before a number (approx. 5, 6 ft. 2 in)."""


def questions(text: str) -> list[tuple[int, int]]:
    """The places of the questions of a text, in order: from a word that asks up to its mark."""
    found = []
    stop = _STOP.search(text)
    asks = _ASKS.search(text)
    while asks is not None and stop is not None:
        if stop.start() < asks.end():
            stop = _STOP.search(text, asks.end())
            continue
        at = asks.start() + 1
        if stop[0] == "?" and not re.match(r"\w", text[stop.end() : stop.end() + 1]):
            found.append((asks.start(), stop.end()))
            at = stop.end()
        asks = _ASKS.search(text, at)
    return found


def asserted(text: str, *, or_all: bool = True) -> str:
    """A text without its questions ("Is it 5? No"), which state nothing.

    Unless `or_all` is false, the whole text if nothing else is said, or if a yes agrees to it.
    """
    asked = questions(text)
    ends = [0, *(end for _, end in asked)]
    starts = [*(start for start, _ in asked), len(text)]
    rest = " ".join(text[end:start] for end, start in zip(ends, starts, strict=True))
    whole = or_all and (
        re.search(r"\w", rest) is None or re.match(r"\W*(?:yes|yeah)\b", rest, re.I)
    )
    return text if whole else rest


def clause(line: str) -> str:
    """A line up to the end of its sentence."""
    return _SENTENCE_END.split(line, maxsplit=1)[0]
