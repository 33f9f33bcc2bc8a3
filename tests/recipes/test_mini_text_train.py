"""The mixture the embedded text model learns from, and how verse goes through its tokenizer."""

from __future__ import annotations

import json
import random

import pytest

from aps_text.models.registry import load
from recipes.mini_text.more_phrasings import MORE
from recipes.mini_text.prompts import KINDS
from recipes.mini_text.train import OFTEN, MiniTextData, answer_line, balanced, fitting, mark_lines
from recipes.word_knowledge.articles import Articles
from recipes.word_knowledge.wordnet import WordNet
from recipes.word_knowledge.wordnet_facts import Fact
from recipes.word_knowledge.wordnet_qa import KnowledgeData

ANSWERS = [
    ("what", "violin", "A violin is an instrument."),
    ("pair", "old oven", "The old oven was warm."),
    ("poem", "moon", "The moon is high,\nI watch the sky."),
    ("mean", "borrow", "To borrow is to take for a while."),
]


@pytest.fixture
def data():
    facts = [Fact("opposite", x, {"x": x, "ax": x, "y": "y"}, ["y"], 3.0) for x in "abcdefgh"]
    known = KnowledgeData(facts, {}, {}, Articles(WordNet({}, {})), {})
    return MiniTextData(known, ANSWERS, {"violin": "artifact", "oven": "artifact"}, share=0.5)


def test_an_epoch_is_a_function_of_its_number(data):
    assert list(data.epoch(3)) == list(data.epoch(3))
    assert list(data.epoch(3)) != list(data.epoch(4))


def test_every_answer_is_shown_and_facts_have_their_share(data):
    pairs = list(data.epoch(0))
    own = sum(OFTEN.get(kind, 1) for kind, _, _ in ANSWERS)
    facts = [q for q, a in pairs if "opposite" in a]
    assert len(pairs) == own + own // 2
    assert len(facts) == own // 2
    for kind, _, text in ANSWERS:
        assert sum(a == answer_line(text) for _, a in pairs) == OFTEN.get(kind, 1)


def test_facts_are_drawn_as_often_as_their_kind_says(data):
    once, twice = (list(data.facts.epoch(0, often)) for often in (None, {"opposite": 2.0}))
    assert len(twice) == 2 * len(once)
    assert list(data.facts.epoch(0, {"parts": 2.0})) == once


def test_questions_are_phrasings_of_their_kind_with_articles(data):
    rng = random.Random(0)
    asked = {data.question("pair", "old oven", rng) for _ in range(200)}
    pair = next(kind for kind in KINDS if kind.name == "pair")
    every = (*pair.phrasings, *MORE["pair"])
    assert asked == {phrasing.format(a="an old oven") for phrasing in every}


def test_no_further_phrasing_is_one_that_measures():
    assert MORE.keys() == {kind.name for kind in KINDS}
    for kind in KINDS:
        assert not set(MORE[kind.name]) & set(kind.phrasings)


def test_no_subject_has_more_than_its_share():
    rows = [("what", "water", str(i)) for i in range(9)] + [("why", "water", "w")]
    rows += [("what", "tree", "t")]
    kept = balanced(rows, 3)
    assert {("why", "water", "w"), ("what", "tree", "t")} <= set(kept)
    assert len(kept) == 4


def test_an_answer_has_room_for_its_stop_token():
    tokenizer = load("mini").tokenizer
    long = ("what", "sun", "sun " * 9)
    assert fitting([long], tokenizer, 10) == [long]
    assert fitting([long, ANSWERS[0]], tokenizer, 9) == [ANSWERS[0]]


def test_lines_of_verse_come_back(tmp_path):
    model = load("mini")
    verse = "The moon is high,\nI don't weep, it's old."
    ids = model.tokenizer(answer_line(verse), add_special_tokens=False)["input_ids"]
    (tmp_path / "aps.json").write_text(json.dumps({"stop_id": 3}))
    mark_lines(tmp_path)
    settings = json.loads((tmp_path / "aps.json").read_text())
    from aps_text.models.masked_lm import wrap_masked_lm

    marked = wrap_masked_lm(model.parts.model, model.tokenizer, "verse", settings)
    plain = wrap_masked_lm(model.parts.model, model.tokenizer, "prose", {"stop_id": 3})
    assert marked.finish(model.tokenizer.decode(ids)) == verse
    assert model.finish(model.tokenizer.decode(ids)) == verse
    assert "\n" not in plain.finish(model.tokenizer.decode(ids))
