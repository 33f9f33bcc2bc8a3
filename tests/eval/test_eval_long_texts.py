"""Reading takes work in proportion to the length of a text, and no run of digits is too long."""

from __future__ import annotations

import re

import pytest
from aps_eval import answer_leads, asides
from aps_eval.extraction import EXTRACTIONS, extract
from aps_eval.number_groups import statements
from aps_eval.stated_number import boxed

RULES = [*((how, ()) for how in EXTRACTIONS), ("choice", ("cat", "dog"))]


class _Counted:
    """A pattern that counts the characters it looks at."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern, self.seen = pattern, 0

    def search(self, text: str, at: int = 0) -> re.Match[str] | None:
        found = self.pattern.search(text, at)
        self.seen += (len(text) if found is None else found.end()) - at
        return found


@pytest.mark.parametrize("said", [".is", "is it 5? ", ".is so", "What? No. ", "\nis", "is?a"])
def test_the_end_of_a_question_is_looked_for_once(said, monkeypatch):
    text = said * 3_000
    counted = _Counted(answer_leads._STOP)
    monkeypatch.setattr(answer_leads, "_STOP", counted)
    answer_leads.questions(text)
    assert 0 < counted.seen <= 2 * len(text)


@pytest.mark.parametrize("said", ["five (5) ", "5 (five) ", "5 (6) ", "(", "5 kg (five) "])
def test_what_is_said_twice_is_read_twice_and_no_more(said, monkeypatch):
    read = 0

    def counted(reader):
        def reads(text):
            nonlocal read
            read += len(text)
            return reader(text)

        return reads

    for name in ("numerals", "spoken_numerals"):
        monkeypatch.setattr(asides, name, counted(getattr(asides, name)))
    text = said * 500
    assert len(asides.said_once(text)) <= len(text)
    assert read <= 4 * len(text)  # each reader: the text, and what its brackets hold


def test_boxes_in_boxes_hold_no_more_than_their_number():
    held = [sum(map(len, boxed("\\boxed{" * n + "5" + "}" * n))) for n in (500, 1_000, 2_000)]
    assert held[2] < 2.5 * held[1] < 6.25 * held[0]
    assert extract("number", "\\boxed{" * 2_000 + "5" + "}" * 2_000) == "5"


LONG = [
    ".is",
    "yes/",
    "2^",
    "\n",
    " ",
    "(A",
    "\\boxed{{",
    "28 November 2026 ",
    "if the answer is 5 ",
]


@pytest.mark.parametrize("said", LONG)
def test_long_texts_are_read_by_every_rule(said):
    run = said * (9_000 // len(said))  # in the cube of its length this would take hours
    for how, choices in RULES:
        for text in (run, f"the answer is{run}x", f"yes{run}"):
            extract(how, text, choices)


@pytest.mark.parametrize(
    "said", ["{} dozen", "2^{}", "5 x 10^{}", "{} and a half", "1 / {}", "{}e{}"]
)
def test_a_run_of_digits_beyond_all_numbers_is_none(said):
    digits = "9" * 5_000  # Python converts 4,300 digits at most
    text = said.replace("{}", digits)
    assert extract("number", f"It is {text}") is None
    assert extract("number", f"\\boxed{{{text}}}") is None
    assert extract("number", f"It is {text}. So the answer is 5.") == "5"


def test_a_power_of_a_number_with_a_huge_exponent_is_none():
    assert extract("number", "1e999999999^2") is None
    assert [one.text for one in statements("1e999999999^2")] == [None]
