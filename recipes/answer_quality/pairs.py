"""Preference pairs (question, chosen, rejected) from the word-knowledge facts.

Chosen: the true answer, in one of several sentences. Rejected: in the SAME sentence a near wrong
fact (see `facts.WrongFacts`), a far one, or the word itself; the true answer about another word or
to another question; or the true answer with a fault of form. In a `graded` pair a wrong but
well-formed answer is chosen and a badly formed one rejected.

Held out: every word of strata B and C of the bundled questions (neither it nor its plural occurs in
a pair), every fact asked by a bundled question of stratum A, and a tenth of the other words for
validation (training has no pair about them, in either direction; definitions may mention them).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from aps_eval.word_knowledge import Question

from recipes.answer_quality.facts import Answer, WrongFacts
from recipes.answer_quality.faults import FAULTS, any_article, spoil
from recipes.answer_quality.forms import FORMS, QUESTIONS
from recipes.word_knowledge.phrases import ANSWERS, capitalise, normalise
from recipes.word_knowledge.wordnet_facts import Fact
from recipes.word_knowledge.wordnet_qa import KnowledgeData

__all__ = [
    "Pair",
    "PairMaker",
    "balanced",
    "held_out_words",
    "item_pairs",
    "shortcuts",
    "split_facts",
]

KINDS = {"near": 0.22, "far": 0.12, "itself": 0.06, "other word": 0.10, "other question": 0.06,
         "form": 0.34, "graded": 0.10}  # fmt: skip
"""The probability of each kind of rejected answer; `form` is divided among the faults."""
TYPES = {"definition": 0.28, "kind": 0.17, "opposite": 0.12, "synonym": 0.12, "example": 0.08,
         "parts": 0.03, "use": 0.04, "yesno": 0.08, "choice": 0.08}  # fmt: skip
"""The probability of each type of question."""
CANONICAL = 0.6
"""The fraction of answers in the embedded model's own sentence."""


@dataclass(frozen=True)
class Pair:
    """One comparison; `kind` is that of the rejected answer, `type` that of the question."""

    question: str
    chosen: str
    rejected: str
    kind: str
    type: str
    lemma: str


def held_out_words(data: KnowledgeData) -> set[str]:
    """Words that no pair may contain: those of strata B and C of the bundled questions."""
    items = [i for rows in data.items.values() for i in rows if i.stratum != "A"]
    return {i.lemma for i in items}


def split_facts(
    data: KnowledgeData, seed: int, share: float = 0.1
) -> tuple[list[Fact], list[Fact]]:
    """(training facts, validation facts), disjoint in words and drawn by `seed`."""
    hidden = held_out_words(data)
    asked = {(i.type, i.lemma) for rows in data.items.values() for i in rows}
    facts = [
        f
        for f in data.facts
        if not Fact(f.kind, f.lemma, f.slots).words() & hidden
        and (f.kind.split("_")[0], f.lemma) not in asked
    ]
    lemmas = sorted({f.lemma for f in facts})
    chosen = set(random.Random(seed).sample(lemmas, round(share * len(lemmas))))
    about = [{f.lemma, f.slots["x"], f.slots.get("y", "")} & chosen for f in facts]
    train = [f for f, found in zip(facts, about, strict=True) if not found]
    return train, [f for f in facts if f.lemma in chosen]


class PairMaker:
    """Draws pairs about `facts`, for the reward `which` (`guide` or `report`).

    Args:
        data: for categories and articles.
        facts: the facts asked about.
        which: the reward whose phrasings, sentences and faults are used.
        hidden: words that no pair may contain.
        pool: facts that wrong answers are made of (default: `facts`).

    Raises:
        ValueError: an unknown `which`.
    """

    def __init__(
        self,
        data: KnowledgeData,
        facts: list[Fact],
        which: str,
        hidden: Iterable[str] = (),
        pool: list[Fact] | None = None,
    ) -> None:
        if which not in FAULTS:
            raise ValueError(f"which is one of {', '.join(FAULTS)}, got {which!r}")
        self.facts, self.which, self.hidden = facts, which, set(hidden)
        self.wrong = WrongFacts(data, pool or facts)
        self.by_lemma: dict[str, list[Fact]] = defaultdict(list)
        for fact in facts:
            self.by_lemma[fact.lemma].append(fact)
        texts = [normalise(t) for f in facts for t in f.slots.values()]
        words = sorted({w for t in texts for w in t.split() if len(w) > 2})
        self.words = [w for w in words if not self.hidden & {w, w.removesuffix("s")}]

    def pairs(self, count: int, seed: int) -> list[Pair]:
        """`count` pairs; a function of the facts and the seed."""
        rng = random.Random(seed)
        groups: dict[str, list[Fact]] = defaultdict(list)
        for fact in self.facts:
            groups[fact.kind.split("_")[0]].append(fact)
        types = sorted(groups)
        weights = {t: list(accumulate(f.weight for f in groups[t])) for t in types}
        made: list[Pair] = []
        while len(made) < count:
            asked = rng.choices(types, [TYPES[t] for t in types], k=count)
            for name, kind in zip(
                asked, rng.choices(list(KINDS), list(KINDS.values()), k=count), strict=True
            ):
                fact = rng.choices(groups[name], cum_weights=weights[name])[0]
                pair = self.pair(fact, kind, rng)
                if pair is not None:
                    made.append(pair)
        return made[:count]

    def pair(self, fact: Fact, kind: str, rng: random.Random) -> Pair | None:
        """One pair about `fact`; None if it has no wrong answer of this kind."""
        answer = self.wrong.draw(fact, rng)
        question = self._question(fact, answer, rng)
        form = rng.randrange(3) if rng.random() > CANONICAL else None
        chosen = right = self._say(answer, form)
        rejected: str | None = None
        false: Answer | None = None
        if kind == "form":
            fault = rng.choice(FAULTS[self.which])
            kind, rejected = fault.__name__, spoil(fault, question, right, rng, self.words)
        else:
            false = self._false(fact, answer, kind, rng)
            if false is None or self._shows_hidden(false):
                return None
            rejected = self._say(false, form)
        if kind == "graded" and rejected is not None:
            chosen, base = rejected, rng.choice([rejected, right])
            rejected = spoil(rng.choice(FAULTS[self.which]), question, base, rng, self.words)
        if rejected is None or normalise(rejected) in (normalise(chosen), normalise(right)):
            return None
        if self._shows_hidden(answer):
            return None
        if rng.random() < 0.1:
            chosen = any_article(chosen, rng)
        return Pair(question, chosen, rejected, kind, fact.kind.split("_")[0], fact.lemma)

    def _false(self, fact: Fact, answer: Answer, kind: str, rng: random.Random) -> Answer | None:
        wrong = self.wrong
        if kind == "other question":
            return wrong.other_question(fact, self.by_lemma[fact.lemma], rng)
        if kind == "other word":
            return wrong.other_word(fact, rng)
        if kind == "graded":
            return wrong.near(fact, answer, rng) or wrong.far(fact, answer, rng)
        return {"near": wrong.near, "far": wrong.far, "itself": wrong.itself}[kind](
            fact, answer, rng
        )

    def _question(self, fact: Fact, answer: Answer, rng: random.Random) -> str:
        question = rng.choice(QUESTIONS[self.which][fact.kind]).format(**answer.slots)
        question = capitalise(question)
        return question.rstrip("?.") if rng.random() < 0.1 else question

    def _say(self, answer: Answer, form: int | None) -> str:
        forms = FORMS[self.which][answer.template]
        sentence = ANSWERS[answer.template] if form is None else forms[form]
        return capitalise(sentence.format(**answer.slots))

    def _shows_hidden(self, answer: Answer) -> bool:
        words = set(normalise(" ".join(answer.slots.values())).split())
        return bool(self.hidden & (words | {w[:-1] for w in words if w.endswith("s")}))


def item_pairs(items: list[Question], which: str, seed: int = 0) -> list[Pair]:
    """Pairs about bundled questions: the gold answer against each kind of wrong text, once each.

    `far`: another item's key of the same type in this sentence; `other word`: another item's gold
    answer; then the faults of form.
    """
    rng = random.Random(seed)
    words = sorted({w for i in items for w in normalise(i.gold[0]).split() if len(w) > 2})
    made = []
    for item in items:
        gold = item.gold[0]
        same = [i for i in items if i.type == item.type and i.lemma != item.lemma]
        other = rng.choice(same)
        wrong = {"other word": other.gold[0]}
        wrong["far"] = _with_other_key(item, same, rng)
        for fault in FAULTS[which]:
            wrong[fault.__name__] = spoil(fault, item.question, gold, rng, words) or gold
        golds = {normalise(g) for g in item.gold}
        made += [
            Pair(item.question, gold, text, kind, item.type, item.lemma)
            for kind, text in wrong.items()
            if normalise(text) not in golds
        ]
    return made


def _with_other_key(item: Question, same: list[Question], rng: random.Random) -> str:
    """The gold sentence with the key of another question; unchanged if it has no key."""
    gold, accepted = item.gold[0], {normalise(k) for k in item.key}
    if item.type == "yesno":
        return (
            gold.replace("Yes, ", "No, ").replace(" is a kind", " is not a kind")
            if gold.startswith("Yes")
            else gold.replace("No, ", "Yes, ").replace(" is not a kind", " is a kind")
        )
    keys = [i.key[0] for i in same if i.key and normalise(i.key[0]) not in accepted]
    at = gold.lower().rfind(item.key[0].lower()) if item.key else -1
    if item.type == "choice":
        at = gold.lower().find(item.key[0].lower())
    if at < 0 or not keys:
        return gold
    return capitalise(gold[:at] + rng.choice(keys) + gold[at + len(item.key[0]) :])


def balanced(pairs: list[Pair], seed: int) -> list[Pair]:
    """The pairs in random order, thinned so that as many rejected answers are shorter as longer."""
    rng = random.Random(seed)
    shorter = [p for p in pairs if _length(p) > 0]
    longer = [p for p in pairs if _length(p) < 0]
    equal = [p for p in pairs if _length(p) == 0]
    few = min(len(shorter), len(longer))
    kept = rng.sample(shorter, few) + rng.sample(longer, few) + equal
    rng.shuffle(kept)
    return kept


def _length(pair: Pair) -> int:
    return len(pair.chosen.split()) - len(pair.rejected.split())


def shortcuts(pairs: list[Pair]) -> dict[str, float]:
    """Accuracy in [0, 1] of rules that ignore meaning (length, overlap, ...); ties count half."""

    def accuracy(score) -> float:
        won = [score(p.question, p.chosen) - score(p.question, p.rejected) for p in pairs]
        return sum(0.5 if w == 0 else float(w > 0) for w in won) / len(won)

    def overlap(question: str, answer: str) -> int:
        return len(set(normalise(question).split()) & set(normalise(answer).split()))

    return {
        "longer wins": accuracy(lambda q, a: len(a.split())),
        "more of the question's words wins": accuracy(overlap),
        "a full stop wins": accuracy(lambda q, a: a.endswith(".")),
    }
