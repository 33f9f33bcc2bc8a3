"""Answers as models write them, and what is found in them."""

from __future__ import annotations

import pytest
from aps_eval.extraction import check_extraction, extract
from aps_eval.numbers import as_number


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("16 - 3 - 4 = 9, and 9 * 2 = $18.\n#### 18", "18"),
        ("She makes #### 1,234 dollars", "1234"),
        ("#### $1,234.50.", "1234.50"),
        ("####-7", "-7"),
        ("The total is \\boxed{42}.", "42"),
        ("so \\(x = \\boxed{\\frac{3}{4}}\\) of 12", "3/4"),
        ("$\\boxed{\\$2{,}000}$", "2000"),
        ("First 3, then 4. The answer is 12. I used 2 steps.", "12"),
        ("The answer is **7** apples, not 9", "7"),
        ("**Answer:** 5 (from 2 + 3)", "5"),
        ("answer = 0.5", "0.5"),
        ("The final answer is: $\\boxed{-3}$", "-3"),
        ("The answer is that he has 6 left", "6"),
        ("The answer is unclear. Maybe 8 or 9", "9"),
        ("it is minus, that is −5 degrees", "-5"),
        ("2e6 grains", "2e6"),
        ("about .5 of them", ".5"),
        ("There are 3 fruits, 5 in total.", "5"),
        ("ends with a stop 10.", "10"),
        ("H2O and x2 have no number but 4", "4"),
        ("1,234,567 people", "1234567"),
        ("choose 1, 2, 3", "3"),
        ("There are seven cats", "7"),
        ("I counted two, then Twelve!", "12"),
        ("No idea.", None),
        ("", None),
    ],
)
def test_numbers(answer, found):
    assert extract("number", answer) == found
    if found:
        assert as_number(found) is not None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("(B)", "B"),
        ("B", "B"),
        ("b", "B"),
        ("B.", "B"),
        ("B) 12/25/1937", "B"),
        ("The answer is (B) 12/25/1937", "B"),
        ("The answer is B", "B"),
        ("the answer is b.", "B"),
        ("**Answer: C**", "C"),
        ("The correct answer is option D.", "D"),
        ("(A) is wrong, (C) is too late; so (E).", "E"),
        ("Not (A). The answer is (D), although (F) is near.", "D"),
        ("\\boxed{C}", "C"),
        ("$\\boxed{(F)}$", "F"),
        ("I pick option B because of the date", "B"),
        ("Let us think.\nB\n", "B"),
        ("A dog is an animal", None),
        ("The answer is a dog", None),
        ("Because of 5 days", None),
        ("It is not (A)", None),
        ("not (A) but (B)", "B"),
        ("The answer is A or B", None),
        ("Answer: I don't know", None),
        ("Answer: A dog", None),
        ("Answer: A because of the date", "A"),
        ("Answer: I", "I"),
        ("\\boxed{\\text{B}}", "B"),
        ("[C]", "C"),
        ('the answer is "B"', "B"),
        ("option b", "B"),
        ("The correct choice is C", "C"),
        ("", None),
    ],
)
def test_letters(answer, found):
    assert extract("choice", answer) == found


def test_words_to_choose_from():
    words = ["car", "sports car", "ash"]
    assert extract("choice", "A Sports Car is fast.", words) == "sports car"
    assert extract("choice", "not a car but ash", words) == "ash"
    assert extract("choice", "the cart was washed", words) is None
    assert extract("choice", "a car, not ash", words) == "car"
    assert extract("choice", "it is 1.5", ["1", "5"]) is None
    assert extract("choice", "The answer is Paris or London", ["Paris", "London"]) is None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("Yes, a bay is a kind of water.", "yes"),
        ("No. There is no doubt, yes.", "no"),
        ("We end 2 steps away. So the answer is No.", "no"),
        ("At first yes, in the end no", "no"),
        ("**Yes**", "yes"),
        ("The answer is: **yes** (no doubt)", "yes"),
        ("'no'", "no"),
        ("Nope.", "no"),
        ("the answer is not yes", None),
        ("yes or no", None),
        ("I know nothing of yesterday's notes", None),
        ("", None),
    ],
)
def test_yes_and_no(answer, found):
    assert extract("yes_no", answer) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("not ( True ) and ( True ) is False", "false"),
        ("True and not False = True. The answer is True, not False", "true"),
        ("FALSE", "false"),
        ("It is not true", None),
        ("True/False", None),
        ("True or False? True", "true"),
        ("It is untrue and falsely said", None),
    ],
)
def test_truth_values(answer, found):
    assert extract("boolean", answer) == found


def test_patterns_and_whole_texts():
    rule = {"pattern": r"kind of (?P<found>.+?)\W*$"}
    assert extract(rule, "A fender is a kind of Barrier.") == "Barrier"
    assert extract(rule, "  barrier ") is None  # what the pattern does not find is not found
    assert extract({"pattern": "kind of (.+)|^ *([a-z]+) *$"}, "  barrier ") == "barrier"
    assert (
        extract({"pattern": "<answer>(.*?)</answer>"}, "<answer>1</answer><answer>2</answer>")
        == "2"
    )
    assert extract("text", " as it is ") == "as it is"


def test_rules_that_do_not_exist():
    with pytest.raises(ValueError, match=r"extract is one of number, .*; got 'numbr'"):
        check_extraction("numbr")
    with pytest.raises(ValueError, match="a pattern has a group"):
        check_extraction({"pattern": "no group"})


def test_numbers_of_other_makes():
    assert as_number("1,234.5") == 1234.5
    assert as_number("3/4") == 0.75
    assert as_number("3/0") is None
    assert [as_number(text) for text in ("seven", "nan", "inf", "1_000", "1e999", "")] == [None] * 6


@pytest.mark.parametrize("word", ["yes", "no", "yeah", "nope"])
@pytest.mark.parametrize("how", ["yes_no"])
def test_a_yes_or_no_inside_a_word_is_none(how, word):
    means = "yes" if word.startswith("y") else "no"
    for before in ("e", "E", "1", "_", "x'"):
        assert extract(how, f"I saw {before}{word} there") is None, before
        assert extract(how, f"{before}{word}") is None, before
    for behind in ("terday", "S", "1", "_", "'s", "t"):
        assert extract(how, f"I saw {word}{behind} there") is None, behind
        assert extract(how, f"{word}{behind}") is None, behind
    for before, behind in (
        ("", ""),
        ("(", ")"),
        ('"', '"'),
        ("- ", "!"),
        ("**", "**"),
        ("\n", "."),
    ):
        assert extract(how, f"I say {before}{word}{behind} to it") == means
        assert extract(how, f"{before}{word}{behind}") == means


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("The answer is b\nbecause it is so.", "B"),  # a small letter at the end of its line
        ("The answer is b.\n\nIt is.", "B"),
        ("The answer is b because it is so.", None),
        ("(b).", "B"),  # alone, a small letter is the whole answer
        ("b", "B"),
        ("a\nof those", None),
        ("one of\na\nthose", None),
    ],
)
def test_small_letters_are_read_at_the_end_of_a_line_that_names_the_answer(answer, found):
    assert extract("choice", answer) == found
