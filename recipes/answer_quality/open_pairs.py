"""Preference pairs about open questions ("Write a happy sentence about a garden.").

Chosen: a good answer (`recipes/smol_text/data`). Rejected: an answer to the same question that a
reader found poor (`poor`), one that `smol` itself gave and a reader marked lower than the chosen
one, its own too (`own`), a good answer about another subject (`other word`), the same answer with
its subject exchanged (`exchanged`), a good answer about the same subject to a question of another
tone or form (`other question`), or the answer with a fault of form. In a `graded` pair a
well-formed wrong answer is chosen and a badly formed one rejected.

A reward is trained on train subjects and measured on test subjects, in `triples`: right, wrong but
well formed, badly formed. The guiding and the reporting reward use different phrasings and faults.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aps_eval.subjects import inflections, named, words

from recipes.answer_quality.faults import FAULTS, spoil
from recipes.answer_quality.pairs import Pair
from recipes.mini_text.corpus import read_rows
from recipes.mini_text.generate import asked
from recipes.mini_text.prompts import KINDS
from recipes.mini_text.subjects import Subject, split_of
from recipes.word_knowledge.phrases import normalise

__all__ = ["MARKS", "OpenPairs", "Triple", "accuracy", "read_own"]

SHARES = {"poor": 0.28, "own": 0.25, "other word": 0.16, "exchanged": 0.10, "other question": 0.08,
          "form": 0.28, "graded": 0.10}  # fmt: skip
# Groups of kinds: an answer to one group, about the same subject, does not answer the other.
FORM_OF = {
    **dict.fromkeys(("what", "simple", "mean", "meaning"), "definition"),
    **dict.fromkeys(("sentence", "word", "about", "pair"), "sentence"),
    **{kind: kind for kind in ("happy", "sad", "use", "where", "why", "advice", "poem")},
}
MARKS = {"S": 2, "H": 1, "N": 0}
"""A reader's marks of the model's own answers: sense, half, nonsense."""
PHRASINGS = {"guide": slice(0, None, 2), "report": slice(1, None, 2)}


@dataclass(frozen=True)
class Triple:
    """A question, a good answer, a well-formed wrong one and a broken one."""

    question: str
    right: str
    wrong: str
    broken: str
    kind: str


class OpenPairs:
    """Draws pairs and triples about the subjects of one split.

    Args:
        rows: (kind, subject, answer) of the corpus.
        categories: of concrete nouns.
        which: `guide` or `report`.
        split: the subjects' split.
        poor: as `rows`, answers that were read and found poor; without any, none are rejected.
        own: (kind, subject, answer, mark) of the model's own answers, each mark one of `MARKS`.
    """

    def __init__(
        self,
        rows: Sequence[tuple[str, str, str]],
        categories: dict[str, str],
        which: str,
        split: str = "train",
        poor: Sequence[tuple[str, str, str]] = (),
        own: Sequence[tuple[str, str, str, str]] = (),
    ) -> None:
        self.which, self.categories = which, categories
        self.rows = sorted(row for row in rows if split_of(row[1]) == split)
        self.by_kind: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.by_subject: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for kind, subject, text in self.rows:
            self.by_kind[kind].append((subject, text))
            self.by_subject[subject].append((kind, text))
        bad: dict[tuple[str, str], list[str]] = defaultdict(list)
        for kind, subject, text in sorted(poor):
            bad[kind, subject].append(text)
        self.poor = bad
        self.judged = [row for row in self.rows if row[:2] in bad]
        self.marked: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        for kind, subject, text, mark in own:
            if split_of(subject) == split:
                self.marked[kind, subject][text] = MARKS[mark]
        self.compared = sorted(
            asked for asked, found in self.marked.items() if len(set(found.values())) > 1
        )
        self.words = sorted({w for _, _, text in self.rows for w in words(text) if len(w) > 2})

    def question(self, kind: str, subject: str, rng: random.Random) -> str:
        """The kind's question about a subject, in a phrasing of this reward."""
        found = next(k for k in KINDS if k.name == kind)
        shown = Subject(subject, found.pos[0], self.categories.get(subject.split()[-1], ""))
        return asked(found, shown, rng.choice(found.phrasings[PHRASINGS[self.which]]))

    def other_word(self, kind: str, subject: str, rng: random.Random) -> str | None:
        """A good answer of the same kind that does not name the subject."""
        for _ in range(4):
            other, text = rng.choice(self.by_kind[kind])
            if other != subject and not named(subject, text):
                return text
        return None

    def exchanged(self, kind: str, subject: str, text: str, rng: random.Random) -> str | None:
        """The answer with its subject replaced by another one."""
        other, _ = rng.choice(self.by_kind[kind])
        own = inflections(subject.split()[-1])
        said = text.split(" ")
        places = [i for i, w in enumerate(said) if w.strip(",.!?;:").lower() in own]
        if not places or other.split()[-1] in own:
            return None
        for i in places:
            bare = said[i].strip(",.!?;:\n")
            word = other.split()[-1]
            said[i] = said[i].replace(bare, word.capitalize() if bare[0].isupper() else word)
        return " ".join(said)

    def other_question(self, kind: str, subject: str, rng: random.Random) -> str | None:
        """A good answer about the subject to a question of another form."""
        form = FORM_OF.get(kind)
        fits = [t for k, t in self.by_subject[subject] if form and FORM_OF.get(k, form) != form]
        return rng.choice(fits) if fits else None

    def wrong(self, kind: str, subject: str, text: str, how: str, rng: random.Random) -> str | None:
        """A well-formed wrong answer."""
        if how == "other word":
            return self.other_word(kind, subject, rng)
        if how == "exchanged":
            return self.exchanged(kind, subject, text, rng)
        return self.other_question(kind, subject, rng)

    def broken(self, question: str, text: str, rng: random.Random) -> tuple[str, str | None]:
        """The name of a fault, and the answer with it (None if the fault changes nothing)."""
        fault = rng.choice(FAULTS[self.which])
        return fault.__name__, spoil(fault, question, text, rng, self.words)

    def pairs(self, count: int, seed: int) -> list[Pair]:
        """`count` pairs; a function of the corpus and the seed."""
        rng = random.Random(f"{seed} {self.which}")
        made: list[Pair] = []
        while len(made) < count:
            how = rng.choices(list(SHARES), list(SHARES.values()))[0]
            if how == "own" and self.compared:
                made.append(rng.choice(self._own_pairs(*rng.choice(self.compared), rng)))
            if how == "own" or (how == "poor" and not self.judged):
                continue
            kind, subject, right = rng.choice(self.judged if how == "poor" else self.rows)
            question = self.question(kind, subject, rng)
            chosen, rejected = right, None
            if how == "poor":
                rejected = rng.choice(self.poor[kind, subject])
            elif how == "form":
                how, rejected = self.broken(question, right, rng)
            elif how == "graded":
                base = self.other_word(kind, subject, rng)
                if base is None:
                    continue
                chosen, (_, rejected) = base, self.broken(question, rng.choice([base, right]), rng)
            else:
                rejected = self.wrong(kind, subject, right, how, rng)
            if rejected is None or normalise(rejected) in (normalise(chosen), normalise(right)):
                continue
            made.append(Pair(question, chosen, rejected, how, kind, subject))
        return made

    def _own_pairs(self, kind: str, subject: str, rng: random.Random) -> list[Pair]:
        """The model's own answers of unlike marks to one question, the better one chosen."""
        question, marked = self.question(kind, subject, rng), self.marked[kind, subject]
        return [
            Pair(question, better, worse, "own", kind, subject)
            for better, high in sorted(marked.items())
            for worse, low in sorted(marked.items())
            if high > low
        ]

    def own_pairs(self, seed: int) -> list[Pair]:
        """All pairs of the model's own answers of unlike marks to one question."""
        rng = random.Random(f"{seed} {self.which} own")
        return [pair for asked in self.compared for pair in self._own_pairs(*asked, rng)]

    def read_pairs(self, seed: int) -> list[Pair]:
        """Every good answer against every poor one to the same question."""
        rng = random.Random(f"{seed} {self.which} read")
        return [
            Pair(self.question(kind, subject, rng), right, wrong, "poor", kind, subject)
            for kind, subject, right in self.judged
            for wrong in self.poor[kind, subject]
        ]

    def triples(self, count: int, seed: int) -> list[Triple]:
        """`count` triples, alternating between kinds while these have any."""
        rng = random.Random(f"{seed} {self.which} triples")
        kinds = sorted(kind for kind, own in self.by_kind.items() if len(own) > 1)
        made: list[Triple] = []
        for number in range(20 * count):
            kind = kinds[number % len(kinds)]
            subject, right = rng.choice(self.by_kind[kind])
            question = self.question(kind, subject, rng)
            how = rng.choice(["other word", "exchanged", "other question"])
            wrong = self.wrong(kind, subject, right, how, rng)
            _, broken = self.broken(question, right, rng)
            if wrong is not None and broken is not None:
                made.append(Triple(question, right, wrong, broken, kind))
            if len(made) == count:
                break
        return made


def read_own(folder: Path) -> list[tuple[str, str, str, str]]:
    """(kind, subject, answer, mark) of `own.jsonl.gz`; none if the folder has no such file."""
    file = folder / "own.jsonl.gz"
    rows = read_rows(file) if file.exists() else []
    return [(kind, subject, answer, mark) for kind, subject, answer, mark in rows]


def accuracy(
    score: Callable[[Any, Any], Sequence[float]], triples: Sequence[Triple]
) -> dict[str, float]:
    """Fractions of triples with right above wrong, right above broken, and wrong above broken;
    ties count half."""
    asked_of = [t.question for t in triples]
    right, wrong, broken = (
        score(asked_of, [getattr(t, side) for t in triples])
        for side in ("right", "wrong", "broken")
    )
    sides = {
        "right > wrong": (right, wrong),
        "right > broken": (right, broken),
        "wrong > broken": (wrong, broken),
    }
    return {
        name: sum(0.5 if a == b else float(a > b) for a, b in zip(one, two, strict=True))
        / len(triples)
        for name, (one, two) in sides.items()
    }
