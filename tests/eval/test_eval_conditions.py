"""What holds under a condition alone, and products in brackets, are no answers."""

from __future__ import annotations

import random

import pytest
from aps_eval.extraction import extract

CASES = {
    "number": [
        ("Only if x = 2 is the answer 5", None),
        ("Only when x = 2 is the answer 5.", None),
        ("Only if x = 2, the answer is 5", None),
        ("Only for x = 2 is it 5", None),
        ("Only then is it 5", None),
        ("So only if x = 2 is the answer 5", None),
        ("Only if x = 2 is it 5, otherwise 4", None),
        ("It is 4. Only if x = 2 is the answer 5", "4"),
        ("Only if x = 2 is the answer 5; but here it is 4", "4"),
        ("Only if x = 2 is it 5. The answer is 4.", "4"),
        ("The answer is 5 only if x = 2", "5"),
        ("Only 5 are left", "5"),
        ("If x = 2 the answer is 5", None),
        ("If x = 2, the answer is 5", "5"),
        ("If 5 is wrong, 6", None),
        ("If 5 is wrong, the answer is 6", None),
        ("5. If that is wrong, 6", "5"),
        ("If not 5, 6", None),
        ("If it is not 5 then it is 6", None),
        ("In case 5 is incorrect: 6", None),
        ("If I am not wrong, the answer is 5", "5"),
        ("If I'm not wrong, 5", "5"),
        ("If my sum is not wrong, it is 5", "5"),
        ("Even if x is wrong, the answer is 5", "5"),
        ("Since 5 is wrong, it is 6", "6"),
        ("If it were 5, 2 would be 3, so it is 6", "6"),
        ("2(3)", None),
        ("The answer is 2(3)", None),
        ("2(3) = 6", "6"),
        ("6 = 2(3)", "6"),
        ("The answer is 2(3) = 6", "6"),
        ("so 2(3) is 6", "6"),
        ("2(-3)", None),
        ("-2(3)", None),
        ("2(3 + 4)", None),
        ("2(3) + 4", None),
        ("(2)3", None),
        ("2x(3)", None),
        ("2(3x)", None),
        ("2.5(4)", None),
        ("3(4)(5)", None),
        ("\\boxed{2(3)}", None),
        ("5(3 of them red)", "3"),
        ("f(2) = 5", "5"),
        ("The answer is 5 (3 + 2)", "5"),
        ("(2) 3 apples", "3"),
    ],
    "choice": [
        ("If B is wrong, A", None),
        ("If (B) is wrong, (A)", None),
        ("If (B) is not right, (A)", None),
        ("If not (B), then (A)", None),
        ("If it is not B, the answer is A", None),
        ("If (A) and (B) are incorrect, the answer is (C)", None),
        ("Unless (B) is wrong, (A)", None),
        ("In case (B) is wrong: (A)", None),
        ("A, if B is wrong", "A"),
        ("Since (B) is wrong, (A)", "A"),
        ("(B) is wrong, so (A)", "A"),
        ("(C). If (C) is wrong, (A)", "C"),
        ("The answer is B. If that is false, A", "B"),
        ("If (B) is wrong, (C) is too; but (A) is right", "A"),
        ("If B is right, then the answer is A", "A"),
        ("If x is false, then B is impossible. The answer is A.", "A"),
        ("If it is not a dog, the answer is B", "B"),
        ("If I am not wrong, the answer is B", "B"),
        ("Even if (B) is wrong, the answer is (A)", "A"),
        ("Only if x is a dog is the answer (B)", None),
        ("Only if x is a dog, the answer is B", None),
        ("Only (B) is right", "B"),
    ],
    "yes_no": [
        ("Only if it rains is the answer yes", None),
        ("Only when it rains, yes", None),
        ("If no is wrong, yes", None),
        ("If it is not no, then yes", None),
        ("If the claim is false, the answer is no", None),
        ("No. Only if it rains, yes", "no"),
        ("Yes, but only if it rains", "yes"),
        ("If it was false, it would sink, so yes", "yes"),
    ],
    "boolean": [
        ("Only if x = 2 is it true", None),
        ("If that is wrong, the answer is true", None),
        ("True, only if x = 2", "true"),
    ],
}


@pytest.mark.parametrize(
    ("how", "said", "found"), [(how, *case) for how, cases in CASES.items() for case in cases]
)
def test_each_by_hand(how, said, found):
    assert extract(how, said) == found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("If cat is wrong, dog", None),
        ("Only if it barks is it a dog", None),
        ("If it barks, the answer is dog", "dog"),
        ("The answer is dog. If that is wrong, cat", "dog"),
        ("It is a dog only if it barks", "dog"),
        ("Only a dog barks", "dog"),
    ],
)
def test_words_to_choose_from(said, found):
    assert extract("choice", said, ["cat", "dog"]) == found


ANSWERS = [
    ("number", "5", "6", ()),
    ("number", "3/4", "-2", ()),
    ("choice", "(A)", "(B)", ()),
    ("choice", "the cat", "the dog", ("the cat", "the dog")),
    ("yes_no", "yes", "no", ()),
    ("boolean", "true", "false", ()),
]


@pytest.mark.parametrize(("how", "one", "other", "choices"), ANSWERS)
def test_a_condition_before_an_answer_and_behind_it(how, one, other, choices):
    mine = one.strip("()")
    for lead in ("", "it is ", "the answer is "):
        for doubt in ("is wrong", "is incorrect", "turns out false", "is not right"):
            for joins in (", ", " then ", ", then "):
                said = f"If {other} {doubt}{joins}{lead}{one}"
                assert extract(how, said, choices) is None, said
                assert extract(how, f"So {said}.", choices) is None, said
        for only in ("Only if it fits", "Only when we round", "Only in case of doubt", "Only then"):
            said = f"{only} {lead.replace('it is', 'is it') or 'is it '}{one}"
            assert extract(how, said, choices) is None, said
        for behind in (". If that is wrong, think again", " only if it fits"):
            said = f"The answer is {one}{behind}"
            assert extract(how, said, choices) == mine, said


def test_products_in_brackets_are_read_by_their_result_alone():
    draw = random.Random(0)
    for _ in range(200):
        one, other = draw.randint(2, 99), draw.choice([-1, 1]) * draw.randint(2, 99)
        for said in (
            f"{one}({other})",
            f"({one})({other})",
            f"{one}( {other} )",
            f"{one}({other}n)",
        ):
            assert extract("number", f"It is {said}") is None, said
            assert extract("number", f"It is {said} = {one * other}") == str(one * other), said
        assert extract("number", f"It is {one} ({abs(other)})") == str(abs(other))  # an aside
