"""The teacher's decoding loop, the plan of the generation, and what the filters keep."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from aps_eval.subjects import named
from transformers import LlamaConfig, LlamaForCausalLM

from recipes.mini_text.corpus import choose, main, read_corpus, scored, speaking, write_corpus
from recipes.mini_text.filters import key, reason
from recipes.mini_text.generate import TIERS, asks, plan, whole_lines
from recipes.mini_text.prompts import KINDS, with_article
from recipes.mini_text.subjects import SPLITS, Subject, split_of
from recipes.mini_text.teacher import END, Teacher
from recipes.mini_text.train import DATA


class Letters:
    """A tokenizer of one id per letter; `END` is 1 and a newline 2."""

    def __call__(self, text, add_special_tokens=False):
        ids = []
        for piece in text.replace(END, "\0"):
            ids.append({"\0": 1, "\n": 2}.get(piece, 3 + ord(piece) % 29))
        return {"input_ids": ids}

    def convert_tokens_to_ids(self, token):
        return 1

    def decode(self, ids):
        return " ".join(str(int(i)) for i in ids)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=4, initializer_range=0.4,
        tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def by_hand(model, ids, most):
    """Greedy tokens and their mean nll, one forward of the whole text a token."""
    tokens, cost = [], 0.0
    for _ in range(most):
        log_probs = model(torch.tensor([ids + tokens])).logits[0, -1].log_softmax(-1)
        token = int(log_probs.argmax())
        cost -= float(log_probs[token])
        tokens.append(token)
        if token in (1, 2):
            return tokens[:-1], cost / len(tokens)
    return None, None


@torch.no_grad()
def test_the_decoding_loop_is_the_model(model):
    """Shared examples, padded questions and rows that leave: the tokens of one row by itself."""
    teacher, letters = Teacher(model, Letters(), torch.float32), Letters()
    prefix = "examples of all\nkinds"
    questions = ["ab", "hello you", "a longer question than that", "q", "zz top", "?!"]
    drawn = teacher.draw(
        teacher.read(prefix), questions, [1e-6, 1e-6], torch.Generator().manual_seed(0), most=24
    )
    ended = 0
    for question, answers in zip(questions, drawn, strict=True):
        ids = letters(prefix)["input_ids"] + letters(question)["input_ids"]
        tokens, nll = by_hand(model, ids, 24)
        for answer in answers:
            if tokens is None:
                assert answer.text is None
            else:
                ended += 1
                assert answer.text == letters.decode(tokens)
                assert answer.nll == pytest.approx(nll, abs=1e-4)
    assert 0 < ended < 12  # both ways were seen


SUBJECTS = [
    Subject(f"thing{pos}{i}", pos, "animal" if pos == "n" and i % 2 else "", i / 60)
    for pos in "nva"
    for i in range(60)
]


def test_the_plan_is_the_same_every_time_and_begins_with_the_most_used():
    batches = plan(SUBJECTS)
    assert [(k.name, s) for k, s in batches] == [(k.name, s) for k, s in plan(SUBJECTS)]
    shares = [s.share for _, own in batches for s in own]
    first = [share for share in shares[: len(shares) // 8]]
    assert max(first) < TIERS[0][1]
    asked = Counter((kind.name, s.word.split()[-1]) for kind, own in batches for s in own)
    for kind in KINDS:
        for subject in SUBJECTS:
            count = asked[kind.name, subject.word]
            assert (count > 0) <= asks(kind, subject)
            assert count >= (4 * int(kind.weight) if asks(kind, subject) else 0)


def test_splits_are_of_words_and_disjoint_by_construction():
    counts = Counter(split_of(f"word{i}") for i in range(4000))
    assert set(counts) == set(SPLITS)
    assert 0.87 < counts["train"] / 4000 < 0.93
    assert split_of("violin") == split_of("violin")


def test_a_line_cut_off_is_made_again(tmp_path):
    file = tmp_path / "raw.jsonl"
    assert whole_lines(file) == 0
    file.write_text('{"kind": "what"}\n{"kind": "wh')
    assert whole_lines(file) == 1
    assert file.read_text() == '{"kind": "what"}\n'


@pytest.mark.parametrize(
    ("word", "category", "asked"),
    [
        ("violin", "artifact", "a violin"), ("oven", "artifact", "an oven"),
        ("water", "substance", "water"), ("hope", "", "hope"), ("shoes", "artifact", "shoes"),
        ("glass", "artifact", "a glass"), ("apple", "food", "an apple"), ("bread", "food", "bread"),
        ("hot soup", "food", "hot soup"), ("old apple", "food", "an old apple"),
        ("uniform", "artifact", "a uniform"), ("storm", "phenomenon", "a storm"),
    ],
)  # fmt: skip
def test_articles(word, category, asked):
    assert with_article(word, category) == asked


GOOD = [
    ("what", "violin", "A violin is a brown thing of wood with four strings."),
    ("happy", "city", "We danced in the bright cities by the sea and laughed."),
    ("use", "knife", "People use knives to cut bread and meat."),
    ("sentence", "wolf", "The wolf waited, and the moon rose over the hill."),
]
BAD = [
    ("what", "violin", "A violin with loud strings has strings.", "repeats a word"),
    ("what", "hinge", "A hinge is one of many hinges of metal.", "circular"),
    ("what", "violin", "It is a brown thing of wood with four strings.", "subject"),
    ("what", "violin", "A violin is a small wooden instrument with 4 strings.", "odd characters"),
    ("what", "violin", "a violin is a thing of wood.", "not whole"),
    ("what", "violin", "A violin is a brown", "not whole"),
    ("what", "violin", "A violin is nice. It has four strings.", "several sentences"),
    ("what", "violin", "A violin is an instrument from France.", "a name"),
    ("what", "violin", "A violin violins.", "length"),
    ("what", "violin", "A violin is a small wooden instrument.", "an example's words"),
    ("pair", "red violin", "The violin sang all night.", "subject"),
    ("word", "violin", "The violin was a violin.", "repeats a word"),
    ("what", "violin", "This sentence is about a violin.", "about itself"),
    ("what", "violin", "A violin is the the thing that you play.", "doubled word"),
    ("what", "violin", "It was the best of days, and it was the violin.", "repeats two words"),
    ("what", "violin", "A violin is nice,\nand you can play it.", "lines"),
]


@pytest.mark.parametrize(("kind", "subject", "text"), GOOD)
def test_good_answers_are_kept(kind, subject, text):
    assert reason(kind, subject, text, 1.0) is None
    assert reason(kind, subject, text, 3.0) == "unlikely"


@pytest.mark.parametrize(("kind", "subject", "text", "why"), BAD)
def test_bad_ones_are_not(kind, subject, text, why):
    assert reason(kind, subject, text, 1.0) == why


def test_verse_has_lines():
    verse = "The moon is up,\nThe sea is blue,\nAnd all the town has slept."
    assert reason("poem", "moon", verse, 1.0, lines=True) is None
    assert reason("poem", "moon", verse.replace("\n", " "), 1.0, lines=True) == "lines"


def test_forms_of_the_subject_are_the_subject():
    assert named("wolf", "Two wolves came.")
    assert named("city", "the cities")
    assert named("run", "He was running")
    assert named("dance", "dancing")
    assert not named("run", "He ruined it")
    assert named("lonely king", "The king was lonely")
    assert not named("lonely king", "The old king")
    assert split_of("lonely king") == split_of("king")


def test_a_corpus_has_no_twins_and_reads_as_it_was_written(tmp_path):
    a = "A violin is a brown thing of wood with four strings."
    found = [
        ("what", "violin", a, 0.5),
        ("what", "violin", a.replace("A ", "The "), 0.4),
        ("what", "violin", a.replace("four", "five"), 0.9),
        ("simple", "violin", a, 0.2),
        ("what", "violin", "A violin plays the high part in an orchestra.", 1.0),
        ("what", "violin", "A violin is bad 4 you and me.", 1.0),
    ]
    kept, dropped = choose(found, lint=False)
    texts = [text for _, _, text in kept]
    assert len(texts) == 2
    assert dropped["said before"] == 3
    assert dropped["odd characters"] == 1
    write_corpus(kept, dropped, tmp_path)
    assert sorted(read_corpus(tmp_path)) == sorted(kept)
    first = (tmp_path / "answers.jsonl.gz").read_bytes()
    write_corpus(kept[::-1], dropped, tmp_path)
    assert (tmp_path / "answers.jsonl.gz").read_bytes() == first
    assert json.loads((tmp_path / "card.json").read_text())["kept"] == 2


def test_the_grammar_checker_throws_faults_away():
    pytest.importorskip("harper")
    found = [
        ("what", "king", "A king is a man who rules a country.", 0.5),
        ("meaning", "angry", "A angry person shouts at everyone.", 0.5),
    ]
    kept, dropped = choose(found)
    assert [subject for _, subject, _ in kept] == ["king"]
    assert dropped["grammar"] == 1


def test_what_is_said_of_anything_is_said_twice_at_most():
    text = "People care about {} because it makes us feel better."
    found = [("why", w, text.format(w), 0.5) for w in ("dust", "rain", "bread", "salt", "slave")]
    kept, dropped = choose(found, lint=False)
    assert [subject for _, subject, _ in kept] == ["dust", "rain"]
    assert dropped == {"said of anything": 2, "unwanted subject": 1}


def test_an_answer_with_a_lint_is_not_kept():
    pytest.importorskip("harper")
    found = [
        ("what", "desk", "A desk is a tabel that you work at.", 0.5),
        ("what", "lamp", "A lamp is a light that stands on a table.", 0.5),
    ]
    kept, dropped = choose(found)
    assert [subject for _, subject, _ in kept] == ["lamp"]
    assert dropped["grammar"] == 1


def test_the_committed_corpus_keeps_its_rules():
    rows = read_corpus(DATA)
    card = json.loads((DATA / "card.json").read_text(encoding="utf-8"))
    assert len(rows) == card["kept"]
    assert Counter(kind for kind, _, _ in rows) == card["by kind"]
    assert set(card["by split"]) == set(SPLITS)
    assert len({key(text) for _, _, text in rows}) == len(rows)
    lines = {kind.name for kind in KINDS if kind.lines}
    broken = [row for row in rows if reason(*row, 0.0, lines=row[0] in lines) is not None]
    assert broken == []


def test_answers_that_say_little_or_were_not_scored_are_left_out(tmp_path):
    rows = [("what", "lamp", f"A lamp is {i}.") for i in range(4)]
    file = tmp_path / "specific.jsonl"
    scores = [0.9, 0.1, 0.5]
    lines = [json.dumps([*row, s]) for row, s in zip(rows[:3], scores, strict=True)]
    file.write_text("\n".join(lines) + "\n")
    assert speaking(rows, scored(file), 0.5) == [rows[0], rows[2]]


def test_an_earlier_corpus_stays_and_is_not_repeated():
    old = [("what", "lamp", "A lamp is a thing that gives light in a dark room.")]
    again = [("what", "lamp", text, 1.0) for _, _, text in old]
    new = ("what", "lamp", "A lamp stands on a table and helps people to read at night.", 1.0)
    kept, dropped = choose([*again, new], lint=False, before=old)
    assert kept == [*old, new[:3]]
    assert dropped["said before"] == 1


def test_scores_of_new_answers_leave_an_earlier_corpus_as_it_is(tmp_path):
    pytest.importorskip("harper")
    old = [("what", "lamp", "A lamp is a thing that gives light in a dark room.")]
    new = ["A desk is a table that people write at.", "A desk is made of wood and has drawers."]
    write_corpus(old, Counter(), tmp_path / "old")
    rows = [["desk", [[text, 1.0] for text in new]]]
    (tmp_path / "raw.jsonl").write_text(json.dumps({"kind": "what", "rows": rows}) + "\n")
    scores = [
        json.dumps(["what", "desk", text, s]) for text, s in zip(new, (0.9, 0.1), strict=True)
    ]
    (tmp_path / "specific.jsonl").write_text("\n".join(scores) + "\n")
    given = {"raw": "raw.jsonl", "specific": "specific.jsonl", "also": "old", "out": "new"}
    main([part for name, file in given.items() for part in (f"--{name}", str(tmp_path / file))])
    assert read_corpus(tmp_path / "new") == [("what", "desk", new[0]), *old]
    card = json.loads((tmp_path / "new" / "card.json").read_text(encoding="utf-8"))
    assert card["dropped"] == {"says little of its subject": 1, "grammar": 0}
