"""Choice of the held-out facts: unseen words (stratum C) and reversed facts (stratum B)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from recipes.word_knowledge.wordnet_facts import Fact

__all__ = ["choose_reversed", "choose_unseen"]

MAX_MENTIONS = 4
"""A word of stratum C may occur in at most this many facts of other words, which are dropped."""


def choose_unseen(
    facts: Sequence[Fact],
    categories: Mapping[str, Iterable[str]],
    counts: dict[str, int],
    share: float,
    used: set[str],
    rng: random.Random,
) -> list[Fact]:
    """Facts of words that training will not contain; each word is asked in one to three types.

    Args:
        facts: all facts.
        categories: word -> its categories; words that name a category are not chosen.
        counts: kind of fact -> number, to be multiplied by `share`.
        used: words chosen before; the new ones are added.
    """
    mentions: Counter[str] = Counter()
    for fact in facts:
        mentions.update(Fact(fact.kind, fact.lemma, fact.slots).words() - {fact.lemma})
    named = {w for names in categories.values() for h in names for w in h.split()}
    chosen: list[Fact] = []
    lemmas: set[str] = set()
    for kind, count in counts.items():
        pool = [
            f
            for f in facts
            if f.kind == kind and f.lemma not in used | named and mentions[f.lemma] <= MAX_MENTIONS
        ]
        pool = list({f.lemma: f for f in pool}.values())
        rng.shuffle(pool)
        pool.sort(key=lambda f: f.lemma not in lemmas)
        picked = pool[: round(count * share)]
        lemmas |= {f.lemma for f in picked}
        chosen += picked
    used |= lemmas
    return chosen


def choose_reversed(
    facts: Sequence[Fact],
    counts: dict[str, int],
    share: float,
    used: set[str],
    rng: random.Random,
) -> list[Fact]:
    """Facts to be trained in the opposite direction only.

    Opposites and synonyms: `y -> x` stays in training, all questions about `x` of that type are
    removed. Examples of a category: the kind-of facts of its members stay, its own are removed.

    Args:
        facts: the candidates for training.
        counts, used: as in `choose_unseen`.
    """
    chosen = []
    for kind, count in counts.items():
        of_kind = [f for f in facts if f.kind == kind]
        answers = {(f.lemma, f.slots.get("y")) for f in of_kind}
        pool = []
        for fact in of_kind:
            reverse = kind == "example" or (fact.slots["y"], fact.lemma) in answers
            if reverse and fact.lemma not in used and fact.slots.get("y") not in used:
                pool.append(fact)
        pool = list({f.lemma: f for f in pool}.values())
        rng.shuffle(pool)
        picked = 0
        for fact in pool:
            partner = fact.slots.get("y", fact.lemma)
            if picked < round(count * share) and fact.lemma not in used and partner not in used:
                used |= {fact.lemma, partner}
                chosen.append(fact)
                picked += 1
    return chosen
