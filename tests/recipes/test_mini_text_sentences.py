"""Which of WordNet's examples are whole sentences, and what they answer."""

from __future__ import annotations

import pytest

from recipes.mini_text.prose import prose_answers, sentences_of
from recipes.mini_text.sentences import example_answers, is_sentence
from recipes.mini_text.subjects import Subject
from recipes.word_knowledge.wordnet import Lemma, Synset, WordNet

VERBS = frozenset(
    ["live", "walk", "belate", "delimit", "refrigerate", "place", "group", "cook", "bristle"]
)
ADJECTIVES = frozenset(["prominent", "old", "quiet"])


@pytest.mark.parametrize(
    "text",
    [
        "he lives quietly with his relatives",
        "the dog's fur bristled",
        "they walk to school every day",
        "the air was refreshingly cool",
        "The old man was stooping but he could walk",
        "she cooked the meal in a big iron kettle",
    ],
)
def test_a_sentence_is_kept(text):
    assert is_sentence(text, VERBS, ADJECTIVES)


@pytest.mark.parametrize(
    "text",
    [
        "a belated birthday card",
        "a delimited frontier through the region",
        "a system with no place for prominent groups",
        "the offices of the mass",
        "refreshingly cool air",
        "he said",
        "the air was cool in Paris today",
        "he came; she left the house",
        "he lived there. She did not",
        "he lived there in 1999",
        "the slave was sold for money",
    ],
)
def test_a_phrase_is_left_out(text):
    assert not is_sentence(text, VERBS, ADJECTIVES)


def test_examples_answer_for_their_word_and_for_the_things_they_name():
    def synset(offset, word, *examples):
        return Synset(offset, "v", 0, [word], [], "", list(examples))

    known = ["live", "walk", "house", "dog", "garden"]
    lemmas = {(w, "v"): Lemma(w, "v", [1], [9]) for w in known}
    synsets = {
        ("v", 1): synset(1, "live", "he lives in a house", "a long life", "he lives in a HOUSE"),
        ("v", 2): synset(2, "walk", "the dog walked to the zugzwang house"),
    }
    subjects = [Subject("live", "v"), Subject("house", "n", "artifact"), Subject("walk", "v")]
    assert example_answers(WordNet(synsets, lemmas), subjects) == [
        ("sentence", "house", "He lives in a house."),
        ("word", "live", "He lives in a house."),
    ]


def test_a_subject_has_at_most_six_sentences():
    examples = [f"he lives in a house {'and ' * n}there" for n in range(1, 12)]
    synsets = {("v", 1): Synset(1, "v", 0, ["live"], [], "", examples)}
    lemmas = {(w, "v"): Lemma(w, "v", [1], [9]) for w in ("live", "house", "there")}
    assert len(example_answers(WordNet(synsets, lemmas), [Subject("live", "v")])) == 6


def test_prose_is_cut_into_sentences_and_speech_is_left_out(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("The dog ran. It was wet!\n“Come here,” he said. The dog came.\nNo end\n")
    assert list(sentences_of([file])) == ["The dog ran.", "It was wet!", "No end"]


def test_prose_answers_for_what_it_begins_with_and_for_the_rarest_things_it_names(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text(
        "The hungry dog walked to a small house. The DOG walked to a small house, and.\n"
        "He lived in a house with Tom. Did he live in a house? He walked on and on.\n"
    )
    known = ["live", "walk", "house", "dog", "small", "hungry"]
    lemmas = {(w, "v"): Lemma(w, "v", [1], [9]) for w in known}
    subjects = [
        Subject("walk", "v", "", 0.2),
        Subject("small", "a", "", 0.1),
        Subject("dog", "n", "animal", 0.1),
        Subject("house", "n", "artifact", 0.3),
    ]
    text = "The hungry dog walked to a small house."
    assert prose_answers([file], WordNet({}, lemmas), subjects) == [
        ("pair", "hungry dog", text),
        ("pair", "small house", text),
        ("sentence", "dog", text),
        ("sentence", "house", text),
        ("word", "walk", text),
        ("word", "walk", "He walked on and on."),
    ]
