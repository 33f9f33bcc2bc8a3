"""The figures of the measuring command: each on texts whose value is known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from recipes.mini_text.measure import (
    choose_prompts,
    form,
    measure,
    repeated_pairs,
    report,
    self_bleu,
    variety,
    whole,
)
from recipes.mini_text.subjects import split_of

WORDS = [f"word{chr(97 + i)}{chr(97 + j)}" for i in range(20) for j in range(20)]
ROWS = [(kind, w, f"A {w} is {n}.") for kind in ("what", "why") for w in WORDS for n in range(2)]


def test_prompts_are_of_test_subjects_and_kinds_take_turns():
    prompts = choose_prompts(ROWS, {}, 10)
    assert prompts == choose_prompts(ROWS[::-1], {}, 10)
    assert {split_of(p.subject) for p in prompts} == {"test"}
    assert [p.kind for p in prompts] == ["what", "why"] * 5
    for p in prompts:
        assert p.subject in p.question
        assert set(p.gold) == {f"A {p.subject} is {n}." for n in range(2)}


def test_repeated_pairs():
    assert repeated_pairs("a cat is a cat") == pytest.approx(1 / 4)
    assert repeated_pairs("a cat sat") == 0
    assert repeated_pairs("cat") == 0


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [("A cat sat.", True), ("a cat sat.", False), ("A cat sat", False), ("", False), ("A cat.", 0)],
)
def test_whole(text, is_whole):
    assert whole(text) == is_whole


def test_self_bleu_of_the_same_is_one_and_of_strangers_zero():
    assert self_bleu(["a cat sat on the mat"] * 3) == pytest.approx(1)
    assert self_bleu(["a cat sat on", "two dogs ran off"]) == 0
    middle = self_bleu(["a cat sat on the mat", "a cat lay on the mat"])
    assert 0 < middle < 1
    assert self_bleu(["alone"]) == 0


def test_variety_does_not_count_articles_and_case():
    found = variety([["A cat sat.", "The cat sat.", "Dogs ran."]])
    assert found["distinct of 8"] == [2.0]


class Echo:
    """A pipeline that answers every question with the question."""

    class model:
        max_new_tokens = 48

    def generate(self, questions, *, steps, temperature, seed, num_return_sequences=1):
        texts = [f"{q} {steps}." for q in questions for _ in range(num_return_sequences)]
        return SimpleNamespace(text=texts)


def test_the_report_has_every_run_and_the_gap_to_the_teacher():
    prompts = choose_prompts(ROWS, {}, 6)
    judges = {"teacher's NLL a token": lambda texts: [float(len(t.split())) for t in texts]}
    results = measure(Echo(), prompts, judges, [16, None])
    assert set(results["runs"]) == {"teacher", "T = 16", "T = L", "T = 16, 0.8"}
    gap = results["runs"]["T = 16"]["NLL beyond the teacher's"][0]
    expected = [len(p.question.split()) + 1 - len(p.gold[0].split()) for p in prompts]
    assert gap == pytest.approx(sum(expected) / 6, abs=1e-3)
    assert results["runs"]["T = L"]["subject named %"][0] == 100
    assert results["variety"]["distinct of 8"][0] == 1
    assert results["answers"]["T = L"][0].endswith("48.")
    text = report(results, prompts, shown=2)
    assert text.count("→") == 2
    assert "| NLL beyond the teacher's | - |" in text


def test_form_is_per_answer():
    prompts = choose_prompts(ROWS, {}, 2)
    found = form(prompts, [prompts[0].subject + " it is", "Nothing here."])
    assert found["subject named %"] == [100, 0]
