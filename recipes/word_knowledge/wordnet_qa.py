"""The word-knowledge data: training pairs and the bundled question sets, split into strata.

Strata: A, a training fact in a phrasing that is not used in training; B, a fact trained only in the
opposite direction; C, a word without training facts: every fact that contains the word (or its
plural) in a slot, a definition or an example is removed. Everything is a function of WordNet 3.1,
the WordPiece vocabulary and `seed`, so every run makes the same split.

    python -m recipes.word_knowledge.wordnet_qa --wordnet DIR --out eval/aps_eval/data
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from aps_eval.word_knowledge import Question

from recipes.word_knowledge import phrases
from recipes.word_knowledge.articles import Articles
from recipes.word_knowledge.categories import categories_of, derived_facts
from recipes.word_knowledge.more_phrases import MORE
from recipes.word_knowledge.pruned_tokenizer import minilm_folder
from recipes.word_knowledge.strata import choose_reversed, choose_unseen
from recipes.word_knowledge.wordnet import find_wordnet, read_wordnet
from recipes.word_knowledge.wordnet_facts import (
    MORE_NOUNS,
    QUOTA,
    Fact,
    Lexicon,
    build_facts,
    category_facts,
    choose_lemmas,
)

__all__ = ["KnowledgeData", "build_data"]

SEED = 31
STAGES: dict[int, dict[str, float]] = {
    0: {},
    10: {"definition": 2.0, "use": 2.0, "parts": 2.0, "kind": 0.6, "rare kind": 2.0,
         "opposite": 0.8, "synonym": 0.8, "example": 0.5, "yesno": 0.6, "choice": 0.6},
    20: {"definition": 4.0, "use": 2.0, "parts": 3.0, "kind": 0.3, "rare kind": 1.5,
         "opposite": 0.7, "synonym": 0.7, "example": 0.5, "yesno": 0.4, "choice": 0.4},
    24: {"definition": 3.5, "use": 2.0, "parts": 3.0, "kind": 0.6, "rare kind": 1.5,
         "opposite": 0.7, "synonym": 0.7, "example": 0.9, "yesno": 0.4, "choice": 0.6},
}  # fmt: skip
"""First epoch of a stage -> factor, for each kind of fact, on how often it is drawn."""
PHRASINGS = {kind: rows + MORE[kind] for kind, rows in phrases.TRAIN.items()}
A_COUNTS = {
    "definition_n": 45,
    "definition_v": 10,
    "definition_a": 10,
    "kind": 85,
    "opposite": 85,
    "synonym": 85,
    "example": 35,
    "parts": 25,
    "use": 20,
    "yesno": 40,
    "choice": 40,
}
B_COUNTS = {"opposite": 60, "synonym": 60, "example": 60}
C_COUNTS = {"definition_n": 45, "definition_a": 10, "kind": 100, "opposite": 25, "synonym": 50,
            "yesno": 60, "choice": 60}  # fmt: skip


@dataclass
class KnowledgeData:
    """Training facts, category pools and the held-out items of both splits."""

    facts: list[Fact]
    categories: dict[str, list[str]]
    ancestors: dict[str, set[str]]
    articles: Articles
    items: dict[str, list[Question]]

    def __post_init__(self) -> None:
        nouns = [f.lemma for f in self.facts if f.kind == "choice"]
        self._nouns = sorted(set(nouns))
        self._pool = [h for n in self._nouns for h in self.categories[n]]

    def draw(self, fact: Fact, rng: random.Random) -> tuple[str, dict[str, str]]:
        """Answer template and slots; yes/no and choice draw their category and distractor."""
        if fact.kind not in ("yesno", "choice"):
            return fact.kind, fact.slots
        word, answer = fact.lemma, fact.kind
        h = rng.choice(self.categories[word])
        y = word
        if fact.kind == "yesno":
            answer = "yes" if rng.random() < 0.5 else "no"
            while answer == "no" and (h in self.ancestors[word] or h == word):
                h = rng.choice(self._pool)
        else:
            while h in self.ancestors[y] or y == h:
                y = rng.choice(self._nouns)
        pair = [fact.slots["ax"], self.articles.put(y)]
        rng.shuffle(pair)
        slots = {"h": h, "ah": self.articles.put(h), "ap": pair[0], "aq": pair[1]}
        return answer, {**fact.slots, **slots}

    def render(
        self, fact: Fact, rng: random.Random, phrasings: list[str] | None = None
    ) -> tuple[str, str]:
        """One question and its answer sentence, in one of `phrasings` (default: `TRAIN`)."""
        answer, slots = self.draw(fact, rng)
        table = phrasings or phrases.TRAIN[fact.kind]
        question = phrases.capitalise(rng.choice(table).format(**slots))
        return question, phrases.capitalise(phrases.ANSWERS[answer].format(**slots))

    def epoch(
        self, number: int, often: Mapping[str, float] | None = None
    ) -> Iterator[tuple[str, str]]:
        """All training pairs of one epoch in random order; the same for the same number.

        In later `STAGES` the longer facts, which take longer to learn, are drawn more often.

        Args:
            often: factors of the weight of facts by their kind.
        """
        rng = random.Random(f"{SEED}-{number}")
        factor = STAGES[max(start for start in STAGES if start <= number)]
        drawn = []
        for fact in self.facts:
            kind = "rare kind" if fact.kind == "kind" and fact.weight < 1 else fact.kind
            weight = fact.weight * factor.get(kind.split("_")[0], 1.0)
            weight *= (often or {}).get(fact.kind, 1.0)
            drawn += [fact] * int(weight + rng.random())
        rng.shuffle(drawn)
        for fact in drawn:
            question, answer = self.render(fact, rng, phrasings=PHRASINGS[fact.kind])
            if rng.random() < 0.1:
                question = question.rstrip("?.")
            yield question, answer


def _item(data: KnowledgeData, fact: Fact, stratum: str, rng: random.Random) -> Question:
    phrasings = phrases.HELD_OUT[fact.kind] if stratum == "A" else None
    question, answer = data.render(fact, rng, phrasings)
    key = phrases.key_of(fact.kind, answer)
    keys = list(dict.fromkeys([key, *fact.keys])) if key else []
    gold = [answer]
    if fact.kind in ("kind", "opposite", "synonym"):
        slot = "h" if fact.kind == "kind" else "y"
        shapes = [{**fact.slots, slot: k} for k in keys]
        gold += [phrases.capitalise(phrases.ANSWERS[fact.kind].format(**s)) for s in shapes]
    kind = fact.kind.split("_")[0]
    gold = list(dict.fromkeys(gold))
    return Question("", stratum, kind, question, gold, [k for k in keys if k], fact.lemma)


def build_data(wordnet_folder: str | Path | None = None, seed: int = SEED) -> KnowledgeData:
    """Facts, split and items (about 15 seconds)."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    rank = tokenizer.get_vocab().get
    pieces = functools.lru_cache(None)(lambda text: len(tokenizer.tokenize(text)))
    wordnet = read_wordnet(find_wordnet(wordnet_folder))
    lexicon = Lexicon(wordnet, Articles(wordnet), pieces, choose_lemmas(wordnet, rank))
    facts = build_facts(lexicon)
    near, every, wide = categories_of(lexicon, facts)
    facts += derived_facts(lexicon, facts, near)
    facts = [f for f in facts if _fits(f, pieces)]
    rng = random.Random(seed)
    data = KnowledgeData(facts, near, every, lexicon.articles, {"test": [], "tune": []})
    hidden = _split(data, wide, rng)
    broad = dataclasses.replace(
        lexicon, pos=choose_lemmas(wordnet, rank, {"n": QUOTA["n"] + MORE_NOUNS})
    )
    extra = category_facts(broad, set(lexicon.pos), 0.4)
    data.facts += [f for f in extra if not _shows(f, hidden) and _fits(f, pieces)]
    return data


def _fits(fact: Fact, pieces: Callable[[str], int]) -> bool:
    if fact.kind in ("yesno", "choice"):
        return True
    return pieces(phrases.ANSWERS[fact.kind].format(**fact.slots)) <= 23


def _split(data: KnowledgeData, wide: dict[str, list[str]], rng: random.Random) -> set[str]:
    """Choose strata C, B, A; remove the held-out facts from `data.facts`; fill `data.items`.

    Returns the words of stratum C.
    """
    shares = {"test": 1.0, "tune": 0.2}
    used: set[str] = set()
    everything = list(data.facts)
    unseen = {
        name: choose_unseen(data.facts, data.categories, C_COUNTS, share, used, rng)
        for name, share in shares.items()
    }
    hidden = {f.lemma for facts in unseen.values() for f in facts}
    data.facts = [f for f in data.facts if not _shows(f, hidden)]
    for lemma, names in data.categories.items():
        data.categories[lemma] = [h for h in names if not set(h.split()) & hidden] or names
    trained = KnowledgeData(data.facts, data.categories, data.ancestors, data.articles, {})
    whole = KnowledgeData(everything, data.categories, data.ancestors, data.articles, {})
    for name, share in shares.items():
        rows = []
        for fact in unseen[name]:
            keys = wide[fact.lemma] if fact.kind == "kind" else fact.keys
            rows.append(_item(whole, Fact(fact.kind, fact.lemma, fact.slots, keys), "C", rng))
        reverse = choose_reversed(trained.facts, B_COUNTS, share, used, rng)
        gone = {(f.kind, f.lemma) for f in reverse}
        trained.facts = [f for f in trained.facts if (f.kind, f.lemma) not in gone]
        rows += [_item(trained, f, "B", rng) for f in reverse]
        data.items[name] = rows
    for name, share in shares.items():
        for kind, count in A_COUNTS.items():
            pool = [f for f in trained.facts if f.kind == kind and f.lemma not in used]
            pool = list({f.lemma: f for f in pool}.values())
            chosen = rng.sample(pool, min(len(pool), round(count * share)))
            used |= {f.lemma for f in chosen}
            data.items[name] += [_item(trained, f, "A", rng) for f in chosen]
        data.items[name].sort(key=lambda i: (i.stratum, i.type, i.lemma))
        data.items[name] = [
            replace(item, id=f"{name}-{n:04d}") for n, item in enumerate(data.items[name])
        ]
    data.facts = trained.facts
    data.__post_init__()
    return hidden


def _shows(fact: Fact, hidden: set[str]) -> bool:
    return bool(hidden & Fact(fact.kind, fact.lemma, fact.slots).words())


def main() -> None:
    """Write the bundled question sets and print the counts."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--wordnet", default=None, help="folder of the WordNet 3.1 files")
    parser.add_argument("--out", default="eval/aps_eval/data", type=Path)
    args = parser.parse_args()
    data = build_data(args.wordnet)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, suffix in (("test", ""), ("tune", "_tune")):
        with (args.out / f"word_knowledge{suffix}.jsonl").open("w", encoding="utf-8") as handle:
            for item in data.items[name]:
                handle.write(json.dumps(vars(item), ensure_ascii=False) + "\n")
        counts = Counter((i.stratum, i.type) for i in data.items[name])
        print(name, len(data.items[name]), dict(counts))
    print("training facts", dict(Counter(f.kind for f in data.facts)))


if __name__ == "__main__":
    main()
