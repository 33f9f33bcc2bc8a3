"""Which of WordNet's examples are whole sentences, and what they answer."""

from __future__ import annotations

import pytest

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
