"""Categories of each noun, and facts derived from them: examples, yes/no and choice."""

from __future__ import annotations

from recipes.word_knowledge.wordnet_facts import Fact, Lexicon

__all__ = ["categories_of", "derived_facts"]


def categories_of(
    lexicon: Lexicon, facts: list[Fact]
) -> tuple[dict[str, list[str]], dict[str, set[str]], dict[str, list[str]]]:
    """Per noun: names of its nearer categories, words of all its ancestors, gold of stratum C.

    Nearer: its own category and those up to two levels above that are not too general. Ancestors:
    of every sense, to exclude them when wrong categories are drawn. Gold: every word of the
    categories within three levels.
    """
    wordnet, near, every = lexicon.wordnet, {}, {}
    wide: dict[str, list[str]] = {}
    for fact in (f for f in facts if f.kind == "kind"):
        key = ("n", lexicon.synset(fact.lemma).offset)
        levels = wordnet.hypernyms(key, 3)
        deep = [k for k, n in levels.items() if n == 1 or len(wordnet.hypernyms(k, 9)) >= 4]
        names = [lexicon.name(wordnet.synsets[k]) for k in deep]
        near[fact.lemma] = list(dict.fromkeys([fact.slots["h"], *[n for n in names if n]]))[:4]
        wide[fact.lemma] = [w.lower() for k in levels for w in wordnet.synsets[k].words]
        senses = wordnet.lemmas[fact.lemma, "n"].senses
        above = [k for s in senses for k in wordnet.hypernyms(("n", s), 30)]
        every[fact.lemma] = {w.lower() for k in above for w in wordnet.synsets[k].words}
    return near, every, wide


def derived_facts(lexicon: Lexicon, facts: list[Fact], near: dict[str, list[str]]) -> list[Fact]:
    """Examples of a category, yes/no and choice facts, derived from the kind-of facts."""
    wordnet = lexicon.wordnet
    kinds = [f for f in facts if f.kind == "kind"]
    children: dict[str, list[Fact]] = {}
    for fact in kinds:
        children.setdefault(fact.slots["h"], []).append(fact)
    derived = []
    for h, members in sorted(children.items()):
        if len(members) >= 2:
            parent = lexicon.synset(members[0].lemma).targets("@")[0]
            words = {w for k in wordnet.hyponyms(parent) for w in wordnet.synsets[k].words}
            members.sort(key=lambda f: (-wordnet.count(f.lemma, "n"), f.lemma))
            for f in members[:5]:
                derived.append(Fact("example", h, dict(f.slots), sorted(words), 1.0))
    for f in kinds:
        slots = {"x": f.lemma, "ax": f.slots["ax"]}
        derived += [Fact("yesno", f.lemma, slots, [], 1.0), Fact("choice", f.lemma, slots, [], 1.0)]
    return derived
