"""Example sentences of WordNet as answers to learn from.

WordNet's glosses have 48,000 quoted examples, written by people. Those that are whole sentences
("he lives indolently with his relatives") answer two kinds of question: to use a word, and to write
about a thing that the sentence names. They are read from WordNet's files and not stored here.
"""

from __future__ import annotations

import re
from collections import Counter

from aps_eval.subjects import inflections, words

from recipes.mini_text.filters import UNWANTED
from recipes.mini_text.subjects import Subject
from recipes.word_knowledge.wordnet import WordNet

__all__ = ["example_answers", "is_sentence", "written"]

MOST = 6
"""Maximal number of sentences of one subject and kind."""

PLAIN = re.compile(r"[A-Za-z ,;'\-!?.]+")


def _set(text: str) -> set[str]:
    return set(re.findall(r"\S+", text))


PERSONS = _set(
    "he she it they we i you there this that these those everyone nobody someone everybody"
)
PLURAL = _set("i you we they these those")
DETERMINERS = _set("the a an my his her their our your its some many all most no every each")
PREPOSITIONS = _set("of in on at by for with from to into through over under about as than")
FINITE = _set(
    "is are was were am has have had do does did will would can could should must may might shall"
    " went got took made came saw gave found told left felt kept began ran wrote sat stood lost"
    " fell held brought became knew thought said spoke broke grew drew led won paid met sent built"
    " spent caught taught bought fought sold rode drove wore tore threw flew blew ate drank sang"
    " rose shook chose swore slept swept meant dealt hung lay stole struck stuck swung wept wound"
)


def is_sentence(text: str, verbs: frozenset[str], adjectives: frozenset[str]) -> bool:
    """Whether an example is one plain sentence of 4 to 20 words, with a subject and a finite verb.

    The rules are rough: they prefer to lose a sentence to keeping a phrase ("a belated card").

    Args:
        verbs, adjectives: base forms, in lower case.
    """
    found = words(text)
    if not PLAIN.fullmatch(text) or not 4 <= len(found) <= 20 or ";" in text:
        return False
    if re.search(r"\b[A-Z][a-z]+", text[1:]) or not UNWANTED.isdisjoint(found):
        return False
    if re.search(r"[.!?] ", text):
        return False
    if found[0] not in PERSONS | DETERMINERS:
        return False
    before = found[0]
    for word in found[1:]:
        follows = before not in DETERMINERS | PREPOSITIONS
        if word in FINITE and follows:
            return True
        # A participle may stand before its noun; then an adverb, adjective or hyphen precedes it.
        described = before.endswith("ly") or before in adjectives or f"-{word}" in text
        past = word.endswith("ed") and not verbs.isdisjoint({word[:-1], word[:-2], word[:-3]})
        now = word.endswith("s") and not verbs.isdisjoint({word[:-1], word[:-2]})
        many = before.endswith("s") and not before.endswith(("ss", "is"))
        if follows and not described and (past or (now and not many and before not in PLURAL)):
            return True
        if before in PLURAL and word in verbs:
            return True
        before = word
    return False


def written(text: str) -> str:
    """With a capital and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text[-1] in ".!?" else text + "."


def example_answers(wordnet: WordNet, subjects: list[Subject]) -> list[tuple[str, str, str]]:
    """(kind, subject, sentence) of WordNet's examples about the given subjects.

    Sentences with a rare word are left out. The kind is `word` for the word that the example
    illustrates, and `sentence` for a concrete noun that occurs in it.
    """
    verbs, adjectives = (
        frozenset(text for text, pos in wordnet.lemmas if pos == wanted) for wanted in "va"
    )
    common = {form for (text, _), lemma in wordnet.lemmas.items() if sum(lemma.counts) > 1
              for form in inflections(text)}  # fmt: skip
    known = {subject.word for subject in subjects}
    things = {form: s.word for s in subjects if s.category for form in (s.word, s.word + "s")}
    rows: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for synset in wordnet.synsets.values():
        for example in synset.examples:
            text = example.strip(' ";')
            if text.lower() in seen or not text or not is_sentence(text, verbs, adjectives):
                continue
            seen.add(text.lower())
            found, whole = set(words(text)), written(text)
            if any(len(word) > 4 and word.split("'")[0] not in common for word in found):
                continue  # a rare word
            own = [w.lower() for w in synset.words if not inflections(w.lower()).isdisjoint(found)]
            rows += [("word", word, whole) for word in own[:1] if word in known]
            rows += [("sentence", things[word], whole) for word in found if word in things]
    kept: Counter[tuple[str, str]] = Counter()
    answers = []
    for kind, subject, text in sorted(rows):
        kept[kind, subject] += 1
        if kept[kind, subject] <= MOST:
            answers.append((kind, subject, text))
    return answers
