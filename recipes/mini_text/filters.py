"""Named rules that select the teacher's answers for training.

`reason(kind, subject, text, nll)` is the first rule an answer breaks, or None. The rules concern
form (a whole, short sentence about its subject, without names, digits or repetition) and the
teacher's likelihood: answers that the teacher itself finds unlikely are mostly nonsense.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from aps_eval.subjects import inflections, named, words

from recipes.mini_text.prompts import KINDS

__all__ = ["MOST_NLL", "key", "named", "reason"]

MOST_NLL = {"poem": 1.9, "pair": 1.7, "sentence": 1.6, "word": 1.5, "example": 1.1}
"""Maximal NLL of an answer under the teacher, nats per token, by kind; 1.3 for other kinds."""

PLAIN = re.compile(r"^[A-Za-z ,.;:!?'’\-\n]+$")
ABOUT_ITSELF = re.compile(
    r"\b(sentence|assistant|user|paragraph|poem|verse|example of|ai|language model|rhyme|word)\b",
    re.IGNORECASE,
)
# Words that may occur several times in one short sentence.
SMALL = set(
    re.findall(
        r"\S+",
        "a an the and or but of to in on at for with from by as is are was were be been it its he"
        " she his her him they them their you your i my me we our us that this who which when where"
        " what so not no if then than into up out over do does did have has had can will would very"
        " too all there",
    )
)

# Subjects that are excluded altogether.
UNWANTED = set(
    re.findall(
        r"\S+",
        "slave slavery kill killer killing murder damn hell devil bastard bitch suicide rape gun"
        " bomb weapon corpse torture racial negro whore drug naked sex sexual virgin hate",
    )
)


def phrases(found: list[str]) -> set[tuple[str, ...]]:
    """Runs of five words."""
    return set(zip(*(found[i:] for i in range(5)), strict=False))


# Examples with which part of the text was generated, and that `prompts` does not contain.
FORMER = (
    "She smiled with joy when she read the letter from her best friend.",
    "We sang all day in our little boat, and the sun was warm and kind.",
    "The children laughed and danced among the bright flowers of the garden.",
    "The song made her think of her dead mother, and she could not finish it.",
    "The soldier cried alone because he had lost his only friend.",
    "Go to bed at the same time every night, and your sleep will get better.",
    "Put a little money aside each month, even when it is not much.",
    "The moon is high, the night is deep, the little town has gone to sleep.",
    "My cat lies down upon the chair, the morning sun is in her hair.",
    "She does not work, she does not play, she only sleeps the time away.",
    "I follow it with heavy feet, and rest beneath a tree's soft seat.",
)
SHOWN = {
    kind.name: {p for _, shot in kind.shots for p in phrases(words(shot))}
    | {p for shot in FORMER for p in phrases(words(shot))}
    for kind in KINDS
}
"""Runs of five words in the examples the teacher was shown."""


def key(text: str) -> str:
    """A key that is equal for answers that differ only in case, articles and punctuation."""
    return " ".join(word for word in words(text) if word not in ("a", "an", "the"))


def reason(kind: str, subject: str, text: str, nll: float, *, lines: bool = False) -> str | None:
    """The first rule an answer breaks, or None."""
    if not PLAIN.match(text):
        return "odd characters"
    if ABOUT_ITSELF.search(text.replace(subject, "")):
        return "about itself"
    found = words(text)
    if not phrases(found).isdisjoint(SHOWN[kind]):
        return "an example's words"
    if not (4 <= len(found) <= 26 or (lines and 8 <= len(found) <= 40)):
        return "length"
    rows = text.split("\n")
    if lines != (len(rows) > 1) or (lines and not 2 <= len(rows) <= 4):
        return "lines"
    if lines and not all(2 <= len(words(row)) <= 11 for row in rows):
        return "lines"
    if text[-1] not in ".!?" or not text[0].isupper():
        return "not whole"
    if len(re.findall(r"[.!?](?=\s|$)", text)) > (4 if lines else 1):
        return "several sentences"
    inside = [m for row in rows for m in re.finditer(r"(?<=[a-z,;:'’] )[A-Z][A-Za-z'’]*", row)]
    if any(m.group() not in ("I", "I'm", "I'll", "I've", "I'd") for m in inside):
        return "a name"
    if not named(subject, text):
        return "subject"
    counts = Counter(found)
    if any(n > (2 if lines else 1) for word, n in counts.items()
           if word not in SMALL):  # fmt: skip
        return "repeats a word"
    pairs = Counter(pairwise(found))
    if any(n > 1 for n in pairs.values()) and not lines:
        return "repeats two words"
    if any(a == b for a, b in pairwise(found)):
        return "doubled word"
    if kind in ("what", "simple", "mean", "meaning"):
        _, _, rest = text.partition(" is ")
        if rest and not inflections(subject.split()[-1]).isdisjoint(words(rest)):
            return "circular"
    if nll > MOST_NLL.get(kind, 1.3):
        return "unlikely"
    return None
