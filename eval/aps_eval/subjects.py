"""Whether an English text names its subject, and whether it is a whole sentence."""

from __future__ import annotations

import re

__all__ = ["inflections", "named", "whole", "words"]

WORD = re.compile(r"[A-Za-z]+(?:['’][a-z]+)?")


def words(text: str) -> list[str]:
    """Words in lower case."""
    return [word.lower().replace("’", "'") for word in WORD.findall(text)]


def inflections(word: str) -> set[str]:
    """A word in lower case and its regular forms; some exist in no text ("bedly")."""
    forms = {word, word + "s", word + "es", word + "ed", word + "d", word + "ing", word + "ly"}
    forms |= {word + "'s", word + word[-1] + "ing", word + word[-1] + "ed", word + "er"}
    if word.endswith("e"):
        forms |= {word[:-1] + "ing", word + "r"}
    if word.endswith("y"):
        forms |= {word[:-1] + "ies", word[:-1] + "ied"}
    if word.endswith(("f", "fe")):
        forms.add(word.removesuffix("e").removesuffix("f") + "ves")
    if word.endswith("man"):
        forms.add(word[:-2] + "en")
    if word.endswith("s"):
        forms |= {word[:-1], word[:-2]}
    return forms


def named(subject: str, text: str) -> bool:
    """Whether a text contains every word of a subject, in any regular form; True for no words."""
    found = words(text)
    return all(not inflections(word).isdisjoint(found) for word in words(subject))


def whole(text: str) -> bool:
    """Whether a text begins with a capital, ends like a sentence and has at least three words."""
    return bool(text) and text[0].isupper() and text[-1] in ".!?" and len(words(text)) >= 3
