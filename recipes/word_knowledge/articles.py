"""English articles of nouns, inferred from the glosses and examples of WordNet."""

from __future__ import annotations

import re
from collections import Counter

from recipes.word_knowledge.wordnet import WordNet

__all__ = ["Articles"]

_MASS_FILES = {7, 9, 12, 16, 19, 22, 26, 27}
_AFTER = (
    r"(?=\s+(?:of|that|in|for|with|to|is|are|was|or|and|who|which|by|on|from|used)\b|[.,;\"]|$)"
)


class Articles:
    """Decides "a", "an" or no article from how glosses and examples use a noun."""

    def __init__(self, wordnet: WordNet) -> None:
        text = "\n".join(
            "\n".join([s.definition, *s.examples]) for s in wordnet.synsets.values()
        ).lower()
        self._single = Counter(re.findall(rf"\ban? ([a-z]+){_AFTER}", text))
        self._bare = Counter(
            re.findall(rf"\b(?:of|in|with|some|much|by|from|into|and|or|as) ([a-z]+){_AFTER}", text)
        )
        self._any = Counter(re.findall(r"[a-z]+", text))
        self._wordnet = wordnet

    def countable(self, noun: str) -> bool:
        """Whether the (last word of the) noun takes an article in the singular."""
        head = noun.split()[-1]
        single, bare = self._single[head], self._bare[head]
        plural = self._any[head + "s"] + self._any[re.sub(r"y$", "ies", head)] * head.endswith("y")
        lemma = self._wordnet.lemmas.get((head, "n"))
        mass = lemma is not None and (
            (file := self._wordnet.synsets["n", lemma.senses[0]].lexfile) in _MASS_FILES
            or (file == 4 and head.endswith("ing"))
        )
        if single + bare + plural < 3:
            return not mass
        return single + 0.7 * plural > bare * (1.2 if mass else 0.3)

    def put(self, noun: str) -> str:
        """`noun` with its article, if it takes one: "a violin", "an owl", "water", "scissors"."""
        head = noun.split()[-1]
        plural = head.endswith("s") and not head.endswith(("ss", "us", "is"))
        if plural or not self.countable(noun):
            return noun
        vowel = noun[0] in "aeiou" and not re.match(r"(uni|use|usu|eu|one\b|once|ut[ei])", noun)
        return f"{'an' if vowel or re.match(r'(hour|honest|honou?r|heir)', noun) else 'a'} {noun}"
