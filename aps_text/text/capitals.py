"""Capitals and spacing by rule, for text that a lower-casing tokenizer produced.

`restore_capitals` capitalises the first letter of each sentence, the pronoun "I" and a short list
of proper words (days, months, nations); any other name stays lower-case. `join_punctuation`
removes the spaces WordPiece puts around punctuation.
"""

from __future__ import annotations

import re

__all__ = ["join_punctuation", "restore_capitals"]

_PROPER = frozenset(
    [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "january",
        "february",
        "april",
        "june",
        "july",
        "september",
        "october",
        "november",
        "december",
        "america",
        "american",
        "africa",
        "african",
        "asia",
        "asian",
        "europe",
        "european",
        "england",
        "english",
        "britain",
        "british",
        "france",
        "french",
        "germany",
        "german",
        "italy",
        "italian",
        "spain",
        "spanish",
        "russia",
        "russian",
        "china",
        "chinese",
        "japan",
        "japanese",
        "india",
        "indian",
        "greece",
        "greek",
        "rome",
        "roman",
        "egypt",
        "egyptian",
        "australia",
        "australian",
        "canada",
        "canadian",
        "mexico",
        "mexican",
        "london",
        "paris",
        "christian",
        "christmas",
        "easter",
        "bible",
        "jesus",
        "jewish",
        "islam",
        "muslim",
        "latin",
    ]
)
_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_SENTENCE = re.compile(r"(^|(?<!\bi\.e)(?<!\be\.g)[.!?][\"')]*\s+)([\"'(]*)([a-z])")
_PRONOUN = re.compile(r"\bi(?=\b(?!\.\w))(?=['\s,;:.!?]|$)")


def restore_capitals(text: str) -> str:
    """`text` with capitals at sentence starts, for "I" and for common proper words.

    >>> restore_capitals("a violin is old. i like it on monday.")
    'A violin is old. I like it on Monday.'
    """

    def proper(match: re.Match[str]) -> str:
        word = match.group()
        bare = word.removesuffix("'s")
        return word[:1].upper() + word[1:] if bare in _PROPER else word

    text = _PRONOUN.sub("I", _WORD.sub(proper, text))
    return _SENTENCE.sub(lambda m: m.group(1) + m.group(2) + m.group(3).upper(), text)


def join_punctuation(text: str) -> str:
    """`text` without the spaces a WordPiece decoder leaves around punctuation marks.

    >>> join_punctuation("it ' s self - evident , is n't it ?")
    "it's self-evident, is n't it?"
    """
    text = re.sub(r"\s+([.,;:!?%)\]])", r"\1", text)
    text = re.sub(r"([(\[$])\s+", r"\1", text)
    text = re.sub(r"(\w) ([-/]) (?=\w)", r"\1\2", text)
    text = re.sub(r"(\w) ' (s|t|re|ve|ll|d|m)\b", r"\1'\2", text)
    text = re.sub(r'" ([^"]*?) "', r'"\1"', text)
    return re.sub(r"\s{2,}", " ", text).strip()
