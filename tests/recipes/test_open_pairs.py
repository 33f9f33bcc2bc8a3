"""Pairs about open questions: what is rejected is wrong in the way its name says."""

from __future__ import annotations

from collections import Counter

import pytest
from aps_eval.subjects import named

from recipes.answer_quality.faults import FAULTS
from recipes.answer_quality.open_pairs import FORM_OF, MARKS, SHARES, OpenPairs, accuracy, read_own
from recipes.mini_text.corpus import read_corpus
from recipes.mini_text.prompts import KINDS
from recipes.mini_text.subjects import split_of
from recipes.smol_text.train import DATA


@pytest.fixture(scope="module")
def rows():
    return read_corpus(DATA)


@pytest.fixture(scope="module")
def poor():
    return read_corpus(DATA, "poor")


@pytest.fixture(scope="module")
def own():
    return read_own(DATA)


@pytest.fixture(scope="module", params=["guide", "report"])
def maker(request, rows, poor, own):
    return OpenPairs(rows, {}, request.param, "train", poor, own)


def test_pairs_are_a_function_of_the_seed_and_of_their_split(maker):
    pairs = maker.pairs(400, 3)
    assert pairs == maker.pairs(400, 3)
    assert {split_of(p.lemma) for p in pairs} == {"train"}
    kinds = Counter(p.kind for p in pairs)
    assert set(kinds) == set(SHARES) - {"form"} | {f.__name__ for f in FAULTS[maker.which]}


def test_what_is_rejected_is_wrong(maker, poor, own):
    marks = {(kind, subject, text): MARKS[mark] for kind, subject, text, mark in own}
    good = {(kind, subject): set() for kind, subject, _ in maker.rows}
    for kind, subject, text in maker.rows:
        good[kind, subject].add(text)
    bad = {row: set() for row in good}
    for kind, subject, text in poor:
        bad.setdefault((kind, subject), set()).add(text)
    for p in maker.pairs(600, 4):
        assert p.chosen != p.rejected
        if p.kind == "own":
            better, worse = (marks[p.type, p.lemma, text] for text in (p.chosen, p.rejected))
            assert better > worse
            continue
        assert p.rejected not in good[p.type, p.lemma]
        if p.kind != "graded":
            assert p.chosen in good[p.type, p.lemma]
        assert (p.kind == "poor") == (p.rejected in bad[p.type, p.lemma])
        if p.kind == "other word":
            assert not named(p.lemma, p.rejected)
        if p.kind == "exchanged":
            assert len(p.rejected.split(" ")) == len(p.chosen.split(" "))
        if p.kind == "other question":
            other = next(k for k, t in maker.by_subject[p.lemma] if t == p.rejected)
            assert FORM_OF[other] != FORM_OF[p.type]


def test_no_answer_is_both_good_and_poor(rows, poor):
    assert not set(rows) & set(poor)
    assert {split_of(subject) for _, subject, _ in poor} == {"train", "tune", "test"}


def test_read_pairs_are_all_good_against_poor_answers_to_one_question(rows, poor):
    good = [("what", "dog", "a"), ("what", "dog", "b"), ("sad", "dog", "c"), ("what", "cat", "d")]
    bad = [("what", "dog", "x"), ("what", "dog", "y"), ("sad", "dog", "z"), ("why", "cat", "w")]
    found = OpenPairs(good, {}, "guide", split_of("dog"), bad).read_pairs(0)
    asked = {(p.type, p.lemma, p.chosen, p.rejected) for p in found if p.lemma == "dog"}
    both = {("what", "dog", one, two) for one in "ab" for two in "xy"}
    assert asked == both | {("sad", "dog", "c", "z")}
    assert len(found) == 5
    assert all("dog" in p.question for p in found)
    held = OpenPairs(rows, {}, "guide", "test", poor).read_pairs(1)
    assert len(held) > 200
    assert {split_of(p.lemma) for p in held} == {"test"}


def test_own_answers_are_compared_with_each_other_by_their_marks(own, tmp_path):
    some = [
        *[("what", "dog", "a", "S"), ("what", "dog", "b", "N"), ("what", "dog", "c", "H")],
        *[("sad", "dog", "d", "H"), ("sad", "dog", "e", "H"), ("what", "violin", "f", "S")],
    ]
    made = OpenPairs([], {}, "guide", split_of("dog"), own=some).own_pairs(0)
    found = {(p.type, p.chosen, p.rejected) for p in made if p.lemma == "dog"}
    assert found == {("what", "a", "b"), ("what", "a", "c"), ("what", "c", "b")}
    assert {mark for *_, mark in own} == set(MARKS)
    assert {split_of(subject) for _, subject, *_ in own} == {"train", "tune"}
    assert len({row[:3] for row in own}) == len(own)  # one mark an answer
    assert read_own(tmp_path) == []


def test_without_poor_answers_there_are_no_such_pairs(rows):
    kinds = {p.kind for p in OpenPairs(rows, {}, "guide").pairs(300, 3)}
    assert not {"poor", "own"} & set(kinds)
    assert "other word" in kinds


def test_the_two_rewards_ask_in_other_phrasings(rows):
    guide, report = (OpenPairs(rows, {}, which) for which in ("guide", "report"))
    ask = {p.question for p in guide.pairs(300, 0)} & {p.question for p in report.pairs(300, 0)}
    shared = {k.name for k in KINDS for a in k.phrasings[::2] if a in k.phrasings[1::2]}
    assert not ask
    assert not shared


def test_triples_are_of_test_subjects_and_scored(rows):
    maker = OpenPairs(rows, {}, "guide", "test")
    triples = maker.triples(60, 1)
    assert len(triples) == 60
    assert len({t.kind for t in triples}) > 10
    order = {t.right: 2.0 for t in triples}
    wrong = {t.wrong: 1.0 for t in triples}

    def oracle(questions, answers):
        return [order.get(a, wrong.get(a, 0.0)) for a in answers]

    found = accuracy(oracle, triples)
    assert found["right > broken"] > 0.95
    assert accuracy(lambda q, a: [0.0] * len(a), triples) == dict.fromkeys(found, 0.5)
