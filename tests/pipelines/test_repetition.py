"""Answers that stammer are told of; verse and ordinary sentences are not."""

from __future__ import annotations

import pytest
from tiny import tiny_text_model

from aps_text import APSPipeline
from aps_text.pipelines.diagnosis import warnings_of
from aps_text.pipelines.output import APSOutput, RewardReport
from aps_text.pipelines.repetition import broken


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("A violin sounds when the is is pulled pulled.", "'is is', a word twice in a row"),
        ("The the king slept.", "'The the', a word twice in a row"),
        ("It is late........", "'........', a run of dots"),
        ("It is late..", "'..', a run of dots"),
        ("The rain was bright, the rain was the best rain.", "'rain' 3 times in 10 words"),
    ],
)
def test_a_stammer_is_named(text, place):
    assert broken(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "He said that that was all he had had.",
        "It rained in Walla Walla, very very long ago ...",
        "Rain, rain, go away,\ncome again another day.",
        "The lonely king walked alone in the dark forest.",
        "The sun is in the sky and the moon is in the sea and the sea is in the song.",
        "A computer with a heart and a heart,\nIt plays music,",
        "Open ../notes.txt, or take 1..3 of them.",
    ],
)
def test_verse_and_sentences_are_not_told_of(text):
    assert broken(text) is None


def test_each_broken_answer_has_its_warning():
    texts = ["a dog is is here", "a dog is here", "late.."]
    out = APSOutput(texts, [[1]] * 3, ["q"] * 3, RewardReport(), None, None)
    (said,) = warnings_of(out, [])
    assert said.startswith("2 of 3 answers look broken ('is is', a")


def test_an_infilled_answer_is_told_of_without_a_reward():
    out = APSPipeline(tiny_text_model()).generate(
        "why ?", start={"prefix": "the the"}, steps=2, max_new_tokens=6
    )
    assert any("a word twice in a row" in one for one in out.warnings), out
