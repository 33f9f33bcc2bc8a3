"""Wrong answers in the form of right ones: near, far, the word itself, another word or question.

A near one is a plausible mistake: the definition of a word of the same category, the category of a
related word, a synonym instead of the opposite, the other option of a choice, yes instead of no.
None is true according to WordNet: categories above any sense of the word, accepted keys and equal
definitions are excluded.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

from recipes.word_knowledge.wordnet_facts import Fact
from recipes.word_knowledge.wordnet_qa import KnowledgeData

__all__ = ["Answer", "WrongFacts"]


@dataclass(frozen=True)
class Answer:
    """An answer in symbolic form: the name of its template and the slots."""

    template: str
    slots: dict[str, str]


# Kinds of questions about a word that are not answered by an answer of another kind.
_UNANSWERED = {
    "definition": {"use", "opposite", "parts"},
    "kind": {"use", "opposite", "synonym", "parts"},
    "example": {"kind", "definition"},
    "parts": {"use", "synonym", "kind", "opposite"},
    "opposite": {"use", "synonym", "definition", "kind"},
    "synonym": {"use", "opposite", "parts"},
    "use": {"synonym", "opposite", "kind", "definition"},
    "yesno": {"use", "synonym", "definition"},
    "choice": {"use", "synonym", "definition"},
}


class WrongFacts:
    """Draws answers, right and wrong, from `facts`."""

    def __init__(self, data: KnowledgeData, facts: list[Fact]) -> None:
        self.data = data
        self.by_kind: dict[str, list[Fact]] = defaultdict(list)
        self.relatives: dict[str, list[Fact]] = defaultdict(list)
        self.definition: dict[str, Fact] = {}
        self.linked: dict[str, dict[str, set[str]]] = {"opposite": {}, "synonym": {}}
        for fact in facts:
            self.by_kind[fact.kind].append(fact)
            if fact.kind.startswith("definition"):
                self.definition[fact.lemma] = fact
            if fact.kind in self.linked:
                self.linked[fact.kind].setdefault(fact.lemma, set()).add(fact.slots["y"])
            if fact.kind == "kind":
                for name in data.categories.get(fact.lemma, [fact.slots["h"]]):
                    self.relatives[name].append(fact)

    def draw(self, fact: Fact, rng: random.Random) -> Answer:
        """The right answer; for yes/no and choice questions the options are drawn."""
        return Answer(*self.data.draw(fact, rng))

    def near(self, fact: Fact, answer: Answer, rng: random.Random) -> Answer | None:
        """A wrong answer that is easily taken for the right one, or None."""
        kind, slots = fact.kind, answer.slots
        if kind == "yesno":
            return Answer("no" if answer.template == "yes" else "yes", slots)
        if kind == "choice":
            pair = [slots["ap"], slots["aq"]]
            return self._as(answer, ax=next((p for p in pair if p != slots["ax"]), None))
        if kind in self.linked:
            other = "synonym" if kind == "opposite" else "opposite"
            found = sorted(self.linked[other].get(fact.lemma, set()) - self._accepted(fact))
            return self._as(answer, y=rng.choice(found)) if found else None
        word = slots["x"] if kind == "example" else fact.lemma
        names = [h for h in self.data.categories.get(word, []) if self.relatives[h]]
        for _ in range(8 if names else 0):
            cousin = rng.choice(self.relatives[rng.choice(names)])
            found_answer = self._from(fact, answer, cousin)
            if found_answer is not None:
                return found_answer
        return None

    def far(self, fact: Fact, answer: Answer, rng: random.Random) -> Answer | None:
        """The same sentence with the value of any other fact of this kind, or None."""
        if fact.kind in ("yesno", "choice"):
            return self.near(fact, answer, rng)
        for _ in range(8):
            found = self._from(fact, answer, rng.choice(self.by_kind[fact.kind]))
            if found is not None:
                return found
        return None

    def itself(self, fact: Fact, answer: Answer, rng: random.Random) -> Answer | None:
        """The word given as its own definition, category, opposite or synonym, or None."""
        x, ax = fact.slots["x"], fact.slots["ax"]
        if fact.kind == "example":
            return self._as(answer, x=fact.lemma, ax=self.data.articles.put(fact.lemma))
        if fact.kind == "kind":
            return self._as(answer, h=x, ah=ax)
        if fact.kind in self.linked:
            return self._as(answer, y=x)
        if fact.kind.startswith("definition") or fact.kind == "parts":
            return self._as(answer, text=ax if fact.kind == "definition_n" else x)
        return None

    def other_word(self, fact: Fact, rng: random.Random) -> Answer | None:
        """The right answer about another word, or None."""
        for _ in range(8):
            other = rng.choice(self.by_kind[fact.kind])
            if other.lemma != fact.lemma:
                return self.draw(other, rng)
        return None

    def other_question(self, fact: Fact, about: list[Fact], rng: random.Random) -> Answer | None:
        """The right answer to another question about the same word, which it does not answer."""
        unfit = _UNANSWERED[fact.kind.split("_")[0]]
        found = [f for f in about if f.kind.split("_")[0] in unfit]
        return self.draw(rng.choice(found), rng) if found else None

    def _from(self, fact: Fact, answer: Answer, other: Fact) -> Answer | None:
        """`answer` with the value of the fact `other`; None if that is true or does not fit."""
        kind, lemma = fact.kind, fact.lemma
        if other.lemma == lemma and kind != "example":
            return None
        if kind == "kind":
            h = other.slots.get("h", "")
            true = self.data.ancestors.get(lemma, set()) | self._accepted(fact) | {lemma}
            return self._as(answer, h=h, ah=other.slots["ah"]) if h not in true else None
        if kind == "example":
            x = other.slots["x"]
            above = self.data.ancestors.get(x, set())
            false = lemma not in above and x not in self._accepted(fact) and x != lemma
            return self._as(answer, x=x, ax=other.slots["ax"]) if false else None
        if kind in self.linked:
            y = other.slots["y"]
            false = other.kind == kind and y not in self._accepted(fact) and y != lemma
            return self._as(answer, y=y) if false else None
        source = other if other.kind == kind else self.definition.get(other.lemma)
        if source is None or source.kind != kind or source.slots["text"] == fact.slots["text"]:
            return None
        if kind == "use" and fact.lemma in source.slots["text"].lower():
            return None
        return self._as(answer, text=source.slots["text"])

    def _accepted(self, fact: Fact) -> set[str]:
        return {k.lower() for k in fact.keys} | {fact.slots.get("y", "")}

    def _as(self, answer: Answer, **slots: str | None) -> Answer | None:
        if any(value is None for value in slots.values()):
            return None
        return Answer(answer.template, {**answer.slots, **{k: v for k, v in slots.items() if v}})
