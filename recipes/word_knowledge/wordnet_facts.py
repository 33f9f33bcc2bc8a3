"""Facts from WordNet: frequent lemmas in their first senses, with definitions and relations.

A fact can be asked in several phrasings: the definition of "violin", its category, an opposite pair
in one direction. Lemmas are frequent words (by the tag counts of the sense-tagged corpora, single
WordPieces preferred), each in its most frequent part of speech and in that part's first sense;
taxa, proper names and vulgar words are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from recipes.word_knowledge.articles import Articles
from recipes.word_knowledge.wordnet import Synset, WordNet

__all__ = [
    "MORE_NOUNS",
    "QUOTA",
    "Fact",
    "Lexicon",
    "build_facts",
    "category_facts",
    "choose_lemmas",
    "clause",
]

QUOTA = {"n": 3400, "v": 650, "a": 950}
MORE_NOUNS = 4500
"""Number of rarer nouns of which only the category is trained, with a low weight."""
MAX_PIECES = 22
_CONCRETE = {5, 6, 8, 13, 17, 18, 20}
_RUDE = re.compile(
    r"obscen|offensive|disparag|vulgar|slang|sexual|genital|prostitut|slur|rape\b|penis|vagina"
    r"|genus|taxonom|\bfamily of\b.*\bplants\b|chiefly brit|chemical element|unit of",
    re.IGNORECASE,
)
_STOP = frozenset(
    {"one", "two", "three", "the", "for", "are", "was", "who", "all"}
    | {"his", "her", "had", "not", "may", "can", "its", "out"}
)


@dataclass
class Fact:
    """One fact to ask about: type, word, slots of the phrasings, accepted key answers."""

    kind: str
    lemma: str
    slots: dict[str, str]
    keys: list[str] = field(default_factory=list)
    weight: float = 1.0

    def words(self) -> set[str]:
        """Every word that a rendering of this fact may contain, also without a plural "s"."""
        found = set(re.findall(r"[a-z]+", " ".join([*self.slots.values(), *self.keys]).lower()))
        return found | {w[:-1] for w in found if w.endswith("s")}


@dataclass
class Lexicon:
    """The chosen lemmas (text -> part of speech), and the tools that facts are built with."""

    wordnet: WordNet
    articles: Articles
    pieces: Callable[[str], int]
    pos: dict[str, str]

    def synset(self, lemma: str) -> Synset:
        """First sense of a chosen lemma."""
        pos = self.pos[lemma]
        return self.wordnet.synsets[pos, self.wordnet.lemmas[lemma, pos].senses[0]]

    def name(self, synset: Synset) -> str | None:
        """The most frequent plain name of a category synset; None if it has none."""
        names = [w for w in synset.words if w.islower() and re.fullmatch(r"[a-z -]+", w)]
        names = [w for w in names if self.pieces(w) <= 5]
        order = {w: i for i, w in enumerate(names)}
        return max(
            names,
            key=lambda w: (self.wordnet.count(w, synset.pos, synset.offset), -order[w]),
            default=None,
        )


def choose_lemmas(
    wordnet: WordNet, rank: Callable[[str], int | None], quota: dict[str, int] = QUOTA
) -> dict[str, str]:
    """Pick frequent lemmas; `rank(word)` is the id of a one-piece word, None for longer ones."""
    scored: dict[str, list[tuple[float, str]]] = {p: [] for p in QUOTA}
    for (text, pos), lemma in wordnet.lemmas.items():
        if pos not in QUOTA or not re.fullmatch(r"[a-z]{3,14}", text) or text in _STOP:
            continue
        counts = {p: wordnet.count(text, p) for p in "nvar"}
        best = max("navr", key=lambda p: counts[p])
        first = wordnet.synsets[pos, lemma.senses[0]]
        if best != pos or text not in first.words or first.targets("@i"):
            continue
        if _RUDE.search(first.definition) or any(w[0].isupper() for w in first.words):
            continue
        if pos == "n" and text.endswith("s") and not text.endswith(("ss", "us", "is")):
            continue
        concrete = pos == "n" and first.lexfile in _CONCRETE
        if counts[pos] == 0 and not concrete:
            continue
        rare = rank(text)
        score = math.log1p(counts[pos]) + 1.0 * concrete
        score += 2.0 + 0.5 * math.log(30522 / max(rare, 1000)) if rare is not None else -0.5
        scored[pos].append((score, text))
    chosen = {}
    for pos, size in quota.items():
        ranked = sorted(scored[pos], key=lambda pair: (-pair[0], pair[1]))
        chosen.update({text: pos for _, text in ranked[:size]})
    return chosen


def clause(definition: str, pieces: Callable[[str], int], limit: int) -> str | None:
    """The first clause of a definition within `limit` WordPieces; None if there is none."""
    text = re.sub(r"\([^)]*\)", " ", definition)
    text = re.sub(r"\s+", " ", text.split(";")[0].split(":")[0]).strip(" ,.")
    text = re.sub(r" ([,.;])", r"\1", text).removeprefix("to ")
    if not re.fullmatch(r"[A-Za-z0-9 ,'/-]+", text):
        return None
    while pieces(text) > limit:
        cuts = [
            m.start() for m in re.finditer(r",? (?:that|which|who|and|or|used|so|as)\b|,", text)
        ]
        cuts = [c for c in cuts if len(text[:c].split()) >= 4]
        if not cuts:
            return None
        text = text[: cuts[-1]].strip(" ,")
    bad_end = re.search(r" (of|in|the|a|an|to|and|or|by|with|for|from|that|is)$", text)
    return text if len(text.split()) >= 2 and not bad_end else None


def _noun_gloss(text: str, articles: Articles) -> str:
    if re.match(
        r"(an?|the|any|one|some|all|either|each|some\w+|any\w+|your|people|two|what|no|more)\b",
        text,
    ):
        return text
    head = re.split(
        r",| (?:that|which|who|of|with|in|used|for|to|from|on|by|having|made|at|as|or"
        r"|consisting|containing|where|when|and|usually|between|worn|whose)\b",
        text,
    )[0]
    phrase = articles.put(head) if head else text
    return phrase + text[len(head) :]


def build_facts(lexicon: Lexicon) -> list[Fact]:
    """All facts about the chosen lemmas, in a fixed order."""
    articles, pieces = lexicon.articles, lexicon.pieces
    facts: list[Fact] = []
    for lemma in sorted(lexicon.pos):
        pos, synset = lexicon.pos[lemma], lexicon.synset(lemma)
        ax = articles.put(lemma) if pos == "n" else lemma
        base = {"x": lemma, "ax": ax}
        frame = {"n": f"{ax} is a", "v": f"To {lemma} means to", "a": f"{lemma} means"}[pos]
        text = clause(synset.definition, pieces, MAX_PIECES - pieces(frame))
        if text and lemma not in text.split():
            text = _noun_gloss(text, articles) if pos == "n" else text
            facts.append(Fact(f"definition_{pos}", lemma, {**base, "text": text}))
        for example in synset.examples:
            example = example.strip(" .!?")
            shown = re.search(rf"\b{lemma[:-1] if lemma[-1] in 'ey' else lemma}", example.lower())
            plain = re.fullmatch(r"[A-Za-z0-9 ,'-]+", example) and not _RUDE.search(example)
            if shown and plain and pieces(example) <= 17 and len(example.split()) >= 3:
                facts.append(Fact("use", lemma, {**base, "text": example}, weight=0.5))
                break
        facts += _relations(lexicon, lemma, synset, base)
    return facts + _opposites(lexicon)


def _closeness(lexicon: Lexicon, word: str, synset: Synset) -> tuple[bool, bool, int]:
    entry = lexicon.wordnet.lemmas.get((word, synset.pos))
    first = entry is not None and entry.senses[0] == synset.offset
    return word in lexicon.pos, first, lexicon.wordnet.count(word, synset.pos, synset.offset)


def _others(lexicon: Lexicon, lemma: str) -> list[str]:
    wordnet, pos = lexicon.wordnet, lexicon.pos[lemma]
    senses = wordnet.lemmas[lemma, pos].senses[:3]
    words = [w.lower() for s in senses for w in wordnet.synsets[pos, s].words]
    return [w for w in dict.fromkeys(words) if w != lemma]


def _antonyms(wordnet: WordNet, text: str, pos: str) -> list[str]:
    """Antonyms of a word in its first three senses, most direct first."""
    found = []
    for offset in wordnet.lemmas[text, pos].senses[:3]:
        synset = wordnet.synsets[pos, offset]
        index = synset.words.index(text) + 1 if text in synset.words else 0
        for symbol, other, other_pos, source, target in synset.pointers:
            if symbol == "!" and source == index:
                found.append(wordnet.synsets[other_pos, other].words[target - 1])
    return [w for w in dict.fromkeys(found) if re.fullmatch(r"[a-z]{2,14}", w) and w != text]


def category_facts(lexicon: Lexicon, known: set[str], weight: float) -> list[Fact]:
    """The kind-of facts of the chosen nouns that are not `known`."""
    facts: list[Fact] = []
    for lemma in sorted(set(lexicon.pos) - known):
        base = {"x": lemma, "ax": lexicon.articles.put(lemma)}
        found = _relations(lexicon, lemma, lexicon.synset(lemma), base)
        facts += [Fact(f.kind, f.lemma, f.slots, f.keys, weight) for f in found if f.kind == "kind"]
    return facts


def _opposites(lexicon: Lexicon) -> list[Fact]:
    """Opposites of the chosen lemmas, and the reverse facts if the opposite is a short word."""
    facts: dict[str, Fact] = {}
    pos_of = dict(lexicon.pos)
    for lemma in sorted(lexicon.pos):
        for foe in _antonyms(lexicon.wordnet, lemma, pos_of[lemma])[:1]:
            if lexicon.pieces(foe) <= 2 and (foe, pos_of[lemma]) in lexicon.wordnet.lemmas:
                pos_of.setdefault(foe, pos_of[lemma])
    for lemma, pos in sorted(pos_of.items()):
        foes = [w for w in _antonyms(lexicon.wordnet, lemma, pos) if lexicon.pieces(w) <= 4]
        if foes and not _RUDE.search(lemma):
            best = max(foes, key=lambda w: (w in pos_of, -foes.index(w)))
            slots = {"x": lemma, "ax": lemma, "y": best}
            facts[lemma] = Fact("opposite", lemma, slots, foes, 3.0)
    return list(facts.values())


def _relations(lexicon: Lexicon, lemma: str, synset: Synset, base: dict[str, str]) -> list[Fact]:
    wordnet, pos = lexicon.wordnet, lexicon.pos[lemma]
    facts = []
    used = [w for w in synset.words if w != lemma and re.fullmatch(r"[a-z -]+", w)]
    known = [w for w in used if lexicon.pieces(w) <= 3]
    if known:
        best = max(known, key=lambda w: _closeness(lexicon, w, synset))
        if best in lexicon.pos or wordnet.count(best, pos) >= 2:
            facts.append(Fact("synonym", lemma, {**base, "y": best}, _others(lexicon, lemma), 2.0))
    if pos != "n":
        return facts
    parents = [wordnet.synsets[k] for k in synset.targets("@")]
    for parent in parents[:1]:
        name = lexicon.name(parent)
        if name and wordnet.hypernyms(("n", parent.offset), 2) and name != lemma:
            keys = [w.lower() for p in parents for w in p.words]
            slots = {**base, "h": name, "ah": lexicon.articles.put(name)}
            facts.append(Fact("kind", lemma, slots, keys, weight=2.0))
    parts = [lexicon.name(wordnet.synsets[k]) for k in synset.targets("%p")]
    shown = sorted(
        {p for p in parts if p and p != lemma and lexicon.pieces(p) <= 2},
        key=lambda p: (-wordnet.count(p, "n"), p),
    )[:3]
    if len(shown) >= 2:
        listed = ", ".join(f"the {p}" for p in shown[:-1]) + f" and the {shown[-1]}"
        facts.append(Fact("parts", lemma, {**base, "text": listed}))
    return facts
