"""Yes or no, true or false: as said behind "the answer is", at the start, or last.

Yes and no answer a question that names an answer ("Is it true? No" is false). "No" before a noun
("no doubt") is no answer, and "yes and no" is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .answer_leads import LEAD, asserted, questions
from .asides import HEDGE, supposed
from .denials import NEGATED, REFUTED, negated
from .joined_answers import ALSO
from .normal_text import normal_text

__all__ = ["boolean", "yes_no"]

_YES_NO = {"yes": "yes", "no": "no", "yeah": "yes", "nope": "no"}
_TRUE_FALSE = {"true": "true", "false": "false"}
_OPPOSITE = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
_NO_ALONE = (
    "it|he|she|they|we|you|i|this|that|these|those|there|the|a|an|because|since|as|but|and|or|nor|so"
    "|if|not|is|was|would|in|on|for|to|of|way|chance|never|sorry|sir|madam|thanks|thank|definitely"
    "|absolutely|my|yes"
)
"""Words after "no" that leave it an answer; any other ("no doubt") takes it as its own."""


def yes_no(answer: str, choices: Sequence[str] = ()) -> str | None:
    """`yes` or `no`."""
    text = normal_text(re.sub("[–—―]", " - ", answer)).lower()
    asked = _asked(text, _YES_NO)
    return _either(asserted(text, or_all=False), _YES_NO, first=True, asked=asked)


def boolean(answer: str, choices: Sequence[str] = ()) -> str | None:
    """`true` or `false`; yes and no are read after a question that names one (Is it true? No)."""
    text = normal_text(answer).lower()
    asked = _asked(text, _TRUE_FALSE)
    rest = asserted(text, or_all=False)
    said = _either(rest, _TRUE_FALSE, first=False)
    return said or (asked and _either(rest, _YES_NO, first=True, asked=asked))


def _word_pattern(words: Mapping[str, str]) -> str:
    """A pattern whose group is one of the words, "no" only where it is an answer."""
    one_of = "|".join(rf"no(?!\s+(?!(?:{_NO_ALONE})\b)[a-z])" if w == "no" else w for w in words)
    return rf"({one_of})(?!['-]?\w)"


def _asked(text: str, words: Mapping[str, str]) -> str | None:
    """The word that the last question names ("is it true?"); None if several or negated."""
    asked = questions(text)
    last = text[slice(*asked[-1])] if asked else ""
    found = re.findall(r"(?<!\w)" + _word_pattern(words), last)
    return words[found[0]] if len(found) == 1 and not NEGATED.search(last) else None


def _either(
    text: str, words: Mapping[str, str], *, first: bool, asked: str | None = None
) -> str | None:
    """The answer among `words`; yes or no to a question that names `asked` agree to it or not."""
    found = _last_of(text, words, first=first)
    if found is None or asked is None:
        return found
    return asked if found == "yes" else _OPPOSITE[asked]


def _last_of(text: str, words: Mapping[str, str], *, first: bool) -> str | None:
    any_word = _word_pattern(words)
    both = re.fullmatch(rf"\W*{any_word}\W+{any_word}\W*", text)
    if both and words[both[1]] != words[both[2]]:
        return None
    for pattern in (LEAD + r"\W*" + any_word, r"\\boxed\{\W*" + any_word):
        found = [
            m
            for m in re.finditer(pattern, text)
            if not negated(text, m.start(1)) and not supposed(text, m.start())
        ]
        if found:
            return _one_of(text, found[-1:], any_word, words)
    if first and (start := re.match(rf"\W*{any_word}", text)):
        return _one_of(text, [start], any_word, words)
    found = list(re.finditer(rf"(?<!\w)(?<!\w'){any_word}", text))
    return _one_of(text, found, any_word, words)


def _one_of(
    text: str, found: Sequence[re.Match[str]], any_word: str, words: Mapping[str, str]
) -> str | None:
    """The last word found that is not negated; None if it is one of two ("true/false")."""
    affirmed = [
        one
        for one in found
        if not negated(text, one.start(1))
        and not supposed(text, one.start(1))
        and not REFUTED.match(text, one.end(1))
    ]
    if not affirmed:
        return None
    both = rf"(?<!\w){any_word}\W{{0,9}}?{HEDGE}?{ALSO}(?:not\b\s*|also\s*|\W){{0,9}}{any_word}"
    pair = any(m.start() <= affirmed[-1].start(1) < m.end() for m in re.finditer(both, text))
    return None if pair else words[affirmed[-1][1]]
