"""The subjects the teacher is asked about: 6,000 frequent English words of WordNet.

A word belongs to the part of speech in which it is most used. Its split is a hash of the word, so
that it does not depend on the list: 90% train, 4% tune, 6% test.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from recipes.word_knowledge.wordnet import WordNet

__all__ = ["SPLITS", "Subject", "split_of", "subjects"]

SPLITS = ("train", "tune", "test")
COUNTS = {"n": 3600, "v": 1200, "a": 1200}
# WordNet's lexicographer files of things one can see, touch or meet.
CONCRETE = {5: "animal", 6: "artifact", 8: "body", 13: "food", 17: "object", 18: "person",
            20: "plant", 27: "substance", 15: "place", 19: "phenomenon"}  # fmt: skip
COARSE = re.compile(
    r"obscen|insult|offensive|disparag|vulgar|slang|sexual|genital|prostitut|slur|\brape|penis|vagina|"
    r"\bsex\b|copulat|excre|faeces|feces|murder|suicide|narcotic|torture|nazi|slave|terroris"
)
# Function words, and words too general to write a sentence about.
LEFT_OUT = set(
    re.findall(
        r"\S+",
        "be have do thing one two three four five six seven eight nine ten other such same own more"
        " most many much few less least several certain last next first second third whole entire"
        " various former latter due unable able likely so very well even still just same mr mrs ms"
        " dr st something anything nothing everything someone anyone everyone somebody anybody"
        " nobody lot bit kind sort way part per cent percent u s am pm sir madam let may might must"
        " shall will would can could should ought used get got",
    )
)


@dataclass(frozen=True)
class Subject:
    """A word to ask about.

    Attributes:
        word: lower case, one word.
        pos: n, v or a.
        category: of a concrete noun (`animal`, `food`, ...), else empty.
        share: its relative rank by frequency within its part of speech, in [0, 1).
    """

    word: str
    pos: str
    category: str = ""
    share: float = 0.0

    @property
    def split(self) -> str:
        """`train`, `tune` or `test`."""
        return split_of(self.word)


def split_of(word: str) -> str:
    """The split of a word, by its hash; of "lonely king" it is that of "king"."""
    number = int(hashlib.sha256(word.split()[-1].encode()).hexdigest()[:8], 16) % 100
    return "train" if number < 90 else "tune" if number < 94 else "test"


def subjects(wordnet: WordNet) -> list[Subject]:
    """The subjects, by falling frequency within each part of speech."""
    best: dict[str, tuple[int, str]] = {}
    for (text, pos), lemma in wordnet.lemmas.items():
        if pos not in COUNTS or not re.fullmatch(r"[a-z]{3,12}", text) or text in LEFT_OUT:
            continue
        count = sum(lemma.counts)
        if count > best.get(text, (0, ""))[0]:
            best[text] = (count, pos)
    found: list[Subject] = []
    for wanted, most in COUNTS.items():
        ranked = sorted(
            (-count, text) for text, (count, pos) in best.items() if pos == wanted and count > 0
        )
        kept = 0
        for _, text in ranked:
            lemma = wordnet.lemmas[text, wanted]
            first = wordnet.synsets[wanted, lemma.senses[0]]
            if COARSE.search(first.definition) or first.words[0][:1].isupper():
                continue
            if any(symbol == "@i" for symbol, *_ in first.pointers):
                continue
            category = CONCRETE.get(first.lexfile, "") if wanted == "n" else ""
            found.append(Subject(text, wanted, category, kept / most))
            kept += 1
            if kept == most:
                break
    return found
