"""Faults of form: functions that turn a good answer into a badly formed one.

A fault is `f(question, answer, rng, words) -> text`; `words` are lower-case words from which
unrelated ones are drawn. A wrong article does not count as a fault, so no fault changes articles
only. The guiding and the reporting reward have disjoint sets of faults, so that training one on its
faults gives no information about the other's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from recipes.word_knowledge.phrases import capitalise, normalise

__all__ = ["FAULTS", "Fault", "any_article", "spoil"]

Fault = Callable[[str, str, random.Random, Sequence[str]], str]

_ARTICLES = {"a", "an", "the"}
_SMALL = _ARTICLES | {"of", "is", "to", "in", "and", "or", "for", "by", "with", "that", "as"}

_HOLLOW = [
    "It is a thing.",
    "This is it.",
    "I do not know.",
    "Something.",
    "Yes or no.",
    "It is what it is.",
    "A kind of thing.",
    "It depends.",
    "That is a word.",
]


def _words(answer: str) -> list[str]:
    return answer.rstrip(".").split()


def _sentence(words: Sequence[str]) -> str:
    return capitalise(" ".join(words)) + "."


def _content(words: Sequence[str]) -> list[int]:
    """Indices of the content words (neither articles nor function words); all if there is none."""
    return [i for i, w in enumerate(words) if w.lower() not in _SMALL] or list(range(len(words)))


def shuffled(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """All words in random order."""
    mixed = _words(answer)
    rng.shuffle(mixed)
    return _sentence(mixed)


def dropped(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """One to three words removed, at least one of them a content word."""
    kept = _words(answer)
    gone = {rng.choice(_content(kept))}
    gone |= set(rng.sample(range(len(kept)), min(rng.randrange(3), len(kept))))
    return _sentence([w for i, w in enumerate(kept) if i not in gone])


def truncated(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """The first 20 to 80% of the words, three or more, with or without a full stop."""
    kept = _words(answer)
    kept = kept[: min(len(kept) - 1, max(3, int(len(kept) * rng.uniform(0.2, 0.8))))]
    return _sentence(kept) if rng.random() < 0.5 else " ".join(kept)


def repeated(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """A run of one to three words repeated one to three times."""
    said = _words(answer)
    size = rng.randint(1, min(3, len(said)))
    at = rng.randrange(len(said) - size + 1)
    return _sentence([*said[: at + size], *said[at : at + size] * rng.randint(1, 3),
                      *said[at + size :]])  # fmt: skip


def appended(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """Two to six unrelated words added at the end."""
    more = rng.choices(words, k=rng.randint(2, 6))
    return _sentence([*_words(answer), *more])


def echo(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """The question in place of the answer."""
    return question if rng.random() < 0.5 else question.rstrip("?.") + "."


def empty(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """An empty text, a full stop, or one or two function words."""
    return rng.choice(["", ".", "A.", "The", "It is.", "Is", "Of.", "The a."])


def salad(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """Random words, as many as the answer has, up to three more or fewer."""
    count = max(1, len(_words(answer)) + rng.randint(-3, 3))
    return _sentence(rng.choices(words, k=count))


def swapped(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """One content word replaced by a random word."""
    said = _words(answer)
    said[rng.choice(_content(said))] = rng.choice(words)
    return _sentence(said)


def neighbours(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """One to three pairs of neighbouring words exchanged."""
    said = _words(answer)
    for _ in range(rng.randint(1, 3) if len(said) > 1 else 0):
        i = rng.randrange(len(said) - 1)
        said[i], said[i + 1] = said[i + 1], said[i]
    return _sentence(said)


def inserted(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """One to three unrelated words inserted in the middle."""
    said = _words(answer)
    for _ in range(rng.randint(1, 3)):
        said.insert(rng.randint(0, len(said) - 1), rng.choice(words))
    return _sentence(said)


def stutter(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """Some words doubled, or one word repeated many times."""
    said = _words(answer)
    if rng.random() < 0.3:
        return _sentence([rng.choice(said)] * rng.randint(2, 12))
    often = {rng.randrange(len(said)) for _ in range(3)}
    return _sentence([w for i, w in enumerate(said) for _ in range(2 if i in often else 1)])


def beheaded(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """The beginning removed: at least the last half of the words, and at least two, remain."""
    said = _words(answer)
    kept = said[min(len(said) - 2, max(1, int(len(said) * rng.uniform(0.2, 0.5)))) :]
    return _sentence(kept) if len(said) > 3 else answer


def misspelt(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """Letters exchanged within one to three words."""
    said = _words(answer)
    for i in rng.sample(range(len(said)), min(rng.randint(1, 3), len(said))):
        letters = list(said[i])
        if len(letters) > 3:
            j = rng.randrange(1, len(letters) - 1)
            letters[j], letters[j + 1 if j + 2 < len(letters) else j - 1] = (
                letters[j + 1 if j + 2 < len(letters) else j - 1], letters[j])  # fmt: skip
        said[i] = "".join(letters)
    return _sentence(said)


def restated(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """The question, followed by the beginning of an answer."""
    said = _words(answer)
    return " ".join([question.rstrip("."), *said[: min(rng.randrange(4), len(said) - 1)]])


def hollow(question: str, answer: str, rng: random.Random, words: Sequence[str]) -> str:
    """A fluent sentence without content."""
    return rng.choice(_HOLLOW)


FAULTS: dict[str, list[Fault]] = {
    "guide": [shuffled, dropped, truncated, repeated, appended, echo, empty, salad, swapped],
    "report": [neighbours, inserted, stutter, beheaded, misspelt, restated, hollow, salad, swapped],
}
"""The faults of form in each reward's training data."""


def spoil(
    fault: Fault, question: str, answer: str, rng: random.Random, words: Sequence[str]
) -> str | None:
    """`answer` with the fault; None if only articles and case changed."""
    for _ in range(4):
        text = fault(question, answer, rng, words)
        if _bare(text) != _bare(answer):
            return text
    return None


def any_article(answer: str, rng: random.Random) -> str:
    """The answer with one of its articles replaced or removed, which does not count as a fault."""
    said = answer.split()
    places = [i for i, w in enumerate(said) if w.lower() in ("a", "an")]
    if not places:
        return answer
    i = rng.choice(places)
    said[i] = rng.choice(["a", "an", ""])
    return capitalise(" ".join(w for w in said if w))


def _bare(text: str) -> list[str]:
    return [w for w in normalise(text).split() if w not in _ARTICLES]
