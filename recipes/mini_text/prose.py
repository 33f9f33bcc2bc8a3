"""Sentences out of plain text as answers to learn from.

    python -m recipes.mini_text.train ... --prose FILE [FILE ...]

A file holds one sentence a line, or prose. Whole sentences of people's plain English that name a
frequent word answer two kinds of question, as WordNet's examples do (`sentences`): to write about a
thing, with its adjective where it has one ("a lonely king"), and to use a word. The text is read
and not stored here; the card of the embedded model says which it was.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from aps_eval.subjects import inflections, words

from recipes.mini_text.filters import key
from recipes.mini_text.prompts import ADJECTIVES
from recipes.mini_text.sentences import DETERMINERS, is_sentence, written
from recipes.mini_text.subjects import Subject
from recipes.word_knowledge.wordnet import WordNet

__all__ = ["prose_answers", "sentences_of"]

MOST = 16
"""Maximal number of sentences of one subject and kind."""
MOST_WORDS = 16
DANGLING = DETERMINERS | {"and", "or", "but"}
END = re.compile(r"(?<=[.!?])\s+")
QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})


def sentences_of(files: Iterable[Path]) -> Iterator[str]:
    """The sentences of some text files, by line and by their end.

    A paragraph with quoted speech is left out: its sentences lean on what was said.
    """
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            text = line.translate(QUOTES).strip()
            if '"' not in text:
                yield from (part for part in END.split(text) if part)


def prose_answers(
    files: Iterable[Path], wordnet: WordNet, subjects: list[Subject]
) -> list[tuple[str, str, str]]:
    """(kind, subject, sentence) of the sentences that name one of the given subjects.

    A sentence is about the thing it begins with and the rarest thing it names, and it uses the
    rarest of its verbs and adjectives.
    """
    verbs, adjectives = (
        frozenset(text for text, pos in wordnet.lemmas if pos == wanted) for wanted in "va"
    )
    common = {form for (text, _), lemma in wordnet.lemmas.items() if sum(lemma.counts) > 1
              for form in inflections(text)}  # fmt: skip
    things = {form: s for s in subjects if s.category for form in (s.word, s.word + "s")}
    others = {form: s for s in subjects if s.pos != "n" for form in inflections(s.word)}
    described = set(" ".join(ADJECTIVES.values()).split())
    seen: set[str] = set()
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for sentence in sentences_of(files):
        text = written(sentence)
        if key(text) in seen or text[-1] not in ".!" or not is_sentence(text, verbs, adjectives):
            continue
        seen.add(key(text))
        found = words(text)
        if len(found) > MOST_WORDS or found[-1] in DANGLING:
            continue
        if any(len(word) > 4 and word.split("'")[0] not in common for word in found):
            continue  # a rare word
        named = [(things[word], i) for i, word in enumerate(found) if word in things]
        about = {named[0]} if named and named[0][1] <= 2 else set()
        about |= {max(named, key=lambda pair: pair[0].share)} if named else set()
        for subject, at in sorted(about, key=lambda pair: pair[1]):
            rows["sentence", subject.word].append(text)
            if at and found[at - 1] in described and found[at] == subject.word:
                rows["pair", f"{found[at - 1]} {subject.word}"].append(text)
        used = [others[word] for word in found if word in others]
        if used:
            rows["word", max(used, key=lambda s: s.share).word].append(text)
    return [
        (kind, subject, text)
        for (kind, subject), own in sorted(rows.items())
        for text in own[:MOST]
    ]
